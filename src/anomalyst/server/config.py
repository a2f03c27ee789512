"""What a server is told once, when it starts."""

from dataclasses import dataclass, field
from pathlib import Path

from anomalyst.errors import AnomalystError
from anomalyst.hardware.processor import DEVICES, ENGINES, PRECISIONS, checked_choice
from anomalyst.server.sign_in.config import OidcConfig

LOOPBACK = ("127.0.0.1", "localhost", "::1")
MB = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much one caller may ask for."""

    upload_mb: int = 64  # one request; a 100-megapixel PNG may need more
    batch: int = 200  # pictures in one request
    queued: int = 2000  # inspections that wait; further ones are told to come back
    requests_per_minute: int = 6000  # of one key, or one address where no key is needed
    together: int = 16  # pictures that the model takes at once


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingConfig:
    """Where a server keeps its things, and whom it answers."""

    home: Path = Path("workbench")  # database, pictures, log
    products: Path = Path("products")  # taught products, shared with the command line
    runs: Path = Path("runs")  # training runs that are shown
    recipes: Path = Path("recipes")  # what may be trained from the workbench
    database: str | None = None  # a URL, as postgresql+psycopg://...; None: SQLite in `home`
    encoder: str = "embedded"
    precision: str = "auto"  # of the networks' sums, as `inspect --precision`
    device: str = "auto"
    engine: str = "auto"
    language: Path | None = None  # folder of another language model than the shipped one
    rival: Path | None = None  # of a second one, whose answers are ranked beside the first one's
    segmenter: str = "default"  # what draws the masks that people click: see `load_segmenter`
    refine: bool = False  # regions get their crisp edge at once
    host: str = "127.0.0.1"
    port: int = 7860
    keys: bool = False  # every request needs an API key
    oidc: OidcConfig | None = None  # people sign in with the company's provider, programs by key
    tls_cert: Path | None = None  # PEM, with those that vouch for it; None: plain HTTP
    tls_key: Path | None = None
    otlp: str | None = None  # a collector of traces, as http://localhost:4318
    internal_webhooks: bool = False  # webhooks may lie in this machine's own network
    keep_days: int | None = None  # inspections older than this are forgotten; None: none
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        checked_choice("--precision", self.precision, PRECISIONS)
        checked_choice("--device", self.device, DEVICES)
        checked_choice("--engine", self.engine, ENGINES)
        if self.host not in LOOPBACK and not self.keys:
            raise AnomalystError(
                f"--host {self.host}: others could reach this server, so it needs --keys; make "
                "one with `anomalyst store key NAME --role operator`."
            )
        if self.oidc is not None and not self.keys:
            raise AnomalystError("oidc: needs keys, too; without them REST is open to anyone.")
        if (self.tls_cert is None) != (self.tls_key is None):
            raise AnomalystError("--tls-cert and --tls-key: give both, or neither.")
        if self.rival is not None and not (self.rival / "config.json").is_file():
            raise AnomalystError(
                f"--rival {self.rival}: holds no config.json; give the folder of a saved model."
            )
        kind, _, folder = self.segmenter.partition(":")
        if self.segmenter not in ("default", "grabcut") and not (
            kind in ("run", "sam") and folder and Path(folder).expanduser().is_dir()
        ):
            raise AnomalystError(
                f"--segmenter {self.segmenter}: is none of default, grabcut, run:DIR and sam:DIR "
                "with a folder that is there."
            )
        if not 0 <= self.port < 65536:
            raise AnomalystError(f"--port {self.port}: a number from 0 to 65535 is needed.")
        if self.keep_days is not None and self.keep_days < 1:
            raise AnomalystError(f"--keep-days {self.keep_days}: at least 1 is needed.")

    @property
    def database_url(self) -> str:
        """Of the store."""
        return self.database or f"sqlite:///{self.home / 'anomalyst.db'}"

"""Watches started from the workbench: `anomalyst watch` in processes of their own."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anomalyst.errors import AnomalystError
from anomalyst.io.files import make_folder
from anomalyst.product_index import product_folder
from anomalyst.server.config import ServingConfig
from anomalyst.server.errors import Conflict, NotFound
from anomalyst.server.jobs.processes import is_running, job_of, last_words, start_child, stop_child
from anomalyst.server.streaming.addresses import keep_in_file, without_password
from anomalyst.server.streaming.reachable import SETTING
from anomalyst.server.streaming.sinks import Webhook


@dataclass(frozen=True, slots=True, kw_only=True)
class LineGiven:
    """The line of a watch, as somebody at the workbench describes it."""

    name: str | None = None
    budget_ms: float | None = None  # from picture to signal
    late: str = "alarm"  # reject, stop
    signal: str | None = None  # of --modbus, or of --opcua

    def arguments(self, folder: Path) -> list[str]:
        """As the command line takes them; a password goes into a file."""
        words = ["--line", self.name] if self.name else []
        if self.budget_ms is not None:
            words += ["--budget-ms", f"{self.budget_ms:g}", "--late", self.late]
        if self.signal is not None:
            opc_ua = self.signal.startswith("opc.tcp://")
            address = keep_in_file(self.signal, folder / "signal") if opc_ua else self.signal
            words += ["--opcua" if opc_ua else "--modbus", address]
        return words

    def check(self) -> None:
        """Raises AnomalystError for what does not fit, before a process is started for it."""
        if self.budget_ms is None and (self.signal or self.late != "alarm"):
            raise AnomalystError(
                "a reject signal, and a rule for late parts, need the milliseconds that a part has."
            )
        if any((word or "").startswith("-") for word in (self.name, self.signal)):
            raise AnomalystError("a line's name and a signal's address begin with no dash.")


class Watches:
    """The watches of one home."""

    def __init__(self, config: ServingConfig):
        self.config = config
        self.folder = config.home / "watches"

    def all(self) -> list[dict[str, Any]]:
        """Every watch that was started here, by name."""
        return [
            {
                **{key: job_of(folder).get(key) for key in ("source", "product", "line")},
                "name": folder.name,
                "state": "running" if is_running(folder) else "ended",
                "console": last_words(folder),
            }
            for folder in sorted(self.folder.glob("*"))
            if job_of(folder)
        ]

    def start(
        self,
        source: str,
        product: str,
        *,
        mqtt: Sequence[str] = (),
        webhook: Sequence[str] = (),
        at: LineGiven | None = None,
    ) -> str:
        """Watch a source for a product; returns the watch's name. It outlives the server."""
        product_folder(product, self.config.products)
        if not source.strip() or source.startswith("-"):
            raise AnomalystError(
                "give a folder, growing CSV, mqtt://..., rtsp://..., usb:0 or genicam:ID to watch."
            )
        at = at or LineGiven()
        at.check()
        shown = without_password(source)
        name = re.sub(r"[^\w.-]+", "-", f"{product}-{shown}").strip("-.")[-80:]
        folder = self.folder / name
        for hook in webhook:
            Webhook(hook, internal=self.config.internal_webhooks).check()
        if is_running(folder):
            raise Conflict(f"{shown} is watched for {product!r} already.")
        config = self.config
        make_folder(folder)
        source, *told = (
            keep_in_file(address, folder / f"address-{number}")
            for number, address in enumerate((source, *mqtt, *webhook))
        )
        mqtt, webhook = told[: len(mqtt)], told[len(mqtt) :]
        arguments = ["watch", source, "--product", product]
        arguments += ["--home", str(config.home), "--products", str(config.products)]
        if config.database:
            arguments += ["--database", keep_in_file(config.database, folder / "database")]
        arguments += [word for address in mqtt for word in ("--mqtt", address)]
        arguments += [word for address in webhook for word in ("--webhook", address)]
        arguments += [SETTING] if config.internal_webhooks else []
        arguments += at.arguments(folder)
        start_child(arguments, folder, source=shown, product=product, line=at.name)
        return name

    def stop(self, name: str) -> None:
        """Ask a watch to finish what it has, and end. Raises NotFound."""
        folder = self.folder / name
        if "/" in name or not is_running(folder):
            raise NotFound(f"there is no running watch {name[:80]!r}.")
        stop_child(folder)

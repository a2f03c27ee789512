"""What a server is told of the company's identity provider: the YAML file of `serve --oidc`."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from anomalyst.config import from_mapping, read_mapping
from anomalyst.errors import AnomalystError

RoleWord = Literal["inspector", "operator", "engineer", "admin"]
STATE_LETTERS = 8  # tell sign-ins of one browser apart
THIS_MACHINE = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True, kw_only=True)
class OidcConfig:
    """An identity provider, and which of its people may do what."""

    issuer: str = ""
    """Its address, as its tokens say it: https://login.example/realms/plant."""
    client_id: str = ""
    """What the provider calls this server."""
    redirect_base_url: str = ""
    """Under which address people reach this server; they come back to its /oidc/callback."""
    roles: Mapping[str, RoleWord] = dataclasses.field(default_factory=dict)
    """Which value of `role_claim` gives which role; of several the highest counts."""
    role_claim: str = "groups"
    """Where the ID token holds groups or roles; a dot leads inside, as realm_access.roles."""
    name_claim: str | None = None
    """What the record calls a person; left out: email, else preferred_username, else sub."""
    client_secret_file: Path | None = None
    """Holds the client's secret, from the YAML's folder; left out: a public client, PKCE alone."""
    ca_file: Path | None = None
    """PEM of a company's own certificate authority, from the YAML's folder."""
    scopes: tuple[str, ...] = ("openid", "profile", "email")
    """What the provider is asked for."""
    session_hours: float = 12.0
    """After how long a person signs in anew; what the provider changes meanwhile counts then."""

    def __post_init__(self) -> None:
        for name in ("issuer", "client_id", "redirect_base_url", "roles"):
            if not getattr(self, name):
                raise ValueError(f"{name} is missing.")
        for name in ("issuer", "redirect_base_url"):
            if not trusted(getattr(self, name)):
                raise ValueError(
                    f"{name} {getattr(self, name)!r} is not an https:// address; http:// is for "
                    "this machine alone, since anyone on the way could sign in as anyone."
                )
        if urlsplit(self.base).path:
            raise ValueError(
                f"redirect_base_url {self.redirect_base_url!r}: this server answers at the root of "
                "a name; leave the path out."
            )
        if "openid" not in self.scopes:
            raise ValueError("scopes need openid; else the provider tells nothing of a person.")
        if not 0 < self.session_hours <= 168:
            raise ValueError(f"session_hours {self.session_hours:g}: above 0 and at most 168.")

    @property
    def base(self) -> str:
        """Of this server, without a slash at its end."""
        return self.redirect_base_url.rstrip("/")

    @property
    def secure(self) -> bool:
        """Whether browsers reach this server by TLS."""
        return self.base.startswith("https://")

    @property
    def session_cookie(self) -> str:
        """Its name; with TLS one that no neighbouring site can set."""
        return "__Host-anomalyst-session" if self.secure else "anomalyst-session"

    def begun_cookie(self, state: str) -> str:
        """The name of what tells that the browser that comes back is the one that left.

        One for each sign-in, since two tabs may be on their way.
        """
        prefix = "__Host-" if self.secure else ""
        return f"{prefix}anomalyst-signing-in-{state[:STATE_LETTERS]}"


def trusted(address: object) -> bool:
    """Whether what comes from an address comes from there: by TLS, or from this machine."""
    if not isinstance(address, str):
        return False
    try:
        parts = urlsplit(address)
        _ = parts.port  # ValueError where it is no number
    except ValueError:
        return False
    local = parts.scheme == "http" and parts.hostname in THIS_MACHINE
    return bool(parts.hostname) and (parts.scheme == "https" or local)


def read_oidc(path: Path) -> OidcConfig:
    """The configuration in a YAML file; its files are looked for beside it. AnomalystError."""
    if not path.is_file():
        raise AnomalystError(f"--oidc {path}: there is no such file.")
    config = from_mapping(OidcConfig, read_mapping(path), where=str(path))
    beside = {}
    for name in ("client_secret_file", "ca_file"):
        named = getattr(config, name)
        if named is None:
            continue
        file = path.parent / named.expanduser()
        if not file.is_file():
            raise AnomalystError(f"{path}: {name} {named}: there is no such file.")
        beside[name] = file
    return dataclasses.replace(config, **beside)

"""An MQTT broker's address, and a client of it; a password is never part of what is shown."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from anomalyst.errors import AnomalystError
from anomalyst.server.streaming.addresses import SCHEMES, without_password


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """Where a broker is, who we are there, and what is meant there."""

    scheme: str  # mqtt, or mqtts for TLS
    host: str
    port: int
    path: str  # a topic, or what topics begin with; empty: nothing was said
    user: str | None = None
    password: str = ""

    @classmethod
    def of(cls, address: str, wanted: str) -> "Broker":
        """The broker of HOST, HOST:PORT or mqtt://USER:PASSWORD@HOST:PORT/PATH.

        Raises AnomalystError, which says what is `wanted`, for anything else.
        """
        whole = address if "://" in address else f"mqtt://{address}"
        try:
            parts = urlsplit(whole.replace("#", "%23"))  # a wildcard of topics, not a fragment
            port = parts.port
        except ValueError:
            parts, port = urlsplit(""), None
        if parts.scheme not in SCHEMES or not parts.hostname:
            raise AnomalystError(f"{without_password(address)!r}: {wanted}; mqtts:// for TLS.")
        return cls(
            scheme=parts.scheme,
            host=parts.hostname,
            port=port or (8883 if parts.scheme == "mqtts" else 1883),
            path=unquote(parts.path).strip("/"),
            user=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password or ""),
        )

    def label(self, path: str) -> str:
        """Its address with another path, without user and password."""
        return f"{self.scheme}://{self.host}:{self.port}/{path}"

    def client(self, **options: Any) -> Client:
        """A client of MQTT 3.1.1 that is not connected yet; `options` go to paho's Client."""
        again = {"reconnect_on_failure": True}
        client = Client(CallbackAPIVersion.VERSION2, **(again | options))
        if self.user:
            client.username_pw_set(self.user, self.password)
        if self.scheme == "mqtts":
            client.tls_set()
        return client

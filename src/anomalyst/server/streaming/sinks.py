"""Whom results go to: an MQTT broker, a webhook. A message counts as sent when it was taken."""

import json
import threading
from typing import Any, Protocol
from urllib.parse import urlsplit

import httpx
from paho.mqtt.client import Client, MQTTMessageInfo

from anomalyst.errors import AnomalystError
from anomalyst.server.streaming.broker import Broker
from anomalyst.server.streaming.reachable import InternalAddress, outside

TAKEN_SECONDS = 10.0
TOPIC = "anomalyst"
OWN_TOPICS = {
    "shift report": "shifts",
    "late part": "late",
    "blind camera": "camera",
}  # by kind of message
# Of the message itself. A missing key or page (401, 403, 404) is mended over there, and then it is
# taken: those wait.
FOR_GOOD = {400, 405, 406, 409, 410, 411, 413, 414, 415, 422}


class RefusedForGood(AnomalystError):
    """A sink will never take this message: another try would be answered alike."""


class Sink(Protocol):
    """Takes messages."""

    label: str  # without a password: it is kept with each message

    def send(self, id: str, payload: dict[str, Any]) -> None:
        """Returns when the message was taken.

        Raises OSError if it was not, and RefusedForGood if it never will be.
        """

    def close(self) -> None:
        """Let go of it."""


class Mqtt:
    """A broker, by MQTT 3.1.1 with quality of service 1: it acknowledges each message.

    Topics: PREFIX/PRODUCT/inspections, PREFIX/PRODUCT/drift when scores have changed, and
    PREFIX/PRODUCT/shifts for shift reports, .../late for parts without a signal in time,
    .../camera for one that is blind or sees again.
    """

    def __init__(self, address: str):
        broker = Broker.of(
            address,
            "--mqtt needs HOST, HOST:PORT or mqtt://USER:PASSWORD@HOST:PORT/PREFIX",
        )
        self.host, self.port, self.prefix = broker.host, broker.port, broker.path or TOPIC
        self.label = broker.label(self.prefix)
        self._broker = broker
        self._client: Client | None = None
        self._lock = threading.Lock()

    def send(self, id: str, payload: dict[str, Any]) -> None:  # noqa: ARG002
        """Publish; returns when the broker has acknowledged it."""
        said = _json(payload)
        client = self._connected()
        product = "".join("-" if c in "/+#" else c for c in payload["product"])
        topics = ["inspections", *(["drift"] if payload.get("drift_alarm") else [])]
        if own := OWN_TOPICS.get(payload.get("kind", "")):
            topics = [own]
        for topic in topics:
            sent = client.publish(f"{self.prefix}/{product}/{topic}", said, qos=1)
            self._await(sent)

    def close(self) -> None:
        """Say goodbye to the broker."""
        if self._client is not None:
            self._client.disconnect()
            self._client.loop_stop()
            self._client = None

    def _connected(self) -> Client:
        """A client that is connected. A new one each time: an old one would send again, by itself,
        what was not acknowledged, and the outbox does so, too.
        """
        with self._lock:
            if self._client is not None and self._client.is_connected():
                return self._client
            self.close()
            client = self._broker.client(reconnect_on_failure=False)
            client.connect(self.host, self.port, keepalive=20)
            client.loop_start()
            self._client = client
            return client

    def _await(self, sent: MQTTMessageInfo) -> None:
        try:
            sent.wait_for_publish(TAKEN_SECONDS)
        except (RuntimeError, ValueError) as error:
            raise OSError(f"the broker was not reached ({error})") from error
        if not sent.is_published():
            raise OSError("the broker did not acknowledge the message")


class Webhook:
    """An address that takes JSON by POST and answers with a 2xx status; redirects are not followed.

    `internal`: it may lie in this machine's own network.
    """

    def __init__(self, address: str, *, internal: bool = False):
        try:
            parts, _ = urlsplit(address), httpx.URL(address)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname)
            port = parts.port
        except (ValueError, httpx.InvalidURL):
            usable = False
        if not usable:
            raise AnomalystError(f"--webhook {address!r}: http://... or https://... is needed.")
        self.address, self.internal = address, internal
        host = f"{parts.hostname}:{port}" if port else parts.hostname
        self.label = f"{parts.scheme}://{host}{parts.path}"
        self._client = httpx.Client(timeout=TAKEN_SECONDS, follow_redirects=False)

    def check(self) -> None:
        """Raise AnomalystError if it lies in our own network and may not; not if it is away."""
        if self.internal:
            return
        try:
            self._outside()
        except InternalAddress as error:
            raise AnomalystError(f"--webhook {self.label}: {error}") from None
        except OSError:  # its name is not known for now: looked at again with each message
            return

    def send(self, id: str, payload: dict[str, Any]) -> None:
        """Post it; the header Idempotency-Key tells a message that comes twice."""
        headers = {"Idempotency-Key": id, "Content-Type": "application/json"}
        said = _json(payload)
        try:
            answer = self._client.send(self._request(said, headers))
        except InternalAddress as error:
            raise OSError(str(error)) from error
        except httpx.HTTPError as error:
            raise OSError(f"not reached ({error or type(error).__name__})") from error
        if answer.status_code in FOR_GOOD:
            raise RefusedForGood(f"answered {answer.status_code}: {answer.text[:100]}")
        if answer.is_redirect:
            raise OSError(f"answered {answer.status_code}; redirects are not followed")
        if not answer.is_success:
            raise OSError(f"answered {answer.status_code}")

    def close(self) -> None:
        """Let go of its connections."""
        self._client.close()

    def _request(self, said: str, headers: dict[str, str]) -> httpx.Request:
        """To the address that was looked at, under the name that is meant."""
        post, url = self._client.build_request, httpx.URL(self.address)
        if self.internal:
            return post("POST", url, content=said, headers=headers)
        there = url.copy_with(host=self._outside())
        named = headers | {"Host": url.netloc.decode("ascii")}
        name = {"sni_hostname": url.host}
        return post("POST", there, content=said, headers=named, extensions=name)

    def _outside(self) -> str:
        url = httpx.URL(self.address)
        return outside(url.host, url.port or (443 if url.scheme == "https" else 80))


def _json(payload: dict[str, Any]) -> str:
    try:
        return json.dumps(payload, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise RefusedForGood(f"cannot be written as JSON ({error})") from error

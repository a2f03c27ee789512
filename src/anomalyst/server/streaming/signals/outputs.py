"""Where a reject signal goes: one bit of a controller, by Modbus TCP or OPC UA."""

import logging
import re
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from anomalyst.errors import AnomalystError
from anomalyst.server.streaming.addresses import without_password

MODBUS_FORM = "HOST[:PORT]/coil/N or HOST[:PORT]/register/N, as plc.local:502/coil/12"
NODE = re.compile(r"(ns=\d+;)?[isgb]=.+")
OPC_UA_FORM = "opc.tcp://HOST:PORT/PATH#NODE, as opc.tcp://plc.local:4840/#ns=2;s=Line3.Reject"


class Output(Protocol):
    """One bit that a controller reads."""

    label: str  # without a password

    def write(self, on: bool) -> None:
        """Returns when the controller has taken it. Raises OSError if it did not."""

    def close(self) -> None:
        """Let go of the connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModbusPlace:
    """A coil or a holding register of a Modbus TCP server."""

    host: str
    port: int
    kind: str  # coil, register
    number: int  # from 0, as it goes over the wire
    unit: int

    @classmethod
    def of(cls, address: str) -> "ModbusPlace":
        """Of HOST:PORT/coil/12?unit=1. Raises AnomalystError for anything else."""
        whole = address if "://" in address else f"modbus://{address}"
        try:
            parts = urlsplit(whole)
            port = parts.port or 502
        except ValueError:
            parts, port = urlsplit(""), 502
        found = re.fullmatch(r"/(coil|register)/(\d{1,5})", parts.path)
        unit = re.fullmatch(r"(?:unit=(\d{1,3}))?", parts.query)
        if parts.scheme != "modbus" or not parts.hostname or not found or not unit:
            raise AnomalystError(f"--modbus {address!r}: {MODBUS_FORM} is needed; ?unit=N behind.")
        number, device = int(found[2]), int(unit[1] or 1)
        if number > 65535 or device > 255:
            raise AnomalystError(
                f"--modbus {address!r}: numbers go from 0 to 65535, units from 0 to 255."
            )
        return cls(host=parts.hostname, port=port, kind=found[1], number=number, unit=device)


class Modbus:
    """A coil, or a holding register that is 1 or 0, of a controller that speaks Modbus TCP."""

    def __init__(self, address: str, seconds: float):
        from pymodbus.client import ModbusTcpClient

        # What fails is told by us, once, and not at each try.
        logging.getLogger("pymodbus").setLevel(logging.CRITICAL)
        self.place = place = ModbusPlace.of(address)
        self.label = f"modbus://{place.host}:{place.port}/{place.kind}/{place.number}"
        self._client = ModbusTcpClient(place.host, port=place.port, timeout=seconds, retries=0)

    def write(self, on: bool) -> None:
        """Write it; returns when the controller has acknowledged it."""
        from pymodbus.exceptions import ModbusException

        place = self.place
        write: Any = self._client.write_coil
        if place.kind == "register":
            write = self._client.write_register
        try:
            if not self._client.connect():
                raise OSError("cannot be reached")
            value = on if place.kind == "coil" else int(on)
            answer = write(place.number, value, device_id=place.unit)
        except ModbusException as error:
            self._client.close()  # an answer that comes yet must not be taken for the next one's
            raise OSError(f"did not answer ({error})") from error
        except OSError:
            self._client.close()
            raise
        if answer.isError():
            raise OSError(f"refused {place.kind} {place.number} ({answer})")

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()


class OpcUa:
    """A variable of a controller that speaks OPC UA: Boolean, or a number that is 1 or 0.

    Without encryption: user and password, where there are any, go as the server's policy for them
    says.
    """

    def __init__(self, address: str, seconds: float):
        url, mark, node = address.partition("#")
        parts = urlsplit(url)
        known = NODE.fullmatch(node)
        if parts.scheme != "opc.tcp" or not parts.hostname or not mark or not known:
            raise AnomalystError(f"--opcua {without_password(address)!r}: {OPC_UA_FORM} is needed.")
        self.label = f"{without_password(url)}#{node}"
        self._url, self._node_id, self._seconds = without_password(url), node, seconds
        self._user, self._password = unquote(parts.username or ""), unquote(parts.password or "")
        self._client: Any = None
        self._node: Any = None
        self._kind: Any = None
        import asyncua  # noqa: F401  (a second or more, which no part should wait for)

        logging.getLogger("asyncua").setLevel(logging.CRITICAL)

    def write(self, on: bool) -> None:
        """Write it; returns when the server has acknowledged it."""
        from asyncua import ua

        try:
            if self._client is None:
                self._connect()
            value = on if self._kind is ua.VariantType.Boolean else int(on)
            self._node.write_value(ua.DataValue(ua.Variant(value, self._kind)))
        except Exception as error:  # asyncua's errors have no common root, nor asyncio's
            self.close()
            why = str(error) or type(error).__name__
            raise OSError(f"did not take it ({why})") from error

    def close(self) -> None:
        """Let go of the connection."""
        client, self._client = self._client, None
        if client is not None:
            _end(client)

    def _connect(self) -> None:
        from asyncua.sync import Client

        client = Client(self._url, timeout=self._seconds)
        if self._user:
            client.set_user(self._user)
            client.set_password(self._password)
        try:
            client.connect()
            self._node = client.get_node(self._node_id)
            self._kind = self._node.read_data_type_as_variant_type()
        except Exception:
            _end(client)
            raise
        self._client = client


def _end(client: Any) -> None:
    """End an OPC UA client and its thread, whether it is connected or not."""
    try:
        client.disconnect()
    except Exception as error:  # it is gone anyhow
        logging.getLogger(__name__).debug("the connection ended badly: %s", error)
        client.tloop.stop()

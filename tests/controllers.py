"""Real controllers on this machine, of the libraries that speak their languages."""

import asyncio
import threading
import time
from itertools import pairwise


class ModbusController:
    """A Modbus TCP server that keeps what was written, with when."""

    def __init__(self, port: int):
        self.port = port
        self.written: list[tuple[float, int, int]] = []  # time.monotonic(), number, value
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self.begin()

    def begin(self) -> None:
        """Answer, at first and after `end`."""
        self._await(self._serve())

    def end(self) -> None:
        """As when its cable is pulled."""
        self._await(self._server.shutdown())

    def edges(self, number: int, since: float = 0.0) -> list[tuple[float, int]]:
        """Changes of a coil or register: when, to what."""
        seen = [(at, value) for at, where, value in self.written if where == number]
        changes = [seen[0], *(b for a, b in pairwise(seen) if a[1] != b[1])] if seen else []
        return [one for one in changes if one[0] >= since]

    async def _serve(self) -> None:
        from pymodbus.server import ModbusTcpServer
        from pymodbus.simulator import DataType, SimData, SimDevice

        bits = SimData(0, count=64, values=False, datatype=DataType.BITS)
        words = SimData(0, count=64, values=0, datatype=DataType.REGISTERS)
        device = SimDevice(1, ([bits], [bits], [words], [words]))
        self._server = ModbusTcpServer(
            device, address=("127.0.0.1", self.port), trace_pdu=self._heard
        )
        await self._server.serve_forever(background=True)

    def _heard(self, sending: bool, pdu):
        if not sending and pdu.function_code in (5, 6):
            value = pdu.bits[0] if pdu.function_code == 5 else pdu.registers[0]
            self.written.append((time.monotonic(), pdu.address, int(value)))
        return pdu

    def _await(self, doing) -> None:
        asyncio.run_coroutine_threadsafe(doing, self._loop).result(10)


class OpcUaController:
    """An OPC UA server with two variables, Line.Reject (Boolean) and Line.Number (Int16)."""

    def __init__(self, port: int):
        from asyncua import ua
        from asyncua.sync import Server

        self.server = Server()
        self.server.set_endpoint(f"opc.tcp://127.0.0.1:{port}/line/")
        space = self.server.register_namespace("urn:line")
        objects = self.server.nodes.objects
        self.reject = objects.add_variable(ua.NodeId("Line.Reject", space), "Reject", False)
        kind = ua.VariantType.Int16
        self.number = objects.add_variable(ua.NodeId("Line.Number", space), "Number", 0, kind)
        for node in (self.reject, self.number):
            node.set_writable()
        self.address = f"opc.tcp://127.0.0.1:{port}/line/"
        self.space = space
        self.server.start()

    def end(self) -> None:
        """Let go of it."""
        self.server.stop()

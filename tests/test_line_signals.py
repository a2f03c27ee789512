"""Reject signals and the deadline of a part, against real controllers."""

import time

import pytest

pytest.importorskip("pymodbus")

from anomalyst.errors import AnomalystError
from anomalyst.server.load_test import free_port
from anomalyst.server.streaming.signals.gate import Budget, Gate, LatePart
from anomalyst.server.streaming.signals.outputs import Modbus, ModbusPlace, OpcUa
from anomalyst.server.streaming.signals.pulses import Alive, Signal, SignalRule
from controllers import ModbusController, OpcUaController

COIL = 12
SLACK = 0.06  # seconds that two busy cores may take for a thread's turn


@pytest.fixture
def plc():
    return ModbusController(free_port())


def gate_of(plc, told: list[LatePart], rule=None, place=f"coil/{COIL}", **budget) -> Gate:
    output = Modbus(f"127.0.0.1:{plc.port}/{place}", 0.3)
    wanted = Budget(**({"ms": 300} | budget))
    gate = Gate(wanted, [Signal(output, rule or SignalRule(pulse_ms=150))], on_late=told.append)
    gate.start()
    gate.open()
    time.sleep(0.1)
    return gate


def part(gate: Gate, mark: str, verdict: str | None, after: float = 0.0) -> dict:
    """A part that comes now, and of which the model says so much later."""
    gate.expect(mark, f"{mark}.png", time.monotonic())
    time.sleep(after)
    gate.found(mark, verdict, "" if verdict else "it is no picture")
    return gate.kept(mark)


def test_a_rejected_part_is_a_pulse_of_its_length_between_start_and_stop(plc):
    late: list[LatePart] = []
    begun = time.monotonic()
    gate = gate_of(plc, late)
    assert plc.edges(COIL)[0][1] == 1  # until it can judge, all are rejected
    good, bad = part(gate, "a", "normal"), part(gate, "b", "anomalous")
    time.sleep(0.35)
    unsure = part(gate, "c", "unsure")
    gate.close()
    start, opened, up, down, stop = plc.edges(COIL, begun)
    assert [one[1] for one in (start, opened, up, down, stop)] == [1, 0, 1, 0, 1]
    assert 0.15 <= down[0] - up[0] <= 0.15 + SLACK
    assert good["signal_ms"] < 50 and 0 < bad["signal_ms"] < 150 and unsure["late"] is None
    assert late == [] and gate.stopped is None


def test_polarity_and_a_level_in_a_register(plc):
    rule = SignalRule(pulse_ms=0, active_low=True, at_start=False, at_stop=False)
    gate = gate_of(plc, [], rule, "register/7", unsure_too=True)
    for mark, verdict in enumerate(("normal", "unsure", "anomalous", "normal")):
        part(gate, str(mark), verdict)
    gate.close()
    assert [value for _, value in plc.edges(7)] == [1, 0, 1]


@pytest.mark.parametrize("after", [None, 0.6])
def test_a_part_without_a_verdict_in_time_is_rejected_in_time_and_only_once(plc, after):
    late: list[LatePart] = []
    gate = gate_of(plc, late, late="reject")
    came = time.monotonic()
    if after is None:  # the model never answers
        gate.expect("a", "a.png", came)
        time.sleep(0.6)
        kept = gate.kept("a")
    else:
        kept = part(gate, "a", "anomalous", after)
    (up, _), (down, _) = plc.edges(COIL, came)
    assert 0.2 < up - came <= 0.3 and 0.15 <= down - up <= 0.15 + SLACK
    assert "no verdict within 300 ms" in kept["late"] and kept["signal_ms"] <= 300
    gate.close()
    assert [(one.name, one.rejected) for one in late] == [("a.png", True)]


def test_alarm_gives_no_signal_that_would_reject_another_part(plc):
    late: list[LatePart] = []
    gate = gate_of(plc, late, late="alarm")
    came = time.monotonic()
    kept = part(gate, "a", "anomalous", 0.4)
    time.sleep(0.1)
    assert plc.edges(COIL, came) == [] and kept["signal_ms"] is None and kept["late"]
    unread = part(gate, "b", None)
    gate.expect("c", "c.png", None)
    gate.found("c", "anomalous")
    assert gate.kept("c")["late"] == "it came before the watch began"
    assert "could not be inspected: it is no picture" in unread["late"]
    assert plc.edges(COIL, came) == []
    gate.close()
    assert [one.name for one in late] == ["a.png", "b.png"]


def test_stop_holds_the_signal_and_says_why(plc):
    rule, late = SignalRule(pulse_ms=100, at_stop=False), []
    gate = gate_of(plc, late, rule, late="stop")
    came = time.monotonic()
    part(gate, "a", "normal", 0.4)
    time.sleep(0.3)
    gate.close()
    assert [value for _, value in plc.edges(COIL, came)] == [1]
    assert gate.stopped == "a.png: there was no verdict within 300 ms" and late[0].stops


def test_a_controller_that_is_away_is_an_alarm_and_gets_no_late_pulse(plc):
    late: list[LatePart] = []
    gate = gate_of(plc, late, ms=400)
    plc.end()
    time.sleep(0.2)
    gone = time.monotonic()
    kept = part(gate, "a", "anomalous")
    assert "not taken in time" in kept["late"] and kept["signal_ms"] is None
    assert 0.35 < time.monotonic() - gone < 1.0
    plc.begin()
    time.sleep(0.5)
    assert plc.edges(COIL, gone) == []  # its pulse would hit another part
    back = part(gate, "b", "anomalous")
    assert back["late"] is None and [value for _, value in plc.edges(COIL, gone)][0] == 1
    gate.close()
    assert [one.name for one in late] == ["a.png"]


def test_alive_turns_over_until_it_is_closed(plc):
    alive = Alive(Modbus(f"127.0.0.1:{plc.port}/coil/13", 0.3))
    alive.start()
    time.sleep(1.8)
    alive.close()
    assert [value for _, value in plc.edges(13)] == [1, 0, 1]


def test_a_boolean_and_a_number_over_opc_ua():
    pytest.importorskip("asyncua")
    server = OpcUaController(free_port())
    try:
        for node, name in ((server.reject, "Reject"), (server.number, "Number")):
            address = f"{server.address}#ns={server.space};s=Line.{name}"
            rule = SignalRule(pulse_ms=0, at_start=False, at_stop=False)
            gate = Gate(Budget(ms=500), [Signal(OpcUa(address, 0.5), rule)])
            gate.start()
            gate.open()
            assert not node.read_value()
            kept = part(gate, "a", "anomalous")
            assert node.read_value() == 1 and kept["signal_ms"] < 500
            gate.close()
            assert node.read_value() == 0
        lost = OpcUa(f"{server.address}#ns={server.space};s=Nothing", 0.5)
        with pytest.raises(OSError, match="did not take it"):
            lost.write(True)
    finally:
        server.end()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: ModbusPlace.of("plc/coil/x"), "HOST.:PORT./coil/N"),
        (lambda: ModbusPlace.of("plc/input/1"), "HOST.:PORT./coil/N"),
        (lambda: ModbusPlace.of("plc/coil/70000"), "0 to 65535"),
        (lambda: OpcUa("opc.tcp://u:secret@plc:4840/", 1), r"'opc.tcp://plc:4840/'.*#NODE"),
        (lambda: OpcUa("opc.tcp://plc:4840/#x", 1), "#NODE"),
        (lambda: Budget(ms=0), "--budget-ms 0"),
        (lambda: SignalRule(pulse_ms=-1), "--pulse-ms -1"),
    ],
)
def test_what_is_no_place_of_a_signal_is_refused(make, said):
    with pytest.raises(AnomalystError, match=said):
        make()


def test_a_controller_that_never_answers_stops_the_start(monkeypatch):
    from anomalyst.server.streaming.signals import pulses

    monkeypatch.setattr(pulses, "FIRST_SECONDS", 0.2)
    signal = Signal(Modbus(f"127.0.0.1:{free_port()}/coil/1", 0.1), SignalRule())
    with pytest.raises(AnomalystError, match="check that the controller runs"):
        signal.start()
    assert ModbusPlace.of("plc:1502/coil/9?unit=7").unit == 7


@pytest.mark.parametrize(("late", "values"), [("alarm", []), ("reject", [1, 0]), ("stop", [1])])
def test_no_part_passes_before_a_blind_camera_as_if_it_were_judged(plc, late, values):
    rule = SignalRule(pulse_ms=100, at_start=False, at_stop=late == "stop")
    gate = gate_of(plc, [], rule, late=late)
    begun = time.monotonic()
    gate.blind("camera 0: no picture for 10 s")
    time.sleep(0.2)
    gate.blind(None)
    time.sleep(0.2)
    gate.close()
    assert [value for _, value in plc.edges(COIL, begun)] == values
    assert gate.stopped == ("camera 0: no picture for 10 s" if late == "stop" else None)

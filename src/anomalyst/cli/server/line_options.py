"""Options of a line: its name, its deadline, its reject signals."""

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

from typer import Option

from anomalyst.cli.screen import needs
from anomalyst.errors import AnomalystError

if TYPE_CHECKING:
    from anomalyst.server.streaming.cameras import CameraRule
    from anomalyst.server.streaming.line import Line
    from anomalyst.server.streaming.signals.outputs import Output

PANEL = "Line"


class Late(StrEnum):
    """What happens when a part's budget is over."""

    alarm = "alarm"
    reject = "reject"
    stop = "stop"


class Then(StrEnum):
    """What holds while nothing is judged."""

    passes = "pass"
    reject = "reject"


@dataclass(frozen=True, slots=True, kw_only=True)
class LineOptions:
    """A line as the command line describes it."""

    line: Annotated[
        str | None,
        Option(metavar="NAME", help="Its name, of several on a server.", rich_help_panel=PANEL),
    ] = None
    budget_ms: Annotated[
        float | None,
        Option(metavar="MS", help="A part's time, from picture to signal.", rich_help_panel=PANEL),
    ] = None
    late: Annotated[
        Late, Option(help="What a part without a verdict in time means.", rich_help_panel=PANEL)
    ] = Late.alarm
    modbus: Annotated[
        list[str] | None,
        Option(
            metavar="HOST[:PORT]/coil/N",
            help="Reject signal by Modbus TCP; /register/N, too. May be repeated.",
            rich_help_panel=PANEL,
        ),
    ] = None
    opcua: Annotated[
        list[str] | None,
        Option(
            metavar="opc.tcp://HOST:PORT/#NODE",
            help="Reject signal by OPC UA, as #ns=2;s=Reject. May be repeated.",
            rich_help_panel=PANEL,
        ),
    ] = None
    alive: Annotated[
        str | None,
        Option(
            metavar="ADDRESS",
            help="A bit, as of --modbus or --opcua, that turns over while it can judge.",
            rich_help_panel=PANEL,
        ),
    ] = None
    pulse_ms: Annotated[
        float,
        Option(
            metavar="MS", help="The signal's length; 0: until the next part.", rich_help_panel=PANEL
        ),
    ] = 200.0
    active_low: Annotated[
        bool, Option("--active-low", help="0 rejects, 1 passes.", rich_help_panel=PANEL)
    ] = False
    reject_unsure: Annotated[
        bool, Option("--reject-unsure", help="Reject unsure parts, too.", rich_help_panel=PANEL)
    ] = False
    each_frame: Annotated[
        bool,
        Option(
            "--each-frame",
            help="Of a camera every frame is a part, as of one with a trigger.",
            rich_help_panel=PANEL,
        ),
    ] = False
    silent_s: Annotated[
        float,
        Option(
            metavar="S", help="No frame for so long is an alarm; 0: never.", rich_help_panel=PANEL
        ),
    ] = 10.0
    frozen_frames: Annotated[
        int,
        Option(
            metavar="N", help="So many equal frames are an alarm; 0: never.", rich_help_panel=PANEL
        ),
    ] = 25
    at_start: Annotated[
        Then, Option(help="The signal until it can judge.", rich_help_panel=PANEL)
    ] = Then.reject
    at_stop: Annotated[
        Then, Option(help="The signal when the watch has ended.", rich_help_panel=PANEL)
    ] = Then.reject


def camera_of(given: LineOptions) -> "CameraRule":
    """When a camera is blind. Raises AnomalystError."""
    from anomalyst.server.streaming.cameras import CameraRule

    return CameraRule(
        silent_seconds=given.silent_s, frozen_frames=given.frozen_frames, each=given.each_frame
    )


def line_of(given: LineOptions) -> "Line":
    """The line, its controllers not yet reached. Raises AnomalystError for what does not fit."""
    from anomalyst.server.streaming.line import Line
    from anomalyst.server.streaming.signals.gate import Budget, Gate
    from anomalyst.server.streaming.signals.pulses import Alive, Signal, SignalRule

    if given.budget_ms is None:
        if given.modbus or given.opcua or given.alive or given.late is not Late.alarm:
            raise AnomalystError(
                "--budget-ms: is needed with --modbus, --opcua, --alive and --late; a signal that "
                "comes later would reject another part. Say how many milliseconds a part has from "
                "its picture to the reject station."
            )
        return Line(name=given.line)
    budget = Budget(ms=given.budget_ms, late=given.late.value, unsure_too=given.reject_unsure)
    rule = SignalRule(
        pulse_ms=given.pulse_ms,
        active_low=given.active_low,
        at_start=given.at_start is Then.reject,
        at_stop=given.at_stop is Then.reject,
    )
    seconds = min(1.0, max(0.2, budget.ms / 1000))  # for an answer; a network needs some
    outputs = [*(_modbus(one, seconds) for one in given.modbus or ())]
    outputs += [_opc_ua(one, seconds) for one in given.opcua or ()]
    if budget.late == "reject" and not outputs:
        raise AnomalystError("--late reject: needs a signal; give --modbus or --opcua, too.")
    alive = None
    if given.alive is not None:
        opened = _opc_ua if given.alive.startswith("opc.tcp://") else _modbus
        alive = Alive(opened(given.alive, 1.0))
    gate = Gate(budget, [Signal(one, rule) for one in outputs], alive)
    return Line(name=given.line, gate=gate)


def _modbus(address: str, seconds: float) -> "Output":
    needs("plc", "pymodbus")
    from anomalyst.server.streaming.signals.outputs import Modbus

    return Modbus(address, seconds)


def _opc_ua(address: str, seconds: float) -> "Output":
    needs("plc", "asyncua")
    from anomalyst.server.streaming.addresses import kept_in_file
    from anomalyst.server.streaming.signals.outputs import OpcUa

    return OpcUa(kept_in_file(address), seconds)

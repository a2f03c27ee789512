"""`anomalyst watch`: a folder, a camera or sensors; results to MQTT and webhooks."""

import json
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from anomalyst.cli import options as opt
from anomalyst.cli.screen import needs, say
from anomalyst.cli.server.line_options import LineOptions, camera_of, line_of
from anomalyst.errors import AnomalystError

if TYPE_CHECKING:
    from anomalyst.server.storage.tables import InspectionRow
    from anomalyst.server.streaming.shift_ends import ShiftEnds
    from anomalyst.server.streaming.watch import Tally, Watch


@opt.grouped
def watch(
    *,
    source: Annotated[
        str,
        Argument(
            metavar="DIR|CSV|mqtt://...|rtsp://...|usb:0|genicam:0",
            help="A folder, a growing table, a topic, a stream, or a camera.",
        ),
    ],
    product: Annotated[str, Option(metavar="NAME", help="Made with `anomalyst teach`.")],
    mqtt: Annotated[
        list[str] | None,
        Option(metavar="HOST[:PORT]", help="A broker; mqtt://USER:PASSWORD@HOST/PREFIX too."),
    ] = None,
    webhook: Annotated[
        list[str] | None, Option(metavar="URL", help="Takes each result by POST.")
    ] = None,
    allow_internal_webhooks: Annotated[
        bool, Option("--allow-internal-webhooks", help="Webhooks may lie in your own network.")
    ] = False,
    window: Annotated[
        float | None,
        Option(metavar="SECONDS", help="Of a table or topic.", show_default="as the good ones"),
    ] = None,
    stride: Annotated[
        float | None,
        Option(metavar="SECONDS", help="From window to window.", show_default="the window"),
    ] = None,
    shift_ends: Annotated[
        str | None,
        Option(metavar="HH:MM,...", help="Report each shift at its end (HOME/shifts, and sinks)."),
    ] = None,
    timezone: Annotated[
        str, Option(metavar="ZONE", help="Of --shift-ends, as Europe/Berlin.")
    ] = "UTC",
    at_line: LineOptions,
    once: Annotated[bool, Option("--once", help="Only what is there now, then end.")] = False,
    home: opt.Home = Path("workbench"),
    products: opt.Products = Path("products"),
    database: opt.Database = None,
    language: opt.Language = None,
    as_json: opt.JsonLines = False,
) -> None:
    """Inspect pictures as they come and tell MQTT brokers and webhooks, each at least once.

    Of a product taught with another sense, a folder's files of that sense. Of one taught with
    --series also a CSV that grows, or an MQTT topic of samples, cut into windows as long as the
    good recordings.

    A message waits in the store until it was taken, over restarts and outages. The history and the
    page Live of `anomalyst serve` with the same --home show what came. A changed distribution of
    the scores of accepted parts raises an alarm (a sequential test, 1 % false alarms in all).

    A webhook may not lead into your own network (nor to this machine) unless you allow it.

    Example: anomalyst watch /data/line3 --product bolt --mqtt broker.local --webhook http://mes/in
    --allow-internal-webhooks

    --shift-ends sends a report when each shift ends, once, over restarts: its page lies in
    HOME/shifts, its figures and summary go where results go (MQTT: the topic .../shifts).

    Example: anomalyst watch /data/line3 --product bolt --mqtt broker.local --shift-ends
    06:00,14:00,22:00 --timezone Europe/Berlin

    Example: anomalyst watch mqtt://broker.local/line3/pump --product pump --window 60 --stride 10

    Cameras: rtsp://... and other streams, usb:0, genicam:SERIAL?cti=FILE (GigE Vision, USB3 Vision
    through the maker's GenTL producer). A lost one is opened again; one that gives no frame, or the
    same again and again, is an alarm, and its frames are not inspected until it sees again.

    --budget-ms is a part's deadline, from its picture (when a folder showed it, when a camera gave
    it) to its reject signal. A part without a verdict by then never passes in silence: it is told
    (log, Live, /metrics, sinks: the topic .../late) and, by --late, rejected in time, or the signal
    stays and the watch ends with code 4. A verdict that comes later gives no signal: that would hit
    another part. Pictures that lay in a folder before the watch began have none, either.

    Example: anomalyst watch /data/line3 --product bolt --line 3 --budget-ms 500 --late reject
    --modbus plc.local/coil/12 --alive plc.local/coil/13

    An address with a password may lie in a file, where the list of processes does not show it:
    SOURCE, --mqtt, --webhook, --opcua and --database take @FILE.

    Example: anomalyst watch /data/line3 --product bolt --mqtt @broker.txt
    """
    needs("serve", "sqlalchemy", "paho", "httpx")
    if source.startswith("genicam:"):
        needs("cameras", "harvesters", "genicam")
    from anomalyst.server.config import ServingConfig
    from anomalyst.server.streaming.addresses import SCHEMES, kept_in_file, without_password
    from anomalyst.server.streaming.opening import open_for
    from anomalyst.server.streaming.sinks import Mqtt, Sink, Webhook
    from anomalyst.server.streaming.watch import Watch

    shifts = _shifts(shift_ends, timezone, home)
    source, database = kept_in_file(source), kept_in_file(database) if database else None
    brokers, hooks = map(kept_in_file, mqtt or []), map(kept_in_file, webhook or [])
    posts = [Webhook(hook, internal=allow_internal_webhooks) for hook in hooks]
    for post in posts:
        post.check()
    sinks: list[Sink] = [*map(Mqtt, brokers), *posts]
    config = ServingConfig(home=home, products=products, database=database, language=language)
    line = line_of(at_line)
    if once and source.partition("://")[0] in SCHEMES:
        raise AnomalystError("--once: a topic has no end; leave it out, and end with Ctrl-C.")
    found = open_for(
        source, product, config, window=window, stride=stride, prompt=line.gate is not None,
        camera=camera_of(at_line),
    )  # fmt: skip
    shown = without_password(source)
    place = str(Path(source).resolve()) if Path(source).exists() else shown
    tell = _tell_json if as_json else _tell
    watching = Watch(config, product, found, place, sinks, tell, shifts, line)
    how = f" {found.how}" if found.how else ""
    say(f"Watching {shown} for {product!r}{how}; Ctrl-C ends it.")
    _run(watching, once)


def _shifts(ends: str | None, timezone: str, home: Path) -> "ShiftEnds | None":
    """When shifts end. Raises AnomalystError for what are no times or no zone."""
    from anomalyst.report.shift.period import shift_ends, zone_of
    from anomalyst.server.streaming.shift_ends import ShiftEnds

    if ends is None:
        if timezone != "UTC":
            raise AnomalystError("--timezone: is that of --shift-ends; give these, too.")
        return None
    return ShiftEnds(ends=shift_ends(ends), zone=zone_of(timezone), folder=home / "shifts")


def _run(watching: "Watch", once: bool) -> None:
    """Watch until the end, and tell what came; ends with code 2 if something could not be read."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: watching.ended.set())
    try:
        tally = watching.run(once=once)
    finally:
        watching.close()
    counts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(tally.verdicts.items()))
    say(
        f"{tally.done} inspected ({counts or 'none'}), {tally.failed + tally.refused} could not be "
        f"read, {tally.dropped} {watching.source.dropped_are} passed over, {watching.left} "
        "messages still wait."
    )
    gate = watching.line.gate
    if gate is not None:
        say(f"{tally.late} parts without a signal in time.")
    if gate is not None and gate.stopped:
        say(f"LINE STOPPED: {gate.stopped}")
        raise typer.Exit(4)
    if waiting := watching.source.waiting:
        say(f"{waiting} samples wait for the rest of their window.")
    if tally.failed or tally.refused:
        raise typer.Exit(2)


def _tell(row: "InspectionRow", tally: "Tally") -> None:
    if row.verdict is None:
        say(f"{row.name}: {row.problem}")
        return
    unfit = (row.record or {}).get("unfit")
    why = f"  {unfit['said']}" if unfit else ""
    took = f"  {row.signal_ms:.0f} ms" if row.signal_ms is not None else ""
    late = "  LATE" if row.late else ""
    verdict = f"{row.verdict:<9}  p = {row.p_value:<8.3g}"
    typer.echo(f"{tally.done:>6}  {verdict}  {row.name}{took}{late}{why}")
    if row.alarm:
        say(f"DRIFT: {row.alarm}")


def _tell_json(row: "InspectionRow", tally: "Tally") -> None:  # noqa: ARG001
    told = {"id": row.id, "picture": row.name, "verdict": row.verdict, "p_value": row.p_value}
    told["unfit"] = (row.record or {}).get("unfit")
    told |= {"line": row.line, "signal_ms": row.signal_ms, "late": row.late}
    typer.echo(json.dumps(told | {"problem": row.problem, "drift_alarm": row.alarm}))

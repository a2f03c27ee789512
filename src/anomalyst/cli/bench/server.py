"""`anomalyst bench serve|watch|corrections`: server and watch under load; worth of corrections."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from typer import Option

from anomalyst.cli import options as opt
from anomalyst.cli.screen import needs, progress, say
from anomalyst.errors import AnomalystError

if TYPE_CHECKING:
    from anomalyst.server.outage_test import Outage


def serve(
    context: typer.Context,
    inspections: Annotated[int, Option(help="How many in each run.", min=10)] = 1000,
    clients: Annotated[int, Option(help="How many send at once.", min=1)] = 16,
    kills: Annotated[int, Option(help="SIGKILLs in the second run; 0: no second run.")] = 1,
    outage: Annotated[
        float | None,
        Option(min=1, metavar="SECONDS", help="Instead: its database is away for so long."),
    ] = None,
    of: Annotated[
        Literal["database", "file"],
        Option(help="With --outage: a PostgreSQL that ends, or the SQLite file, locked."),
    ] = "database",
    per_second: Annotated[float, Option(min=0.1, help="With --outage: parts of all.")] = 1.5,
) -> None:
    """Inspections by many clients: first page, memory, throughput, p95; nothing lost or doubled.

    The second run kills server and model on the way and starts them again. With --outage each
    client is a line whose parts come at a steady rate.

    Example: anomalyst bench serve --inspections 200

    Example: anomalyst bench serve --outage 60 --of database --clients 3
    """
    needs("serve", "fastapi", "gradio", "httpx")
    _fits(context, outage, only=("of", "per_second"), never=("inspections", "kills"))
    if outage is not None:
        from anomalyst.server import outage_test

        with progress("Inspecting") as bar:
            _tell_outage(
                outage_test.measure(
                    of, outage, per_second=per_second, clients=clients, say=bar.describe
                )
            )
        return
    from rich.console import Console
    from rich.table import Table

    from anomalyst.server.load_test import measure, table

    loads = []
    for name, killed in (("in peace", 0), ("killed", kills)):
        if name == "in peace" or killed:
            with progress(f"Inspecting, {name}") as bar:
                loads.append((name, measure(inspections, clients, kills=killed, told=bar.show)))
    head, *rows = table(loads)
    shown = Table(*head, box=None, pad_edge=False, header_style="dim")
    for row in rows:
        shown.add_row(*row)
    Console().print(shown)
    if any(load.lost or load.doubled for _, load in loads):
        raise typer.Exit(3)


def watch(
    context: typer.Context,
    windows: Annotated[int, Option(help="One after the other, and as many at once.", min=5)] = 100,
    methods: Annotated[
        str, Option(metavar="NAME,NAME,...", help="What judges them.")
    ] = "memory,limits,ewma,cusum,matrix_profile",
    pictures: Annotated[
        bool, Option("--pictures/--no-pictures", help="A folder of pictures beside them.")
    ] = True,
    outage: Annotated[
        float | None,
        Option(min=1, metavar="SECONDS", help="Instead: what it needs is away for so long."),
    ] = None,
    of: Annotated[
        Literal["broker", "database"],
        Option(help="With --outage: the broker it tells, killed, or a PostgreSQL that ends."),
    ] = "broker",
    per_second: Annotated[float, Option(min=0.1, help="With --outage: pictures that come.")] = 1.0,
) -> None:
    """Windows of a growing CSV and of an MQTT topic: milliseconds to store and webhook, windows/s.

    A window holds 160 samples of two channels, one a message. MQTT needs the program mosquitto.

    With --outage pictures come to a folder at a steady rate, and results go to a broker.

    Example: anomalyst bench watch --windows 50 --methods memory,ewma

    Example: anomalyst bench watch --outage 60 --of broker
    """
    needs("serve", "sqlalchemy", "paho", "httpx")
    _fits(context, outage, only=("of", "per_second"), never=("windows", "methods", "pictures"))
    if outage is not None:
        from anomalyst.server.streaming import outage_test

        with progress("Watching") as bar:
            _tell_outage(outage_test.measure(of, outage, per_second=per_second, say=bar.describe))
        return
    from anomalyst.cli.bench.series import read_methods
    from anomalyst.evaluation.reports.tables import markdown_table
    from anomalyst.server.streaming.load_feeds import mosquitto
    from anomalyst.server.streaming.load_test import measure

    names = dict.fromkeys(name.strip() for name in methods.split(",") if name.strip())
    read_methods(",".join(name for name in names if name != "memory"))
    runs = [("CSV", name) for name in names]
    if mosquitto():
        runs += [("MQTT", name) for name in names]
    else:
        say("MQTT is left out: mosquitto is not installed.")
    runs += [("pictures", "detector")] if pictures else []
    with progress("Watching", total=len(runs)) as bar:
        loads = []
        for source, method in runs:
            loads.append(measure(source, method, windows, bar.describe))
            bar.advance()
    heads = ["", "to store, ms: p50, p95, p99", "to webhook, ms", "a second", "lost, doubled"]
    rows = [
        (
            f"{one.source}, {one.method}",
            ", ".join(one.milliseconds(one.stored)),
            ", ".join(one.milliseconds(one.told)),
            f"{one.per_second:.1f}",
            f"{one.lost}, {one.doubled}",
        )
        for one in loads
    ]
    typer.echo(markdown_table(heads, rows, words=1))
    if any(one.lost or one.doubled for one in loads):
        raise typer.Exit(3)


def _fits(
    context: typer.Context, outage: float | None, *, only: Sequence[str], never: Sequence[str]
) -> None:
    """Refuse options that say nothing `only` beside --outage, or `never` beside it."""
    unfit = [name for name in (only if outage is None else never) if _is_given(context, name)]
    if unfit:
        option = f"--{unfit[0].replace('_', '-')}"
        which = (
            "with --outage; add that, or leave it"
            if outage is None
            else "without --outage; leave it"
        )
        raise AnomalystError(f"{option} is for runs {which} out.")


def _is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _tell_outage(found: "Outage") -> None:
    from anomalyst.evaluation.reports.tables import markdown_table

    typer.echo(markdown_table(["", ""], found.rows(), words=2))
    if not found.is_whole:
        raise typer.Exit(3)


def corrections(
    dataset: opt.Dataset,
    category: opt.Categories = None,
    good: Annotated[int, Option(min=2, help="Good pictures each product learns from.")] = 8,
    count: Annotated[int, Option(min=1, help="False alarms called fine.")] = 2,
    most: Annotated[int, Option(min=2, help="Test pictures of each label.")] = 20,
) -> None:
    """Call the worst false alarms of real products fine, and see what that changes elsewhere.

    Example: anomalyst bench corrections sets/mvtec --category screw
    """
    needs("evaluate", "matplotlib")
    from anomalyst.evaluation.benchmarks.feedback import bench_corrections
    from anomalyst.evaluation.reports.tables import markdown_table

    rows = [
        (
            one.category,
            f"{one.gone} of {one.corrections}",
            *(f"{100 * value:.1f}" for value in one.auroc),
            *(f"{value} of {one.good}" for value in one.alarms),
            *(f"{value} of {one.defective}" for value in one.found),
        )
        for one in bench_corrections(
            dataset, category or (), good=good, corrections=count, most=most, say=say
        )
    ]
    heads = ["product", "gone", "image AUROC before", "after", "false alarms before", "after",
             "defects found before", "after"]  # fmt: skip
    typer.echo(markdown_table(heads, rows, words=1))

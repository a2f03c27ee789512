"""The command line: one file per verb; here they meet, and every error becomes one sentence."""

import signal
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Annotated

import typer

from anomalyst.cli import (
    areas,
    chat,
    convert,
    demo,
    export,
    find,
    inspect,
    measuring,
    segment,
    teach,
)
from anomalyst.cli.bench import areas as areas_bench
from anomalyst.cli.bench import (
    baselines,
    compression,
    edge,
    inspection,
    kills,
    making,
    products,
    segmentation,
    series,
    server,
    shifts,
    staleness,
    training,
    voice,
)
from anomalyst.cli.bench import odd as odd_bench
from anomalyst.cli.bench import (
    senses as senses_bench,
)
from anomalyst.cli.datasets import data
from anomalyst.cli.evaluation import evaluate, mmad
from anomalyst.cli.looking import look
from anomalyst.cli.screen import told_missing
from anomalyst.cli.senses import ManyFiles
from anomalyst.cli.server import report, serve, store, watch
from anomalyst.cli.study import (
    abilities,
    activations,
    alignment,
    alignment_cost,
    few_shot,
    imbalance,
    language,
    networks,
    optimizers,
    peft,
    senses,
    sft,
    texts,
    variants,
)
from anomalyst.cli.training import align, cluster, compare, plan, predict, search, train
from anomalyst.errors import AnomalystError
from anomalyst.hardware.allocator import keep_freed_memory

app = typer.Typer(
    name="anomalyst",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Visual inspection that learns a product from one good picture. Works offline, on a CPU.",
    epilog="First steps: `anomalyst demo`, then `anomalyst teach bolt good/` and "
    "`anomalyst inspect new/ --product bolt`.",
)
COMMANDS = (
    *(demo.demo, teach.teach, inspect.inspect, chat.chat, serve.serve, watch.watch, export.export),
    find.find,
    segment.segment,
    areas.areas,
    *(measuring.scale, measuring.rules),
    *(
        evaluate.evaluate,
        mmad.mmad,
        train.train,
        predict.predict,
        align.align,
        compare.compare,
        search.search,
        search.crossval,
        plan.plan,
    ),
)
MANY_FILES = {
    teach.teach: ManyFiles,
    inspect.inspect: ManyFiles,
    find.find: find.ManyPlaces,
    measuring.scale: measuring.ManyBoards,
}
BENCHES = (
    *(baselines.peers, training.engines, training.loop, training.allreduce),
    *(training.pipeline, training.context),
    *(making.making, making.defects, server.serve, server.watch, server.corrections),
    *(senses_bench.senses, series.series, voice.voice, segmentation.segment, areas_bench.areas),
    measuring.measuring,
    products.products,
    shifts.shifts,
    staleness.staleness,
    compression.compression,
    *(edge.edge, edge.offload),
    odd_bench.odd,
    kills.kills,
)
STUDIES = (
    few_shot.few_shot,
    abilities.abilities,
    variants.variants,
    imbalance.imbalance,
    networks.networks,
    peft.peft,
    alignment_cost.alignment_cost,
    sft.sft,
    alignment.alignment,
    senses.senses,
    activations.activations,
    optimizers.optimizers,
    language.language,
    texts.texts,
    texts.loops,
)
study = typer.Typer(no_args_is_help=True, help="The studies this project began with, repeated.")
for command in COMMANDS:
    app.command(cls=MANY_FILES.get(command))(command)
for command in BENCHES:
    inspection.app.command()(command)
for command in STUDIES:
    study.command()(command)
app.add_typer(data.app, name="data")
app.add_typer(store.app, name="store")
app.add_typer(cluster.app, name="cluster")
app.add_typer(report.app, name="report")
app.add_typer(inspection.app, name="bench")
app.add_typer(convert.app, name="convert")
app.add_typer(study, name="study")
app.add_typer(look.app, name="look")


def _show_version(wanted: bool) -> None:
    if wanted:
        from anomalyst.version import __version__

        typer.echo(f"anomalyst {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[  # noqa: ARG001
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version."),
    ] = False,
    threads: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Processors to compute with.", show_default="all this process may use"
        ),
    ] = None,
    debug: Annotated[  # noqa: ARG001
        bool, typer.Option("--debug", help="Show the whole traceback of an internal error.")
    ] = False,
) -> None:
    """Visual inspection that learns a product from one good picture. Works offline, on a CPU."""
    from anomalyst.hardware.processor import limit_threads

    limit_threads(threads)


def main() -> None:
    """Run the command line; exit codes: 0 done, 1 anomaly found, 2 bad input, 3 our fault."""
    keep_freed_memory()
    # `kill`, `timeout` and service managers end it as Ctrl-C does: helpers and files are put away.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        app()
    except AnomalystError as error:
        typer.echo(f"Error: {error}", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        typer.echo("Stopped.", err=True)
        sys.exit(130)
    except Exception as error:
        missing = told_missing(error) if isinstance(error, ModuleNotFoundError) else None
        if missing is not None:
            typer.echo(f"Error: {missing}", err=True)
            sys.exit(2)
        _tell_internal(error)
        sys.exit(3)


def _tell_internal(error: Exception) -> None:
    """One sentence and where the traceback lies; all of it on the screen with --debug."""
    if "--debug" in sys.argv:
        traceback.print_exception(error)
        return
    with tempfile.NamedTemporaryFile(
        "w", prefix="anomalyst-", suffix=".log", delete=False, encoding="utf-8"
    ) as log:
        traceback.print_exception(error, file=log)
    typer.echo(
        f"Internal error: {type(error).__name__}: {error}. This is our fault; please report it "
        f"with {Path(log.name)}, or see it with `anomalyst --debug ...`.",
        err=True,
    )

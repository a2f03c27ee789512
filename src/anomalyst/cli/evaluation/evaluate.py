"""`anomalyst evaluate`: how well it does on a data set, over draws of the references."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from anomalyst.cli.loading import load_inspector
from anomalyst.cli.screen import (
    Adapt,
    Categories,
    Dataset,
    Device,
    Encoder,
    EngineOption,
    FalseAlarmRate,
    Precision,
    SideOption,
    SmallestDefect,
    needs,
)

if TYPE_CHECKING:
    from rich.table import Table

    from anomalyst.evaluation.protocols.protocol import Evaluable, ProtocolConfig, Results
    from anomalyst.types import Sample

# By importance: as many as fit the terminal are printed; the files hold every metric.
SHOWN = (
    "image_auroc",
    "pixel_ap",
    "pixel_aupro_30",
    "false_alarm_rate",
    "miss_rate",
    "pixel_aupro_05",
    "image_ap",
    "seconds_per_picture",
)
By = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN",
        help="Judge each value of this column of index.csv by itself, as in --by domain.",
    ),
]
CATEGORY_COLUMNS, METRIC_COLUMNS = 22, 13  # characters, spacing included


def evaluate(
    dataset: Dataset,
    shots: Annotated[
        str, typer.Option(metavar="N|all", help="Good training pictures to teach: 0, 1, 2, 4, ...")
    ] = "1",
    seeds: Annotated[int, typer.Option(help="Draws of these pictures; the spread is theirs.")] = 5,
    encoder: Encoder = "embedded",
    precision: Precision = "auto",
    device: Device = "auto",
    engine: EngineOption = "auto",
    side: SideOption = None,
    smallest_defect_px: SmallestDefect = None,
    category: Categories = None,
    by: By = None,
    adapt: Adapt = None,
    bad_shots: Annotated[
        int,
        typer.Option(metavar="B", help="Defective test pictures to teach, too: 0, or 3 to 50."),
    ] = 0,
    worst: Annotated[
        int, typer.Option(min=0, metavar="N", help="Worst pictures shown per category.")
    ] = 20,
    max_pictures: Annotated[
        int | None, typer.Option(metavar="N", help="At most N test pictures per category.")
    ] = None,
    false_alarm_rate: FalseAlarmRate = 0.05,
    language: Annotated[
        bool, typer.Option("--language", help="Ask about each picture, too, and judge the words.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Where results go, and where an interrupted evaluation goes on.",
            show_default="out/evaluate/DATASET-SHOTS-shot[-side]",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the results as JSON and nothing else.")
    ] = False,
) -> None:
    """Teach and inspect a whole data set, and say how well it went.

    Every category is taught SHOTS good pictures, SEEDS times over; categories whose pictures name
    their own reference are compared with that, once. Writes results.html with the worst pictures of
    each category and why they fail, results.md, .csv and .json, a row per picture, ROC and
    precision-recall curves, and a sheet of the best and worst cases. With --language also
    language.md: right and wrong answers to "Is there any anomaly in the image?". The same command
    again goes on where an interrupted one stopped. With --bad-shots the figures are of the pictures
    that were not drawn to be taught.

    Example: anomalyst evaluate sets/mvtec --shots 4 --category bottle --out out/bottle
    Example: anomalyst evaluate sets/mvtec --side 384

    Ends with exit code 2 if the set cannot be used, or some of its pictures had to be skipped.
    """
    needs("evaluate", "matplotlib")
    from anomalyst.datasets.reading import read_categories
    from anomalyst.datasets.splits import by_column
    from anomalyst.errors import AnomalystError
    from anomalyst.evaluation.protocols.protocol import ProtocolConfig

    try:
        config = ProtocolConfig(
            shots=_shots(shots),
            seeds=seeds,
            adapted=adapt,
            worst=worst,
            max_pictures=max_pictures,
            false_alarm_rate=false_alarm_rate,
            language=language,
            side=looked_at(side, smallest_defect_px),
            bad_shots=bad_shots,
        )
        samples = read_categories(dataset, category or [])
        samples = by_column(samples, by) if by else samples
        results = run(
            _inspector(encoder, language, precision, device, engine, side, smallest_defect_px),
            samples,
            config,
            out=out or _place(dataset, shots, bad_shots, config.side),
            as_json=as_json,
        )
    except AnomalystError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from error
    if results.skipped:
        raise typer.Exit(2)


def run(
    inspector: "Evaluable",
    samples: "Sequence[Sample]",
    config: "ProtocolConfig",
    *,
    out: Path,
    as_json: bool,
) -> "Results":
    """Evaluate with a progress bar, write every file, print the table or the JSON."""
    import json

    from rich.console import Console

    from anomalyst.evaluation.reports.language_table import write_language_table
    from anomalyst.evaluation.reports.plots import draw_curves
    from anomalyst.evaluation.reports.results_page import write_results_page
    from anomalyst.evaluation.reports.tables import as_mapping, write_tables

    results = _evaluated(inspector, samples, config, out)
    write_tables(results, out)
    words = write_language_table(results, out) if config.language else ""
    draw_curves(results.runs, out)
    write_results_page(results, out)
    for skipped in results.skipped:
        typer.echo(f"Skipped {skipped.path}: {skipped.reason}", err=True)
    if as_json:
        typer.echo(json.dumps(as_mapping(results), indent=2, allow_nan=False))
    else:
        console = Console()
        console.print(_table(results, console.width))
        if words:
            typer.echo(words)
        typer.echo(f"Written to {out}; look at {out / 'results.html'}")
    return results


def _shots(text: str) -> int | Literal["all"]:
    from anomalyst.errors import AnomalystError

    if text == "all":
        return "all"
    if not text.isdecimal():
        raise AnomalystError(f"--shots is {text!r}; a number from 0, or all, is needed.")
    return int(text)


def looked_at(side: str | None, smallest_defect_px: float | None) -> str | None:
    """How the size is asked for, in a word; None for the encoder's own."""
    return side or (None if smallest_defect_px is None else f"defect{smallest_defect_px:g}")


def _place(dataset: Path, shots: str, bad_shots: int, side: str | None) -> Path:
    beside = f"{bad_shots}-bad" if bad_shots else ""
    parts = (dataset.resolve().stem, shots, "shot", beside, side)
    return Path("out/evaluate") / "-".join(part for part in parts if part)


def _inspector(
    encoder: str,
    language: bool,
    precision: str,
    device: str,
    engine: str,
    side: str | None,
    smallest_defect_px: float | None,
) -> "Evaluable":
    from anomalyst.evaluation.language import Speaking

    inspector = load_inspector(encoder, None, precision, device, engine, side, smallest_defect_px)
    return Speaking(inspector) if language else inspector


def _evaluated(
    inspector: "Evaluable", samples: "Sequence[Sample]", config: "ProtocolConfig", out: Path
) -> "Results":
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Eta

    from anomalyst.evaluation.protocols.protocol import Progress as Step
    from anomalyst.evaluation.protocols.protocol import evaluate as evaluate_samples

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Eta())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("Teaching", total=None)

        def show(step: Step) -> None:
            where = f"{step.category or 'all'}, seed {step.seed}"
            done, total = step.pictures_done, step.pictures_total
            bar.update(task, description=where, completed=done, total=total)

        return evaluate_samples(inspector, samples, config, out=out, progress=show)


def _table(results: "Results", width: int) -> "Table":
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    from anomalyst.evaluation.reports.tables import HEADINGS, summarise

    lines, mean = summarise(results)
    shown = SHOWN[: max(1, (width - CATEGORY_COLUMNS) // METRIC_COLUMNS)]
    table = Table(title=escape(f"{results.inspector}, percent ± s.d. over draws"), box=box.SIMPLE)
    table.add_column("category", overflow="fold")
    for metric in shown:
        table.add_column(HEADINGS[metric], justify="right", no_wrap=True)
    for line in lines:
        title = escape(line.title) + (" (paired)" if line.paired else "")
        table.add_row(title, *(line.metrics[metric].text(metric) for metric in shown))
    if len(lines) > 1:
        table.add_section()
        table.add_row(mean.title, *(mean.metrics[metric].text(metric) for metric in shown))
    return table

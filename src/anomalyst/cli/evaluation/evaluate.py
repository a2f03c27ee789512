"""`anomalyst evaluate`: how well it does on a data set, over draws of the references."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from typer import Option

from anomalyst.cli import options as opt
from anomalyst.cli.loading import load_inspector
from anomalyst.cli.screen import needs, print_table, progress, say
from anomalyst.errors import AnomalystError

if TYPE_CHECKING:
    from anomalyst.evaluation.protocols.protocol import Evaluable, Progress, ProtocolConfig, Results
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
CATEGORY_COLUMNS, METRIC_COLUMNS = 22, 13  # characters, spacing included


@opt.grouped
def evaluate(
    dataset: opt.Dataset,
    *,
    shots: Annotated[
        str, Option(metavar="N|all", help="Good training pictures to teach: 0, 1, 2, 4, ...")
    ] = "1",
    seeds: Annotated[int, Option(help="Draws of these pictures; the spread is theirs.")] = 5,
    encoder: opt.Encoder = "embedded",
    compute: opt.Compute,
    size: opt.Size,
    text: opt.TextTower,
    category: opt.Categories = None,
    by: Annotated[
        str | None,
        Option(
            metavar="COLUMN",
            help="Judge each value of this column of index.csv by itself, as in --by domain.",
        ),
    ] = None,
    adapt: opt.Adapt = None,
    bad_shots: Annotated[
        int, Option(metavar="B", help="Defective test pictures to teach, too: 0, or 3 to 50.")
    ] = 0,
    areas: Annotated[
        Path | None,
        Option(metavar="FILE", help="Which places count, by category: JSON, see docs/areas.md."),
    ] = None,
    worst: Annotated[int, Option(min=0, metavar="N", help="Worst pictures per category.")] = 20,
    max_pictures: opt.MaxPictures = None,
    false_alarm_rate: opt.FalseAlarmRate = 0.05,
    language: Annotated[
        bool, Option("--language", help="Ask about each picture, too, and judge the words.")
    ] = False,
    out: Annotated[
        Path | None,
        Option(
            metavar="DIR",
            help="Where results go, and where an interrupted evaluation goes on.",
            show_default="out/evaluate/DATASET-SHOTS-shot[-side]",
        ),
    ] = None,
    as_json: opt.JsonObject = False,
) -> None:
    """Teach and inspect a whole data set, and say how well it went.

    Every category is taught SHOTS good pictures, SEEDS times over; categories whose pictures name
    their own reference are compared with that, once. Writes results.html with the worst pictures of
    each category and why they fail, results.md, .csv and .json, a row per picture, ROC and
    precision-recall curves, and a sheet of the best and worst cases. With --language also
    language.md: right and wrong answers to "Is there any anomaly in the image?". The same command
    again goes on where an interrupted one stopped. With --bad-shots the figures are of the pictures
    that were not drawn to be taught. With --text-tower each category's name is in the sentences.

    Example: anomalyst evaluate sets/mvtec --shots 4 --category bottle --out out/bottle
    Example: anomalyst evaluate sets/mvtec --side 384
    Example: anomalyst evaluate sets/line --areas areas.json
    Example: anomalyst evaluate sets/mvtec --shots 0 --text-tower models/clip-vit-b16

    Ends with exit code 2 if the set cannot be used, or some of its pictures had to be skipped.
    """
    needs("evaluate", "matplotlib")
    from anomalyst.datasets.reading import read_categories
    from anomalyst.datasets.splits import by_column
    from anomalyst.evaluation.language import AskingInspector
    from anomalyst.evaluation.protocols.areas import read_areas
    from anomalyst.evaluation.protocols.protocol import ProtocolConfig

    samples = read_categories(dataset, category or [])
    samples = by_column(samples, by) if by else samples
    found = {sample.category for sample in samples}
    config = ProtocolConfig(
        shots=_shots(shots),
        seeds=seeds,
        adapted=adapt,
        worst=worst,
        max_pictures=max_pictures,
        false_alarm_rate=false_alarm_rate,
        language=language,
        side=size.asked(),
        bad_shots=bad_shots,
        areas=read_areas(areas, found) if areas else None,
    )
    inspector = load_inspector(encoder, compute, size, words=text.asked("object"))
    bad = f"{bad_shots}-bad" if bad_shots else ""
    words = "words" if text.text_tower else ""
    parts = (dataset.resolve().stem, shots, "shot", bad, size.asked(), words)
    name = "-".join(filter(None, (*parts, "areas" if areas else "")))
    results = run(
        AskingInspector(inspector) if language else inspector,
        samples,
        config,
        out=out or Path("out/evaluate") / name,
        as_json=as_json,
    )
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
    from anomalyst.evaluation.protocols.protocol import evaluate as evaluate_samples
    from anomalyst.evaluation.reports.language_table import write_language_table
    from anomalyst.evaluation.reports.plots import draw_curves
    from anomalyst.evaluation.reports.results_page import write_results_page
    from anomalyst.evaluation.reports.tables import as_mapping, write_tables

    with progress("Teaching") as bar:

        def show(step: "Progress") -> None:
            bar.describe(f"{step.category or 'all'}, seed {step.seed}")
            bar.show(step.pictures_done, step.pictures_total)

        results = evaluate_samples(inspector, samples, config, out=out, progress=show)
    write_tables(results, out)
    words = write_language_table(results, out) if config.language else ""
    draw_curves(results.runs, out)
    write_results_page(results, out)
    for skipped in results.skipped:
        say(f"Skipped {skipped.path}: {skipped.reason}")
    if as_json:
        typer.echo(json.dumps(as_mapping(results), indent=2, allow_nan=False))
        return results
    _print(results)
    if words:
        typer.echo(words)
    typer.echo(f"Written to {out}; look at {out / 'results.html'}")
    return results


def _shots(text: str) -> int | Literal["all"]:
    if text == "all":
        return "all"
    if not text.isdecimal():
        raise AnomalystError(f"--shots is {text!r}; a number from 0, or all, is needed.")
    return int(text)


def _print(results: "Results") -> None:
    """The metrics that fit the terminal, a row per category."""
    from rich.console import Console

    from anomalyst.evaluation.protocols.run_records import METRICS
    from anomalyst.evaluation.reports.tables import summarise

    lines, mean = summarise(results)
    width = Console().width
    shown = SHOWN[: max(1, (width - CATEGORY_COLUMNS) // METRIC_COLUMNS)]
    rows = [
        (line.title + " (paired)" * line.paired, *(line.metrics[m].text(m) for m in shown))
        for line in lines
    ]
    last = (mean.title, *(mean.metrics[m].text(m) for m in shown)) if len(lines) > 1 else None
    heads = ["category", *(METRICS[metric] for metric in shown)]
    print_table(f"{results.inspector}, percent ± s.d. over draws", heads, rows, last)

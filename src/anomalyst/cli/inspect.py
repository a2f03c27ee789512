"""`anomalyst inspect`: pictures against a product -> verdicts, overlays, a report."""

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from anomalyst.cli.screen import pictures_in, progress, say

if TYPE_CHECKING:
    from anomalyst.errors import PictureError
    from anomalyst.inspector import Inspector
    from anomalyst.product import Product
    from anomalyst.types import Inspection


def inspect(
    image: Annotated[
        list[Path],
        typer.Argument(metavar="IMAGE...", help="Pictures, or folders.", show_default=False),
    ],
    product: Annotated[
        str | None, typer.Option(metavar="NAME", help="A product made with `anomalyst teach`.")
    ] = None,
    reference: Annotated[
        list[Path] | None,
        typer.Option(metavar="GOOD", help="A good picture to compare with; may be repeated."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Where overlays, JSON and report.html go.",
            show_default="out/inspect; nothing with --json",
        ),
    ] = None,
    false_alarm_rate: Annotated[
        float, typer.Option(help="The share of good pictures a verdict may call anomalous.")
    ] = 0.05,
    products: Annotated[
        Path, typer.Option(metavar="DIR", help="Where taught products live.")
    ] = Path("products"),
    encoder: Annotated[
        str, typer.Option(metavar="embedded|hf:DIR", help="What sees: shipped, or a folder.")
    ] = "embedded",
    fail_on_anomaly: Annotated[
        bool, typer.Option("--fail-on-anomaly", help="End with exit code 1 if one was found.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object a line and nothing else.")
    ] = False,
) -> None:
    """Say whether pictures are sound and show where they are not.

    Writes for each picture an overlay (PNG) and its figures (JSON), and one report.html.

    Example: anomalyst inspect new/*.jpg --reference good.jpg --out out/new

    Exit code 0: done; 1: an anomaly was found and --fail-on-anomaly was given; 2: wrong use, or
    some picture could not be read (the others were inspected).
    """
    from anomalyst.detection.calibration import checked_rate

    checked_rate(false_alarm_rate)
    known = _source(product, reference or [])
    pictures = pictures_in(image)
    from anomalyst.inspector import Inspector

    inspector = Inspector.load(encoder)
    taught = _taught(inspector, known, reference or [], products)
    target = out if out is not None or as_json else Path("out/inspect")
    outcome = run(
        inspector, pictures, taught, out=target, as_json=as_json, false_alarm_rate=false_alarm_rate
    )
    if not as_json:
        show(outcome, target)
    if outcome.stopped:
        say(f"Stopped after {len(outcome.rows)} of {len(pictures)} pictures; these are complete.")
        raise typer.Exit(130)
    if outcome.skipped:
        raise typer.Exit(2)
    if fail_on_anomaly and any(row.verdict == "anomalous" for row in outcome.rows):
        raise typer.Exit(1)


@dataclass(frozen=True, slots=True)
class Row:
    """What the terminal shows of one inspection; the map is not kept."""

    file: str
    verdict: str
    score: float
    p_value: float
    answer: str


@dataclass(slots=True)
class Outcome:
    """What a batch came to."""

    rows: list[Row] = field(default_factory=list)
    skipped: list["PictureError"] = field(default_factory=list)
    notes: dict[str, None] = field(default_factory=dict)
    stopped: bool = False


def run(
    inspector: "Inspector",
    pictures: Sequence[Path],
    product: "Product",
    *,
    out: Path | None,
    as_json: bool,
    false_alarm_rate: float,
) -> Outcome:
    """Inspect a batch, writing each result as it comes; Ctrl-C ends it with what is done."""
    from anomalyst.errors import PictureError
    from anomalyst.imaging import open_picture
    from anomalyst.report.page import ReportWriter
    from anomalyst.report.record import Records

    outcome = Outcome()
    with ExitStack() as stack:
        report, records = None, None
        if out is not None:
            report = stack.enter_context(
                ReportWriter(
                    out / "report.html",
                    product=product.name,
                    references=product.references,
                    encoder=product.encoder,
                )
            )
            records = Records(out)
        bar, task = stack.enter_context(progress("Inspecting", len(pictures)))
        try:
            for result in inspector.inspect_many(
                pictures, product, false_alarm_rate=false_alarm_rate
            ):
                if isinstance(result, PictureError):
                    outcome.skipped.append(result)
                    say(f"Skipped: {result}")
                    if report is not None:
                        report.skip(result)
                else:
                    _note(outcome, result, as_json)
                    if report is not None and records is not None:
                        picture = open_picture(result.image)
                        records.add(result, picture)
                        report.add(result, picture)
                bar.advance(task)  # type: ignore[arg-type]
        except KeyboardInterrupt:
            outcome.stopped = True
    return outcome


def _note(outcome: Outcome, result: "Inspection", as_json: bool) -> None:
    outcome.notes |= dict.fromkeys(result.notes)
    outcome.rows.append(
        Row(result.image.name, result.verdict, result.score, result.p_value, result.answer)
    )
    if as_json:
        typer.echo(json.dumps(result.as_dict()))


def show(outcome: Outcome, out: Path | None, most: int = 40) -> None:
    """A table of the worst pictures first, the notes, and where the report is."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    colour = {"anomalous": "red", "unsure": "yellow", "normal": "green"}
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("picture", "verdict", "score", "p", "answer"):
        table.add_column(heading, overflow="fold")
    for row in _worst_first(outcome.rows, most):
        table.add_row(
            escape(row.file),
            f"[{colour[row.verdict]}]{row.verdict}[/]",
            f"{row.score:.3f}",
            f"{row.p_value:.3g}",
            escape(row.answer),
        )
    console = Console()
    console.print(table)
    if len(outcome.rows) > most:
        console.print(f"... and {len(outcome.rows) - most} more in the report")
    for note in outcome.notes:
        console.print(f"[yellow]Note:[/] {escape(note)}")
    if out is not None:
        console.print(f"Report: {escape(str(out / 'report.html'))}", soft_wrap=True)


def _worst_first(rows: Sequence[Row], most: int) -> Iterator[Row]:
    yield from sorted(rows, key=lambda row: -row.score)[:most]


def _source(product: str | None, references: Sequence[Path]) -> str | None:
    from anomalyst.errors import AnomalystError

    if product is None and not references:
        raise AnomalystError(
            "nothing to compare with: give --reference GOOD, a picture of a sound part, "
            "or --product NAME after `anomalyst teach NAME GOOD...`."
        )
    if product is not None and references:
        raise AnomalystError("--product and --reference exclude each other; give one of them.")
    return product


def _taught(
    inspector: "Inspector", product: str | None, references: Sequence[Path], products: Path
) -> "Product":
    if product is not None:
        from anomalyst.product import find_product

        return find_product(product, products)
    pictures = pictures_in(references)
    with progress("Looking at good pictures", len(pictures)) as (bar, task):
        return inspector.teach(
            "the product",
            pictures,
            on_picture=lambda _: bar.advance(task),  # type: ignore[arg-type]
        )

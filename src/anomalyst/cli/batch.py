"""A batch of inspections on the terminal: run, shown, left with its exit code."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from anomalyst.cli.screen import (
    progress,
    say,
)

if TYPE_CHECKING:
    from anomalyst.errors import PictureError
    from anomalyst.inspector import Inspector
    from anomalyst.product import Product
    from anomalyst.report.page import ReportWriter
    from anomalyst.report.record import Records
    from anomalyst.types import Inspection


@dataclass(frozen=True, slots=True)
class Row:
    """What the terminal shows of one inspection; the map is not kept."""

    image: Path
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
    total: int = 0  # pictures asked for
    stopped: bool = False


def run(
    inspector: "Inspector",
    batches: "Sequence[tuple[Product, Sequence[Path]]]",
    *,
    out: Path | None,
    as_json: bool = False,
    false_alarm_rate: float = 0.05,
    ask: str | None = None,
) -> Outcome:
    """Inspect batches, writing each result as it comes; Ctrl-C ends it with what is done.

    `ask`: a question about each picture.
    """
    from anomalyst.report.page import ReportWriter
    from anomalyst.report.record import Records
    from anomalyst.types import Inspection

    total = sum(len(pictures) for _, pictures in batches)
    outcome, keep = Outcome(total=total), _Keep()
    with ExitStack() as stack:
        if out is not None:
            good = [path for product, _ in batches for path in product.references]
            inspected = [path for _, pictures in batches for path in pictures]
            keep.records = Records(out, keep=[*good, *inspected])
            keep.report = stack.enter_context(
                ReportWriter(
                    out / "report.html",
                    product=", ".join(product.name for product, _ in batches),
                    references=good,
                    encoder=inspector.name,
                )
            )
        bar, task = stack.enter_context(progress("Inspecting", total))
        try:
            for product, pictures in batches:
                for result in inspector.inspect_many(
                    pictures, product, false_alarm_rate=false_alarm_rate
                ):
                    if ask is not None and isinstance(result, Inspection):
                        result = asked_about(inspector, ask, result)
                    _take(result, outcome, keep, as_json)
                    bar.advance(task)  # type: ignore[arg-type]
        except KeyboardInterrupt:
            outcome.stopped = True
    return outcome


def asked_about(inspector: "Inspector", question: str, found: "Inspection") -> "Inspection":
    """The inspection with the answer to a question."""
    from anomalyst.types import Dialogue

    return replace(found, words=inspector.ask(question, Dialogue(found)))


@dataclass(slots=True)
class _Keep:
    """Where results are written, if anywhere."""

    report: "ReportWriter | None" = None
    records: "Records | None" = None


def _take(
    result: "Inspection | PictureError", outcome: Outcome, keep: _Keep, as_json: bool
) -> None:
    """Count, print and write one result."""
    from anomalyst.errors import PictureError
    from anomalyst.io.pictures import open_picture

    try:
        if isinstance(result, PictureError):
            raise result
        # Opened again, rather than kept in every result; it may be gone by now.
        picture = open_picture(result.image) if keep.report is not None else None
    except PictureError as error:
        outcome.skipped.append(error)
        say(f"Skipped: {error}")
        if keep.report is not None:
            keep.report.skip(error)
        return
    if picture is not None and keep.report is not None and keep.records is not None:
        drawn = keep.records.add(result, picture)
        keep.report.add(result, picture, full_size=drawn)
    _note(outcome, result, as_json)


def _note(outcome: Outcome, result: "Inspection", as_json: bool) -> None:
    outcome.notes |= dict.fromkeys(result.notes)
    outcome.rows.append(
        Row(
            result.image,
            result.verdict,
            result.score,
            result.p_value,
            result.words.text if result.words else result.answer,
        )
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
    common = _common_folder([row.image for row in outcome.rows])
    # Names are broken last: they are what is copied from a terminal.
    longest = max((len(_shown(row.image, common)) for row in outcome.rows), default=0)
    table.columns[0].min_width = min(30, longest)
    for row in _worst_first(outcome.rows, most):
        table.add_row(
            escape(_shown(row.image, common)),
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


def _common_folder(images: Sequence[Path]) -> Path:
    """The folder that holds them all."""
    return Path(os.path.commonpath([image.resolve().parent for image in images] or [Path.cwd()]))


def _shown(image: Path, common: Path) -> str:
    """A picture's name with as much of its folder as tells it from the others."""
    name = image.resolve().relative_to(common).as_posix()
    # A name that is no UTF-8 on disk cannot be printed as it is.
    return name.encode("utf-8", "replace").decode("utf-8")


def leave(outcome: Outcome) -> None:
    """End with the code that a stopped batch or a skipped picture asks for; else go on."""
    if outcome.stopped:
        done = len(outcome.rows)
        say(f"Stopped after {done} of {outcome.total} pictures; what was done is complete.")
        raise typer.Exit(130)
    if outcome.skipped:
        raise typer.Exit(2)

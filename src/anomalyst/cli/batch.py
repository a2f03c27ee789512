"""A batch of inspections on the terminal: run, shown, ended with its exit code."""

import json
import math
import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import typer

from anomalyst.cli.screen import progress, say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import numpy as np

    from anomalyst.errors import PictureError
    from anomalyst.inspection.lineup import Lineup
    from anomalyst.inspection.panoptic import Panoptic
    from anomalyst.inspector import Inspector
    from anomalyst.product import Product
    from anomalyst.report.page import ReportWriter
    from anomalyst.report.record import Records
    from anomalyst.types import Inspection, Severity

T = TypeVar("T")
COLOURS = {"anomalous": "red", "unsure": "yellow", "normal": "green"}


@dataclass(frozen=True, slots=True)
class Row:
    """What the terminal shows of one inspection; the map is not kept."""

    image: Path
    verdict: str
    score: float
    p_value: float
    severity: "Severity | None"
    answer: str
    measures: str = ""  # of its regions, one a line
    unfit: str = ""  # why it cannot be judged, in a word


@dataclass(slots=True)
class Outcome:
    """The results of a batch."""

    rows: list[Row] = field(default_factory=list)
    skipped: list["PictureError"] = field(default_factory=list)
    notes: dict[str, None] = field(default_factory=dict)
    total: int = 0  # pictures asked for
    stopped: bool = False
    kept: Path | None = None  # the report of an earlier run into the same folder


def run(
    inspector: "Inspector",
    batches: "Sequence[tuple[Product, Sequence[Path]]]",
    out: Path | None,
    as_json: bool = False,
    false_alarm_rate: float = 0.05,
    ask: str | None = None,
    *,
    panoptic: bool = False,
    among: "Callable[[Inspection], Inspection] | None" = None,
) -> Outcome:
    """Inspect batches, writing each result as it comes; Ctrl-C ends it with what is done.

    `ask`: a question about each picture. `panoptic`: label each pixel of it, too. `among`: names
    the product that a picture of another one looks like.
    """
    label = inspector.panoptic if panoptic else None
    results = (
        among(one) if among is not None and not isinstance(one, Exception) else one
        for product, pictures in batches
        for one in inspector.inspect_many(pictures, product, false_alarm_rate=false_alarm_rate)
    )
    return _written(inspector, batches, _asked(inspector, results, ask), out, as_json, label)


def run_lineup(
    inspector: "Inspector",
    lineup: "Lineup",
    pictures: "Sequence[Path]",
    out: Path | None,
    as_json: bool = False,
    false_alarm_rate: float = 0.05,
    ask: str | None = None,
) -> Outcome:
    """As `run`, for pictures each of which is given to the product that it shows."""
    first, *others = lineup.products
    batches = [(first, pictures), *((product, []) for product in others)]
    results = _tried(lambda picture: lineup.inspect(picture, false_alarm_rate), pictures)
    return _written(inspector, batches, _asked(inspector, results, ask), out, as_json)


def run_parts(
    inspector: "Inspector",
    product: "Product",
    parts: "Sequence[dict[str, Path]]",
    out: Path | None,
    as_json: bool = False,
    false_alarm_rate: float = 0.05,
) -> Outcome:
    """As `run`, for parts given as sense -> file; one whose file is bad is listed."""
    files = [file for part in parts for file in part.values()]
    results = _tried(
        lambda part: inspector.inspect_part(part, product, false_alarm_rate=false_alarm_rate), parts
    )
    return _written(inspector, [(product, files)], results, out, as_json, total=len(parts))


def _tried(
    look: "Callable[[T], Inspection]", items: "Iterable[T]"
) -> "Iterator[Inspection | PictureError]":
    """What is found on each, or why it cannot be used."""
    from anomalyst.errors import PictureError

    for item in items:
        try:
            yield look(item)
        except PictureError as error:
            yield error


def _asked(
    inspector: "Inspector", results: "Iterable[Inspection | PictureError]", ask: str | None
) -> "Iterator[Inspection | PictureError]":
    """Each result with the answer to the question, if there is one."""
    from anomalyst.types import Dialogue, Inspection

    for result in results:
        if ask is not None and isinstance(result, Inspection):
            yield replace(result, words=inspector.ask(ask, Dialogue(result)))
        else:
            yield result


def _written(
    inspector: "Inspector",
    batches: "Sequence[tuple[Product, Sequence[Path]]]",
    results: "Iterable[Inspection | PictureError]",
    out: Path | None,
    as_json: bool,
    label: "Callable[[np.ndarray, Inspection], Panoptic] | None" = None,
    *,
    total: int | None = None,
) -> Outcome:
    """Take results as they come; Ctrl-C ends it with what is done. `total`: if not the files'."""
    files = sum(len(pictures) for _, pictures in batches)
    outcome = Outcome(total=files if total is None else total)
    with ExitStack() as stack:
        writers = _writers(inspector, batches, out, stack) if out is not None else None
        bar = stack.enter_context(progress("Inspecting", outcome.total))
        try:
            for result in results:
                _take(result, outcome, writers, as_json, label)
                bar.advance()
        except KeyboardInterrupt:
            outcome.stopped = True
    outcome.kept = writers[0].kept if writers else None
    _list(outcome, out)
    return outcome


def _list(outcome: Outcome, out: Path | None) -> None:
    """All results as a table, where there are any and a place for it."""
    from anomalyst.report.listing import write_listing

    if out is not None and outcome.rows:
        rows = [
            (one.image, one.verdict, one.p_value, one.score, one.severity, one.answer)
            for one in outcome.rows
        ]
        write_listing(out, rows)


def _writers(
    inspector: "Inspector",
    batches: "Sequence[tuple[Product, Sequence[Path]]]",
    out: Path,
    stack: ExitStack,
) -> "tuple[ReportWriter, Records]":
    """What writes the page and the records; the page ends with the stack."""
    from anomalyst.inspection.seen import look_at
    from anomalyst.report.page import ReportWriter
    from anomalyst.report.record import Records

    good = [path for product, _ in batches for path in product.references]
    inspected = [path for _, pictures in batches for path in pictures]
    records = Records(out, keep=[*good, *inspected])
    names = ", ".join(product.name for product, _ in batches)
    of = {path: product for product, _ in batches for path in product.references}
    report = ReportWriter(
        out / "report.html",
        product=names,
        references=good,
        encoder=inspector.name,
        look=lambda path: look_at(of[path], path),
    )
    return stack.enter_context(report), records


def _take(
    result: "Inspection | PictureError",
    outcome: Outcome,
    writers: "tuple[ReportWriter, Records] | None",
    as_json: bool,
    label: "Callable[[np.ndarray, Inspection], Panoptic] | None" = None,
) -> None:
    """Count, print and write one result; `label` labels each pixel of its picture."""
    from anomalyst.errors import PictureError
    from anomalyst.io.pictures import open_picture
    from anomalyst.measuring.words import shortly

    try:
        if isinstance(result, PictureError):
            raise result
        # Opened again, rather than kept in every result; it may be gone by now.
        picture = result.view
        if writers and picture is None:
            picture = open_picture(result.image)
    except PictureError as error:
        outcome.skipped.append(error)
        say(f"Skipped: {error}")
        if writers:
            writers[0].skip(error)
        return
    if writers and picture is not None:
        report, records = writers
        labelled = label(picture, result) if label else None
        report.add(result, picture, full_size=records.add(result, picture, labelled))
    outcome.notes |= dict.fromkeys(result.notes)
    answer = result.words.text if result.words else result.answer
    measured = enumerate((region.measures for region in result.regions), start=1)
    measures = "\n".join(f"{number}: {shortly(one)}" for number, one in measured if one)
    unfit = result.unfit.cause if result.unfit else ""
    outcome.rows.append(
        Row(
            result.image,
            result.verdict,
            result.score,
            result.p_value,
            result.severity,
            answer,
            measures,
            unfit,
        )
    )
    if as_json:
        typer.echo(json.dumps(result.as_dict()))


def show(outcome: Outcome, out: Path | None, most: int = 40, heading: str = "picture") -> None:
    """A table of the most severe first, the notes, and where the report is."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim")
    for head in (heading, "verdict", "p", "severity", "area", "answer"):
        table.add_column(head, overflow="fold")
    names = _names([row.image for row in outcome.rows])
    # Names are broken last: they are what is copied from a terminal.
    table.columns[0].min_width = min(30, max(map(len, names.values()), default=0))
    for row in sorted(outcome.rows, key=_rank, reverse=True)[:most]:
        table.add_row(
            escape(names[row.image]),
            f"[{COLOURS[row.verdict]}]{row.verdict}[/]",
            f"{row.p_value:.3g}",
            row.severity.text if row.severity else "-",
            f"{100 * row.severity.area_share:.2g} %" if row.severity else "-",
            escape("\n".join(filter(None, (row.answer, row.measures)))),
        )
    console = Console()
    console.print(table)
    if len(outcome.rows) > most:
        console.print(f"... and {len(outcome.rows) - most} more in the report")
    if unjudged := [row.unfit for row in outcome.rows if row.unfit]:
        told = ", ".join(f"{unjudged.count(cause)} {cause}" for cause in dict.fromkeys(unjudged))
        console.print(f"[yellow]Cannot be judged, and neither good nor defective:[/] {told}")
    for note in outcome.notes:
        console.print(f"[yellow]Note:[/] {escape(note)}")
    if out is not None:
        console.print(f"Report: {escape(str(out / 'report.html'))}", soft_wrap=True)
    if outcome.kept is not None:
        console.print(f"The earlier report: {escape(str(outcome.kept))}", soft_wrap=True)


def _rank(row: Row) -> tuple[float, ...]:
    """By severity; the score where that is not known."""
    return (*(row.severity.rank if row.severity else (-math.inf, 0.0)), row.score)


def _names(images: Sequence[Path]) -> dict[Path, str]:
    """Each picture's name with as much of its folder as tells it from the others."""
    common = os.path.commonpath([image.resolve().parent for image in images] or [Path.cwd()])
    names = {image: image.resolve().relative_to(common).as_posix() for image in images}
    # A name that is no UTF-8 on disk cannot be printed as it is.
    return {image: name.encode("utf-8", "replace").decode() for image, name in names.items()}


def exit_if_incomplete(outcome: Outcome) -> None:
    """End with the code that a stopped batch, or a picture not judged, asks for; else go on."""
    if outcome.stopped:
        done = len(outcome.rows)
        say(f"Stopped after {done} of {outcome.total} pictures; what was done is complete.")
        raise typer.Exit(130)
    if outcome.skipped or any(row.unfit for row in outcome.rows):
        raise typer.Exit(2)

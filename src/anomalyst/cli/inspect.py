"""`anomalyst inspect`: pictures against a product -> verdicts, overlays, a report."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from anomalyst.cli.screen import (
    About,
    Device,
    EncoderName,
    EngineOption,
    FalseAlarmRate,
    Language,
    Precision,
    ProductName,
    Products,
    References,
    SideOption,
    SmallestDefect,
    counted,
    needs,
    pictures_in,
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


def inspect(
    image: Annotated[
        list[Path],
        typer.Argument(metavar="IMAGE...", help="Pictures, or folders.", show_default=False),
    ],
    product: ProductName = None,
    reference: References = None,
    zero_shot: Annotated[
        bool, typer.Option("--zero-shot", help="No good picture: judge each picture by itself.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Where overlays, JSON and report.html go.",
            show_default="out/inspect; nothing with --json",
        ),
    ] = None,
    ask: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="A question about each picture, answered in words."),
    ] = None,
    about: About = "",
    false_alarm_rate: FalseAlarmRate = 0.05,
    products: Products = Path("products"),
    encoder: EncoderName = None,
    precision: Precision = "auto",
    device: Device = "auto",
    engine: EngineOption = "auto",
    side: SideOption = None,
    smallest_defect_px: SmallestDefect = None,
    language: Language = None,
    fail_on_anomaly: Annotated[
        bool, typer.Option("--fail-on-anomaly", help="End with exit code 1 if one was found.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object a line and nothing else.")
    ] = False,
    ray: Annotated[
        bool,
        typer.Option("--ray", help="As a Ray Data job: figures as Parquet in --out; resumes."),
    ] = False,
    workers: Annotated[int, typer.Option(help="Processes of the Ray job.")] = 2,
) -> None:
    """Say whether pictures are normal and show where they are not.

    Writes for each picture an overlay (PNG) and its figures (JSON), and one report.html.

    Example: anomalyst inspect new/*.jpg --reference good.jpg --out out/new
    Example: anomalyst inspect new/ --reference good.jpg --smallest-defect-px 12
    Example: anomalyst inspect part.png --reference good.png --ask "Is there a defect, and where?"

    Exit code 0: done.
    1: an anomaly was found and --fail-on-anomaly was given.
    2: wrong use, or a picture could not be read (the others were inspected).
    130: stopped by Ctrl-C (what was done is complete).
    """
    from anomalyst.calibration.conformal import checked_rate
    from anomalyst.vlm.dialogue import checked_question

    checked_rate(false_alarm_rate)
    asked = checked_question(ask) if ask is not None else None
    pictures = pictures_in(image)
    if product is not None and (side is not None or smallest_defect_px is not None):
        raise typer.BadParameter(
            "--side and --smallest-defect-px go with --reference or --zero-shot; a product keeps "
            "the size it was taught at. Give them to `anomalyst teach`."
        )
    if ray:
        if reference or zero_shot or ask or product is None:
            raise typer.BadParameter("--ray takes pictures, --product and --out, and no question.")
        on_ray(pictures, products / product, out or Path("out/inspect"), false_alarm_rate, workers)
        return
    inspector, taught = source(
        product, reference or [], zero_shot, products, encoder, language, precision, device, engine,
        side, smallest_defect_px,
    )  # fmt: skip
    if taught.side_reason:
        say(taught.side_reason)
    taught.description = about or taught.description
    target = out if out is not None or as_json else Path("out/inspect")
    outcome = run(
        inspector,
        [(taught, pictures)],
        out=target,
        as_json=as_json,
        false_alarm_rate=false_alarm_rate,
        ask=asked,
    )
    if not as_json:
        show(outcome, target)
    leave(outcome)
    if fail_on_anomaly and any(row.verdict == "anomalous" for row in outcome.rows):
        raise typer.Exit(1)


def on_ray(pictures: Sequence[Path], product: Path, out: Path, rate: float, workers: int) -> None:
    """Many pictures as a Ray Data job; what could not be read is listed, and ends with code 2."""
    from anomalyst.product_index import product_folder, read_record

    needs("scale", "ray", "pyarrow")
    from anomalyst.server.cluster.batch_inspect import Job, inspect_on_ray

    folder = product_folder(product.name, product.parent).resolve()
    job = Job(product=folder, encoder=read_record(folder)["encoder"], false_alarm_rate=rate)
    with counted("Inspecting on Ray") as told:
        found = inspect_on_ray(
            [path.resolve() for path in pictures], job, out, workers=workers, told=told
        )
    for image, problem in found.bad:
        say(f"Skipped: {problem or image}")
    counts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(found.counts.items()))
    typer.echo(
        f"{len(pictures)} pictures: {counts or 'none inspected'}; {found.taken_over} were done "
        f"before. {len(found.parts)} parts in {out}."
    )
    if found.bad:
        raise typer.Exit(2)


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


def source(
    product: str | None,
    references: Sequence[Path],
    zero_shot: bool,
    products: Path,
    encoder: str | None,
    language: Path | None = None,
    precision: str = "auto",
    device: str = "auto",
    engine: str = "auto",
    side: str | None = None,
    smallest_defect_px: float | None = None,
) -> "tuple[Inspector, Product]":
    """The inspector and the product that the options name; exactly one of them must be given."""
    from anomalyst.errors import AnomalystError
    from anomalyst.product import find_product

    given = (product is not None) + bool(references) + zero_shot
    if given == 0:
        raise AnomalystError(
            "nothing to compare with: give --reference GOOD, a picture of a good part, "
            "--product NAME after `anomalyst teach NAME GOOD...`, or --zero-shot if there is none."
        )
    if given > 1:
        raise AnomalystError(
            "--product, --reference and --zero-shot exclude each other; give one of them."
        )
    if product is not None:
        found = find_product(product, products)
        return load_inspector(encoder or found.encoder, language, precision, device, engine), found
    inspector = load_inspector(
        encoder or "embedded", language, precision, device, engine, side, smallest_defect_px
    )
    if zero_shot:
        return inspector, inspector.untaught()
    return inspector, _taught(inspector, references)


def load_inspector(
    encoder: str,
    language: Path | None = None,
    precision: str = "auto",
    device: str = "auto",
    engine: str = "auto",
    side: str | None = None,
    smallest_defect_px: float | None = None,
) -> "Inspector":
    """The inspector of an encoder, with another language model than the shipped one if asked."""
    from anomalyst.inspection.config import EMBEDDED_LANGUAGE, InspectorConfig
    from anomalyst.inspector import Inspector
    from anomalyst.io.working_side import checked_side

    config = InspectorConfig(
        precision=precision,  # type: ignore[arg-type]
        device=device,  # type: ignore[arg-type]
        engine=engine,  # type: ignore[arg-type]
        side_px=checked_side(side, smallest_defect_px),
        smallest_defect_px=smallest_defect_px,
        language=language or EMBEDDED_LANGUAGE,
    )
    return Inspector.load(encoder, config)


def _taught(inspector: "Inspector", references: Sequence[Path]) -> "Product":
    """A product taught from the references, for this inspection only."""
    from anomalyst.product import UNNAMED

    pictures = pictures_in(references)
    with progress("Looking at good pictures", len(pictures)) as (bar, task):
        return inspector.teach(
            UNNAMED,
            pictures,
            on_picture=lambda _: bar.advance(task),  # type: ignore[arg-type]
        )

"""`anomalyst inspect`: pictures against a product -> verdicts, overlays, a report."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from anomalyst.cli import options as opt
from anomalyst.cli.batch import (
    Outcome,
    exit_if_incomplete,
    run,
    run_lineup,
    run_parts,
    show,
)
from anomalyst.cli.loading import (
    asks_which,
    inspector_and_lineup,
    inspector_and_product,
    suggesting,
)
from anomalyst.cli.screen import needs, pictures_in, progress, say
from anomalyst.cli.senses import NO_FILES, SenseFiles, files_of, parts_of
from anomalyst.errors import AnomalystError


@opt.grouped
def inspect(
    image: Annotated[
        list[Path] | None, Argument(metavar="IMAGE...", help="Pictures, or folders.")
    ] = None,
    *,
    files: SenseFiles,
    comparison: opt.Comparison,
    out: Annotated[
        Path | None,
        Option(
            metavar="DIR",
            help="Where overlays, JSON and report.html go.",
            show_default="out/inspect; nothing with --json",
        ),
    ] = None,
    ask: Annotated[str | None, Option(metavar="TEXT", help="A question on each picture.")] = None,
    text: opt.TextTower,
    called: Annotated[
        str | None,
        Option("--name", metavar="TEXT", help="What it is, for --text-tower: 'bottle cap'."),
    ] = None,
    judging: opt.Judging,
    compute: opt.Compute,
    size: opt.Size,
    masks: opt.Masks,
    language: opt.Language = None,
    fail_on_anomaly: Annotated[
        bool, Option("--fail-on-anomaly", help="End with exit code 1 if one was found.")
    ] = False,
    as_json: opt.JsonLines = False,
    ray: Annotated[
        bool, Option("--ray", help="As a Ray Data job: figures as Parquet in --out; resumes.")
    ] = False,
    workers: Annotated[int, Option(help="Processes of the Ray job.")] = 2,
) -> None:
    """Say whether pictures are normal and show where they are not.

    Writes for each picture an overlay (PNG) and its figures (JSON), and one report.html.

    Example: anomalyst inspect new/*.jpg --reference good.jpg --out out/new
    Example: anomalyst inspect new/ --reference good.jpg --smallest-defect-px 12
    Example: anomalyst inspect new/ --reference good.jpg --quality fast
    Example: anomalyst inspect part.png --reference good.png --ask "Is there a defect, and where?"
    Example: anomalyst inspect cap.png --zero-shot --text-tower models/clip-vit-b16 --name "bottle
    cap"

    Example: anomalyst inspect new/ --product bolt --refine --panoptic
    Example: anomalyst inspect new/ --product weld --audio sounds/ --thermal heat/
    Example: anomalyst inspect --product pump --series new/*.csv
    Example: anomalyst inspect new/ --product auto

    With --product auto each picture is given to the taught product that it looks like, or to none.

    A picture that is too dark, over-exposed, out of focus or empty, or that shows another product,
    cannot be judged: its verdict is unsure, and why is said ("unfit" in the JSON).

    Exit code 0: done.
    1: an anomaly was found and --fail-on-anomaly was given.
    2: wrong use, or a picture could not be read or judged (the others were inspected).
    130: stopped by Ctrl-C (what was done is complete).
    """
    from anomalyst.calibration.conformal import checked_rate
    from anomalyst.vlm.dialogue import checked_question

    rate = checked_rate(judging.false_alarm_rate)
    asked = checked_question(ask) if ask is not None else None
    if masks.panoptic and as_json and out is None:
        raise typer.BadParameter("--panoptic writes pictures; give --out DIR beside --json.")
    photographs = image or []
    name, target = comparison.product, out or Path("out/inspect")
    if name is not None and (size.side or size.smallest_defect_px):
        raise typer.BadParameter(
            "--side and --smallest-defect-px go with --reference or --zero-shot; a product keeps "
            "the size it was taught at. Give them to `anomalyst teach`."
        )
    if asks_which(name, judging.products):
        alone = comparison.reference or comparison.zero_shot or text.text_tower or size.quality
        if alone or ray or masks.panoptic or files != NO_FILES:
            raise typer.BadParameter(
                "--product auto takes pictures alone, without --reference, --zero-shot, "
                "--text-tower, --quality, --ray, --panoptic and files of other senses."
            )
        pictures = pictures_in(photographs)
        if not pictures:
            raise typer.BadParameter("give pictures, or folders of them.")
        inspector, lineup = inspector_and_lineup(judging, compute, language, masks)
        written = None if as_json and out is None else target
        outcome = run_lineup(inspector, lineup, pictures, written, as_json, rate, asked)
        _end(outcome, target, as_json, fail_on_anomaly)
        return
    # These are refused beside a product later, in words of their own.
    alone = comparison.reference or comparison.zero_shot or text.text_tower
    sensed = _sensed(None if alone else name, judging.products, photographs, files)
    if sensed is not None:
        if ray or ask or size.quality or masks != opt.NO_MASKS:
            raise typer.BadParameter(
                "--ask, --ray, --quality, --refine and --panoptic are for photographs alone."
            )
        _inspect_senses(sensed, comparison, judging, compute, out, as_json, rate, fail_on_anomaly)
        return
    pictures = pictures_in(photographs)
    if not pictures:
        raise typer.BadParameter("give pictures, or folders of them.")
    if ray:
        words = text.text_tower is not None
        more = ask or words or masks != opt.NO_MASKS
        if comparison.reference or comparison.zero_shot or more or name is None:
            raise typer.BadParameter(
                "--ray takes pictures, --product and --out, and no question, text tower or masks."
            )
        _inspect_on_ray(pictures, judging.products / name, target, rate, workers)
        return
    inspector, product = inspector_and_product(
        comparison, judging, compute, size, language, text, called, masks
    )
    for told in filter(None, (product.side_reason, product.reading.told)):
        say(told)
    written = None if as_json and out is None else target
    outcome = run(
        inspector, [(product, pictures)], written, as_json, rate, asked, panoptic=masks.panoptic,
        among=suggesting(inspector, judging.products),
    )  # fmt: skip
    _end(outcome, target, as_json, fail_on_anomaly)


def _end(
    outcome: Outcome, out: Path, as_json: bool, fail_on_anomaly: bool, heading: str = "picture"
) -> None:
    """Show what was found, and end with the exit code it asks for."""
    if not as_json:
        show(outcome, out, heading=heading)
    exit_if_incomplete(outcome)
    if fail_on_anomaly and any(row.verdict == "anomalous" for row in outcome.rows):
        raise typer.Exit(1)


def _sensed(
    name: str | None, products: Path, photographs: Sequence[Path], files: SenseFiles
) -> "list[dict[str, Path]] | None":
    """The parts to inspect, sense -> file; None where photographs alone are meant."""
    from anomalyst.product_index import product_folder, product_senses

    taught = ["image"] if name is None else product_senses(product_folder(name, products))
    if taught == ["image"] and files == NO_FILES:
        return None
    if name is None:
        raise AnomalystError(
            "sound, sensors, depth and heat are compared with a product: make one with `anomalyst "
            "teach NAME`, and give --product NAME."
        )
    if len(taught) == 1 and files == NO_FILES:  # what was taught needs no word for its sense
        given = {taught[0]: files_of(photographs, taught[0])}
    else:
        given = files.found(photographs)
    return parts_of(given, taught)


def _inspect_senses(
    parts: "list[dict[str, Path]]",
    comparison: opt.Comparison,
    judging: opt.Judging,
    compute: opt.Compute,
    out: Path | None,
    as_json: bool,
    rate: float,
    fail_on_anomaly: bool,
) -> None:
    """Parts by the senses they were taught with, written and shown as pictures are."""
    inspector, product = inspector_and_product(comparison, judging, compute)
    target = out or Path("out/inspect")
    written = None if as_json and out is None else target
    outcome = run_parts(inspector, product, parts, written, as_json, rate)
    _end(outcome, target, as_json, fail_on_anomaly, heading="part")


def _inspect_on_ray(
    pictures: Sequence[Path], product: Path, out: Path, rate: float, workers: int
) -> None:
    """Many pictures as a Ray Data job; what could not be read is listed, and ends with code 2."""
    from anomalyst.product_index import product_folder, read_record

    needs("scale", "ray", "pyarrow")
    from anomalyst.server.cluster.batch_inspect import Job, inspect_on_ray

    folder = product_folder(product.name, product.parent).resolve()
    job = Job(product=folder, encoder=read_record(folder)["encoder"], false_alarm_rate=rate)
    with progress("Inspecting on Ray") as bar:
        images = [path.resolve() for path in pictures]
        found = inspect_on_ray(images, job, out, workers=workers, told=bar.show)
    for image, problem in found.bad:
        say(f"Skipped: {problem or image}")
    counts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(found.counts.items()))
    typer.echo(
        f"{len(pictures)} pictures: {counts or 'none inspected'}; {found.taken_over} were done "
        f"before. {len(found.parts)} parts in {out}."
    )
    if found.unfit:
        causes = ", ".join(f"{count} {cause}" for cause, count in sorted(found.unfit.items()))
        typer.echo(f"Cannot be judged, and neither good nor defective: {causes}")
    if found.bad or found.unfit:
        raise typer.Exit(2)

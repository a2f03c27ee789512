"""`anomalyst data convert|augment|poisson|synthesize`: sets made from sets."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from anomalyst.cli.screen import Categories, Dataset, counted, needs, progress, say

if TYPE_CHECKING:
    from anomalyst.datasets.builders.build_job import Filled
    from anomalyst.datasets.builders.plan import MakingPlan
    from anomalyst.datasets.builders.source_set import Originals

Out = Annotated[
    Path,
    typer.Option(
        metavar="DIR", help="The new set; the same command goes on there.", show_default=False
    ),
]
Seed = Annotated[int, typer.Option(help="The same seed gives the same bytes.")]
Workers = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Processes.", show_default="one per core")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be made; write nothing.")]


def convert(
    layout: Annotated[str, typer.Argument(metavar="aebad", help="What SOURCE is.")],
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="The set as published.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="An empty folder.")],
    train_share: Annotated[
        float, typer.Option(help="Of each domain's good training pictures; the others test.")
    ] = 0.7,
    seed: Seed = 0,
    dry_run: DryRun = False,
) -> None:
    """Copy AeBAD-S as four categories in MVTec-AD layout, domains kept in index.csv.

    Pairs pictures and masks by name; broken files, orphans and good test pictures that equal a
    training one are reported and left out. The source is never touched.

    Example: anomalyst data convert aebad AeBAD_S out/mvtec --train-share 0.7 --seed 0
    """
    needs("train", "sklearn", "kornia")
    from anomalyst.datasets.builders.convert import plan_aebad
    from anomalyst.errors import AnomalystError

    if layout != "aebad":
        raise AnomalystError(f"There is no conversion from {layout!r}; there is aebad.")
    with counted("Looking over") as tell:
        plan = plan_aebad(source, out, train_share=train_share, seed=seed, on_progress=tell)
    _carry_out(plan, source, out, None, dry_run)


def augment(
    dataset: Dataset,
    out: Out,
    plan: Annotated[
        Path, typer.Option(metavar="FILE.yaml", help="Operations by category.", show_default=False)
    ],
    target: Annotated[
        int, typer.Option(min=1, help="Good training pictures a category, exactly.")
    ] = 400,
    defects: Annotated[
        int | None, typer.Option(min=1, help="Defective pictures a category, too, masks moved.")
    ] = None,
    category: Categories = None,
    seed: Seed = 0,
    workers: Workers = None,
    dry_run: DryRun = False,
) -> None:
    """Bring every category to TARGET good training pictures: turned, mirrored, zoomed, lit.

    The new set holds the old one and more. Pictures and masks get the same operations, edges are
    mirrored, never black, and what the plan forbids is refused.

    Example: anomalyst data augment sets/mvtec --plan recipes/augment/mvtec.yaml --target 400 --out
    sets/mvtec-400
    """
    needs("train", "sklearn", "kornia")
    from anomalyst.datasets.builders.augment import plan_augmentation
    from anomalyst.synthetic.augmentation import read_plans

    plans = read_plans(plan)
    originals = _originals(dataset, out, category)
    making = plan_augmentation(originals, plans, target=target, defects=defects, seed=seed)
    _carry_out(making, dataset, out, workers, dry_run)


def poisson(
    dataset: Dataset,
    out: Out,
    factor: Annotated[
        float, typer.Option(help="Defective pictures after, against before; 2 doubles.")
    ] = 2.0,
    gradients: Annotated[
        str, typer.Option(metavar="normal|mixed|both", help="Whose gradients a blend keeps.")
    ] = "both",
    turn: Annotated[float, typer.Option(help="Most degrees a defect is turned by.")] = 15.0,
    scale: Annotated[
        tuple[float, float], typer.Option(help="Least and greatest factor of its size.")
    ] = (0.85, 1.15),
    segmenter: Annotated[
        str, typer.Option(metavar="default|sam:DIR", help="What finds the product.")
    ] = "default",
    category: Categories = None,
    seed: Seed = 0,
    workers: Workers = None,
    dry_run: DryRun = False,
) -> None:
    """Blend labelled defects onto other good parts: more test pictures with exact masks.

    A defect lands on the product, in its pose, clear of other defects; blends with a seam, a false
    colour or nothing to see are thrown away. The new set holds the old one and more.

    Example: anomalyst data poisson sets/bolts --factor 2 --out sets/bolts-doubled
    """
    needs("train", "sklearn", "kornia")
    from anomalyst.config import from_mapping
    from anomalyst.datasets.builders.poisson import plan_transplants, seam_note
    from anomalyst.synthetic.anomalies.transplant import TransplantConfig

    values = {"gradients": gradients, "turn_degrees": turn, "scales": scale}
    config = from_mapping(TransplantConfig, values, where="data poisson")
    originals = _originals(dataset, out, category)
    making = plan_transplants(
        originals, factor=factor, seed=seed, config=config, segmenter=segmenter
    )
    _carry_out(making, dataset, out, workers, dry_run, also=seam_note)


def synthesize(
    dataset: Dataset,
    out: Out,
    method: Annotated[
        str,
        typer.Option(metavar="mixed|patch-blend|cutpaste|perlin|world", help="How they are made."),
    ] = "mixed",
    count: Annotated[
        int | None,
        typer.Option(help="Made pictures a category.", show_default="as many as train"),
    ] = None,
    constants: Annotated[
        str,
        typer.Option(metavar="estimated|mvtec|visa|aebad", help="What is known of the product."),
    ] = "estimated",
    category: Categories = None,
    seed: Seed = 0,
    workers: Workers = None,
    dry_run: DryRun = False,
) -> None:
    """Plant defects on good training pictures, with masks: something to train on without any.

    They lie in train/METHOD beside train/good, and the new set holds the old one, too.

    Example: anomalyst data synthesize sets/bolts --method world --count 200 --out sets/bolts-world
    """
    needs("train", "sklearn", "kornia")
    from anomalyst.datasets.builders.synthesize import plan_synthesis

    originals = _originals(dataset, out, category)
    making = plan_synthesis(originals, method=method, count=count, constants=constants, seed=seed)
    _carry_out(making, dataset, out, workers, dry_run)


def _originals(dataset: Path, out: Path, categories: list[str] | None) -> "Originals":
    from anomalyst.datasets.builders.source_set import read_originals

    with counted("Looking over") as tell:
        return read_originals(dataset, out, categories=categories or (), on_progress=tell)


def _carry_out(
    plan: "MakingPlan",
    source: Path,
    out: Path,
    workers: int | None,
    dry_run: bool,
    *,
    also: "Callable[[Path, Filled], str] | None" = None,
) -> None:
    """Say what is to come, make it, write the sheet, say what came of it."""
    from anomalyst.datasets.builders.build_job import fill
    from anomalyst.datasets.builders.contact_sheet import write_sheet

    for row in plan.faults:
        say(f"Left out {row.path}: {row.reason}")
    said = plan.sentences()
    _print_balance(plan)
    if dry_run:
        for text in said:
            typer.echo(text)
        typer.echo(f"Would be written to {out}: {len(plan.jobs)} pictures. Nothing was written.")
        return
    with progress("Making", len(plan.jobs)) as (bar, task):
        filled = fill(
            out,
            plan.jobs,
            plan.settings,
            workers=workers,
            on_picture=lambda: bar.advance(task),  # type: ignore[arg-type]
        )
    for fault in filled.faults:
        say(f"Not made from {fault.path}: {fault.reason}")
    if also is not None:
        said = [*said, *filter(None, [also(out, filled)])]
    write_sheet(out, source, plan, filled, said)
    for text in said:
        typer.echo(text)
    total = sum(map(len, filled.rows.values()))
    typer.echo(f"Written to {out}: {total} pictures, {filled.made_now} of them now.")
    typer.echo(f"Look at {out / 'sheet.html'} before you train on them.")
    if plan.faults or filled.faults:
        raise typer.Exit(2)


def _print_balance(plan: "MakingPlan") -> None:
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from anomalyst.datasets.builders.plan import HEADS

    table = Table(title=escape(plan.title), box=box.SIMPLE)
    for number, head in enumerate(HEADS):
        table.add_column(head, justify="right" if number else "left")
    for row in plan.balance:
        table.add_row(escape(row[0]), *map(str, row[1:]))
    Console().print(table)

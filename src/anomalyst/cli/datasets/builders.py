"""`anomalyst data convert|augment|poisson|synthesize`: sets made from sets."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from anomalyst.cli import options as opt
from anomalyst.cli.screen import needs, print_table, progress, say
from anomalyst.errors import AnomalystError

if TYPE_CHECKING:
    from anomalyst.datasets.builders.build_job import Filled
    from anomalyst.datasets.builders.plan import MakingPlan
    from anomalyst.datasets.builders.source_set import Originals

Out = Annotated[Path, Option(metavar="DIR", help="The new set; the same command goes on there.")]


def convert(
    layout: Annotated[
        str, Argument(metavar="LAYOUT", help="What SOURCE is: auto, aebad, mvtec-loco, ...")
    ],
    source: Annotated[Path, Argument(metavar="SOURCE", help="The set as published.")],
    out: Annotated[Path, Argument(metavar="OUT", help="An empty folder.")],
    train_share: Annotated[
        float | None,
        Option(
            help="Of AeBAD's good training pictures by domain; the others test.", show_default="0.7"
        ),
    ] = None,
    category: opt.Categories = None,
    seed: opt.Seed = 0,
    dry_run: opt.DryRun = False,
) -> None:
    """Copy a published set in MVTec-AD layout; what its names and tables say goes into index.csv.

    Pairs pictures and masks by name; several masks of one picture become one. Broken files are
    reported and left out; the source is never touched. `auto` finds the layout (docs/layouts.md).
    AeBAD-S becomes four categories, without orphans and good test pictures that equal a training
    one.

    Example: anomalyst data convert auto mvtec_loco_anomaly_detection out/loco
    Example: anomalyst data convert aebad AeBAD_S out/mvtec --train-share 0.7 --seed 0
    """
    needs("train", "sklearn", "kornia")
    from anomalyst.datasets.builders.convert import plan_aebad, plan_copies
    from anomalyst.datasets.reading import LAYOUTS, layout_of

    if layout not in ("auto", *LAYOUTS):
        raise AnomalystError(
            f"There is no conversion from {layout!r}; there are auto, {', '.join(LAYOUTS)}."
        )
    known = layout_of(source) if layout == "auto" else layout
    if known == "aebad" and category:
        raise AnomalystError(
            "--category: AeBAD-S is one category, which becomes four; leave it out."
        )
    if known != "aebad" and train_share is not None:
        raise AnomalystError(f"--train-share: the {known} layout has a split; leave it out.")
    with progress("Looking over") as bar:
        if known == "aebad":
            share = 0.7 if train_share is None else train_share
            plan = plan_aebad(source, out, train_share=share, seed=seed, on_progress=bar.show)
        else:
            plan = plan_copies(
                source, out, layout=known, categories=category or (), on_progress=bar.show
            )
    _carry_out(plan, source, out, opt.Making(dry_run=dry_run))


@opt.grouped
def augment(
    dataset: opt.Dataset,
    *,
    out: Out,
    plan: Annotated[Path, Option(metavar="FILE.yaml", help="Operations by category.")],
    target: Annotated[int, Option(min=1, help="Good training pictures a category, exactly.")] = 400,
    defects: Annotated[
        int | None, Option(min=1, help="Defective pictures a category, too, masks moved.")
    ] = None,
    making: opt.Making,
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
    originals = _originals(dataset, out, making)
    made = plan_augmentation(originals, plans, target=target, defects=defects, seed=making.seed)
    _carry_out(made, dataset, out, making)


@opt.grouped
def poisson(
    dataset: opt.Dataset,
    *,
    out: Out,
    factor: Annotated[float, Option(help="Defective pictures after / before; 2 doubles.")] = 2.0,
    gradients: Annotated[
        str, Option(metavar="normal|mixed|both", help="Whose gradients a blend keeps.")
    ] = "both",
    defect_turn: Annotated[float, Option(help="Most degrees a defect is turned by.")] = 15.0,
    scale: Annotated[tuple[float, float], Option(help="Least and greatest factor of its size.")] = (
        0.85,
        1.15,
    ),
    segmenter: Annotated[
        str, Option(metavar="default|sam:DIR", help="What finds the product.")
    ] = "default",
    flip: Annotated[
        bool, Option("--flip", help="Then mirror whole pictures, or put them upside down.")
    ] = False,
    turn: Annotated[
        bool, Option("--turn", help="Then turn whole pictures by right angles.")
    ] = False,
    making: opt.Making,
) -> None:
    """Blend labelled defects onto other good parts: more test pictures with exact masks.

    A defect lands on the product, in its pose, clear of other defects; blends with a seam, a false
    colour or nothing to see are thrown away. The new set holds the old one and more.

    Where blends look too much like the pictures they are made of, --flip and --turn move each made
    picture and its mask alike, without loss; index.csv says how. Not for products whose mirror
    image is a defect (a thread, print, a left part in a right part's place), nor for those that
    must lie one way: their good parts would be made bad, and the mask would not say so.

    Example: anomalyst data poisson sets/bolts --factor 2 --out sets/bolts-doubled

    Moved, too: anomalyst data poisson sets/bolts --flip --turn --out sets/bolts-moved
    """
    needs("train", "sklearn", "kornia")
    from anomalyst.config import from_mapping
    from anomalyst.datasets.builders.poisson import plan_transplants, seam_note
    from anomalyst.synthetic.anomalies.transplant import TransplantConfig

    values = {"gradients": gradients, "turn_degrees": defect_turn, "scales": scale}
    config = from_mapping(TransplantConfig, values, where="data poisson")
    originals = _originals(dataset, out, making)
    made = plan_transplants(
        originals,
        factor=factor,
        seed=making.seed,
        config=config,
        segmenter=segmenter,
        flip=flip,
        turn=turn,
    )
    _carry_out(made, dataset, out, making, also=seam_note)


@opt.grouped
def synthesize(
    dataset: opt.Dataset,
    *,
    out: Out,
    method: Annotated[
        str, Option(metavar="mixed|patch-blend|cutpaste|perlin|world", help="How they are made.")
    ] = "mixed",
    count: Annotated[
        int | None, Option(help="Made pictures a category.", show_default="as many as train")
    ] = None,
    constants: Annotated[
        str, Option(metavar="estimated|mvtec|visa|aebad", help="What is known of the product.")
    ] = "estimated",
    making: opt.Making,
) -> None:
    """Plant defects on good training pictures, with masks: something to train on without any.

    They lie in train/METHOD beside train/good, and the new set holds the old one, too.

    Example: anomalyst data synthesize sets/bolts --method world --count 200 --out sets/bolts-world
    """
    needs("train", "sklearn", "kornia")
    from anomalyst.datasets.builders.synthesize import plan_synthesis

    originals = _originals(dataset, out, making)
    made = plan_synthesis(
        originals, method=method, count=count, constants=constants, seed=making.seed
    )
    _carry_out(made, dataset, out, making)


def _originals(dataset: Path, out: Path, making: opt.Making) -> "Originals":
    from anomalyst.datasets.builders.source_set import read_originals

    with progress("Looking over") as bar:
        return read_originals(dataset, out, categories=making.category or (), on_progress=bar.show)


def _carry_out(
    plan: "MakingPlan",
    source: Path,
    out: Path,
    making: opt.Making,
    *,
    also: "Callable[[Path, Filled], str] | None" = None,
) -> None:
    """Say what is to come, make it, write the sheet, say what came of it."""
    from anomalyst.datasets.builders.build_job import fill
    from anomalyst.datasets.builders.contact_sheet import write_sheet
    from anomalyst.datasets.builders.plan import HEADS

    for row in plan.faults:
        say(f"Left out {row.path}: {row.reason}")
    said = plan.sentences()
    print_table(plan.title, HEADS, [tuple(map(str, row)) for row in plan.balance])
    if making.dry_run:
        for text in said:
            typer.echo(text)
        typer.echo(f"Would be written to {out}: {len(plan.jobs)} pictures. Nothing was written.")
        return
    with progress("Making", len(plan.jobs)) as bar:
        filled = fill(out, plan.jobs, plan.settings, workers=making.workers, on_picture=bar.advance)
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

"""`anomalyst teach`: learn a product from good pictures."""

from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from anomalyst.cli.loading import load_inspector
from anomalyst.cli.screen import (
    Adapt,
    Device,
    EncoderName,
    Precision,
    Products,
    SideOption,
    SmallestDefect,
    pictures_in,
    progress,
    say,
)

if TYPE_CHECKING:
    from anomalyst.teaching.known_defects.defects import KnownDefects


def teach(
    name: Annotated[str, typer.Argument(help="What to call the product.", show_default=False)],
    good: Annotated[
        list[Path],
        typer.Argument(metavar="GOOD...", help="Good pictures, or folders.", show_default=False),
    ],
    products: Products = Path("products"),
    pose: Annotated[
        str, typer.Option(metavar="auto|fixed|free", help="Does it lie any way round?")
    ] = "auto",
    encoder: EncoderName = None,
    precision: Precision = "auto",
    device: Device = "auto",
    side: SideOption = None,
    smallest_defect_px: SmallestDefect = None,
    adapt: Adapt = None,
    describe: Annotated[
        str,
        typer.Option(metavar="TEXT", help="What to know of it, as in 'the print should read 500'."),
    ] = "",
    bad: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="BAD", help="3 to 50 defective pictures, or folders of them; may be repeated."
        ),
    ] = None,
    bad_masks: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Their masks: NAME.png or NAME_mask.png of each NAME."),
    ] = None,
    cost_missed: Annotated[
        float | None,
        typer.Option(metavar="COST", help="Of a missed defect; goes with --bad.", show_default="1"),
    ] = None,
    cost_alarm: Annotated[
        float | None,
        typer.Option(metavar="COST", help="Of a false alarm; goes with --bad.", show_default="1"),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Forget what it was taught before.")
    ] = False,
) -> None:
    """Make a product from good pictures, or add them to one that exists.

    One picture is enough to inspect with; 19 or more calibrate a false-alarm rate of 5 %.

    With a few known defects (--bad) the threshold is the one that costs least on these pictures,
    each left out in turn; scale shares, and from 10 defects on a trained head, are taken only where
    they clearly help. What was chosen and why is said, and kept with the product.

    Example: anomalyst teach bolt pictures/good/
    Example: anomalyst teach bolt pictures/good/ --smallest-defect-px 12 --replace
    Example: anomalyst teach bolt pictures/good/ --bad pictures/bad/ --cost-missed 20 --cost-alarm 1
    """
    from anomalyst.errors import AnomalystError
    from anomalyst.product import Product
    from anomalyst.product_index import check_name
    from anomalyst.teaching.fine_tuning import AdaptationConfig

    check_name(name)
    if pose not in ("auto", "fixed", "free"):
        raise AnomalystError(f"--pose {pose!r}: is none of auto, fixed, free.")
    pictures = pictures_in(good)
    folder = products / name
    if folder.exists() and not (folder / "product.json").exists():
        # With --replace, too: this may be somebody's folder of pictures.
        raise AnomalystError(
            f"{folder}: is there and is no product; choose another name, or another --products."
        )
    known = Product.load(folder) if folder.exists() and not replace else None
    before = known.bad if known else None
    defects = _known_defects(bad or [], bad_masks, (cost_missed, cost_alarm), before)
    inspector = load_inspector(
        encoder or (known.encoder if known else "embedded"), None, precision, device, "auto",
        side, smallest_defect_px,
    )  # fmt: skip
    total = len(pictures) + (known.num_references if known else 0)
    total += len(defects.pictures) if defects else 0
    with progress("Looking at pictures", total) as (bar, task):
        fitted, looked = count(1), count(1)

        def look(_: Path) -> None:
            rounds, done = divmod(next(looked) - 1, total)
            said = "Leaving each out in turn" if rounds else "Looking at pictures"
            bar.update(task, description=said, completed=done + 1, total=total)  # type: ignore[arg-type]

        def fit() -> None:
            steps = AdaptationConfig().steps
            bar.update(task, description="Fitting to it", completed=next(fitted), total=steps)  # type: ignore[arg-type]

        product = inspector.teach(
            name,
            pictures,
            bad=defects,
            product=known,
            pose=pose,  # type: ignore[arg-type]
            adapted=adapt,
            on_picture=look,
            on_step=fit,
        )
    product.description = describe or product.description
    product.save(folder)
    for note in product.notes:
        say(note)
    if product.side_reason:
        typer.echo(f"{name}: {product.side_reason}.")
    how = "added to" if known else "taught"
    typer.echo(
        f"{name}: {how}, {product.num_references} good picture"
        f"{'' if product.num_references == 1 else 's'}, pose {product.pose}, "
        f"{'fitted to it' if product.head else 'not fitted'}. Saved in {folder}."
    )
    if product.rule:
        from anomalyst.teaching.known_defects.summary import told

        typer.echo("\n".join(told(product.rule)))
    if product.notes:
        raise typer.Exit(2)


def _known_defects(
    bad: list[Path],
    masks: Path | None,
    costs: tuple[float | None, float | None],
    before: "KnownDefects | None",
) -> "KnownDefects | None":
    """The pictures given, or those the product was taught with before; new costs for either."""
    from dataclasses import replace

    from anomalyst.calibration.operating_rule import Costs
    from anomalyst.errors import AnomalystError
    from anomalyst.teaching.known_defects.defects import KnownDefects, masks_of

    if masks is not None and not bad:
        raise AnomalystError(f"--bad-masks {masks}: goes with --bad, the pictures they belong to.")
    missed, alarm = costs
    if not bad and before is None:
        if missed is not None or alarm is not None:
            raise AnomalystError(
                "--cost-missed and --cost-alarm set the threshold between good and defective "
                "pictures; give 3 or more defective ones with --bad."
            )
        return None
    old = before.costs if before else Costs()
    weighed = Costs(
        missed=old.missed if missed is None else missed, alarm=old.alarm if alarm is None else alarm
    )
    if not bad:
        return replace(before, costs=weighed) if before else None
    pictures = tuple(dict.fromkeys(pictures_in(bad)))
    return KnownDefects(
        pictures=pictures, masks=masks_of(pictures, masks) if masks else {}, costs=weighed
    )

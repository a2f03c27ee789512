"""`anomalyst teach`: learn a product from good pictures."""

import dataclasses
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from anomalyst.cli import options as opt
from anomalyst.cli.areas import AreaFiles
from anomalyst.cli.loading import load_inspector, picture_encoder
from anomalyst.cli.odd import OddOnes
from anomalyst.cli.screen import Bar, pictures_in, progress, say
from anomalyst.cli.senses import SenseFiles, SenseReading
from anomalyst.errors import AnomalystError

if TYPE_CHECKING:
    from anomalyst.product import Product
    from anomalyst.teaching.known_defects.defects import KnownDefects


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Defects:
    """A few defective pictures, and what mistakes cost."""

    bad: Annotated[
        list[Path] | None,
        Option(
            metavar="BAD", help="3 to 50 defective pictures, or folders of them; may be repeated."
        ),
    ] = None
    bad_masks: Annotated[
        Path | None,
        Option(metavar="DIR", help="Their masks: NAME.png or NAME_mask.png of each NAME."),
    ] = None
    cost_missed: Annotated[
        float | None,
        Option(metavar="COST", help="Of a missed defect; goes with --bad.", show_default="1"),
    ] = None
    cost_alarm: Annotated[
        float | None,
        Option(metavar="COST", help="Of a false alarm; goes with --bad.", show_default="1"),
    ] = None


ONLY_TAUGHT = (
    "product {name!r}: --bad, --roi, --ignore, --on-product and --adapt are for teaching; give "
    "good pictures, too, or decide on the odd ones alone."
)


@opt.grouped
def teach(
    name: Annotated[str, Argument(help="What to call the product.")],
    good: Annotated[
        list[Path] | None, Argument(metavar="GOOD...", help="Good pictures, or folders.")
    ] = None,
    *,
    files: SenseFiles,
    products: opt.Products = Path("products"),
    pose: Annotated[str, Option(metavar="auto|fixed|free", help="May it lie turned?")] = "auto",
    encoder: opt.EncoderName = None,
    precision: opt.Precision = "auto",
    device: opt.Device = "auto",
    size: opt.Size,
    adapt: opt.Adapt = None,
    describe: opt.About = "",
    reading: SenseReading,
    defects: Defects,
    areas: AreaFiles,
    odd: OddOnes,
    replace: Annotated[bool, Option("--replace", help="Forget what it was taught before.")] = False,
    tolerance: Annotated[
        bool,
        Option(help="Find out how far light, place, turn and focus may differ (a second)."),
    ] = True,
) -> None:
    """Make a product from good pictures, or add them to one that exists.

    One picture is enough to inspect with; 19 or more calibrate a false-alarm rate of 5 %.

    With a few known defects (--bad) the threshold is the one that costs least on these pictures,
    each left out in turn; scale shares, and from 10 defects on a trained head, are taken only where
    they clearly help. What was chosen and why is said, and kept with the product.

    With --roi and --ignore only some places count, drawn on the first good picture; `anomalyst
    areas` shows and changes them.

    A good picture that looks odd beside the others may show a defect, which would be missed from
    then on: it is named with its place and drawn. A terminal is asked; a script says --keep-odd or
    --leave-odd-out, now or in a later call without pictures. Until then the product is taught with
    it, every inspection says so, and this ends with code 2.

    Other senses are taught alike, alone or with pictures of the same parts: files of one part have
    one name. From 19 good parts on, one verdict of all senses keeps the false-alarm rate.

    Example: anomalyst teach bolt pictures/good/
    Example: anomalyst teach pump --series good/*.csv
    Example: anomalyst teach weld pictures/good/ --audio sounds/good/ --thermal heat/ --thermal-unit
    cK
    Example: anomalyst teach bolt pictures/good/ --smallest-defect-px 12 --replace
    Example: anomalyst teach bolt pictures/good/ --ignore cable=cable.json --on-product
    Example: anomalyst teach bolt pictures/good/ --leave-odd-out
    Example: anomalyst teach bolt --keep-odd
    Example: anomalyst teach bolt pictures/good/ --bad pictures/bad/ --cost-missed 20 --cost-alarm 1
    """
    from anomalyst.inspection.parts import paired, ways_taught
    from anomalyst.io.deep_pictures import AS_FILES_SAY
    from anomalyst.io.pictures import reading_of
    from anomalyst.product_index import check_name

    check_name(name)
    if pose not in ("auto", "fixed", "free"):
        raise AnomalystError(f"--pose {pose!r}: is none of auto, fixed, free.")
    given = files.found(good or [], below=False)
    before = _taught_before(products / name, replace)
    compute = opt.Compute(precision=precision, device=device)
    if not given and before is not None and before.undecided:
        if defects.bad or areas.given or adapt is not None:
            raise AnomalystError(ONLY_TAUGHT.format(name=name))
        _decide(before, products / name, odd, compute, describe)
        return
    if not given:
        raise AnomalystError(_nothing_given(name, odd.decided and before is not None))
    bad = _known_defects(defects, before.bad if before else None)
    if set(given) != {"image"}:
        _refuse_for_other_senses(defects, areas, adapt)
    how = reading.reading()
    how.senses(list(given), ways_taught(before))  # refused before the model is read
    encoder = encoder or (picture_encoder(before) if before else "embedded")
    inspector = load_inspector(encoder, compute, size)
    pictures = given.get("image", [])
    known = [*(before.references if before else ()), *pictures]
    drawn = None
    if areas.given:
        asked = how.pictures(before) or (before.reading if before else AS_FILES_SAY)
        drawn = areas.on(known[0], before.areas if before else None, reading_of(known, asked))
    total = sum(map(len, given.values())) + (before.num_references if before else 0)
    total += len(bad.pictures) if bad else 0
    with progress("Looking at pictures" if pictures else "Reading files", total) as bar:
        if set(given) == {"image"}:
            steps = _Steps(bar, total)
            product = inspector.teach(
                name,
                pictures,
                bad=bad,
                product=before,
                reading=how.pictures(before),
                areas=drawn,
                pose=pose,  # type: ignore[arg-type]
                adapted=adapt,
                on_picture=steps.look,
                on_step=steps.fit,
            )
        else:
            product = inspector.teach_part(
                name,
                paired(given),
                how,
                product=before,
                pose=pose,  # type: ignore[arg-type]
                on_file=bar.advance,
            )
    learnt = [product, *product.companions.values()]
    wanted = len(next(iter(given.values()))) + (before.num_references if before else 0)
    short = any(one.num_references < wanted for one in learnt)
    product = odd.settle(product, partial(inspector.without, adapted=adapt))
    if tolerance:
        product.tolerance = inspector.tolerance(product)
    product.description = describe or product.description
    product.save(products / name)
    # Of photographs every note is about one that is bad or odd; of recordings most say how they
    # were read.
    incomplete = bool(product.remarks)
    if set(given) != {"image"}:
        incomplete = short or bool(product.undecided)
    _tell(product, "added to" if before else "taught", products / name, incomplete)


def _refuse_for_other_senses(defects: Defects, areas: AreaFiles, adapt: bool | None) -> None:
    if defects.bad or adapt is not None:
        raise AnomalystError("--bad and --adapt are for photographs alone; leave them out.")
    if areas.given:
        raise AnomalystError("--roi, --ignore and --on-product are for photographs alone.")


def _nothing_given(name: str, to_decide: bool) -> str:
    if to_decide:
        return (
            f"product {name!r}: no good picture that looks odd waits to be decided on; give good "
            "pictures to teach it more."
        )
    return (
        f"product {name!r}: give good pictures, or files with --depth, --thermal, --audio or "
        "--series."
    )


def _decide(
    product: "Product", folder: Path, odd: OddOnes, compute: opt.Compute, describe: str | None
) -> None:
    """Decide on the odd pictures of a product that was taught before."""

    def without(product: "Product", images: list[Path]) -> "Product":
        inspector = load_inspector(picture_encoder(product), compute)
        return inspector.without(product, images)

    before, product = product, odd.settle(product, without)
    product.description = describe or product.description
    if product is not before or describe:
        product.save(folder)
    _tell(product, "decided on", folder, bool(product.undecided))


def _taught_before(folder: Path, replace: bool) -> "Product | None":
    """The product that is added to. AnomalystError where something else lies in its place."""
    from anomalyst.product import Product

    if folder.exists() and not (folder / "product.json").exists():
        # With --replace, too: this may be somebody's folder of pictures.
        raise AnomalystError(
            f"{folder}: is there and is no product; choose another name, or another --products."
        )
    return Product.load(folder) if folder.exists() and not replace else None


class _Steps:
    """What is being done, for the progress bar."""

    def __init__(self, bar: Bar, total: int):
        self.bar, self.total, self.looked, self.fitted = bar, total, count(), count(1)

    def look(self, _: Path) -> None:
        rounds, done = divmod(next(self.looked), self.total)
        self.bar.describe("Leaving each out in turn" if rounds else "Looking at pictures")
        self.bar.show(done + 1, self.total)

    def fit(self) -> None:
        from anomalyst.teaching.fine_tuning import AdaptationConfig

        self.bar.describe("Fitting to it")
        self.bar.show(next(self.fitted), AdaptationConfig().steps)


def _tell(product: "Product", how: str, folder: Path, incomplete: bool) -> None:
    """What was taught, and its rule; ends with code 2 if something was left out."""
    notes = [*product.remarks, *(n for one in product.companions.values() for n in one.remarks)]
    for note in notes:
        say(note)
    if product.areas:
        typer.echo(f"{product.name}: {product.areas.sentence}")
    if product.side_reason:
        typer.echo(f"{product.name}: {product.side_reason}.")
    if product.reading.told:
        typer.echo(f"{product.name}: {product.reading.told}.")
    typer.echo(f"{product.name}: {how}, {_what(product)}. Saved in {folder}.")
    if product.tolerance:
        typer.echo(f"{product.name}: good pictures stay good with {product.tolerance.told}.")
    if product.rule:
        from anomalyst.teaching.known_defects.summary import told

        typer.echo("\n".join(told(product.rule)))
    if incomplete:
        raise typer.Exit(2)


def _what(product: "Product") -> str:
    """What it was taught from, in words."""
    count = product.num_references
    if product.sense is None and not product.companions:
        return (
            f"{count} good picture{'' if count == 1 else 's'}, pose {product.pose}, "
            f"{'fitted to it' if product.head else 'not fitted'}"
        )
    from anomalyst.inspection.parts import listed, senses_of

    senses = senses_of(product)
    told = f"{count} good part{'' if count == 1 else 's'} by {listed(list(senses))}"
    if len(senses) == 1:
        return told
    return told + (", calibrated together" if product.joint else ", each calibrated by itself")


def _known_defects(given: Defects, before: "KnownDefects | None") -> "KnownDefects | None":
    """The pictures given, or those the product was taught with before; new costs for either."""
    from anomalyst.calibration.operating_rule import Costs
    from anomalyst.teaching.known_defects.defects import KnownDefects, masks_of

    masks, bad = given.bad_masks, given.bad
    if masks is not None and not bad:
        raise AnomalystError(f"--bad-masks {masks}: goes with --bad, the pictures they belong to.")
    asked = {"missed": given.cost_missed, "alarm": given.cost_alarm}
    changed = {name: cost for name, cost in asked.items() if cost is not None}
    if not bad and before is None:
        if changed:
            raise AnomalystError(
                "--cost-missed and --cost-alarm set the threshold between good and defective "
                "pictures; give 3 or more defective ones with --bad."
            )
        return None
    costs = dataclasses.replace(before.costs if before else Costs(), **changed)
    if not bad:
        return dataclasses.replace(before, costs=costs) if before else None
    pictures = tuple(dict.fromkeys(pictures_in(bad, below=False)))
    return KnownDefects(
        pictures=pictures, masks=masks_of(pictures, masks) if masks else {}, costs=costs
    )

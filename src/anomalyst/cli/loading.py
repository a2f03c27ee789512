"""What a command inspects with: the inspector, and the product that is named or taught at once."""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from anomalyst.cli.options import (
    NO_MASKS,
    OWN_SIZE,
    PICTURES_ALONE,
    Comparison,
    Compute,
    Judging,
    Masks,
    Size,
    TextTower,
)
from anomalyst.cli.screen import pictures_in, progress
from anomalyst.errors import AnomalystError

if TYPE_CHECKING:
    from collections.abc import Callable

    from anomalyst.inspection.config import Words
    from anomalyst.inspection.lineup import Lineup
    from anomalyst.inspector import Inspector
    from anomalyst.product import Product
    from anomalyst.types import Inspection


def inspector_and_product(
    comparison: Comparison,
    judging: Judging,
    compute: Compute,
    size: Size = OWN_SIZE,
    language: Path | None = None,
    text: TextTower = PICTURES_ALONE,
    called: str | None = None,
    masks: Masks = NO_MASKS,
) -> "tuple[Inspector, Product]":
    """The inspector and the product that the options name; exactly one of them must be given."""
    from anomalyst.inspection.file_reading import FileReading
    from anomalyst.inspection.quality import checked_quality, refuse_other_quality
    from anomalyst.product import UNNAMED, find_product

    product, references = comparison.product, comparison.reference or []
    given = (product is not None) + bool(references) + comparison.zero_shot
    if given == 0:
        raise AnomalystError(
            "nothing to compare with: give --reference GOOD, a picture of a good part, "
            "--product NAME after `anomalyst teach NAME GOOD...`, or --zero-shot if there is none."
        )
    if given > 1:
        raise AnomalystError(
            "--product, --reference and --zero-shot exclude each other; give one of them."
        )
    if product is not None and text.text_tower is not None:
        raise AnomalystError(
            "--text-tower goes with --reference or --zero-shot; a taught product was calibrated "
            "without words."
        )
    if called is not None and text.text_tower is None:
        raise AnomalystError("--name is for a text tower's words; give --text-tower DIR, too.")
    reading = FileReading(bit_depth=comparison.bit_depth, bayer=comparison.bayer).pictures()
    if product is not None and reading is not None:
        raise AnomalystError(
            "--bit-depth and --bayer go with --reference or --zero-shot; a product keeps how its "
            "pictures were read when it was taught."
        )
    known = find_product(product, judging.products) if product is not None else None
    encoder = judging.encoder or (picture_encoder(known) if known else "embedded")
    if known is not None:
        refuse_other_quality(checked_quality(size.quality), known.quality, known.name)
    words = text.asked(called or "object")
    inspector = load_inspector(encoder, compute, size, language, words, masks)
    if comparison.zero_shot:
        known = inspector.untaught()
        known.reading = reading or known.reading
    elif known is None:
        pictures = pictures_in(references, below=False)
        with progress("Looking at good pictures", len(pictures)) as bar:
            known = inspector.teach(UNNAMED, pictures, reading=reading, on_picture=bar.advance)
    known.description = judging.about or known.description
    return inspector, known


AUTO = "auto"  # in a product's place: the one that each picture shows


def asks_which(name: str | None, products: Path) -> bool:
    """Whether the product is to be found by each picture; one that is called so is itself."""
    return name == AUTO and not (products / AUTO).exists()


def inspector_and_lineup(
    judging: Judging, compute: Compute, language: Path | None, masks: Masks
) -> "tuple[Inspector, Lineup]":
    """The inspector, and all taught products that it can tell apart by a picture."""
    taught = _taught(judging.products)
    if not taught:
        raise AnomalystError(
            f"--product auto: {judging.products} holds no product of photographs; teach one first: "
            "`anomalyst teach NAME GOOD...`, or give --products DIR."
        )
    encoder = judging.encoder or taught[0].encoder
    inspector = load_inspector(encoder, compute, language=language, masks=masks)
    return inspector, inspector.lineup(taught)


def suggesting(inspector: "Inspector", products: Path) -> "Callable[[Inspection], Inspection]":
    """Names the taught product that an unfit picture looks like; they are read when one is met."""
    from functools import cache

    from anomalyst.inspection.lineup import with_suggestion

    taught = cache(lambda: _taught(products))

    def named(found: "Inspection") -> "Inspection":
        if found.unfit is None:
            return found
        return with_suggestion(found, inspector.pipeline, taught())

    return named


def _taught(products: Path) -> "list[Product]":
    """The products of photographs; one that is damaged is passed over."""
    from anomalyst.product import find_product
    from anomalyst.product_index import photograph_products

    found = []
    for name in photograph_products(products):
        with suppress(AnomalystError):
            found.append(find_product(name, products))
    return found


def picture_encoder(product: "Product") -> str:
    """What a product's pictures are seen with; one of recordings alone takes the shipped one."""
    from anomalyst.inspection.signals import SIGNAL_ENCODER

    seen = [one.encoder for one in (product, *product.companions.values())]
    return next((one for one in seen if one != SIGNAL_ENCODER), "embedded")


def load_inspector(
    encoder: str,
    compute: Compute,
    size: Size = OWN_SIZE,
    language: Path | None = None,
    words: "Words | None" = None,
    masks: Masks = NO_MASKS,
) -> "Inspector":
    """The inspector of an encoder, with another language model than the shipped one if asked."""
    from anomalyst.inspection.config import EMBEDDED_LANGUAGE, InspectorConfig
    from anomalyst.inspection.quality import checked_quality
    from anomalyst.inspector import Inspector
    from anomalyst.io.working_side import checked_side

    config = InspectorConfig(
        precision=compute.precision,  # type: ignore[arg-type]
        device=compute.device,  # type: ignore[arg-type]
        engine=compute.engine,  # type: ignore[arg-type]
        side_px=checked_side(size.side, size.smallest_defect_px),
        smallest_defect_px=size.smallest_defect_px,
        quality=checked_quality(size.quality),
        language=language or EMBEDDED_LANGUAGE,
        words=words,
        refine=masks.refine or masks.panoptic,
        segmenter=masks.segmenter,
    )
    return Inspector.load(encoder, config)

"""What a command inspects with: the inspector, and the product that is named or taught at once."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from anomalyst.cli.screen import (
    pictures_in,
    progress,
)

if TYPE_CHECKING:
    from anomalyst.inspector import Inspector
    from anomalyst.product import Product


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

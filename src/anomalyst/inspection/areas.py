"""Areas that count: on a product's first good picture, and moved onto each query."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from anomalyst.detection.counted import Counting, OnQuery
from anomalyst.detection.pose import Laid, Pose, laid, laid_back
from anomalyst.detection.scoring import Evidence
from anomalyst.errors import AnomalystError, PictureError
from anomalyst.inspection.preprocessing import Prepared
from anomalyst.inspection.seen import look_at
from anomalyst.io.areas import Area, Areas, areas_from, refuse_senses
from anomalyst.io.geometry import Frame, Views, resize
from anomalyst.io.masks import packed
from anomalyst.synthetic.foreground import has_outline, product_mask
from anomalyst.types import Mask

if TYPE_CHECKING:
    from anomalyst.product import Product

PRODUCT_MARGIN = 0.02  # of the picture's side: the product's edge counts, and a burr on it
MOSTLY_SEEN = 0.5  # of the area that counts; of a part that reaches further out it is noted


def refuse_areas(areas: Areas | None, product: str, *, first: bool, bad: bool) -> None:
    """Raise AnomalystError where a product's areas cannot be kept.

    `first`: its first good picture can be read; `bad`: it has known defects.
    """
    if not areas:
        return
    if not first:
        raise AnomalystError(
            f"product {product!r}: its first good picture, which its areas are drawn on, cannot be "
            "read; put it back, or teach the product anew with --replace."
        )
    if bad:
        raise AnomalystError(
            f"product {product!r}: the threshold that known defects set is of whole pictures and "
            "cannot be set anew for areas yet; leave out --bad (or what people judged), or the "
            "areas."
        )


def refuse_product(product: "Product") -> None:
    """Raise AnomalystError for a product that can have no areas: they are drawn on photographs."""
    if product.sense is not None or product.companions:
        refuse_senses(product.name, [product.sense_kind, *product.companions])


def first_views(product: "Product") -> Views:
    """The first good picture, cut into canvases; read once a product.

    Raises PictureError where it can no longer be read.
    """
    if product.first is None:
        assert product.frame is not None  # a taught product has one
        product.first = product.frame.cut(look_at(product, product.references[0]))
    return product.first


def first_size(product: "Product") -> tuple[int, int]:
    """Height and width of the picture that areas are drawn on."""
    refuse_product(product)
    assert product.frame is not None  # a taught product has one
    return product.frame.size_hw


def areas_on_first(
    product: "Product", drawn: Sequence[Mapping[str, Any]], *, on_product: bool
) -> Areas | None:
    """Areas as plain values (io/areas.py) on the product's first good picture; None for none.

    Raises AnomalystError as `areas_from`, `Areas` and `where_product_is` do.
    """
    size_hw = first_size(product)
    before = product.areas
    beside = before.product if before else None
    if on_product and beside is None:
        beside = where_product_is(look_at(product, product.references[0]))
    found = Areas(
        size_hw=size_hw,
        drawn=areas_from(list(drawn), size_hw),
        product=beside if on_product else None,
    )
    return found or None


def redrawn(areas: Areas, picture: np.ndarray, other: np.ndarray, name: str) -> Areas:
    """Areas of one good picture, uint8 (H, W, 3), on another one, called `name`: as masks there.

    Raises AnomalystError where the product is not found again on it.
    """
    size_hw = (other.shape[0], other.shape[1])
    frame = Frame(size_hw, size_hw, ((0, 0, size_hw[1], size_hw[0]),))
    drawn = []
    for area in areas.drawn:
        covered = packed(resize(area.covered(areas.size_hw).astype(np.float32), size_hw) > 0.5)
        alone = Areas(size_hw=size_hw, drawn=(Area(name=area.name, use="roi", mask=covered),))
        view = frame.cut(resize(picture, size_hw))
        counting = Counting.of(alone, frame, view.canvases, view.placements[0])
        on = counting.on([other], [None])
        if not on.movement.found:
            raise AnomalystError(
                f"the areas cannot be laid on {name}: it resembles the picture that they are drawn "
                "on too little; draw them on one of the pictures taught."
            )
        drawn.append(Area(name=area.name, use=area.use, mask=packed(on.parts[0].kept)))
    return Areas(size_hw=size_hw, drawn=tuple(drawn))


def where_product_is(picture: np.ndarray) -> Mask:
    """The product on its first good picture, uint8 (H, W, 3), and a little round it.

    Raises AnomalystError where nothing can be told from it.
    """
    product = product_mask(picture)
    if not has_outline(product):
        raise AnomalystError(
            "--on-product: no background is seen on the first good picture, so nothing lies beside "
            "the product; draw an area with --roi instead."
        )
    margin = max(1, round(PRODUCT_MARGIN * max(product.shape)))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * margin + 1, 2 * margin + 1))
    return packed(cv2.dilate(product.astype(np.uint8), disc) > 0)


def on_query(views: Views, product: "Product") -> OnQuery | None:
    """What counts on a query's canvases; None for a product without areas."""
    return _counting(product).on(views.canvases, views.placements) if product.areas else None


def on_laid(canvas: np.ndarray, shown: Laid, product: "Product") -> OnQuery | None:
    """The same on a canvas, uint8 (h, w, 3), that is laid as the good picture lies."""
    return _counting(product).on([canvas], [shown]) if product.areas else None


def counted_places(one: Prepared, pose: Pose, product: "Product") -> np.ndarray | None:
    """Bool (H, W) over the query: what counts. None where all does."""
    if pose.upright or not product.areas:
        return None if one.counted is None else _joined(one, [c.kept for c in one.counted.parts])
    import torch

    canvas = one.views.canvases[0]
    on = on_laid(laid(canvas, pose), Laid(pose, one.views.placements[0]), product)
    assert on is not None
    one.counted = on
    kept = torch.from_numpy(on.parts[0].kept.astype(np.float32))[None, None]
    back, inside = laid_back(kept, pose)
    whole = torch.where(inside, back, float(product.areas.beyond))
    return _joined(one, [whole[0, 0].numpy() > 0.5])


def _joined(one: Prepared, kept: Sequence[np.ndarray]) -> np.ndarray:
    return one.views.join([part.astype(np.float32) for part in kept]) > 0.5


def check_counted(one: Prepared, evidence: Sequence[Evidence]) -> None:
    """Raise PictureError where nothing of the picture counts."""
    if all(part.score == -np.inf for part in evidence):
        raise PictureError(
            one.image,
            "shows nothing of the areas that are looked at: the part lies too far off beside the "
            "first good picture.",
        )


def notes_of(one: Prepared, kept: np.ndarray, areas: Areas) -> tuple[str, ...]:
    """What a person should know of the areas on one picture; `kept` is `counted_places`."""
    notes = [areas.sentence]
    assert one.counted is not None
    if not one.counted.movement.found:
        notes.append(
            "The picture resembles the first good one too little for the areas to follow the part; "
            "they lie where they were drawn."
        )
    if not areas.beyond and (share := kept.mean() / areas.counted.mean()) < MOSTLY_SEEN:
        notes.append(f"Only {share:.0%} of what is looked at lies in the picture.")
    return tuple(notes)


def _counting(product: "Product") -> Counting:
    """The areas on the first good picture; made once a product."""
    if product.counting is None:
        assert product.frame is not None and product.areas is not None
        first = first_views(product)
        product.counting = Counting.of(
            product.areas, product.frame, first.canvases, first.placements[0]
        )
    return product.counting

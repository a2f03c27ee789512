"""What is to be known of a product before a defect can be planted: from a table, or estimated."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import cv2
import numpy as np
import yaml

from anomalyst.config import from_mapping
from anomalyst.errors import AnomalystError
from anomalyst.io.geometry import resize
from anomalyst.synthetic.foreground import by_brightness, product_mask

ESTIMATED = "estimated"
COMPARED = 12  # good pictures that an estimate looks at
COMPARED_PX = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What patch blending is told of a product."""

    height: tuple[float, float] = (0.03, 0.4)
    """Least and greatest height of a patch, as shares of the picture's."""
    width: tuple[float, float] = (0.03, 0.4)
    """The same across."""
    steepness: float = 1 / 12
    """Of the logistic that turns a change into a soft label, per grey level."""
    middle: float = 24.0
    """The change in grey levels whose soft label is one half."""
    background: tuple[int, int] | None = None
    """Brightness of what is not the product, and how far from it the product is; None: found."""
    resize: tuple[float, float] = (0.7, 1.3)
    """Least and greatest factor by which a patch is rescaled."""

    def product(self, picture: np.ndarray) -> np.ndarray:
        """Where the product is: bool (H, W)."""
        if self.background is None:
            return product_mask(picture)
        found = by_brightness(picture, *self.background)
        return found if found.any() else np.ones_like(found)

    def soft_label(self, change: np.ndarray) -> np.ndarray:
        """Change in grey levels, uint8 (H, W) -> float32 (H, W) in [0, 1]: how anomalous it is.

        NSA: the logistic of the median-filtered change where anything changed at all, so a patch
        that equals what it covers is normal.
        """
        touched = cv2.medianBlur((change > 1).astype(np.uint8), 5)
        smooth = cv2.medianBlur(change, 11).astype(np.float32)
        label = touched / (1 + np.exp(-self.steepness * (smooth - self.middle)))
        return np.asarray(label, np.float32)


def traits_for(product: str, constants: str, good: Sequence[np.ndarray]) -> Traits:
    """The traits of a product from a table (`mvtec`, `visa`, `aebad`), or estimated from `good`.

    Raises AnomalystError if there is no such table, or it does not hold the product.
    """
    if constants == ESTIMATED:
        return estimated(good)
    tables = _tables()
    if constants not in tables:
        raise AnomalystError(
            f"There are no constants {constants!r}; there are {', '.join([*tables, ESTIMATED])}."
        )
    if product not in tables[constants]:
        raise AnomalystError(
            f"The constants of {constants} hold no product {product!r}; they hold "
            f"{', '.join(tables[constants])}. Use --constants {ESTIMATED}."
        )
    return tables[constants][product]


def estimated(good: Sequence[np.ndarray]) -> Traits:
    """Traits of any product from its good pictures, uint8 (H, W, 3) of any sizes.

    Patches are at most three fifths of the product's extent, and what differs between two good
    pictures now and then (the 99th percentile, after a median) gets the soft label one half.
    """
    shown = [resize(one, (COMPARED_PX, COMPARED_PX)) for one in good[:COMPARED]]
    extents = np.array([_extent(product_mask(one, refined=False)) for one in shown])
    height, width = np.clip(0.6 * np.median(extents, axis=0), 0.08, 0.4)
    middle = 24.0
    if len(shown) > 1:
        greys = [cv2.cvtColor(one, cv2.COLOR_RGB2GRAY) for one in shown]
        pairs = zip(greys, greys[1:] + greys[:1], strict=True)
        changes = [cv2.medianBlur(cv2.absdiff(a, b), 5) for a, b in pairs]
        middle = float(np.clip(np.percentile(changes, 99), 5, 24))
    tall, wide = (0.03, float(height)), (0.03, float(width))
    return Traits(height=tall, width=wide, steepness=2 / middle, middle=middle)


def _extent(product: np.ndarray) -> tuple[float, float]:
    _, _, wide, tall = cv2.boundingRect(product.astype(np.uint8))
    return tall / product.shape[0], wide / product.shape[1]


@cache
def _tables() -> Mapping[str, Mapping[str, Traits]]:
    text = (files("anomalyst.synthetic") / "products.yaml").read_text(encoding="utf-8")
    return {
        name: {product: from_mapping(Traits, values) for product, values in table.items()}
        for name, table in yaml.safe_load(text).items()
    }

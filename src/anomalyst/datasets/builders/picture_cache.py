"""Pictures and the product on them, kept by each process: jobs come back to the same ones."""

from functools import lru_cache
from pathlib import Path

import numpy as np

from anomalyst.io.pictures import open_picture
from anomalyst.synthetic.foreground import segmenter_of
from anomalyst.synthetic.product_constants import Traits

PICTURES = 24  # the few that jobs share now
OUTLINES = 512  # one bit a pixel, and expensive to find


@lru_cache(PICTURES)
def opened(image: Path) -> np.ndarray:
    """The picture, uint8 (H, W, 3); PictureError if it cannot be used."""
    return open_picture(image)


def product_on(image: Path, finder: Traits | str) -> np.ndarray:
    """Bool (H, W): the product, as its traits or a segmenter find it; `""`: everywhere."""
    size_hw = opened(image).shape[:2]
    if finder == "":
        return np.ones(size_hw, bool)
    bits = np.unpackbits(_packed(image, finder), count=size_hw[0] * size_hw[1])
    return bits.reshape(size_hw).astype(bool)


@lru_cache(OUTLINES)
def _packed(image: Path, finder: Traits | str) -> np.ndarray:
    find = finder.product if isinstance(finder, Traits) else segmenter_of(finder)
    return np.packbits(find(opened(image)))

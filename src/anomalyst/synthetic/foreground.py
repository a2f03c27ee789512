"""Where the product is on a good picture, so that defects land on it and not beside it.

Three ways: by robust thresholding and GrabCut (Rother et al., SIGGRAPH 2004), by a SAM folder, or
by any function of the user's own with the same signature.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from anomalyst.errors import AnomalystError
from anomalyst.io.geometry import resize

Segmenter = Callable[[np.ndarray], np.ndarray]  # uint8 (H, W, 3) -> bool (H, W), True on product

WORK_PX = 192  # longer side of the picture that is looked at
RING = 0.04  # the border that should be background, as a share of the side
EVEN = 12.0  # how far border pixels may lie from a smooth background, CIE Lab units
EVEN_SHARE = 0.7  # of the border's pixels must; else the surface fills the picture
SHARES = (0.01, 0.96)  # of the picture that a product covers; beyond them it is all product


def product_mask(picture: np.ndarray, *, refined: bool = True) -> np.ndarray:
    """uint8 (H, W, 3) -> bool (H, W): the product; True everywhere where no background is seen.

    The background is a smooth field of colour fitted to the border without outliers; what differs
    by more than Otsu's threshold is product. `refined` lets GrabCut correct the outline.
    """
    whole = np.ones(picture.shape[:2], bool)
    scale = min(1.0, WORK_PX / max(picture.shape[:2]))
    height, width = (max(8, round(side * scale)) for side in picture.shape[:2])
    small = resize(picture, (height, width))
    distance = _from_background(small)
    if distance is None:
        return whole
    levels = np.clip(distance * 4, 0, 255).astype(np.uint8)
    otsu = cv2.threshold(levels, 0, 1, cv2.THRESH_BINARY | cv2.THRESH_OTSU)[0] / 4
    product = _tidied(distance > max(otsu * 0.7, EVEN * 0.8))
    if refined and _is_part(product):
        product = _tidied(_grab_cut(small, product))
    if not _is_part(product):
        return whole
    grown = cv2.resize(product.astype(np.float32), (picture.shape[1], picture.shape[0]))
    return grown > 0.5


def _is_part(product: np.ndarray) -> bool:
    """Whether it covers neither next to nothing nor everything."""
    return bool(SHARES[0] < product.mean() < SHARES[1])


def has_outline(product: np.ndarray) -> bool:
    """Whether something lies beside the product, bool (H, W), on its picture."""
    return bool(product.mean() < SHARES[1])


def by_brightness(picture: np.ndarray, brightness: int, threshold: int) -> np.ndarray:
    """The product as pixels whose grey is not the background's, as NSA marks it: bool (H, W).

    Schlüter et al., ECCV 2022: |grey - brightness| > threshold, 7 x 7 median.
    """
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.int16)
    differs = (np.abs(grey - brightness) > threshold).astype(np.uint8)
    return cv2.medianBlur(differs, 7).astype(bool)


def backdrop_colour(picture: np.ndarray, product: np.ndarray) -> np.ndarray:
    """The median colour (3,) of what is not product, in [0, 255]; of the border where all is."""
    beside = picture[~product]
    if len(beside) < 16:
        beside = picture[_ring(picture.shape[:2])]
    return np.median(beside, axis=0)


def segmenter_of(name: str) -> Segmenter:
    """`default`, or `sam:DIR` with the folder of a Segment Anything model.

    Raises AnomalystError for another name, or a folder that holds no such model.
    """
    if name == "default":
        return product_mask
    kind, _, folder = name.partition(":")
    if kind != "sam" or not folder:
        raise AnomalystError(f"There is no segmenter {name!r}; write default, or sam:DIR.")
    return _sam(folder)


@cache
def _sam(folder: str) -> Segmenter:
    """Segment Anything, asked for what lies in the middle."""
    from anomalyst.segmentation.prompts import Prompt
    from anomalyst.segmentation.published import PublishedSegmenter

    segmenter = PublishedSegmenter(Path(folder))

    def segment(picture: np.ndarray) -> np.ndarray:
        middle = picture.shape[1] / 2, picture.shape[0] / 2
        found = segmenter.look(picture).segment(Prompt(points_xy=(middle,), positive=(True,)))
        product = found[0].whole()
        return product if _is_part(product) else np.ones_like(product)

    return segment


def _ring(size_hw: tuple[int, int]) -> np.ndarray:
    wide = max(2, round(RING * min(size_hw)))
    ring = np.ones(size_hw, bool)
    ring[wide:-wide, wide:-wide] = False
    return ring


def _from_background(picture: np.ndarray) -> np.ndarray | None:
    """Distance (H, W) of every pixel from the smooth background; None if the border has none."""
    lab = cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    lab = cv2.GaussianBlur(lab, (0, 0), 1.0)
    ring = _ring(lab.shape[:2])
    rows, columns = np.mgrid[-1 : 1 : lab.shape[0] * 1j, -1 : 1 : lab.shape[1] * 1j]
    bases = (np.ones_like(rows), rows, columns, rows * columns, rows**2, columns**2)
    terms = np.stack(bases, axis=2)  # (H, W, 6)
    seen, colours = terms[ring], lab[ring]
    kept = np.linalg.norm(colours - np.median(colours, axis=0), axis=1) < 2 * EVEN
    for _ in range(3):
        if kept.mean() < EVEN_SHARE:
            return None
        fitted = np.linalg.lstsq(seen[kept], colours[kept], rcond=None)[0]
        kept = np.linalg.norm(colours - seen @ fitted, axis=1) < EVEN
    if kept.mean() < EVEN_SHARE:
        return None
    return np.asarray(np.linalg.norm(lab - terms @ fitted, axis=2))


def _tidied(product: np.ndarray) -> np.ndarray:
    """Without specks and with its holes filled: parts of a hundredth of the largest stay.

    Where the largest part lies clear of the picture's border, what touches the border goes.
    """
    kernel = np.ones((3, 3), np.uint8)
    mask = cv2.morphologyEx(product.astype(np.uint8), cv2.MORPH_OPEN, kernel)
    mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    whole = np.zeros_like(mask)
    if not outlines:
        return whole.astype(bool)
    largest = max(outlines, key=cv2.contourArea)
    for outline in outlines:
        beside = _at_border(outline, mask.shape) and not _at_border(largest, mask.shape)
        if cv2.contourArea(outline) >= cv2.contourArea(largest) / 100 and not beside:
            cv2.drawContours(whole, [outline], -1, 1, cv2.FILLED)
    return whole.astype(bool)


def _at_border(outline: np.ndarray, size_hw: tuple[int, ...]) -> bool:
    x, y, width, height = cv2.boundingRect(outline)
    return bool(min(x, y) == 0 or x + width == size_hw[1] or y + height == size_hw[0])


def _grab_cut(picture: np.ndarray, product: np.ndarray) -> np.ndarray:
    marks = np.where(product, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    reach = np.ones((9, 9), np.uint8)
    inner, outer = (f(product.astype(np.uint8), reach) for f in (cv2.erode, cv2.dilate))
    marks[inner > 0] = cv2.GC_FGD
    marks[outer == 0] = cv2.GC_BGD
    try:
        # GrabCut draws from OpenCV's own generator.
        cv2.setRNGSeed(0)
        cv2.grabCut(
            picture, marks, None, np.zeros((1, 65)), np.zeros((1, 65)), 1, cv2.GC_INIT_WITH_MASK
        )
    except cv2.error:  # too few pixels of one side
        return product
    return np.isin(marks, (cv2.GC_FGD, cv2.GC_PR_FGD))

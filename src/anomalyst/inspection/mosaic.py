"""What several senses saw of one part, on one drawing: pictures side by side, signals below."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import cv2
import numpy as np

from anomalyst.io.geometry import resize
from anomalyst.types import Inspection, Region, place_of

WORDS = {"image": "photograph", "depth": "depth", "thermal": "heat", "audio": "sound",
         "series": "sensors"}  # fmt: skip
PICTURES = ("image", "depth", "thermal")
PICTURES_TALL = 420  # pixels
TITLE_PX = 22


def mosaic(
    found: Mapping[str, Inspection],
) -> tuple[np.ndarray, np.ndarray, tuple[Region, ...]]:
    """All senses' drawings on one, uint8 (H, W, 3); their maps likewise, and their regions there.

    Pictures stand side by side, what goes over time lies below them.
    """
    pictures = [s for s in found if s in PICTURES]
    signals = [s for s in found if s not in pictures]
    wide = max((found[s].size_hw[1] for s in signals), default=0)
    sizes = {s: found[s].size_hw for s in signals} | _pictures_sizes(found, pictures, wide)
    corners, x, y = {}, 0, 0
    for sense in pictures:
        corners[sense] = (x, TITLE_PX)
        x, y = x + sizes[sense][1], TITLE_PX + sizes[sense][0]
    for sense in signals:
        corners[sense] = (0, y + TITLE_PX)
        y += TITLE_PX + sizes[sense][0]
    wide = max(wide, x)
    picture = np.full((y, wide, 3), 255, np.uint8)
    whole = np.zeros((y, wide), np.float32)
    regions: list[Region] = []
    for sense, one in found.items():
        (left, top), (tall, across) = corners[sense], sizes[sense]
        here = np.s_[top : top + tall, left : left + across]
        picture[here] = resize(_view(one), (tall, across))
        whole[here] = resize(one.map, (tall, across))
        cv2.putText(
            picture, f"{WORDS[sense]}, p = {one.p_value:.3g}", (left + 4, top - 7),
            cv2.FONT_HERSHEY_SIMPLEX, 0.45, (60, 60, 60), 1, cv2.LINE_AA,
        )  # fmt: skip
        if one.verdict != "normal":
            regions += _moved(one, sense, (left, top), (tall, across), (y, wide))
    return picture, whole, tuple(sorted(regions, key=lambda r: -r.peak))


def _view(one: Inspection) -> np.ndarray:
    assert one.view is not None  # a photograph's is set by whoever fuses
    return one.view


def _pictures_sizes(
    found: Mapping[str, Inspection], pictures: list[str], most_wide: int
) -> dict[str, tuple[int, int]]:
    """Equally tall pictures, no wider together than what goes over time below them; 0: no limit."""
    shapes = {s: found[s].size_hw[1] / found[s].size_hw[0] for s in pictures}
    tall = PICTURES_TALL
    if pictures and most_wide:
        tall = min(tall, int(most_wide / sum(shapes.values())))
    return {s: (tall, max(1, int(tall * shape))) for s, shape in shapes.items()}


def _moved(
    one: Inspection,
    sense: str,
    corner_xy: tuple[int, int],
    size_hw: tuple[int, int],
    whole_hw: tuple[int, int],
) -> Iterator[Region]:
    """The regions of one sense, in pixels of the common drawing."""
    down, across = size_hw[0] / one.size_hw[0], size_hw[1] / one.size_hw[1]
    left, top = corner_xy
    for region in one.regions:
        x0, y0, x1, y1 = region.box_xyxy
        centre = (left + region.centre_xy[0] * across, top + region.centre_xy[1] * down)
        yield replace(
            region,
            box_xyxy=(
                left + int(x0 * across), top + int(y0 * down),
                left + max(int(x0 * across) + 1, round(x1 * across)),
                top + max(int(y0 * down) + 1, round(y1 * down)),
            ),
            area_px=max(1, round(region.area_px * down * across)),
            centre_xy=centre,
            place=place_of(centre, whole_hw),
            where=f"{WORDS[sense]}: {region.where or region.place}",
        )  # fmt: skip

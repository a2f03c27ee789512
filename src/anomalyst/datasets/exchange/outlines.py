"""A mask as polygons, and the pixels that a polygon covers.

A pixel belongs to a polygon when its centre lies inside by the even-odd rule; the centre of the
first pixel is (0.5, 0.5). So a polygon along pixel borders covers exactly what it was made of.
"""

from collections import defaultdict

import cv2
import numpy as np

from anomalyst.errors import AnomalystError
from anomalyst.io.polygons import covered_by, side_of

MOST_POINTS = 20_000
SLACK_PX = 1.0  # by which an outline may be simplified
SAME_IOU = 0.98  # with what it outlines, at least


def outlines(mask: np.ndarray) -> list[np.ndarray] | None:
    """Polygons, int (n, 2) x and y, one around each connected place of a mask, bool (H, W).

    Simplified where that keeps the pixels, else along the pixels' borders. None for a mask with a
    hole, which polygons side by side cannot say.
    """
    loops = _loops(mask)
    if any(_area(loop) < 0 for loop in loops):
        return None
    short = [_simplified(loop) for loop in loops]
    if all(len(one) >= 3 and not crosses_itself(one) for one in short):
        covered = np.zeros_like(mask)
        for one in short:
            add_polygon(covered, one)
        if (covered & mask).sum() >= SAME_IOU * (covered | mask).sum():
            return short
    return loops


def checked_polygon(points: np.ndarray) -> np.ndarray:
    """Points (n, 2). Raises AnomalystError for fewer than 3, or more than can be handled."""
    if not 3 <= len(points) <= MOST_POINTS:
        raise AnomalystError(
            f"the polygon has {len(points)} points; 3 to {MOST_POINTS} are needed."
        )
    return points


def crosses_itself(points: np.ndarray) -> bool:
    """Whether two edges of a polygon (n, 2) cross; edges that only touch do not."""
    start, stop = points.astype(np.float64), np.roll(points, -1, axis=0).astype(np.float64)
    for first in range(0, len(points), 512):  # (512, n) at a time
        a, b = start[first : first + 512, None], stop[first : first + 512, None]
        apart = side_of(a, b, start) * side_of(a, b, stop) < 0
        if (apart & (side_of(start, stop, a) * side_of(start, stop, b) < 0)).any():
            return True
    return False


def add_polygon(mask: np.ndarray, points: np.ndarray) -> None:
    """Set the pixels of `mask`, bool (H, W), that a polygon covers; what lies outside is cut off.

    Where the polygon crosses itself, the even-odd rule says what is inside.
    """
    inside, (x0, y0, x1, y1) = covered_by(points, (mask.shape[0], mask.shape[1]))
    mask[y0:y1, x0:x1] |= inside


def _loops(mask: np.ndarray) -> list[np.ndarray]:
    """The borders of a mask's pixels as closed ways, the mask to the right hand; corners only."""
    ways = _steps(mask)
    loops = []
    while ways:
        begin = next(iter(ways))
        way, at, came = [begin], begin, (0, 0)
        while True:
            after = ways[at]
            # Where two pixels touch by a corner, the way stays with the pixel it came along.
            step = after[0] if len(after) == 1 else _right_of(came, after)
            after.remove(step)
            if not after:
                del ways[at]
            if step == came:
                way.pop()
            at, came = (at[0] + step[0], at[1] + step[1]), step
            if at == begin:
                break
            way.append(at)
        loops.append(np.array(way))
    return loops


def _steps(mask: np.ndarray) -> dict[tuple[int, int], list[tuple[int, int]]]:
    """Corner (x, y) -> the steps that leave it along the border of the mask."""
    padded = np.pad(mask, 1).astype(np.int8)
    found: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    across, down = np.diff(padded, axis=0)[:, 1:-1], np.diff(padded, axis=1)[1:-1]
    for sign, border, dx, dy in ((1, across, 1, 0), (-1, across, -1, 0),
                                 (1, down, 0, -1), (-1, down, 0, 1)):  # fmt: skip
        rows, columns = np.nonzero(border == sign)
        begins = zip((columns + (dx < 0)).tolist(), (rows + (dy < 0)).tolist(), strict=True)
        for corner in begins:
            found[corner].append((dx, dy))
    return found


def _right_of(came: tuple[int, int], steps: list[tuple[int, int]]) -> tuple[int, int]:
    """The step that turns right (y points down); without a past, any."""
    right = (-came[1], came[0])
    return right if right in steps else steps[0]


def _simplified(loop: np.ndarray) -> np.ndarray:
    if len(loop) <= 4:
        return loop
    return cv2.approxPolyDP(loop.astype(np.int32)[:, None], SLACK_PX, True)[:, 0]


def _area(loop: np.ndarray) -> float:
    """Twice the area; below 0 around a hole."""
    after = np.roll(loop, -1, axis=0)
    return float((loop[:, 0] * after[:, 1] - after[:, 0] * loop[:, 1]).sum())

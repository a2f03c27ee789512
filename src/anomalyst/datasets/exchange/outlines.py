"""A mask as polygons, and the pixels that a polygon covers.

A pixel belongs to a polygon when its centre lies inside by the even-odd rule; the centre of the
first pixel is (0.5, 0.5). So a polygon along pixel borders covers exactly what it was made of.
"""

from collections import defaultdict

import cv2
import numpy as np

from anomalyst.errors import AnomalystError
from anomalyst.io.geometry import Box

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
        apart = _side(a, b, start) * _side(a, b, stop) < 0
        if (apart & (_side(start, stop, a) * _side(start, stop, b) < 0)).any():
            return True
    return False


def add_polygon(mask: np.ndarray, points: np.ndarray) -> None:
    """Set the pixels of `mask`, bool (H, W), that a polygon covers; what lies outside is cut off.

    Where the polygon crosses itself, the even-odd rule says what is inside.
    """
    inside, (x0, y0, x1, y1) = covered_by(points, (mask.shape[0], mask.shape[1]))
    mask[y0:y1, x0:x1] |= inside


def covered_by(points: np.ndarray, size_hw: tuple[int, int]) -> tuple[np.ndarray, Box]:
    """The pixels that a polygon covers, bool (h, w), and the box of the picture they lie in."""
    height, width = size_hw
    low, high = points.min(axis=0), points.max(axis=0)
    x0, y0 = (int(v) for v in np.clip(np.floor(low), 0, (width, height)))
    x1, y1 = (int(v) for v in np.clip(np.ceil(high), (x0, y0), (width, height)))
    start, stop = points - (x0, y0), np.roll(points, -1, axis=0) - (x0, y0)
    flips = np.zeros((y1 - y0, x1 - x0 + 1), np.int32)
    # The rows whose centre lies between an edge's ends, each end counted once.
    ends = np.clip(np.ceil(np.stack([start[:, 1], stop[:, 1]]) - 0.5), 0, y1 - y0).astype(int)
    first, count = ends.min(axis=0), np.abs(ends[1] - ends[0])
    edge = np.repeat(np.arange(len(points)), count)
    begin = np.repeat(np.cumsum(count) - count, count)
    row = first[edge] + np.arange(len(edge)) - begin
    slope = (stop - start)[edge]
    x = start[edge, 0] + (row + 0.5 - start[edge, 1]) * slope[:, 0] / slope[:, 1]
    np.add.at(flips, (row, np.clip(np.ceil(x - 0.5), 0, x1 - x0).astype(int)), 1)
    return np.cumsum(flips, axis=1)[:, :-1] % 2 == 1, (x0, y0, x1, y1)


def box_of(mask: np.ndarray) -> Box:
    """The smallest box around what is set in a mask; all 0 where nothing is."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    if not len(rows):
        return 0, 0, 0, 0
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


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


def _side(a: np.ndarray, b: np.ndarray, point: np.ndarray) -> np.ndarray:
    """Above 0 on one side of the line from a to b, below on the other."""
    along, off = b - a, point - a
    return np.sign(along[..., 0] * off[..., 1] - along[..., 1] * off[..., 0])

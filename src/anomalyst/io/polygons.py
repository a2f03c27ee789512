"""Polygons in pixels of a picture: checked, and filled.

A point is (x, y) with the corner of the first pixel at (0, 0), so its middle lies at (0.5, 0.5).
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from anomalyst.errors import AnomalystError

Point = tuple[float, float]
MOST_POINTS = 1000


def checked_points(values: Any, size_hw: tuple[int, int], what: str) -> tuple[Point, ...]:
    """JSON values, a list of [x, y], as the points of a polygon of a picture of `size_hw` pixels.

    Raises AnomalystError, which begins with `what`, for values of another form, fewer than three
    points or more than `MOST_POINTS`, points outside the picture, and a polygon that crosses itself
    or has no area.
    """
    if not isinstance(values, list | tuple) or not all(map(_is_point, values)):
        raise AnomalystError(
            f"{what}: a list of points [x, y] in pixels is needed, as [[10, 20], [90, 20], "
            "[50, 80]]."
        )
    points = tuple((float(x), float(y)) for x, y in values)
    if points[1:] and points[0] == points[-1]:
        points = points[:-1]  # some tools end a polygon where it began
    height, width = size_hw
    if not 3 <= len(points) <= MOST_POINTS:
        raise AnomalystError(
            f"{what}: has {len(points)} points; a polygon needs 3 to {MOST_POINTS} different ones."
        )
    for x, y in points:
        if not (0 <= x <= width and 0 <= y <= height):
            raise AnomalystError(
                f"{what}: the point ({x:g}, {y:g}) lies outside the first good picture, which is "
                f"{width}x{height} pixels."
            )
    crossed = crossing(points)
    if crossed is not None:
        one, other = (f"{side + 1}" for side in crossed)
        raise AnomalystError(
            f"{what}: crosses itself, side {one} meets side {other}; give the points in the order "
            "in which they go round."
        )
    return points


def _is_point(value: Any) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) == 2
        and all(
            isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v)
            for v in value
        )
    )


def crossing(points: Sequence[Point]) -> tuple[int, int] | None:
    """The first two sides that meet elsewhere than where they join; side i begins at point i.

    Sides that lie on each other meet, too, and so do points said twice.
    """
    count = len(points)
    start = np.array(points, float)  # (n, 2)
    end = np.roll(start, -1, axis=0)
    for i in range(count):
        # Neighbours share a point; they meet only where one turns back on the other.
        if _turns_back(start[i], end[i], end[(i + 1) % count]):
            return i, (i + 1) % count
        others = np.array([j for j in range(i + 2, count) if (j + 1) % count != i], int)
        if len(others) and (hit := _meets(start[i], end[i], start[others], end[others])).any():
            return i, int(others[hit.argmax()])
    return None


def _turns_back(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> bool:
    """Whether the way a, b, c is no way at all, or comes back along itself."""
    there, on = b - a, c - b
    return bool(there[0] * on[1] - there[1] * on[0] == 0 and there @ on <= 0)


def _side(a: np.ndarray, b: np.ndarray, p: np.ndarray) -> np.ndarray:
    """On which side of the line a to b points p lie: -1, 0 on it, 1."""
    along = b - a
    way = along[..., 0] * (p - a)[..., 1] - along[..., 1] * (p - a)[..., 0]
    return np.asarray(np.sign(way))


def _meets(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> np.ndarray:
    """Whether the side a to b has a point in common with each side c to d: (n,) bool."""
    apart = _side(a, b, c) * _side(a, b, d) > 0
    apart |= _side(c, d, a) * _side(c, d, b) > 0
    # Sides on one line are told apart by their boxes.
    apart |= (np.maximum(a, b) < np.minimum(c, d)).any(1)
    apart |= (np.minimum(a, b) > np.maximum(c, d)).any(1)
    return ~apart


def filled(points: Sequence[Point], size_hw: tuple[int, int]) -> np.ndarray:
    """Bool (H, W): every pixel whose middle lies inside the polygon.

    By the even-odd rule: along a row, each side that is passed changes whether one is inside.
    """
    height, width = size_hw
    passed = np.zeros((height, width + 1), np.int32)
    ends = [*points[1:], points[0]]
    for (x0, y0), (x1, y1) in zip(points, ends, strict=True):
        low, high = min(y0, y1), max(y0, y1)
        # Middles from `low` on and below `high`, so that a corner is passed once.
        rows = np.arange(max(0, math.ceil(low - 0.5)), min(height, math.ceil(high - 0.5)))
        if len(rows):
            at = x0 + (rows + 0.5 - y0) * (x1 - x0) / (y1 - y0)
            columns = np.clip(np.ceil(at - 0.5), 0, width).astype(int)
            np.add.at(passed, (rows, columns), 1)
    return (passed.cumsum(1)[:, :width] % 2).astype(bool)

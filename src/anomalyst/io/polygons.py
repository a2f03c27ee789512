"""Polygons in pixels of a picture: checked, and filled.

A point is (x, y) with the corner of the first pixel at (0, 0), so its middle lies at (0.5, 0.5).
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from anomalyst.errors import AnomalystError
from anomalyst.io.geometry import Box

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


def side_of(a: np.ndarray, b: np.ndarray, p: np.ndarray) -> np.ndarray:
    """On which side of the line a to b points p lie: -1, 0 on it, 1."""
    along = b - a
    way = along[..., 0] * (p - a)[..., 1] - along[..., 1] * (p - a)[..., 0]
    return np.asarray(np.sign(way))


def _meets(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> np.ndarray:
    """Whether the side a to b has a point in common with each side c to d: (n,) bool."""
    apart = side_of(a, b, c) * side_of(a, b, d) > 0
    apart |= side_of(c, d, a) * side_of(c, d, b) > 0
    # Sides on one line are told apart by their boxes.
    apart |= (np.maximum(a, b) < np.minimum(c, d)).any(1)
    apart |= (np.minimum(a, b) > np.maximum(c, d)).any(1)
    return ~apart


def filled(points: Sequence[Point], size_hw: tuple[int, int]) -> np.ndarray:
    """Bool (H, W): every pixel whose middle lies inside the polygon, by the even-odd rule."""
    found = np.zeros(size_hw, bool)
    inside, (x0, y0, x1, y1) = covered_by(np.array(points, float), size_hw)
    found[y0:y1, x0:x1] = inside
    return found


def covered_by(points: np.ndarray, size_hw: tuple[int, int]) -> tuple[np.ndarray, Box]:
    """The pixels that a polygon (n, 2) covers, bool (h, w), and the box of the picture they lie in.

    Along a row, each side that is passed changes whether one is inside.
    """
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

"""The mask of a thing -> length, width, area and perimeter, in px and mm, each with its doubt.

Length: of a thin thing (at least 3 times as long as wide) along its medial line, through every bend
(medial.py); of a compact one its largest Feret diameter (Feret 1930; ISO 9276-6: x_Fmax), which is
the largest distance between two points of its outline. Of a forked crack the longest way counts; of
a closed ring, half of it.
Width: of a thin thing its area over its length, the mean across the medial line; of a compact one
its smallest Feret diameter. Area: that of its pixels. Perimeter: the outline as the polygon with
fewest corners within 0.7 px of it (Ramer 1972; Douglas & Peucker 1973), laid half a pixel further
out, where the pixels end: to count steps would make a slanted edge up to 41 % too long. Holes'
edges count.

Each figure comes with half of its interval at 95 %: 1.96 standard deviations, of which the parts
are taken as independent and combined as the root of the sum of their squares (JCGM 100:2008):
the edge (half a pixel at 95 % and how a pixel rounds it, or what an `Edge` says), the way a medial
line cuts bends, the scale, and what the lens leaves after its distortion was taken out.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from anomalyst.measuring.medial import border_points, length_of, medial_line, turning_of
from anomalyst.measuring.scale import Scale
from anomalyst.types import Measure, Measures, Sizes

THIN = 3.0  # length over width from which on a thing is thin
WITHIN = 1.96  # standard deviations that hold 95 % of a normal distribution
ROUNDED_PX = 0.25  # standard deviation of an end that falls on a pixel
# Standard deviation of a medial line's length, by the bends that it cuts: of the length itself, and
# of its width for each radian that it turns (bench measuring).
MEDIAL, TURNING = 0.01, 0.12
OUTLINE = 0.012  # of a perimeter, by its polygon (bench measuring)
OUTLINE_PX = 0.7  # how far the polygon of an outline may run from it
ELLIPSE = 1.02  # how much less than an ellipse of its moments a mask may fill, to be one
OUTER = 0.6  # by which the outermost pixels of both sides lie out (bench measuring)
TIPS = 0.25  # which two corners lose (bench measuring)
LINE_POINTS = 40  # of a length's line, that are kept


# Lengths on masks that the segmenter drew of found regions were 0.54 to 2.72 times the defect's
# (95 % of 55; `anomalyst bench measuring --maps 160 --seed 8`); an interval twice this wide on
# either side holds as many.
DRAWN_SD = 0.45


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """How well the mask's edge is known."""

    sd_px: float = 0.25  # standard deviation of where it runs; half a pixel at 95 %
    relative_sd: float = 0.0  # of every length, where no person drew the mask
    note: str = ""

    @classmethod
    def of_iou(cls, iou: float, mask: np.ndarray) -> "Edge":
        """That of a segmenter's mask with a predicted IoU: as far off on all sides as makes it so.

        And `DRAWN_SD` of every length, for a mask may also miss an end, or hold a neighbour.
        """
        share = max(0.0, 1.0 - iou) * float(np.count_nonzero(mask))
        sd_px = math.hypot(0.25, share / max(1.0, outline_length(mask)))
        return cls(sd_px=sd_px, relative_sd=DRAWN_SD)


CRISP = Edge()


def measure(
    mask: np.ndarray,
    *,
    corner_xy: tuple[int, int] = (0, 0),
    scale: Scale | None = None,
    edge: Edge = CRISP,
) -> Measures:
    """The measures of a mask, bool (h, w), not empty, whose first pixel lies at `corner_xy`."""
    line, thin = length_line(mask)
    line, hull = line + corner_xy, _hull(border_points(mask)) + corner_xy
    area, around = float(np.count_nonzero(mask)), outline_length(mask)
    axes = None if thin else _ellipse_axes(mask)

    def raw(line: np.ndarray, hull: np.ndarray, per_px: float) -> Raw:
        if thin:
            long = length_of(line)
            return Raw(long, area * per_px**2 / long, area * per_px**2, around * per_px)
        own = (axes[0] * per_px, axes[1] * per_px) if axes else _ferets(hull, per_px)
        return Raw(*own, area * per_px**2, around * per_px)

    bends = (MEDIAL + TURNING * turning_of(line) * area / length_of(line) ** 2) if thin else 0.0
    px = _doubted(raw(line, hull, 1.0), bends, edge)
    mm = None
    if scale is not None:
        there = scale.straightened(hull)
        per_px = math.sqrt(_polygon_area(there) / _polygon_area(hull))  # mm a px, around here
        mm = _doubted(raw(scale.straightened(line), there, per_px), bends, edge, scale, per_px)
    step = max(1, math.ceil((len(line) - 1) / LINE_POINTS))
    kept = [*line[:-1:step].tolist(), line[-1].tolist()]
    return Measures(px=px, mm=mm, thin=thin, line_xy=tuple((x, y) for x, y in kept), note=edge.note)


def length_line(mask: np.ndarray) -> tuple[np.ndarray, bool]:
    """What is taken as the length, (N, 2) of x and y, and whether it is a medial line."""
    inner = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 5)
    widest = max(1.0, 2 * float(inner.max()) - 1)  # of a circle within
    if np.count_nonzero(mask) >= 1.3 * widest**2:  # a disc has 0.8
        line = medial_line(mask)
        if length_of(line) >= THIN * widest:
            return line, True
    return _ends(_hull(border_points(mask))), False


def outline_length(mask: np.ndarray) -> float:
    """The perimeter in pixels, with that of holes."""
    whole = np.pad(mask, 1).astype(np.uint8)
    found, levels = cv2.findContours(whole, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    total = 0.0
    for contour, level in zip(found, levels[0], strict=True):
        polygon = cv2.approxPolyDP(contour, OUTLINE_PX, True) if len(contour) > 3 else contour
        # Contours run through pixels' centres: half a pixel further out is a turn of pi longer.
        total += cv2.arcLength(polygon, True) + (math.pi if level[3] < 0 else -math.pi)
    return max(total, 0.0)


@dataclass(frozen=True, slots=True)
class Raw:
    """The figures without their doubt, in one unit and its square."""

    length: float
    width: float
    area: float
    perimeter: float


def _doubted(
    raw: Raw, bends: float, edge: Edge, scale: Scale | None = None, per_px: float = 1.0
) -> Sizes:
    """The figures with their doubt; `per_px`: how much of their unit a pixel is.

    `bends`: what cut bends make of the length, as a share of it; 0 of a compact thing.
    """
    left = scale.residual_px if scale else 0.0
    rate = math.hypot(scale.relative_sd if scale else 0.0, edge.relative_sd)
    # Each of two sides may lie elsewhere; the ends of what is longest are rounded to a pixel, too.
    sides = math.sqrt(2) * math.hypot(edge.sd_px, left) * per_px
    ends = math.hypot(sides, math.sqrt(2) * ROUNDED_PX * per_px)
    grown = edge.sd_px * per_px * raw.perimeter  # all sides a little further out
    return Sizes(
        length=_combined(raw.length, ends, bends * raw.length, rate * raw.length),
        width=_combined(raw.width, sides if bends else ends, rate * raw.width),
        area=_combined(raw.area, grown, 2 * rate * raw.area),
        perimeter=_combined(
            raw.perimeter, math.pi * ends, OUTLINE * raw.perimeter, rate * raw.perimeter
        ),
    )


def _combined(value: float, *deviations: float) -> Measure:
    return Measure(value, WITHIN * math.hypot(*deviations))


def _hull(points: np.ndarray) -> np.ndarray:
    """The corners of the convex hull, float64 (N, 2)."""
    return cv2.convexHull(points.astype(np.float32))[:, 0].astype(np.float64)


def _ends(hull: np.ndarray) -> np.ndarray:
    """The two corners that lie farthest apart, (2, 2)."""
    apart = np.hypot(*(hull[:, None] - hull[None]).transpose(2, 0, 1))
    return hull[list(np.unravel_index(int(apart.argmax()), apart.shape))]


def _ferets(hull: np.ndarray, pixel: float) -> tuple[float, float]:
    """The largest and the smallest Feret diameter; `pixel`: a pixel's side in the hull's unit.

    The smallest one's sides are the outermost of an edge's pixels: `OUTER` pixels are taken off.
    The largest one ends at corners, whose tips fill no pixel: `TIPS` pixels are added.
    """
    angles = np.deg2rad(np.arange(180))
    reach = hull @ np.stack([np.cos(angles), np.sin(angles)])  # (corners, 180)
    across = reach.max(0) - reach.min(0)
    return float(across.max()) + TIPS * pixel, max(
        float(across.min()) - OUTER * pixel, OUTER * pixel
    )


def _ellipse_axes(mask: np.ndarray) -> tuple[float, float] | None:
    """The axes of a mask that is an ellipse, longer first, px; None for any other.

    Of an ellipse alone, and nearly of it, the area follows from the second moments as 4 pi times
    the root of their determinant; of a rectangle it is 5 % less. Its own pixels then tell more of
    its axes than its outermost ones, which are those that luck put farthest out.
    """
    points = np.argwhere(mask).astype(np.float64)
    if len(points) < 5:
        return None
    spread = np.cov(points.T, bias=True) + np.eye(2) / 12  # and that of each pixel
    small, large = np.linalg.eigvalsh(spread)
    filled = 4 * math.pi * math.sqrt(small * large) / len(points)
    return (4 * math.sqrt(large), 4 * math.sqrt(small)) if filled < ELLIPSE else None


def _polygon_area(corners: np.ndarray) -> float:
    x, y = corners.T
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2

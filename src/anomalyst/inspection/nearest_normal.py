"""This place looked like that: the good picture's place that a region resembles most."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from anomalyst.types import Features

LEVEL = 1  # stride 8: fine enough for small regions, coarse enough for meaning
MOST_CELLS = 12  # a side; a larger region is looked at more coarsely

CanvasBox = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Likeness:
    """The most similar place of the good views."""

    view: int  # which of them
    box: CanvasBox  # (x0, y0, x1, y1) as shares of the canvas, in [0, 1]
    similarity: float  # mean cosine similarity of the patches, [-1, 1]


def nearest_place(query: Features, good: Features, box: CanvasBox) -> Likeness:
    """Where in V good views the patches of a box of the query are found again, best.

    `query` and `good` are of one tile, (1, D, h, w) and (V, D, h, w) a level; `box` is in shares of
    the canvas. All places of the box's size are compared, patch by patch: mean cosine similarity.
    """
    level = min(LEVEL, len(query.levels) - 1)
    units = F.normalize(query.levels[level], dim=1)
    others = F.normalize(good.levels[level], dim=1)
    top, bottom = _cells(box[1], box[3], units.shape[2])
    left, right = _cells(box[0], box[2], units.shape[3])
    wanted = units[:, :, top:bottom, left:right]  # (1, D, r, c)
    step = max(1, -(-max(wanted.shape[-2:]) // MOST_CELLS))
    if step > 1:
        wanted = F.avg_pool2d(wanted, step, ceil_mode=True)
        others = F.avg_pool2d(others, step)
        wanted = wanted[:, :, : others.shape[2], : others.shape[3]]
        wanted, others = F.normalize(wanted, dim=1), F.normalize(others, dim=1)
    cells = wanted.shape[2] * wanted.shape[3]
    alike = F.conv2d(others, wanted)[:, 0] / cells  # (V, h - r + 1, w - c + 1)
    view, row, column = (int(i) for i in torch.unravel_index(alike.argmax(), alike.shape))
    height, width = others.shape[-2:]
    place = (
        column / width,
        row / height,
        min(1.0, (column + wanted.shape[3]) / width),
        min(1.0, (row + wanted.shape[2]) / height),
    )
    return Likeness(view, place, float(alike[view, row, column]))


def _cells(start: float, end: float, count: int) -> tuple[int, int]:
    """The cells that a span of shares touches: at least one, inside."""
    first = min(count - 1, max(0, int(start * count)))
    return first, min(count, max(first + 1, -int(-end * count // 1)))

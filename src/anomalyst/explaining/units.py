"""The patches of many pictures that excite a unit most.

After Zeiler and Fergus, Visualizing and Understanding Convolutional Networks, ECCV 2014
(arXiv:1311.2901), figure 2, without its deconvolution: the picture itself is cut where the unit
can see.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from anomalyst.explaining.record import recorded
from anomalyst.io.geometry import Box

RANDOM_PICTURES = 16  # of one alone, narrow ReLU networks' fields were too small in 4 of 12 tries


@dataclass(order=True, slots=True)
class Patch:
    """A place of a picture, and how strongly a unit answered to it."""

    strength: float
    picture: int = field(compare=False)
    box_xyxy: Box = field(compare=False)  # of the network's input, cut to it


def top_patches(
    network: nn.Module,
    layer: str,
    pictures: Iterable[Tensor],
    *,
    each: int = 9,
    on_picture: Callable[[], None] = lambda: None,
) -> list[list[Patch]]:
    """For every channel of a layer its `each` strongest places, at most one of each picture.

    pictures: (1, C, H, W) each. The box is the whole field that the unit sees (`receptive_field`).
    """
    found: list[list[Patch]] = []
    field_px: tuple[int, int] | None = None
    for number, pixels in enumerate(pictures):
        with torch.no_grad(), recorded(network, features=[layer]) as record:
            network(pixels)
        maps = record.features[layer]
        assert maps.ndim == 4, f"{layer} has no grid"
        size_hw = (int(pixels.shape[2]), int(pixels.shape[3]))
        field_px = field_px or receptive_field(network, layer, pixels)
        found = found or [[] for _ in range(maps.shape[1])]
        strongest = maps[0].flatten(1).max(1)  # (C,) values and places
        for channel, (value, place) in enumerate(
            zip(strongest.values.tolist(), strongest.indices.tolist(), strict=True)
        ):
            box = _box(place, (maps.shape[2], maps.shape[3]), size_hw, field_px)
            found[channel] = sorted([*found[channel], Patch(value, number, box)], reverse=True)[
                :each
            ]
        on_picture()
    return found


def receptive_field(network: nn.Module, layer: str, pixels: Tensor) -> tuple[int, int]:
    """How many pixels (high, wide) the middle unit of a layer sees of pictures (1, C, H, W).

    Where the gradient of that unit is not zero on any of some random pictures: what ReLU and max
    pooling hold back on one they let through on another (what units that are always off hold back
    is not seen). A field that does not fit the picture is
    cut to it. Squeeze-and-excitation and attention see it all.
    """
    numbers = torch.Generator().manual_seed(0)
    seen = torch.zeros(pixels.shape[2:], dtype=torch.bool)  # (H, W)
    for _ in range(RANDOM_PICTURES):
        given = torch.randn(pixels.shape, generator=numbers).to(pixels).requires_grad_(True)
        with torch.enable_grad(), recorded(network, features=[layer], gradients=True) as record:
            network(given)
            maps = record.features[layer]
            maps[0, :, maps.shape[2] // 2, maps.shape[3] // 2].sum().backward()
        assert given.grad is not None
        seen |= (given.grad.abs().sum((0, 1)) > 0).cpu()
    if not bool(seen.any()):
        return int(seen.shape[0]), int(seen.shape[1])
    rows, columns = torch.where(seen.any(1))[0], torch.where(seen.any(0))[0]
    return int(rows[-1] - rows[0]) + 1, int(columns[-1] - columns[0]) + 1


def liveliest(found: list[list[Patch]], most: int) -> list[int]:
    """The channels whose strongest place stands out most from the median picture's."""
    gaps = [
        patches[0].strength - float(np.median([one.strength for one in patches]))
        for patches in found
    ]
    return sorted(range(len(found)), key=lambda channel: -gaps[channel])[:most]


def _box(
    place: int, grid_hw: tuple[int, int], size_hw: tuple[int, int], field_px: tuple[int, int]
) -> Box:
    """The field around a cell's middle, cut to the picture."""
    cell = divmod(place, grid_hw[1])
    edges = []
    for at, cells, side, seen in zip(cell, grid_hw, size_hw, field_px, strict=True):
        middle = (at + 0.5) * side / cells
        start = min(max(0, round(middle - seen / 2)), max(0, side - 1))
        edges.append((start, min(side, max(start + 1, round(middle + seen / 2)))))
    (y0, y1), (x0, x1) = edges
    return x0, y0, x1, y1

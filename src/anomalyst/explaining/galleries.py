"""Galleries: feature maps of each layer on one picture, and the filters of a convolution."""

import math

import numpy as np
import torch
from torch import Tensor, nn

from anomalyst.errors import AnomalystError
from anomalyst.explaining.record import recorded
from anomalyst.io.geometry import resize

TILE_PX = 96


def feature_maps(network: nn.Module, pixels: Tensor, layers: list[str]) -> dict[str, Tensor]:
    """What layers make of one picture (1, C, H, W): name -> (channels, h, w).

    Tokens (1, T, D) of a transformer come back as (D, h, w) where those after the class and other
    first tokens fill a square; layers that have no grid are left out.
    """
    with torch.no_grad(), recorded(network, features=layers) as record:
        network(pixels)
    found = {name: _grid(value) for name, value in record.features.items()}
    return {name: value for name, value in found.items() if value is not None}


def _grid(value: Tensor) -> Tensor | None:
    if value.ndim == 4:
        return value[0].float()
    if value.ndim != 3:
        return None
    side = math.isqrt(value.shape[1])
    if side < 2 or value.shape[1] - side * side > 8:  # class, distillation and register tokens
        return None
    patches = value[0, value.shape[1] - side * side :].float()  # (N, D)
    return patches.T.reshape(-1, side, side)


def strongest(maps: Tensor, most: int) -> list[int]:
    """The channels of (C, h, w) whose answer varies most over the picture, in falling order."""
    order = maps.flatten(1).std(1).argsort(descending=True)
    return [int(index) for index in order[:most]]


def tiles(maps: Tensor, most: int = 24, columns: int = 8) -> np.ndarray:
    """The strongest maps (C, h, w) side by side, each between its own ends: uint8 (H, W)."""
    chosen = [maps[index].numpy() for index in strongest(maps, most)]
    return sheet([_stretched(one) for one in chosen], columns)


def filters(network: nn.Module, layer: str = "") -> tuple[str, np.ndarray]:
    """The kernels of a convolution, the first one if none is named: name, uint8 (H, W, 3).

    Kernels of three channels are shown in colour, others as the mean over their channels.
    Raises AnomalystError for a network without a convolution, or a layer that is none.
    """
    found = {name: m for name, m in network.named_modules() if isinstance(m, nn.Conv2d)}
    if not found or (layer and layer not in found):
        raise AnomalystError(
            f"{layer or type(network).__name__}: is no convolution, so it has no filters to show"
            + (f"; convolutions are {', '.join(list(found)[:6])}." if found else ".")
        )
    name = layer or next(iter(found))
    kernels = found[name].weight.detach().float()  # (out, in, k, k)
    if kernels.shape[1] != 3:
        kernels = kernels.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    pictures = [_stretched(one.permute(1, 2, 0).numpy()) for one in kernels[:64]]
    return name, sheet(pictures, 8)


def sheet(pictures: list[np.ndarray], columns: int, tile_px: int = TILE_PX) -> np.ndarray:
    """Small pictures of one kind in rows, enlarged without smoothing, on white."""
    high, wide = pictures[0].shape[:2]
    scale = tile_px / max(high, wide)
    size_hw = max(1, round(high * scale)), max(1, round(wide * scale))
    gap, depth = 4, pictures[0].shape[2:]
    rows = -(-len(pictures) // columns)
    columns = min(columns, len(pictures))
    whole = np.full(
        (rows * (size_hw[0] + gap) + gap, columns * (size_hw[1] + gap) + gap, *depth), 255, np.uint8
    )
    for index, picture in enumerate(pictures):
        top = gap + index // columns * (size_hw[0] + gap)
        left = gap + index % columns * (size_hw[1] + gap)
        whole[top : top + size_hw[0], left : left + size_hw[1]] = _enlarged(picture, size_hw)
    return whole


def _enlarged(picture: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    if picture.shape[0] >= size_hw[0]:
        return resize(picture, size_hw)
    rows = (np.arange(size_hw[0]) * picture.shape[0] / size_hw[0]).astype(int)
    columns = (np.arange(size_hw[1]) * picture.shape[1] / size_hw[1]).astype(int)
    return picture[rows][:, columns]


def _stretched(values: np.ndarray) -> np.ndarray:
    low, high = float(values.min()), float(values.max())
    return np.round((values - low) / max(high - low, 1e-12) * 255).astype(np.uint8)

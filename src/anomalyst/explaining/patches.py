"""Attention among the patches of a picture: recorded, grouped by grid, rolled out."""

from dataclasses import dataclass

import numpy as np
import torch

from anomalyst.errors import AnomalystError
from anomalyst.explaining.attention import patch_heat
from anomalyst.explaining.opening import PictureModel
from anomalyst.explaining.record import recorded
from anomalyst.explaining.rollout import rollout
from anomalyst.report.overlay import tint

FIRST = ("class token", "distillation token")
MOST_FIRST = 8  # class, distillation and register tokens before the patches


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchAttention:
    """The layers of a model that attend among the same tokens of one picture."""

    layers: tuple[str, ...]
    weights: np.ndarray  # (L, heads, T, T)
    rolled: np.ndarray  # (T, T)
    grid_hw: tuple[int, int]

    @property
    def names(self) -> tuple[str, ...]:
        """Of the tokens before the patches."""
        count = self.weights.shape[2] - self.grid_hw[0] * self.grid_hw[1]
        if count < 3:
            return FIRST[:count]
        return (FIRST[0], *(f"register {n}" for n in range(1, count)))

    def summary(self, row: np.ndarray, picture: np.ndarray) -> np.ndarray:
        """A token's row (T,) as heat over the picture, uint8 (H, W, 3)."""
        return tint(picture, patch_heat(row, self.grid_hw, picture.shape[:2]))

    def asking_row(self, matrix: np.ndarray) -> np.ndarray:
        """The row (T,) of the class token; without one, the mean over all patches."""
        return matrix[0] if self.names else matrix.mean(0)


def patch_attention(model: PictureModel, picture: np.ndarray) -> list[PatchAttention]:
    """Where the layers of a model look on a picture, uint8 (H, W, 3).

    Raises AnomalystError for a model without attention, or without a grid of patches.
    """
    pixels = model.pixels(picture)
    with torch.inference_mode(), recorded(model.network, attention=True) as record:
        model.network(pixels)
    if not record.attention:
        raise AnomalystError(
            f"{model.name}: attends nowhere; it is a convolutional network. Take `look layers`, "
            "`look units` or `look grad-cam`."
        )
    groups: dict[int, list[tuple[str, torch.Tensor]]] = {}
    for name, one in record.layers():
        if one.shape[2] == one.shape[3] and one.shape[0] == 1:
            groups.setdefault(one.shape[2], []).append((name, one[0]))
    found = [
        _group(layers, grid)
        for tokens, layers in groups.items()
        if (grid := _grid(tokens, pixels.shape[2], pixels.shape[3])) is not None
    ]
    if not found:
        shapes = {tuple(one.shape[2:]) for _, one in record.layers()}
        raise AnomalystError(
            f"{model.name}: attends among {sorted(shapes)} tokens, which are no grid of patches "
            "that look at each other; take `look layers` or `look grad-cam`."
        )
    return found


def _group(layers: list[tuple[str, torch.Tensor]], grid_hw: tuple[int, int]) -> PatchAttention:
    weights = torch.stack([one for _, one in layers])  # (L, heads, T, T)
    return PatchAttention(
        layers=tuple(name for name, _ in layers),
        weights=weights.numpy(),
        rolled=rollout(weights).numpy(),
        grid_hw=grid_hw,
    )


def _grid(tokens: int, height: int, width: int) -> tuple[int, int] | None:
    """The grid of square patches that leaves the fewest tokens over: class and registers."""
    found = [
        (tokens - rows * columns, rows, columns)
        for patch in range(1, min(height, width) + 1)
        if (rows := height // patch) * (columns := width // patch) <= tokens
    ]
    left, rows, columns = min(found, default=(MOST_FIRST + 1, 0, 0))
    return (rows, columns) if left <= MOST_FIRST and rows > 1 else None

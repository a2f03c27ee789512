"""How far each window is from its nearest window of the good recordings (Yeh et al. 2016, AB-join).

By blocks of matrix products, as the memory bank of patches: the library stumpy gives the same
distances (tests/test_series.py), but compiles itself for a minute first, and a product's good
windows are few.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from torch import Tensor

from anomalyst.detection.series.base import Method, Running, Scale
from anomalyst.detection.series.config import SeriesConfig

BLOCK = 1 << 18  # distances held at once: 2 MiB, which stay in a CPU's cache
FOLDS = 4  # parts of the good recordings that are judged by the others, for the unit
FLAT = 1e-6  # spread of a standardised window below which it has no shape


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class MatrixProfile(Method):
    """Distance to the nearest good window, a channel at a time; the window ends at the sample."""

    good: tuple[np.ndarray, ...]  # standardised good recordings, float64 (T_i, C), T_i >= window

    @classmethod
    def fit(cls, good: Sequence[np.ndarray], config: SeriesConfig) -> Self:
        """All windows of the good recordings; the unit is how far parts of them are from others."""
        scale = Scale.of(good)
        kept = tuple(scale.standardised(one) for one in good if len(one) >= config.window)
        whole = cls(config=config, scale=scale, unit=np.ones(len(scale.centre)), good=kept)
        return whole.with_unit(whole._left_out())

    def _left_out(self) -> list[np.ndarray]:
        """The statistic of each part of the good recordings, by the other parts."""
        parts = _parts(self.good, self.config.window)
        found = []
        for number in range(FOLDS):
            others = tuple(p for i, p in enumerate(parts) if i % FOLDS != number)
            if others:
                by_others = replace(self, good=others)
                own = [p for i, p in enumerate(parts) if i % FOLDS == number]
                found += [by_others.running().step(one) for one in own]
        return found or [self.running().step(one) for one in self.good]

    def running(self) -> Running:
        """It remembers a window."""
        size, shape_only = self.config.window, self.config.normalised
        banks = []
        for channel in range(len(self.unit)):
            rows = [sliding_window_view(one[:, channel], size) for one in self.good]
            banks.append(_Bank.of(np.concatenate(rows), shape_only))
        return _Nearest(size, shape_only, banks)

    def _learnt(self) -> dict[str, Tensor]:
        return {f"good{i}": torch.from_numpy(one.copy()) for i, one in enumerate(self.good)}

    @classmethod
    def _from_learnt(cls, config: SeriesConfig, state: Mapping[str, Tensor]) -> dict:
        del config
        count = sum(name.startswith("good") for name in state)
        return {"good": tuple(state[f"good{i}"].numpy().copy() for i in range(count))}


@dataclass(slots=True)
class _Bank:
    rows: np.ndarray  # (N, m + 1): good windows times -2, and their squared lengths

    @classmethod
    def of(cls, windows: np.ndarray, shape_only: bool) -> Self:
        rows = _shapes(windows) if shape_only else windows
        return cls(np.column_stack([-2 * rows, np.einsum("nm,nm->n", rows, rows)]))

    def nearest(self, queries: np.ndarray) -> np.ndarray:
        """Euclidean distance to the nearest row: (n, m) -> (n,)."""
        # |a - b|^2 = |a|^2 + (|b|^2 - 2 a.b), the bracket by one product.
        longer = np.column_stack([queries, np.ones(len(queries))])
        most = max(1, BLOCK // len(self.rows))
        parts = range(0, len(queries), most)
        least = [(longer[first : first + most] @ self.rows.T).min(axis=1) for first in parts]
        squares = np.einsum("nm,nm->n", queries, queries)
        return np.sqrt(np.maximum(np.concatenate(least) + squares, 0))


@dataclass(slots=True)
class _Nearest:
    size: int
    shape_only: bool
    banks: list[_Bank]  # one a channel
    past: np.ndarray = field(init=False)  # the last window - 1 samples

    def __post_init__(self) -> None:
        self.past = np.empty((0, len(self.banks)))

    def step(self, z: np.ndarray) -> np.ndarray:
        samples = np.concatenate([self.past, z])
        found = np.zeros_like(z)
        if len(samples) >= self.size and len(z):
            for channel, bank in enumerate(self.banks):
                windows = sliding_window_view(samples[:, channel], self.size)
                queries = _shapes(windows) if self.shape_only else windows
                found[len(z) - len(windows) :, channel] = bank.nearest(queries)
        self.past = samples[max(0, len(samples) - self.size + 1) :]
        return found


def _shapes(windows: np.ndarray) -> np.ndarray:
    """Windows (n, m) of mean 0 and spread 1; a flat one is 0 throughout."""
    middle = windows - windows.mean(axis=1, keepdims=True)
    spread = windows.std(axis=1, keepdims=True)
    return np.where(spread > FLAT, middle / np.maximum(spread, FLAT), 0.0)


def _parts(good: Sequence[np.ndarray], window: int) -> list[np.ndarray]:
    """The recordings as they are if there are enough, else each cut into FOLDS of a window or more.

    Parts do not overlap, so no window is judged by one that shares samples with it.
    """
    if len(good) >= FOLDS:
        return list(good)
    parts = [part for one in good for part in np.array_split(one, FOLDS)]
    return [part for part in parts if len(part) >= window]

"""Random values that several files draw in the same way."""

from collections.abc import Sequence

import numpy as np

Rng = np.random.Generator


def log_uniform(rng: Rng, low: float, high: float) -> float:
    """A positive number whose logarithm is uniform."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def zero_or(rng: Rng, low: float, high: float, *, zeros: int = 1) -> float:
    """Uniform between two numbers once in `zeros` + 1 cases, else 0."""
    return float(rng.choice([0.0] * zeros + [rng.uniform(low, high)]))


def one_of(rng: Rng, names: Sequence[str]) -> str:
    """Any of the names."""
    return str(rng.choice(list(names)))


def pixel_of(mask: np.ndarray, rng: Rng) -> tuple[int, int]:
    """A random True pixel (x, y) of a bool mask (H, W)."""
    ys, xs = np.nonzero(mask)
    pick = int(rng.integers(len(ys)))
    return int(xs[pick]), int(ys[pick])

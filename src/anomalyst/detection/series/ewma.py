"""The EWMA chart: small lasting shifts of the level (Roberts 1959)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from scipy.signal import lfilter

from anomalyst.detection.series.base import Method, Running, Scale
from anomalyst.detection.series.config import SeriesConfig


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Ewma(Method):
    """How far the weighted mean of the past is from the good level, in its own spreads."""

    @classmethod
    def fit(cls, good: Sequence[np.ndarray], config: SeriesConfig) -> Self:
        """Level and spread of good samples; how they hang together in time is in the unit."""
        scale = Scale.of(good)
        plain = cls(config=config, scale=scale, unit=np.ones(len(scale.centre)))
        return plain.with_unit([plain.running().step(scale.standardised(one)) for one in good])

    def running(self) -> Running:
        """The mean starts at the good level."""
        return _Mean(self.config.ewma_weight, len(self.unit))


@dataclass(slots=True)
class _Mean:
    weight: float
    channels: int
    count: int = 0
    mean: np.ndarray = field(init=False)  # z_{t-1}, (C,)

    def __post_init__(self) -> None:
        self.mean = np.zeros(self.channels)

    def step(self, z: np.ndarray) -> np.ndarray:
        """|z_t| over its exact spread, lambda / (2 - lambda) (1 - (1 - lambda)^2t) squared."""
        kept = 1 - self.weight
        means, _ = lfilter([self.weight], [1, -kept], z, axis=0, zi=kept * self.mean[None])
        if len(z):
            self.mean = means[-1]
        times = self.count + np.arange(1, len(z) + 1)
        self.count += len(z)
        variance = self.weight / (2 - self.weight) * (1 - kept ** (2.0 * times))
        return np.abs(means) / np.sqrt(variance)[:, None]

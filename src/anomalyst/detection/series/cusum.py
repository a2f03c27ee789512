"""The two-sided tabular CUSUM: what adds up over time (Page 1954)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np

from anomalyst.detection.series.base import Method, Running, Scale
from anomalyst.detection.series.config import SeriesConfig

MOST_LIMITS = 2  # a sum ends here, or a long fault would hide the good samples after it as long


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Cusum(Method):
    """The larger of the sums of what is above the level and of what is below it.

    C+ = max(0, C+ + x - k), C- = max(0, C- - x - k) for standardised x (Montgomery, eq. 9.2 and
    9.3). Slack and limit are in spreads of a sum over independent samples: where the good samples
    hang together in time, x is divided by how much more a mean of theirs varies.
    """

    @classmethod
    def fit(cls, good: Sequence[np.ndarray], config: SeriesConfig) -> Self:
        """Level and spread of the good samples, the latter grown where they hang together."""
        scale = Scale.of(good)
        z = [scale.standardised(one) for one in good]
        grown = np.where(scale.constant, 1.0, _inflation(z))
        scale = Scale(scale.centre, scale.spread * grown, scale.constant)
        plain = cls(config=config, scale=scale, unit=np.ones(len(scale.centre)))
        return plain.with_unit([plain.running().step(one / grown) for one in z])

    def running(self) -> Running:
        """Both sums start at 0."""
        return _Sums(self.config, len(self.unit))


@dataclass(slots=True)
class _Sums:
    config: SeriesConfig
    channels: int
    sums: np.ndarray = field(init=False)  # (2, C): above, below

    def __post_init__(self) -> None:
        self.sums = np.zeros((2, self.channels))

    def step(self, z: np.ndarray) -> np.ndarray:
        limit, reset = self.config.cusum_limit, self.config.cusum_reset
        found = np.empty_like(z)
        ways = np.stack([z, -z], axis=1) - self.config.cusum_slack  # (n, 2, C)
        sums = self.sums
        for place, way in enumerate(ways):
            if reset:
                sums = np.where(sums > limit, 0.0, sums)
            sums = np.clip(sums + way, 0.0, np.inf if reset else MOST_LIMITS * limit)
            found[place] = sums.max(axis=0)
        self.sums = sums
        return found


def _inflation(z: Sequence[np.ndarray]) -> np.ndarray:
    """How many times more a mean of 16 samples varies than one of independent samples: (C,), >= 1.

    Short recordings: of as many as make four blocks.
    """
    block = max(1, min(16, max(map(len, z)) // 4))
    blocks = [
        one[: len(one) // block * block].reshape(-1, block, one.shape[1]).mean(axis=1) for one in z
    ]
    return np.maximum(1.0, np.concatenate(blocks).std(axis=0) * np.sqrt(block))

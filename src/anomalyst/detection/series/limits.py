"""A threshold on each channel: the oldest way, and the first to be tried."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from anomalyst.detection.series.base import RARE_SPREADS, Method, Running, Scale
from anomalyst.detection.series.config import SeriesConfig
from anomalyst.errors import AnomalystError


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Limits(Method):
    """How far beyond the middle a sample is, where 2.58 is at the limit.

    The limits are quantiles of the good samples, each side for itself, so a skewed channel has the
    longer way on its longer side; a person's limits go before them.
    """

    sides: np.ndarray  # float64 (2, C): spreads below and above the centre that count as 1

    @classmethod
    def fit(cls, good: Sequence[np.ndarray], config: SeriesConfig) -> Self:
        """Raises AnomalystError for a hand-set limit of a channel that there is not."""
        scale = Scale.of(good)
        z = np.concatenate([scale.standardised(one) for one in good])
        half = config.quantile / 2
        sides = np.abs(np.quantile(z, [half, 1 - half], axis=0)) / RARE_SPREADS
        sides = np.where(scale.constant, 1.0, np.maximum(sides, 1e-3))
        scale, sides = _with_hand_limits(scale, sides, config)
        return cls(config=config, scale=scale, unit=np.ones(len(scale.centre)), sides=sides)

    def running(self) -> Running:
        """It needs no memory of earlier samples."""
        return _Beyond(self.sides)

    def _learnt(self) -> dict[str, Tensor]:
        return {"sides": torch.from_numpy(self.sides.copy())}

    @classmethod
    def _from_learnt(cls, config: SeriesConfig, state: Mapping[str, Tensor]) -> dict:
        del config
        return {"sides": state["sides"].numpy().copy()}


@dataclass(slots=True)
class _Beyond:
    sides: np.ndarray

    def step(self, z: np.ndarray) -> np.ndarray:
        return np.where(z < 0, -z / self.sides[0], z / self.sides[1])


def _with_hand_limits(
    scale: Scale, sides: np.ndarray, config: SeriesConfig
) -> tuple[Scale, np.ndarray]:
    """Middle and sides of the channels that a person set limits for; a side without one is free."""
    centre, sides, constant = scale.centre.copy(), sides.copy(), scale.constant.copy()
    for one in config.hand_limits:
        if not 0 <= one.channel < len(centre):
            raise AnomalystError(
                f"a limit is set for channel {one.channel}; the recordings have channels 0 to "
                f"{len(centre) - 1}."
            )
        at = one.channel
        low, high = one.low, one.high
        if low is not None and high is not None:
            centre[at] = (low + high) / 2
        # The middle lies between the limits, else being inside would count as being beyond.
        if low is not None and centre[at] <= low:
            centre[at] = low + scale.spread[at]
        if high is not None and centre[at] >= high:
            centre[at] = high - scale.spread[at]
        for side, limit in enumerate((low, high)):
            way = np.inf if limit is None else abs(limit - centre[at]) / scale.spread[at]
            sides[side, at] = way / RARE_SPREADS
        constant[at] = False
    return Scale(centre, scale.spread, constant), sides

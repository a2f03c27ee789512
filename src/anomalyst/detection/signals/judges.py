"""What judges a recording: the memory of good ones, or a method of time series."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import Tensor

from anomalyst.detection.series.base import RARE_SPREADS, Method
from anomalyst.detection.series.config import SeriesConfig
from anomalyst.detection.series.methods import read_method
from anomalyst.detection.series.scoring import combined, score
from anomalyst.detection.signals.names import MEMORY
from anomalyst.detection.signals.nearest_frames import SignalEvidence, SignalMemory

SHOWN = RARE_SPREADS  # of a surprise: what one good sample in a hundred exceeds is not shown


class Judge(Protocol):
    """Good recordings, remembered or learnt."""

    def look(self, values: np.ndarray) -> SignalEvidence:
        """A recording's frames or samples (T, C) -> score and map (T, C)."""

    def state(self) -> dict[str, Tensor]:
        """All it was fitted to, as named tensors."""


@dataclass(frozen=True, slots=True, eq=False)
class SeriesJudge:
    """A method of `detection/series`: limits, charts, matrix profile or a forecaster."""

    method: Method

    def look(self, values: np.ndarray) -> SignalEvidence:
        """Samples (T, C) -> the log of their combined surprise, and where it is high.

        Raises AnomalystError for other channels or too short a recording.
        """
        surprise = self.method.surprise(values)
        excess = np.maximum(surprise / SHOWN - 1, 0)
        found = math.log(max(1e-6, score(combined(surprise))))
        return SignalEvidence(found, (excess / (1 + excess)).astype(np.float32))

    def state(self) -> dict[str, Tensor]:
        """The method's tensors."""
        return self.method.state()


def read_judge(name: str, state: Mapping[str, Tensor]) -> Judge:
    """The judge of which `state()` gave the tensors. Raises AnomalystError or KeyError."""
    if name == MEMORY:
        return SignalMemory.from_state(state)
    return SeriesJudge(read_method(series_config(name), state))


def series_config(name: str) -> SeriesConfig:
    """The dials of a method by its name, as they ship."""
    return SeriesConfig(method=name)  # type: ignore[arg-type]

"""What every method is: fitted on good recordings, then asked sample by sample.

A method turns standardised samples into a statistic of its own (a distance, a sum, a residual).
Its surprise is that statistic over the good recordings' own, so that channels and methods can be
compared: one good sample in a hundred is beyond 2.58, as many as of a normal distribution's.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, Self

import numpy as np
import torch
from torch import Tensor

from anomalyst.detection.series.config import SeriesConfig
from anomalyst.errors import AnomalystError

MAD_TO_SPREAD = 1.4826  # median absolute deviation -> standard deviation of a normal distribution
RARE, RARE_SPREADS = 0.99, 2.5758  # P(|z| <= 2.5758) = 0.99
LARGEST = 1e4  # of a surprise: what lies beyond is no more surprising, and sums stay finite
STILL = 1e-6  # of its level that a constant channel's value may differ by rounding


class Running(Protocol):
    """A statistic in the middle of a recording."""

    def step(self, z: np.ndarray) -> np.ndarray:
        """The statistic of the next samples, from all so far: float64 (n, C) -> (n, C), >= 0."""


@dataclass(frozen=True, slots=True, eq=False)
class Scale:
    """Level and spread of each channel of the good recordings, float64 (C,)."""

    centre: np.ndarray
    spread: np.ndarray  # > 0; of a constant channel what rounding may do
    constant: np.ndarray  # bool

    @classmethod
    def of(cls, good: Sequence[np.ndarray]) -> Self:
        """Median and 1.4826 MAD; the standard deviation where over half of the values are equal."""
        values = np.concatenate([one.astype(np.float64) for one in good])
        centre = np.median(values, axis=0)
        spread = MAD_TO_SPREAD * np.median(np.abs(values - centre), axis=0)
        tiny = STILL * np.maximum(np.abs(centre), 1)
        spread = np.where(spread > tiny, spread, values.std(axis=0))
        constant = np.ptp(values, axis=0) <= tiny
        return cls(centre, np.where(constant, tiny, np.maximum(spread, tiny)), constant)

    def standardised(self, values: np.ndarray) -> np.ndarray:
        """How many spreads each value is above the level: (n, C) -> float64 (n, C)."""
        return (values.astype(np.float64) - self.centre) / self.spread


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Method(ABC):
    """A method that was fitted; it holds no recording it is asked about."""

    config: SeriesConfig
    scale: Scale
    unit: np.ndarray  # float64 (C,): the good recordings' statistic that counts as 1

    @abstractmethod
    def running(self) -> Running:
        """The statistic at the beginning of a recording."""

    def stream(self) -> "Stream":
        """To be asked sample by sample, from the beginning of a recording on."""
        return Stream(self)

    def surprise(self, values: np.ndarray) -> np.ndarray:
        """How surprising each sample is: finite (T, C) -> float32 (T, C) in [0, 1e4], causal.

        The first `config.silent` samples are 0: they are not judged. Raises AnomalystError for
        another number of channels, a value that is no number, or too short a recording.
        """
        if len(values) <= self.config.silent:
            raise AnomalystError(
                f"the recording has {len(values)} samples; {self.config.method} needs "
                f"{self.config.silent + 1} or more."
            )
        return self.stream().step(values)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know of it, as sentences."""
        still = np.flatnonzero(self.scale.constant)
        if not len(still):
            return ()
        names = ", ".join(str(i + 1) for i in still)
        return (f"constant in the good recordings, so watched for any change: channel {names}",)

    def state(self) -> dict[str, Tensor]:
        """All it was fitted to, as named tensors, for safetensors."""
        arrays = {"centre": self.scale.centre, "spread": self.scale.spread, "unit": self.unit}
        named = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
        return named | {"constant": torch.from_numpy(self.scale.constant.copy()), **self._learnt()}

    def _learnt(self) -> dict[str, Tensor]:
        """What only this method keeps."""
        return {}

    @classmethod
    def from_state(cls, config: SeriesConfig, state: Mapping[str, Tensor]) -> Self:
        """The method of which `state()` gave the tensors."""
        centre, spread, unit, constant = (
            state[name].numpy().copy() for name in ("centre", "spread", "unit", "constant")
        )
        scale = Scale(centre, spread, constant)
        return cls(config=config, scale=scale, unit=unit, **cls._from_learnt(config, state))

    @classmethod
    def _from_learnt(cls, config: SeriesConfig, state: Mapping[str, Tensor]) -> dict:
        del config, state
        return {}

    def with_unit(self, statistics: Sequence[np.ndarray]) -> Self:
        """The same, by statistics (T_i, C) of good samples it was not fitted to, if possible."""
        found = np.concatenate([one[self.config.silent :] for one in statistics])
        unit = np.quantile(found, RARE, axis=0) / RARE_SPREADS
        # A statistic that is nearly always 0 has no scale of its own, and a constant channel's is
        # rounding: then a spread of the samples is the unit.
        return replace(self, unit=np.where((unit > 1e-3) & ~self.scale.constant, unit, 1.0))


@dataclass(slots=True, eq=False)
class Stream:
    """A method in the middle of a recording."""

    method: Method
    seen: int = 0  # samples so far
    _running: Running = field(init=False)

    def __post_init__(self) -> None:
        self._running = self.method.running()

    def step(self, values: np.ndarray) -> np.ndarray:
        """Surprise of the next samples, (n, C) -> float32 (n, C): as `Method.surprise` of all.

        Raises AnomalystError for another number of channels or a value that is no number; then
        the stream is as it was before.
        """
        refuse_unusable(values, len(self.method.unit), first=self.seen)
        statistic = self._running.step(self.method.scale.standardised(values))
        found = np.minimum(statistic / self.method.unit, LARGEST).astype(np.float32)
        found[: max(0, self.method.config.silent - self.seen)] = 0
        self.seen += len(values)
        return found


def refuse_unusable(values: np.ndarray, channels: int, *, first: int = 0) -> None:
    """Raises AnomalystError unless they are finite (n, channels); `first`: number of the first."""
    if values.ndim != 2 or values.shape[1] != channels:
        raise AnomalystError(
            f"the samples have shape {values.shape}; (samples, {channels}) is needed, as in the "
            "good recordings."
        )
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        row, column = bad[0]
        raise AnomalystError(
            f"sample {first + row + 1} of channel {column + 1} is {values[row, column]}; a finite "
            "number is needed. Fill the gap, or cut the recording there."
        )


def refuse_unusable_good(good: Sequence[np.ndarray], least: int) -> None:
    """Raises AnomalystError unless there are recordings of one width, one of `least` samples."""
    if not good:
        raise AnomalystError("there is no good recording; one or more are needed.")
    for one in good:
        refuse_unusable(one, good[0].shape[1])
    longest = max(map(len, good))
    if longest < least:
        raise AnomalystError(
            f"the longest good recording has {longest} samples; {least} or more are needed."
        )

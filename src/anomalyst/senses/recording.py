"""A recording: what a microphone, an accelerometer or any sensor told over time."""

from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """Evenly spaced samples of one or several channels."""

    values: np.ndarray  # float32 (T, C), finite
    rate_hz: float  # samples in a second
    channels: tuple[str, ...]  # what each column is called
    began: datetime | None = None  # when the first sample was taken, if the file tells
    notes: tuple[str, ...] = ()  # what was changed when it was read, said plainly

    def __post_init__(self) -> None:
        assert self.values.ndim == 2 and self.values.shape[1] == len(self.channels)
        assert self.values.dtype == np.float32 and np.isfinite(self.values).all()

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return len(self.values) / self.rate_hz

    def cut(self, first: int, end: int) -> "Recording":
        """Samples `first` to `end`, that one left out."""
        return replace(self, values=self.values[first:end])

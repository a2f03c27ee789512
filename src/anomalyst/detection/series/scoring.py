"""Surprise over channels and time -> one score of a recording, and where it is unusual."""

from dataclasses import dataclass, field

import numpy as np
from scipy.signal import lfilter

from anomalyst.errors import AnomalystError

TOP_SHARE = 0.01  # of a recording's samples that its score is the mean of


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesScoring:
    """How the surprise of many samples becomes one number."""

    smoothing: int = 16
    """Samples that the mean over time looks back on; long hides short faults, short is unsteady."""
    pooling: float = 4.0
    """Power of the mean over channels: 1 is the plain mean, large ones the largest channel."""

    def __post_init__(self) -> None:
        if self.smoothing < 1 or not self.pooling > 0:
            raise AnomalystError(
                f"smoothing is {self.smoothing} and pooling {self.pooling:g}; a number of samples "
                "from 1 on and a power above 0 are needed."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class UnusualInterval:
    """A stretch of time in which a recording is unusual."""

    first: int
    end: int  # samples, that one left out
    peak: int  # sample of the highest value
    value: float  # there
    channels: tuple[tuple[int, float], ...]  # number and share of the blame, the most first


@dataclass(slots=True, eq=False)
class Combiner:
    """Surprise -> one value a sample, in the middle of a recording."""

    config: SeriesScoring
    _past: np.ndarray | None = field(default=None, init=False)  # the last smoothing - 1 samples

    def step(self, surprise: np.ndarray) -> np.ndarray:
        """float32 (n, C) -> float32 (n,): the power mean over channels of the mean over time.

        Both are in units of the surprise. A sample looks only back, so it may serve a stream;
        before a recording began it was not surprising at all.
        """
        smooth = self.smoothed(surprise)
        if not smooth.shape[1]:
            return np.zeros(len(smooth), np.float32)
        largest = np.maximum(smooth.max(axis=1, keepdims=True), 1e-12)  # or powers would overflow
        mean = ((smooth / largest) ** self.config.pooling).mean(axis=1) ** (1 / self.config.pooling)
        return (largest[:, 0] * mean).astype(np.float32)

    def smoothed(self, surprise: np.ndarray) -> np.ndarray:
        """The mean of each channel over the last `smoothing` samples: (n, C) -> float64 (n, C)."""
        length = self.config.smoothing
        if self._past is None:
            self._past = np.zeros((length - 1, surprise.shape[1]))
        samples = np.concatenate([self._past, surprise.astype(np.float64)])
        self._past = samples[len(samples) - length + 1 :]
        return lfilter(np.full(length, 1 / length), [1.0], samples, axis=0)[length - 1 :]


def combined(surprise: np.ndarray, config: SeriesScoring | None = None) -> np.ndarray:
    """One value for each sample of a whole recording: (T, C) -> float32 (T,)."""
    return Combiner(config or SeriesScoring()).step(surprise)


def score(values: np.ndarray) -> float:
    """One number for a recording: the mean of the highest 1 % of its combined values (T,).

    A maximum would be one sample; a mean over all would let a short fault drown.
    """
    count = max(1, round(TOP_SHARE * len(values)))
    return float(np.partition(values, len(values) - count)[-count:].mean())


def unusual(
    surprise: np.ndarray,
    threshold: float,
    config: SeriesScoring | None = None,
    *,
    most_channels: int = 3,
    gap: int | None = None,
) -> list[UnusualInterval]:
    """Stretches whose combined value is above the threshold, in the order of time.

    Those less than `gap` samples apart (default: the smoothing) are one. A channel's share of the
    blame is its part of the surprise there, smoothed and to the power of the pooling.
    """
    config = config or SeriesScoring()
    values = combined(surprise, config)
    blame = Combiner(config).smoothed(surprise) ** config.pooling
    gap = config.smoothing if gap is None else gap
    found = []
    for first, end in _stretches(values > threshold, gap):
        peak = first + int(values[first:end].argmax())
        parts = blame[first:end].sum(axis=0)
        shares = parts / max(float(parts.sum()), 1e-12)
        order = np.argsort(-shares, kind="stable")[:most_channels]
        found.append(
            UnusualInterval(
                first=first,
                end=end,
                peak=peak,
                value=float(values[peak]),
                channels=tuple((int(i), float(shares[i])) for i in order if shares[i] > 0),
            )
        )
    return found


def _stretches(above: np.ndarray, gap: int) -> list[tuple[int, int]]:
    """First and end of the runs of True, joined over gaps shorter than `gap`."""
    edges = np.flatnonzero(np.diff(np.r_[0, above.astype(np.int8), 0]))
    runs: list[tuple[int, int]] = []
    for first, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        if runs and first - runs[-1][1] < gap:
            runs[-1] = (runs[-1][0], end)
        else:
            runs.append((first, end))
    return runs

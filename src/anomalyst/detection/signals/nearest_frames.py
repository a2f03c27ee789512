"""The memory bank of recordings: how far each moment is from the nearest moment of good ones.

As `memory_bank.py`, with moments in the place of patches, at two time scales: a *moment* (a knock
stands out there) and what *lasts* (a resonance that moved, a new tone). Distances are Mahalanobis',
by the good frames' shrunk covariance: channels that move together count once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import torch
from scipy.ndimage import uniform_filter1d
from torch import Tensor

from anomalyst.detection.memory_bank import greedy_coreset
from anomalyst.errors import AnomalystError

# Chosen on drawn machines (docs/benchmarks.md, "Sound and vibration").
MOMENT, LASTING = 3, 31  # frames averaged
SHRINKAGE = 0.1  # of a standardised channel's variance, added to each
LEAST_SPREAD_DB = 0.3  # added to the spread of a spectrum's channel
LEAST_SPREAD_SHARE = 0.05  # of a plain channel's spread, added to it
USUAL_SPREAD, USUAL_WORTH = 0.1, 4  # of good recordings' logs of distance, as many scores know it
MOST_FRAMES = 4000  # remembered of each scale; a coreset of more
PARTS = ("mean", "spread", "whitening", "bank", "usual")  # of a scale, in its order
HALF_AT = 2.0  # the map is a half where a channel strays so many times the good ones' most


@dataclass(slots=True, eq=False)
class Scale:
    """What one time scale remembers. Vectors are standardised channels, then whitened."""

    frames: int  # averaged
    mean: np.ndarray  # (C,)
    spread: np.ndarray  # (C,)
    whitening: np.ndarray  # (C, C)
    bank: np.ndarray  # float32 (M, C), standardised
    usual: np.ndarray  # (C,): how far good channels stray from their nearest frame at most
    white: np.ndarray = field(init=False, repr=False)  # (M, C), the bank whitened
    logs: np.ndarray = field(default_factory=lambda: np.zeros(0), repr=False)  # `of` alone knows

    def __post_init__(self) -> None:
        self.white = _product(self.bank, self.whitening)

    @classmethod
    def of(cls, good: Sequence[np.ndarray], frames: int, floor: np.ndarray) -> Self:
        """The scale of good recordings, (T_i, C) each; `floor` (C,) is added to their spread."""
        smooth = [smoothed(one, frames) for one in good]
        every = np.concatenate(smooth)
        mean, spread = every.mean(0), every.std(0) + floor
        bank = ((every - mean) / spread).astype(np.float32)
        whitening = _whitening(bank)
        white = _product(bank, whitening)
        kept = _coreset(bank, whitening)
        scale = cls(frames, mean, spread, whitening, kept, np.ones(bank.shape[1]))
        ends = np.cumsum([len(one) for one in good])[:-1]
        found = _among_themselves(np.split(bank, ends), np.split(white, ends))
        strays = np.concatenate([strayed for _, strayed in found])
        scale.usual = np.quantile(strays, 0.99, axis=0) + 1e-3
        take = _farthest if frames == MOMENT else _mean
        scale.logs = np.log([take(distance) for distance, _ in found])
        return scale

    def look(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(T, C) -> each frame's distance to the bank (T,), and by channel how it strays (T, C)."""
        seen = ((smoothed(values, self.frames) - self.mean) / self.spread).astype(np.float32)
        distance, nearest = _nearest(_product(seen, self.whitening), self.white)
        return distance, np.abs(seen - self.bank[nearest])


@dataclass(frozen=True, slots=True)
class SignalEvidence:
    """What a recording shows."""

    score: float  # unbounded, higher is more anomalous
    map: np.ndarray  # float32 (T, C) in [0, 1]: how far each channel strays at each moment


@dataclass(slots=True, eq=False)
class SignalMemory:
    """Good recordings at both time scales, and how far they are from each other."""

    moment: Scale
    lasting: Scale
    usual: np.ndarray  # (2, 2): mean and spread of log distance, of a moment and of what lasts

    @classmethod
    def of(cls, good: Sequence[np.ndarray], *, decibels: bool) -> Self:
        """The memory of good recordings: frames (T_i, C) each, of one rate and the same channels.

        `decibels`: they are spectra; else plain values, of which each channel has its own unit.
        Raises AnomalystError for recordings of other channels, or too short to be two moments.
        """
        widths = {one.shape[1] for one in good}
        if len(widths) != 1:
            raise AnomalystError(
                f"good recordings have {' and '.join(map(str, sorted(widths)))} channels; all need "
                "the same."
            )
        if min(len(one) for one in good) < 2 * MOMENT:
            raise AnomalystError(
                f"a good recording is {min(len(one) for one in good)} frames long; at least "
                f"{2 * MOMENT} are needed: record for longer."
            )
        floor = _floor(good, decibels)
        scales = [Scale.of(good, frames, floor) for frames in (MOMENT, LASTING)]
        logs = np.stack([scale.logs for scale in scales])  # (2, n)
        count = logs.shape[1]
        around = logs.var(axis=1) * count + USUAL_WORTH * USUAL_SPREAD**2
        usual = np.stack([logs.mean(axis=1), np.sqrt(around / (count + USUAL_WORTH))], axis=1)
        return cls(scales[0], scales[1], usual)

    def look(self, values: np.ndarray) -> SignalEvidence:
        """Frames (T, C) -> score and map.

        The score is the mean over both scales of the log distance (of the farthest moment; of what
        lasts, the mean over time), in spreads of the good recordings' own.
        """
        if values.shape[1] != len(self.moment.mean):
            raise AnomalystError(
                f"the recording has {values.shape[1]} channels, the good ones have "
                f"{len(self.moment.mean)}; record the same."
            )
        (at, strays), (during, lasting) = self.moment.look(values), self.lasting.look(values)
        logs = np.log([_farthest(at), _mean(during)])
        score = float(np.mean((logs - self.usual[:, 0]) / self.usual[:, 1]))
        most = np.maximum(strays / self.moment.usual, lasting / self.lasting.usual)
        # 0 where nothing strays farther than good ones do, a half at HALF_AT times that.
        excess = np.maximum(most - 1, 0) / (HALF_AT - 1)
        return SignalEvidence(score, (excess / (1 + excess)).astype(np.float32))

    def state(self) -> dict[str, Tensor]:
        """The memory as named tensors, for safetensors."""
        found = {"usual": torch.from_numpy(self.usual)}
        for name, scale in (("moment", self.moment), ("lasting", self.lasting)):
            for part in PARTS:
                value = np.ascontiguousarray(getattr(scale, part), dtype=np.float32)
                found[f"{name}.{part}"] = torch.from_numpy(value)
        return found

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> Self:
        """The memory of which `state()` gave the tensors. Raises KeyError for any others."""
        scales = [
            Scale(frames, *(state[f"{name}.{part}"].numpy() for part in PARTS))
            for name, frames in (("moment", MOMENT), ("lasting", LASTING))
        ]
        return cls(scales[0], scales[1], state["usual"].numpy())


def _floor(good: Sequence[np.ndarray], decibels: bool) -> np.ndarray:
    """What each channel's spread is at least, (C,); one that never changes shows any change."""
    if decibels:
        return np.full(good[0].shape[1], LEAST_SPREAD_DB)
    every = np.concatenate(good)
    still = np.maximum(1e-3 * np.abs(every).max(0), 1e-6)
    return np.maximum(LEAST_SPREAD_SHARE * every.std(0), still)


def smoothed(values: np.ndarray, frames: int) -> np.ndarray:
    """Each frame the mean of those around it, (T, C); the ends are held."""
    return uniform_filter1d(values, min(frames, len(values)), axis=0, mode="nearest")


def _among_themselves(
    seen: Sequence[np.ndarray], white: Sequence[np.ndarray]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """How far good recordings are from each other, as `Scale.look` takes it of a new one.

    `seen` and `white`: each one's frames (T_i, C), standardised and whitened. One alone is compared
    half by half.
    """
    if len(seen) == 1:
        half = len(seen[0]) // 2
        seen, white = ([one[0][:half], one[0][half:]] for one in (seen, white))
    found = []
    for i, own in enumerate(white):
        rest = [j for j in range(len(white)) if j != i]
        distance, nearest = _nearest(own, np.concatenate([white[j] for j in rest]))
        found.append((distance, np.abs(seen[i] - np.concatenate([seen[j] for j in rest])[nearest])))
    return found


def _whitening(bank: np.ndarray) -> np.ndarray:
    """W, float32 (C, C), of which W W' is the inverse of the bank's shrunk covariance."""
    rows = torch.from_numpy(bank).double()
    covariance = torch.atleast_2d(rows.T.cov()) + SHRINKAGE * torch.eye(rows.shape[1]).double()
    return np.asarray(torch.linalg.inv(torch.linalg.cholesky(covariance)).T.float().numpy())


def _product(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Matrix product by torch: numpy's BLAS takes a hundred times as long on a busy machine."""
    return np.asarray((torch.from_numpy(one) @ torch.from_numpy(other)).numpy())


def _farthest(distance: np.ndarray) -> float:
    return max(1e-6, float(distance.max()))


def _mean(distance: np.ndarray) -> float:
    return max(1e-6, float(distance.mean()))


def _nearest(seen: np.ndarray, bank: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(T, C), (M, C) -> distance to the nearest row (T,), and which one that is."""
    squares = (bank**2).sum(1) - 2 * _product(seen, bank.T)  # (T, M), less the query's own square
    nearest = squares.argmin(axis=1)
    left = squares[np.arange(len(seen)), nearest] + (seen**2).sum(1)
    return np.sqrt(np.maximum(left, 0)), nearest


def _coreset(bank: np.ndarray, whitening: np.ndarray) -> np.ndarray:
    """At most `MOST_FRAMES` rows that leave none far from a kept one."""
    if len(bank) <= MOST_FRAMES:
        return bank
    return bank[greedy_coreset(torch.from_numpy(_product(bank, whitening)), MOST_FRAMES).numpy()]

"""NAB, Numenta's benchmark (Lavin and Ahmad 2015): its files, and its score of early detection."""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

from anomalyst.errors import AnomalystError

PROBATION, PROBATION_ROWS = 0.15, 5000  # share at the beginning not scored, of at most so many rows
STEEPNESS, FAR_BEHIND = 5.0, 3.0  # of the sigmoid, and windows behind one where it is -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What an early detection, a false alarm and a miss are worth to somebody."""

    hit: float = 1.0
    alarm: float = 0.11
    miss: float = 1.0


PROFILES = {
    "standard": Profile(),
    "reward low FP": Profile(alarm=0.22),
    "reward low FN": Profile(miss=2.0),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class NabFile:
    """One time series, and where experts saw something."""

    name: str  # as in realTweets/Twitter_volume_AAPL.csv
    values: np.ndarray  # float32 (T,)
    windows: tuple[tuple[int, int], ...]  # first and last row of each, in the order of time

    @property
    def probation(self) -> int:
        """Rows at the beginning that are learnt from and not scored."""
        return probation_rows(len(self.values))


def probation_rows(rows: int) -> int:
    """Of a file of so many rows."""
    return int(min(PROBATION * rows // 1, PROBATION * PROBATION_ROWS))


def read_nab(folder: Path) -> list[NabFile]:
    """The corpus in a copy of the repository (folders `data` and `labels`).

    Raises AnomalystError if it is not one, or a labelled time is not in its file.
    """
    labels = folder / "labels" / "combined_windows.json"
    try:
        windows = json.loads(labels.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise AnomalystError(
            f"{folder}: holds no labels/combined_windows.json; the folder of NAB is needed."
        ) from None
    except ValueError as error:
        raise AnomalystError(f"{labels}: is no JSON ({error}); fetch NAB again.") from error
    return [_read(folder / "data" / name, name, windows[name]) for name in sorted(windows)]


def _read(path: Path, name: str, labelled: Sequence[tuple[str, str]]) -> NabFile:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except FileNotFoundError:
        raise AnomalystError(f"{path}: is labelled, but not there; fetch NAB again.") from None
    place: dict[datetime, int] = {}
    for number, row in enumerate(rows):
        place.setdefault(datetime.fromisoformat(row["timestamp"]), number)
    try:
        windows = tuple(
            (place[datetime.fromisoformat(first)], place[datetime.fromisoformat(last)])
            for first, last in labelled
        )
    except KeyError as error:
        raise AnomalystError(
            f"{path}: the labelled time {error} is not in it; fetch NAB again."
        ) from None
    return NabFile(
        name=name,
        values=np.array([float(row["value"]) for row in rows], np.float32),
        windows=windows,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusScore:
    """Of one detector on some files."""

    score: float  # 100 perfect, 0 as one that never says anything
    threshold: float  # of the detector's values, that it was reached with
    alarms: int  # rows called anomalous outside of windows
    found: int
    windows: int  # with a row after the probation


def score_corpus(
    files: Sequence[NabFile],
    values: Sequence[np.ndarray],
    profile: Profile,
    *,
    threshold: float | None = None,
) -> CorpusScore:
    """A detector's values, (T_i,) each, scored at the threshold that is best for all of them.

    Rows at or above the threshold are detections. The first in a window counts, the more the
    earlier; each one outside costs, less just behind a window. `threshold`: this one instead.
    """
    rows = [_worth(one, profile) for one in files]
    worth = np.concatenate([one[0] for one in rows])
    first = np.cumsum([0, *(len(one.windows) for one in files)])
    window = np.concatenate(
        [np.where(own >= 0, own + base, -1) for (_, own), base in zip(rows, first, strict=False)]
    )
    scored = np.concatenate([np.arange(len(f.values)) >= f.probation for f in files])
    told = np.concatenate(list(values))
    assert len(told) == len(worth)
    return _best(told[scored], worth[scored], window[scored], profile, int(first[-1]), threshold)


def _worth(file: NabFile, profile: Profile) -> tuple[np.ndarray, np.ndarray]:
    """What a detection is worth at each row, float64 (T,), and the window it is in, int (T,) or -1.

    Lavin and Ahmad, eq. 1: 2 / (1 + e^5y) - 1 at relative position y: -1 where a window begins, 0
    at its end, counted in windows behind it.
    """
    count = len(file.values)
    at = np.arange(count)
    worth, window = np.full(count, -profile.alarm), np.full(count, -1)
    for number, (first, last) in enumerate(file.windows):
        width = last - first + 1
        # A window of one row has no width to be behind of: then all is far behind.
        behind = (at[last + 1 :] - last) / (width - 1) if width > 1 else np.inf
        fading = np.where(behind > FAR_BEHIND, -1.0, _sigmoid(np.minimum(behind, FAR_BEHIND)))
        worth[last + 1 :] = profile.alarm * fading
        inside = slice(first, last + 1)
        position = -(last - at[inside] + 1) / width
        worth[inside] = profile.hit * _sigmoid(position) / _sigmoid(np.array(-1.0))
        window[inside] = number
    return worth, window


def _sigmoid(position: np.ndarray) -> np.ndarray:
    return 2 / (1 + np.exp(STEEPNESS * position)) - 1


def _best(
    told: np.ndarray,
    worth: np.ndarray,
    window: np.ndarray,
    profile: Profile,
    labelled: int,
    threshold: float | None,
) -> CorpusScore:
    """From the highest value down: the sum of all rows so far, at each value that occurs."""
    order = np.argsort(-told, kind="stable")
    told, worth, window = told[order], worth[order], window[order]
    scorable = len(np.unique(window[window >= 0]))
    null, perfect = -profile.miss * scorable, profile.hit * labelled
    total = null + np.cumsum(_gains(worth, window, profile))
    ends = np.flatnonzero(np.append(told[1:] != told[:-1], True))  # all rows of one value or none
    if threshold is not None:
        ends = ends[told[ends] >= threshold][-1:]
    place = int(ends[np.argmax(total[ends])]) if len(ends) else -1
    if place < 0 or (threshold is None and total[place] <= null):  # better to say nothing at all
        return CorpusScore(score=0.0, threshold=np.inf, alarms=0, found=0, windows=scorable)
    return CorpusScore(
        score=float(100 * (total[place] - null) / (perfect - null)) if perfect > null else 0.0,
        threshold=float(told[place]),
        alarms=int((window[: place + 1] < 0).sum()),
        found=len(np.unique(window[: place + 1][window[: place + 1] >= 0])),
        windows=scorable,
    )


def _gains(worth: np.ndarray, window: np.ndarray, profile: Profile) -> np.ndarray:
    """By how much each row, in this order, changes the sum: a window counts its best row so far."""
    gains = np.where(window < 0, worth, 0.0)
    for number in np.unique(window[window >= 0]):
        rows = np.flatnonzero(window == number)
        best = np.maximum.accumulate(np.maximum(worth[rows], -profile.miss))
        gains[rows] = np.diff(best, prepend=-profile.miss)
    return gains

"""SKAB and NAB for each method: dials are chosen on half of the files, the others looked at once.

The method's own dials stay at their defaults, which drawn signals chose (`drawn.py`).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from anomalyst.detection.series.alarms import beside_the_past, once_each
from anomalyst.detection.series.base import LARGEST
from anomalyst.detection.series.config import SeriesConfig
from anomalyst.detection.series.scoring import SeriesScoring, combined
from anomalyst.errors import AnomalystError
from anomalyst.evaluation.benchmarks.series.nab import (
    PROFILES,
    NabFile,
    Profile,
    read_nab,
    score_corpus,
)
from anomalyst.evaluation.benchmarks.series.skab import TRAINED_ON, SkabFile, rates, read_skab
from anomalyst.evaluation.benchmarks.series.surprises import Task, for_choosing, surprises

SMOOTHINGS = (1, 16, 32, 64)
THRESHOLDS = tuple(np.geomspace(1, 20, 27).round(3).tolist())  # of SKAB, in units of the surprise
MEMORIES, QUIETS = (0, 3000), (0, 200, 400, 800)  # of NAB, in rows
HALVES = ("choosing", "testing", "whole")

Told = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What one method reached on one benchmark."""

    benchmark: str
    method: str
    dials: dict[str, float]  # as chosen on the choosing half
    files: dict[str, int]  # of each half
    figures: dict[str, dict[str, Any]]  # of each half


def skab_rows(
    folder: Path, methods: Iterable[str], out: Path, on_file: Told = lambda _: None
) -> list[Row]:
    """F1, FAR and MAR of each method on the rows after the 400 it learnt from, and of no method.

    Raises AnomalystError if the folder is not SKAB's, or holds files of one half alone.
    """
    files = read_skab(folder)
    tasks = [Task(name=one.name, values=one.values, good=TRAINED_ON) for one in files]
    rows = [
        _skab_row(files, name, surprises(tasks, SeriesConfig(method=name), out, on_file))  # type: ignore[arg-type]
        for name in methods
    ]
    # So many samples are anomalous that F1 alone says little: what to be better than.
    everything = [np.full((len(one.values), 1), LARGEST, np.float32) for one in files]
    return [*rows, _skab_row(files, "all called anomalous", everything)]


def _skab_row(files: Sequence[SkabFile], name: str, found: Sequence[np.ndarray]) -> Row:
    halves = _halves([one.name for one in files])
    truth = [one.anomalous[TRAINED_ON:] for one in files]
    tried = []
    for smoothing in SMOOTHINGS:
        values = [_after(one, smoothing) for one in found]
        for threshold in THRESHOLDS:
            chosen = halves["choosing"]
            reached = _exact_f1([truth[i] for i in chosen], [values[i] > threshold for i in chosen])
            tried.append((reached, smoothing, threshold))
    _, smoothing, threshold = max(tried, key=lambda one: one[0])
    called = [_after(one, smoothing) > threshold for one in found]
    return Row(
        benchmark="SKAB",
        method=name,
        dials={"smoothing": smoothing, "threshold": threshold},
        files={half: len(own) for half, own in halves.items()},
        figures={
            half: asdict(rates([truth[i] for i in own], [called[i] for i in own]))
            for half, own in halves.items()
        },
    )


def _after(surprise: np.ndarray, smoothing: int) -> np.ndarray:
    return combined(surprise, SeriesScoring(smoothing=smoothing))[TRAINED_ON:]


def _exact_f1(truth: Sequence[np.ndarray], called: Sequence[np.ndarray]) -> float:
    true, said = np.concatenate(list(truth)), np.concatenate(list(called))
    return 2 * float((true & said).sum()) / max(1, int(true.sum() + said.sum()))


def nab_rows(
    folder: Path, methods: Iterable[str], out: Path, on_file: Told = lambda _: None
) -> list[Row]:
    """The score of each method in each profile, learnt from the probation, and of random values.

    Raises AnomalystError if the folder is not NAB's, or holds files of one half alone.
    """
    files = read_nab(folder)
    tasks = [Task(name=f.name, values=f.values[:, None], good=f.probation) for f in files]
    rows = [
        _nab_row(files, name, surprises(tasks, SeriesConfig(method=name), out, on_file))  # type: ignore[arg-type]
        for name in methods
    ]
    # What the dials do by themselves: the same rules of speaking on values that mean nothing.
    rng = np.random.default_rng(0)
    random = [rng.random((len(one.values), 1), np.float32) for one in files]
    return [*rows, _nab_row(files, "random values", random)]


def _nab_row(files: Sequence[NabFile], name: str, found: Sequence[np.ndarray]) -> Row:
    halves = _halves([one.name for one in files])
    by_dials = {
        dials: [_said(one, *dials) for one in found]
        for dials in product(SMOOTHINGS, MEMORIES, QUIETS)
    }
    chosen = halves["choosing"]

    def reached(dials: tuple[int, int, int]) -> float:
        return score_corpus(
            [files[i] for i in chosen],
            [by_dials[dials][i] for i in chosen],
            PROFILES["standard"],
        ).score

    best = max(by_dials, key=reached)
    figures: dict[str, dict[str, Any]] = {half: {} for half in halves}
    for profile_name, profile in PROFILES.items():
        for half, score in _nab_scores(files, by_dials[best], profile, halves).items():
            figures[half][profile_name] = score
    return Row(
        benchmark="NAB",
        method=name,
        dials=dict(zip(("smoothing", "memory", "quiet"), best, strict=True)),
        files={half: len(own) for half, own in halves.items()},
        figures=figures,
    )


def _nab_scores(
    files: Sequence[NabFile],
    said: Sequence[np.ndarray],
    profile: Profile,
    halves: dict[str, list[int]],
) -> dict[str, dict[str, float]]:
    """Each half at the threshold best for it, as NAB does, and at that of the choosing one."""
    found: dict[str, dict[str, float]] = {}
    kept: float | None = None
    for half, own in halves.items():
        part, values = [files[i] for i in own], [said[i] for i in own]
        best = score_corpus(part, values, profile)
        kept = best.threshold if kept is None else kept
        at_kept = score_corpus(part, values, profile, threshold=kept)
        found[half] = {
            "score": round(best.score, 2),
            "score at the threshold of the choosing half": round(at_kept.score, 2),
            "found": best.found,
            "windows": best.windows,
            "alarms": best.alarms,
        }
    return found


def _said(surprise: np.ndarray, smoothing: int, memory: int, quiet: int) -> np.ndarray:
    values = combined(surprise, SeriesScoring(smoothing=smoothing))
    return once_each(beside_the_past(values, memory), quiet)


def _halves(names: Sequence[str]) -> dict[str, list[int]]:
    """Numbers of the files of each; the choosing half comes first."""
    chosen = [i for i, name in enumerate(names) if for_choosing(name)]
    others = [i for i, name in enumerate(names) if not for_choosing(name)]
    if not chosen or not others:
        raise AnomalystError(
            f"{len(names)} files, all of one half: dials are chosen on one half and tested on the "
            "other; give the whole benchmark."
        )
    return dict(zip(HALVES, (chosen, others, list(range(len(names)))), strict=True))

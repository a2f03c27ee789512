"""Each method on the signals we draw."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from anomalyst.config import to_mapping
from anomalyst.detection.series.scoring import SeriesScoring, combined, score
from anomalyst.detection.signals.judges import series_config
from anomalyst.detection.signals.names import MEMORY
from anomalyst.detection.signals.nearest_frames import SignalMemory
from anomalyst.evaluation.benchmarks.series.drawn import FAULTS, DrawnCase, draw_cases
from anomalyst.evaluation.benchmarks.series.yardsticks import Row
from anomalyst.evaluation.metrics import rank
from anomalyst.io.files import write_text
from anomalyst.teaching.series import fit_series
from anomalyst.version import __version__


def drawn_rows(
    count: int,
    methods: Iterable[str],
    out: Path,
    on_case: Callable[[str], None] = lambda _: None,
) -> list[Row]:
    """AUROC of the samples of faults, of faulty recordings among good ones, and by kind of fault.

    Each case is kept in `out` and gone on from. Raises AnomalystError if that cannot be written.
    """
    return [_row(name, [_case(name, i, out, on_case) for i in range(count)]) for name in methods]


def _case(name: str, number: int, out: Path, on_case: Callable[[str], None]) -> dict[str, Any]:
    scoring = SeriesScoring()
    how = name if name == MEMORY else to_mapping(series_config(name))
    made_by = [how, to_mapping(scoring), __version__]
    path = out / name / f"{number}.json"
    kept = json.loads(path.read_text()) if path.is_file() else {}
    if kept.get("made_by") != made_by:
        case = list(draw_cases(1, seed=0, first=number))[0]
        (values, faulty), (_, good) = _judged(name, case, scoring)
        kept = {
            "made_by": made_by,
            "fault": case.fault,
            "samples": rank(case.wrong.astype(int).tolist(), values.tolist()).auroc(),
            "faulty": faulty,
            "good": good,
        }
        write_text(path, json.dumps(kept))
    on_case(f"{name}: drawn {number}")
    return kept


def _judged(
    name: str, case: DrawnCase, scoring: SeriesScoring
) -> tuple[tuple[np.ndarray, float], tuple[np.ndarray, float]]:
    """(one value a sample, one score) of the faulty recording, and of another good one."""
    both = (case.faulty, case.more)
    if name == MEMORY:
        memory = SignalMemory.of(case.good, decibels=False)
        first, second = (
            (combined(seen.map, scoring), seen.score) for seen in map(memory.look, both)
        )
    else:
        method = fit_series(case.good, series_config(name))
        first, second = (
            (values, score(values))
            for values in (combined(method.surprise(one), scoring) for one in both)
        )
    return first, second


def _row(name: str, cases: list[dict[str, Any]]) -> Row:
    scores = [case["good"] for case in cases] + [case["faulty"] for case in cases]
    labels = [0] * len(cases) + [1] * len(cases)
    by_fault = {
        fault: round(float(np.mean(own)), 3)
        for fault in FAULTS
        if (own := [case["samples"] for case in cases if case["fault"] == fault])
    }
    return Row(
        benchmark="drawn",
        method=name,
        dials={"smoothing": SeriesScoring().smoothing},
        files={"whole": len(cases)},
        figures={
            "whole": {
                "samples": round(float(np.mean([case["samples"] for case in cases])), 3),
                "recordings": round(rank(labels, scores).auroc(), 3),
                **by_fault,
            }
        },
    )

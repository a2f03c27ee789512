"""Each method on the signals we draw."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from anomalyst.config import to_mapping
from anomalyst.detection.series.config import SeriesConfig
from anomalyst.detection.series.scoring import SeriesScoring, combined, score
from anomalyst.evaluation.benchmarks.series.drawn import FAULTS, draw_cases
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
    config, scoring = SeriesConfig(method=name), SeriesScoring()  # type: ignore[arg-type]
    made_by = [to_mapping(config), to_mapping(scoring), __version__]
    path = out / name / f"{number}.json"
    kept = json.loads(path.read_text()) if path.is_file() else {}
    if kept.get("made_by") != made_by:
        case = list(draw_cases(1, seed=0, first=number))[0]
        method = fit_series(case.good, config)
        values = combined(method.surprise(case.faulty), scoring)
        kept = {
            "made_by": made_by,
            "fault": case.fault,
            "samples": rank(case.wrong.astype(int).tolist(), values.tolist()).auroc(),
            "faulty": score(values),
            "good": score(combined(method.surprise(case.more), scoring)),
        }
        write_text(path, json.dumps(kept))
    on_case(f"{name}: drawn {number}")
    return kept


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

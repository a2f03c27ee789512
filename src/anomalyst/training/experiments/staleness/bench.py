"""The whole bench: the grid on processes that are started once, then the failures."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from anomalyst.config import from_mapping, to_mapping
from anomalyst.errors import AnomalystError
from anomalyst.io.files import write_text
from anomalyst.training.experiments.staleness.beside_ray import (
    RayRun,
    ray_cases,
    ray_name,
    ray_started,
    run_beside,
)
from anomalyst.training.experiments.staleness.config import Case, StalenessBench, Work
from anomalyst.training.experiments.staleness.digits import DigitTask, draw_set
from anomalyst.training.experiments.staleness.failures import (
    Failure,
    Told,
    fail_once,
    failure_cases,
    name_of,
)
from anomalyst.training.experiments.staleness.links import Report
from anomalyst.training.experiments.staleness.pool import Harm, Pool
from anomalyst.training.experiments.staleness.results import Result, result_of
from anomalyst.training.studies.folder import begin_study

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """All that was measured."""

    bench: StalenessBench
    step_ms: float  # that a step of a worker lasts which is no straggler
    results: list[Result]
    failures: list[Failure]
    ray: list[RayRun] = field(default_factory=list)  # Ray's pattern beside ours, where asked for


def bench_staleness(
    bench: StalenessBench, out: Path, *, port: int = 0, told: Told = lambda *_: None
) -> Found:
    """Do all runs that OUT does not hold yet; OUT/staleness.json.

    Raises AnomalystError where OUT holds another bench, for a port in use, or when a process dies.
    """
    begin_study(out, to_mapping(bench.work))  # of the grid, more may follow
    cases, harms = bench.cases(), list(failure_cases(bench)) if bench.failures else []
    names = [case.name for case in cases] + [name_of(*one) for one in harms]
    if any(not _file(out, name).exists() for name in names):
        _run_all(bench, cases, harms, out, port, told)
    step_ms = json.loads((out / "step.json").read_text(encoding="utf-8"))["step_ms"]
    beside = ray_cases(bench) if bench.ray else []
    if any(not _file(out, ray_name(case)).exists() for case in beside):
        _run_ray(bench.work, beside, out, step_ms / 1000, told)
    found = Found(
        bench=bench,
        step_ms=step_ms,
        results=[_read(Result, _file(out, case.name)) for case in cases],
        failures=[_read(Failure, _file(out, name_of(*one))) for one in harms],
        ray=[_read(RayRun, _file(out, ray_name(case))) for case in beside],
    )
    write_text(out / "staleness.json", json.dumps(to_mapping(found), indent=1) + "\n")
    return found


def _run_all(
    bench: StalenessBench,
    cases: Sequence[Case],
    harms: Sequence[tuple[Case, Harm]],
    out: Path,
    port: int,
    told: Told,
) -> None:
    """What is not done yet, on one pool of processes."""
    work, digits = bench.work, draw_set(bench.work)
    task, total = DigitTask(digits, work), len(cases) + len(harms)
    most = max(case.processes for case in (*cases, *(case for case, _ in harms)))
    with Pool(most, digits, work, port) as pool:
        step_s = _step_seconds(bench, out, pool)
        for done, case in enumerate(cases):
            if not _file(out, case.name).exists():
                told(case.name, done, total)
                reports = pool.run(case, step_s, work.batches)
                refuse_losses(case, reports, work.patience_s)
                _write(out, case.name, result_of(case, work, reports, task))
        for done, (case, harm) in enumerate(harms, len(cases)):
            if not _file(out, name_of(case, harm)).exists():
                told(name_of(case, harm), done, total)
                _write(out, name_of(case, harm), fail_once(case, harm, pool, task, step_s))


def _run_ray(work: Work, cases: Sequence[Case], out: Path, step_s: float, told: Told) -> None:
    """What is not done yet, on Ray's actors."""
    digits = draw_set(work)
    task = DigitTask(digits, work)
    with ray_started():
        for done, case in enumerate(cases):
            if not _file(out, ray_name(case)).exists():
                told(ray_name(case), done, len(cases))
                _write(out, ray_name(case), run_beside(case, digits, task, step_s))


def refuse_losses(case: Case, reports: Sequence[Report], patience_s: float) -> None:
    """Raises AnomalystError where a run lost somebody whom nobody harmed: its figures mislead."""
    lost = {rank for one in reports for rank in one.lost}
    lost |= {one.rank for one in reports if one.ended != "finished"}
    if lost:
        raise AnomalystError(
            f"{case.name}: process {min(lost)} was silent for --patience-s {patience_s:g} and "
            "given up, so the run does not count; is the machine busy? Give more patience in "
            "another folder, or run the command again: it goes on after the runs that are done."
        )


def _step_seconds(bench: StalenessBench, out: Path, pool: Pool) -> float:
    """The same for all runs of a folder, so that they can be compared."""
    path = out / "step.json"
    if not path.exists():
        measured = bench.work.step_ms or 1000 * pool.step_seconds(max(bench.workers))
        write_text(path, json.dumps({"step_ms": measured}) + "\n")
    return float(json.loads(path.read_text(encoding="utf-8"))["step_ms"]) / 1000


def _write(out: Path, name: str, one: Result | Failure | RayRun) -> None:
    write_text(_file(out, name), json.dumps(to_mapping(one)) + "\n")


def _file(out: Path, name: str) -> Path:
    return out / "runs" / f"{name}.json"


def _read(kind: type[T], path: Path) -> T:
    return from_mapping(kind, json.loads(path.read_text(encoding="utf-8")), where=str(path))

"""Several `anomalyst inspect` at once on one machine: what they cost each other."""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from anomalyst.errors import AnomalystError


@dataclass(frozen=True, slots=True, kw_only=True)
class BesideResult:
    """Seconds from the first start to the last end; starting Python counts."""

    jobs: int
    pictures: int  # of each job
    alone_s: float  # one job, the median of the rounds
    together_s: float  # all jobs at once, the median of the rounds

    @property
    def ratio(self) -> float:
        """How many times as long all take together; with one core each, as many as there are."""
        return self.together_s / self.alone_s


def bench_beside(
    references: Sequence[Path],
    pictures: Sequence[Path],
    *,
    jobs: int = 2,
    rounds: int = 3,
    before: Sequence[str] = (),
    options: Sequence[str] = (),
    on_round: Callable[[], None] = lambda: None,
) -> BesideResult:
    """Inspect the same pictures in one process, then in `jobs` at once, turn by turn.

    `before` stands before the word inspect in each command, `options` after it. Raises
    AnomalystError if one of them fails.
    """
    command = [sys.executable, "-m", "anomalyst", *before, "inspect", *map(str, pictures), "--json"]
    command += [word for path in references for word in ("--reference", str(path))]
    command += options
    alone, together = [], []
    for _ in range(rounds):
        alone.append(_seconds(command, 1))
        together.append(_seconds(command, jobs))
        on_round()
    return BesideResult(
        jobs=jobs,
        pictures=len(pictures),
        alone_s=statistics.median(alone),
        together_s=statistics.median(together),
    )


def _seconds(command: Sequence[str], jobs: int) -> float:
    started = time.perf_counter()
    running = [
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        for _ in range(jobs)
    ]
    said = [process.communicate()[1] for process in running]
    took = time.perf_counter() - started
    for process, words in zip(running, said, strict=True):
        if process.returncode != 0:
            raise AnomalystError(f"`anomalyst inspect` failed: {words.strip()}")
    return took

"""Several `anomalyst inspect` at once on one machine: what they cost each other."""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from anomalyst.errors import AnomalystError


def bench_concurrent(
    references: Sequence[Path],
    pictures: Sequence[Path],
    *,
    jobs: int = 2,
    rounds: int = 3,
    before: Sequence[str] = (),
    options: Sequence[str] = (),
    on_round: Callable[[], None] = lambda: None,
) -> tuple[float, float]:
    """Seconds of one process, and of `jobs` at once on the same pictures: medians of the rounds.

    From the first start to the last end; starting Python counts.

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
    return statistics.median(alone), statistics.median(together)


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

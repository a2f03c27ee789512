"""A few early steps under torch's profiler: a trace, and the share of communication."""

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile, record_function

from anomalyst.training.engines import Engine

WARMUP_STEPS = 3  # steps that are not looked at
COMMUNICATION = ("gloo:", "nccl:", "ncclDevKernel", "c10d::", "mpi:")


class Profiler:
    """Profiles `steps` steps after the first few and keeps the trace.

    With 0 and several processes, two steps for the share of communication only.
    """

    def __init__(self, out: Path, steps: int, engine: Engine, first: int):
        self.path, self.keep = out / "traces" / f"rank{engine.rank}.json.gz", bool(steps)
        self.begins = first + WARMUP_STEPS
        self.ends = self.begins + (steps or 2 * (engine.world > 1))
        self.running: Any = None
        self.communication_share: float | None = None

    def __enter__(self) -> "Profiler":
        return self

    def __exit__(self, *error: object) -> None:
        # A process that ends under the profiler crashes.
        if self.running is not None:
            self._end()

    def at(self, step: int) -> None:
        """Call before each step."""
        if step == self.begins and self.ends > self.begins:
            kinds = [ProfilerActivity.CPU]
            if torch.cuda.is_available():
                kinds.append(ProfilerActivity.CUDA)
            self.running = profile(activities=kinds)
            self.running.__enter__()
        elif step >= self.ends and self.running is not None:
            self._end()

    def _end(self) -> None:
        running, self.running = self.running, None
        running.__exit__(None, None, None)
        events = running.events()
        self.communication_share = _share(events)
        if self.keep:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            running.export_chrome_trace(str(self.path))


def trace_range(name: str) -> AbstractContextManager[Any]:
    """A range of that name in torch's traces, and on CUDA in Nsight's."""
    if torch.cuda.is_available():
        return torch.cuda.nvtx.range(name)
    return record_function(name) if torch.autograd.profiler._is_profiler_enabled else nullcontext()


def _share(events: Iterable[Any]) -> float | None:
    """Of the time looked at, the part in which data was on its way between processes."""
    spans, first, last = [], float("inf"), 0.0
    for event in events:
        begin, end = event.time_range.start, event.time_range.end
        first, last = min(first, begin), max(last, end)
        if event.name.startswith(COMMUNICATION):
            spans.append((begin, end))
    if not spans:
        return None  # Horovod's communication, for one, is not recorded
    communicating, reached = 0.0, 0.0
    for begin, end in sorted(spans):
        communicating += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return round(communicating / (last - first), 4)

"""A command held to a few cores and little memory, as a small computer would hold it.

Memory by a control group of its own where one may be made (Linux, root or a delegated group), else
by RLIMIT_DATA; cores by affinity. The processor stays as fast as it is: what a small board's own
cores take cannot be told from here.
"""

import os
import resource
import secrets
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Literal

from anomalyst.errors import AnomalystError
from anomalyst.hardware.processor import usable_cores

CGROUPS = Path("/sys/fs/cgroup")
MIB = 1 << 20
LOOK_S = 0.02  # between looks at a running command
KILLED = -9  # how a process ends that the kernel takes for want of memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a command may use; None: as much as there is."""

    cores: int | None = None
    memory_mb: int | None = None  # MiB

    def __post_init__(self) -> None:
        there = usable_cores()
        if self.cores is not None and not 1 <= self.cores <= there:
            raise AnomalystError(
                f"--cores {self.cores}: this process may use {there}; give a number from 1 to "
                f"{there}."
            )
        if self.memory_mb is not None and self.memory_mb < 32:
            raise AnomalystError(
                f"--memory-mb {self.memory_mb}: Python alone needs more; give 32 or more."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """How a held command ended. `peak_mb`: most memory at once, MiB.

    Of a control group that is all its pages, files it was the first to read counted; else the
    process's largest resident set, libraries counted. `resident_mb` is always the latter.
    """

    code: int
    out: str
    error: str
    seconds: float
    peak_mb: float
    resident_mb: float
    held_by: Literal["control group", "RLIMIT_DATA"]

    @property
    def out_of_memory(self) -> bool:
        """Whether it ended because memory did."""
        told = "MemoryError" in self.error or "allocate" in self.error
        return self.code == KILLED or (self.code != 0 and told)


def run_limited(
    command: Sequence[str], limits: Limits, *, environment: Mapping[str, str] | None = None
) -> Finished:
    """Run a command to its end within limits; it is never killed for taking long."""
    with _group(limits) as group:

        def hold() -> None:  # in the child, before the command begins
            if limits.cores is not None:
                os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: limits.cores])
            if group is not None:
                (group.folder / "cgroup.procs").write_text(str(os.getpid()))
            elif limits.memory_mb is not None:
                resource.setrlimit(resource.RLIMIT_DATA, (limits.memory_mb * MIB,) * 2)

        started = time.perf_counter()
        with TemporaryFile() as said, TemporaryFile() as told:
            process = subprocess.Popen(
                list(command),
                stdout=said,
                stderr=told,
                preexec_fn=hold,
                env={**os.environ, **(environment or {})},
            )
            resident = 0.0
            while process.poll() is None:
                resident = _resident_mb(process.pid) or resident
                time.sleep(LOOK_S)
            seconds = time.perf_counter() - started
            said.seek(0)
            told.seek(0)
            out, error = (file.read().decode(errors="replace") for file in (said, told))
        peak = group.peak_mb() if group is not None else resident
    return Finished(
        code=process.returncode, out=out, error=error, seconds=seconds, peak_mb=peak,
        resident_mb=resident, held_by="control group" if group is not None else "RLIMIT_DATA",
    )  # fmt: skip


def _resident_mb(process: int) -> float:
    """Its largest resident set so far, MiB; 0 once it ended.

    Not what wait4 tells: that begins with the size of the process which started it.
    """
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)


@dataclass(frozen=True, slots=True)
class _Group:
    """A control group of one command."""

    folder: Path
    peak: str  # the file that says the most memory it held

    def peak_mb(self) -> float:
        return int((self.folder / self.peak).read_text()) / MIB


def _own_name() -> str:
    """An earlier group of this process may linger."""
    return f"anomalyst-{os.getpid()}-{secrets.token_hex(4)}"


@contextmanager
def _group(limits: Limits) -> Iterator[_Group | None]:
    """A memory group of its own, version 1 or 2; None where none may be made."""
    first = (CGROUPS / "memory").is_dir()
    folder = (CGROUPS / "memory" if first else CGROUPS) / _own_name()
    try:
        folder.mkdir()
    except OSError:
        yield None
        return
    try:
        yield _limited(folder, limits.memory_mb, first)
    finally:
        _remove(folder)


def _limited(folder: Path, memory_mb: int | None, first: bool) -> _Group | None:
    names = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes")
    if not first:
        names = ("memory.max", "memory.swap.max")
    group = _Group(folder, "memory.max_usage_in_bytes" if first else "memory.peak")
    if not all((folder / name).exists() for name in (names[0], group.peak)):
        return None  # the memory controller is not handed down to here
    if memory_mb is not None:
        (folder / names[0]).write_text(str(memory_mb * MIB))
        if (folder / names[1]).exists():
            (folder / names[1]).write_text(str(memory_mb * MIB) if first else "0")
    return group


def _remove(folder: Path) -> None:
    """The group is busy until the kernel has counted its last process out."""
    for _ in range(50):
        try:
            folder.rmdir()
        except OSError:
            time.sleep(0.02)
        else:
            return

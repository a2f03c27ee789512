"""A fork of this process at work, its steps on disk and database written down, killed at one."""

import contextlib
import os
import re
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
CHANGES = {
    "os.rename": "rename", "os.remove": "remove", "os.mkdir": "make", "os.rmdir": "remove",
    "os.link": "link", "shutil.copyfile": "copy",
}  # fmt: skip
SQL_WRITES = ("INSERT", "UPDATE", "DELETE", "CREATE", "DROP", "ALTER")
CHANCE = re.compile(r"[0-9a-f]{32,}|(?<=part-)[a-z0-9_]{8}\b|[0-9a-f]{26}")  # in files' names
LONGEST_S = 300.0  # of one piece of work
POLL_S, CALM_S = 0.0005, 0.01  # between two looks
BEGUN, ENDED = "begin", "end"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What was about to be done on disk or in the database, and when."""

    at: float  # seconds after the work began
    what: str  # "rename product/product.json", "INSERT INTO inspections", "commit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """Where a process is killed: so many seconds after so many steps."""

    steps: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a fork ended."""

    steps: list[Step]  # those that it began
    finished: bool  # its work was done when it was killed
    seconds: float  # after the beginning of its work
    problem: str | None = None  # it failed or hung by itself


class StepLog:
    """A file to which a process and its forks append each step; it survives them."""

    def __init__(self, path: Path, below: Path):
        self.path, self.below = path, str(below)
        self.handle = os.open(path, os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_WRONLY)

    def listen(self) -> None:
        """From here on this process and its forks write their steps down."""
        sys.addaudithook(self._seen)
        event.listen(Engine, "before_cursor_execute", self._asked)
        event.listen(Engine, "commit", lambda _: self.add("commit"))

    def add(self, what: str) -> None:
        """One line, in one piece."""
        os.write(self.handle, f"{time.monotonic():.6f} {what}\n".encode())

    def began(self) -> float:
        """When the work began; now, if it has not."""
        first = self._lines()
        return first[0][0] if first else time.monotonic()

    def read(self) -> list[Step]:
        """The steps between the beginning and the end of the work."""
        began = self.began()
        return [
            Step(at=at - began, what=what)
            for at, what in self._lines()
            if what not in (BEGUN, ENDED)
        ]

    def _lines(self) -> list[tuple[float, str]]:
        lines = [line.partition(" ") for line in self.path.read_text().splitlines()]
        told = [(float(at), what) for at, _, what in lines]
        first = next((n for n, (_, what) in enumerate(told) if what == BEGUN), len(told))
        return told[first:]

    def _seen(self, name: str, details: tuple[Any, ...]) -> None:
        if name == "ctypes.dlsym" and details[1] == "renameat2":
            self.add("exchange folders")
            return
        opened = name == "open" and isinstance(details[2], int) and details[2] & WRITES
        if not opened and name not in CHANGES:
            return
        path = details[1] if name in ("os.rename", "os.link", "shutil.copyfile") else details[0]
        if isinstance(path, str | bytes | os.PathLike) and self.below in (p := os.fsdecode(path)):
            shown = CHANCE.sub("*", p.rpartition(self.below)[2].strip("/"))
            self.add(f"{CHANGES.get(name, 'write')} {shown}")

    def _asked(self, *asked: Any) -> None:
        words = asked[2].split(None, 3)
        if words and words[0].upper() in SQL_WRITES:
            self.add(" ".join(words[:3]))


def worked(
    work: Callable[[], object],
    log: StepLog,
    said: Path,
    point: Point | None,
    *,
    alone: bool = False,
) -> Ended:
    """A fork does the work, and is killed at the point (None: lives to its end).

    `alone`: the processes that it started are left to end by themselves, else all die at once.
    `said`: a file for what it prints.
    """
    child = os.fork()
    if child == 0:
        _work(work, log, said, stay=point is not None)
    try:
        ended, problem = _awaited(child, log, point)
    except BaseException:  # Ctrl-C: it is in a session of its own, and would go on
        _kill(child, alone=False)
        raise
    if not ended:
        _kill(child, alone=alone and problem is None)
    elif not _has_ended(log):
        text = said.read_text(errors="replace").strip().splitlines()
        problem = "failed by itself: " + (text or ["nothing was said"])[-1]
    when = time.monotonic()
    return Ended(
        steps=log.read(), finished=_has_ended(log), seconds=max(0.0, when - log.began()),
        problem=problem,
    )  # fmt: skip


def _awaited(child: int, log: StepLog, point: Point | None) -> tuple[bool, str | None]:
    """Whether a fork ended by itself before the point came; and what is wrong if neither came."""
    began = time.monotonic()
    reached: float | None = None
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        passed = time.monotonic()
        if passed - began > LONGEST_S:
            return False, f"hung for {LONGEST_S:g} s"
        if point is not None:
            if reached is None and _reached(log, point.steps):
                reached = passed
            if reached is not None and passed - reached >= point.seconds:
                return False, None
        time.sleep(POLL_S if point is not None else CALM_S)
    return True, None


def _kill(child: int, *, alone: bool) -> None:
    with contextlib.suppress(ProcessLookupError):
        (os.kill if alone else os.killpg)(child, signal.SIGKILL)
    os.waitpid(child, 0)


def _reached(log: StepLog, steps: int) -> bool:
    """Whether the work has begun so many steps, or has ended."""
    _, begun, after = log.path.read_bytes().partition(f" {BEGUN}\n".encode())
    return (bool(begun) and after.count(b"\n") >= steps) or _has_ended(log)


def _has_ended(log: StepLog) -> bool:
    return f" {ENDED}\n".encode() in log.path.read_bytes()


def _work(work: Callable[[], object], log: StepLog, said: Path, *, stay: bool) -> None:
    """In the fork: never returns."""
    code = 9
    try:
        os.setsid()  # with all that it starts it can be killed at once
        handle = os.open(said, os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        sys.stdout = sys.stderr = os.fdopen(handle, "w", buffering=1)
        log.listen()
        log.add(BEGUN)
        work()
        log.add(ENDED)
        while stay:
            signal.pause()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)

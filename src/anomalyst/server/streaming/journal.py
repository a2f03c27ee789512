"""Rows that a broker was told are ours, on disk until the windows that need them were taken."""

import errno
import hashlib
import json
import os
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from anomalyst.errors import AnomalystError
from anomalyst.io.files import disk_told, make_folder, written_whole
from anomalyst.io.locks import Lock

REWRITTEN_AT = 4_000_000  # bytes that are no longer needed, after which the file is written anew
KNOWN = 256  # newest messages, by which one that a broker sends again is known

Row = dict[str, str]


@dataclass(frozen=True, slots=True)
class Kept:
    """A message as it is kept."""

    mid: int  # the broker's number for it
    payload: bytes
    rows: Sequence[Row]
    again: bool = False  # the broker says that it sends it another time: it may be known

    @property
    def mark(self) -> list[str | int]:
        """Of the same message again: the same."""
        return [self.mid, hashlib.sha256(self.payload).hexdigest()[:16]]


class Journal:
    """A file of messages, one a line; one process appends to it (one thread) and reads it (one).

    Its first line holds the number of its first row (`row`), that of the row with which the next
    window begins (`begin`), and the newest messages of before (`known`).
    """

    def __init__(self, path: Path):
        self.path = path
        make_folder(path.parent)
        self.fresh = threading.Event()  # set when something has come
        self._lock = threading.Lock()
        self._starts: deque[tuple[int, int]] = deque()  # number of a first row, and its place
        self._known: deque[list[str | int]] = deque(maxlen=KNOWN)
        self._row = self._place = self.begin = 0  # to be read next, and where its message lies
        with disk_told(path):
            self._alone = Lock(path.with_suffix(".lock"))
            self._hold()
            self.began = not path.exists()  # nothing was ever taken from this topic
            if self.began:
                self._rewrite(0, 0, b"")
            self._in: IO[bytes] = path.open("rb")
            self._out: IO[bytes] = path.open("ab", buffering=0)
            self._take_up()

    def append(self, messages: Sequence[Kept]) -> None:
        """Keep messages: they are on disk when this returns. Raises AnomalystError."""
        lines = b""
        with self._lock, disk_told(self.path):
            for one in messages:
                if not (one.again and one.mark in self._known):
                    self._known.append(one.mark)
                    lines += json.dumps([one.mark, list(one.rows)]).encode() + b"\n"
            whole = os.fstat(self._out.fileno()).st_size
            try:
                if self._out.write(lines) != len(lines):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(self._out.fileno())
            except OSError:
                os.ftruncate(self._out.fileno(), whole)
                raise
        self.fresh.set()

    def read(self) -> Iterator[tuple[int, Row]]:
        """Rows that have come since they were read last, each with its number."""
        while (line := self._in.readline()).endswith(b"\n"):
            self._starts.append((self._row, self._place))
            self._place += len(line)
            number, rows = self._row, json.loads(line)[1]
            self._row += len(rows)
            yield from ((number + i, row) for i, row in enumerate(rows) if number + i >= self.begin)
        self._in.seek(self._place)

    def forget(self, begin: int) -> None:
        """Rows before `begin` are no longer needed; now and then the file is written anew."""
        while len(self._starts) > 1 and self._starts[1][0] <= begin:
            self._starts.popleft()
        if not self._starts or self._starts[0][1] < REWRITTEN_AT:
            return
        row, place = self._starts[0]
        with self._lock, disk_told(self.path):
            self._in.seek(place)
            moved = self._rewrite(row, begin, self._in.read()) - place
            self._in.close()
            self._out.close()
            self._in, self._out = self.path.open("rb"), self.path.open("ab", buffering=0)
        self._starts = deque((number, at + moved) for number, at in self._starts)
        self._place += moved
        self._in.seek(self._place)

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._in.close()
            self._out.close()
            self._alone.release()

    def _hold(self) -> None:
        """Be the only process that has it open."""
        if not self._alone.take():
            raise AnomalystError(
                f"{self.path.name}: another process watches this topic for this product and this "
                "--home; end it first."
            )

    def _take_up(self) -> None:
        """Read what an earlier run left; a last line that was not written whole is dropped."""
        head = self._in.readline()
        self._place = end = len(head)
        told = json.loads(head)
        self._row, self.begin = int(told["row"]), int(told["begin"])
        self._known.extend(told["known"])
        for line in self._in:
            if not line.endswith(b"\n"):
                self._out.truncate(end)
                break
            self._known.append(json.loads(line)[0])
            end += len(line)
        self._in.seek(self._place)
        self.fresh.set()

    def _rewrite(self, row: int, begin: int, rest: bytes) -> int:
        """Write the file anew; returns where its first message lies."""
        told = {"row": row, "begin": begin, "known": list(self._known)}
        head = json.dumps(told).encode() + b"\n"
        with written_whole(self.path) as part, part.open("wb") as file:
            file.write(head + rest)
            file.flush()
            os.fsync(file.fileno())
        return len(head)

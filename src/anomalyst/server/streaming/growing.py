"""A table that another program appends to: its whole lines, and the windows they make."""

import codecs
import logging
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO

from anomalyst.errors import AnomalystError
from anomalyst.senses.sense import SignalSense
from anomalyst.senses.series import TIME_NAMES, separator_of
from anomalyst.server.streaming.messages import columns_of
from anomalyst.server.streaming.sources import Source, Taken
from anomalyst.server.streaming.windows import Cut, Cutter, taken

log = logging.getLogger(__name__)
CHUNK = 1 << 20
LONGEST_LINE = 16 * CHUNK
REMEMBERED = 256  # bytes before the place read to, by which a file written anew is known


class GrowingFile:
    """The whole lines of a file as they are written, over rotation and truncation."""

    def __init__(self, path: Path):
        self.path = path
        try:
            self._file: IO[bytes] | None = path.open("rb")
        except OSError as error:
            raise AnomalystError(f"{path}: cannot be read ({error.strerror}).") from error
        self._rest = b""  # of a line that is not whole yet
        self._tail = b""  # what was read last

    @property
    def inode(self) -> int:
        """Of the file read now, which a renamed file takes along."""
        return os.fstat(self._file.fileno()).st_ino if self._file is not None else 0

    def new(self) -> Iterator[bytes | None]:
        """Lines that have come, without their ends; None where another file begins."""
        while True:
            if self._file is not None and not self._goes_on():
                yield from self._anew("was cut short or written anew")
            chunk = self._file.read(CHUNK) if self._file is not None else b""
            if chunk:
                self._tail = (self._tail + chunk)[-REMEMBERED:]
                *lines, self._rest = (self._rest + chunk).split(b"\n")
                if len(self._rest) > LONGEST_LINE:
                    raise AnomalystError(f"{self.path}: has no lines; a table of text is needed.")
                yield from lines
            elif self._replaced():
                yield from self._anew("was replaced by another file")
            else:
                return

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _goes_on(self) -> bool:
        """Whether what was read last still lies before the place read to."""
        assert self._file is not None
        place = self._file.tell()
        self._file.seek(place - len(self._tail))
        return self._file.read(len(self._tail)) == self._tail

    def _replaced(self) -> bool:
        """Whether another file has the name now, and nothing is left to be read of this one."""
        try:
            there = self.path.stat().st_ino
        except OSError:
            return False  # it was moved away, and the next is not there yet
        if self._file is None:
            return True
        return there != self.inode and os.fstat(self._file.fileno()).st_size == self._file.tell()

    def _anew(self, why: str) -> Iterator[None]:
        """Begin with the file that has the name now."""
        if self._rest.strip():
            log.warning("%s: %s, in the middle of a line, which is lost", self.path, why)
        self.close()
        self._rest = self._tail = b""
        with suppress(OSError):  # it may be gone again; then the next one is waited for
            self._file = self.path.open("rb")
        yield None


class GrowingTable(Source):
    """Windows of a growing CSV.

    A file's first line names its columns. Where it is data, they are those of the file before, or
    the channels in the order taught, with or without a time before.
    """

    poll_seconds = 0.02

    def __init__(self, path: Path, sense: SignalSense, cut: Cut):
        self.path, self.cut, self.how = path, cut, cut.told
        self._order = sense.channels
        self._file = GrowingFile(path)
        self._header: bytes | None = None
        self._separator = ","
        self._column: int | None = None  # the time's
        self._cutter: Cutter[bytes] = Cutter(cut)
        self._first = True  # the next line is its file's first
        self._inode = self._file.inode

    def new(self) -> Iterator[Taken]:
        """Windows that were completed; of a file that ended, its last rows, too."""
        for line in self._file.new():
            window = self._ended() if line is None else self._row(line)
            if window is not None:
                yield self._taken(*window)
            self.waiting = self._cutter.waiting
            if line is None:
                self._cutter, self._first, self._inode = Cutter(self.cut), True, self._file.inode

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def _row(self, line: bytes) -> tuple[int, list[bytes]] | None:
        line = line.removeprefix(codecs.BOM_UTF8).rstrip(b"\r")
        if not line.strip() or line == self._header:
            return None
        first, self._first = self._first, False
        supposed = self._supposed(line) if first and self._header is None else None
        if first and (self._is_header(line) or (self._header is None and supposed is None)):
            self._take_header(line)
            return None
        if supposed is not None:
            self._take_header(supposed)
        return self._cutter.add(line)

    def _take_header(self, line: bytes) -> None:
        self._header = line
        self._separator = separator_of(line.decode("utf-8", "replace"))
        names = [cell.lower() for cell in self._cells(line)]
        self._column = next((i for i, name in enumerate(names) if name in TIME_NAMES), None)

    def _supposed(self, line: bytes) -> bytes | None:
        """The first line that a table lacks which begins with data; None where it is no data."""
        text = line.decode("utf-8", "replace")
        found = columns_of(text, self._order)
        if found is None or not _is_number(text.split(found[0])[-1]):
            return None
        return found[0].join(found[1]).encode()

    def _is_header(self, line: bytes) -> bool:
        """Whether a line names a channel or the time."""
        text = line.decode("utf-8", "replace")
        cells = {cell.strip().strip('"') for cell in text.split(separator_of(text))}
        return not cells.isdisjoint(self._order) or any(c.lower() in TIME_NAMES for c in cells)

    def _cells(self, line: bytes) -> list[str]:
        text = line.decode("utf-8", "replace")
        return [cell.strip().strip('"') for cell in text.split(self._separator)]

    def _ended(self) -> tuple[int, list[bytes]] | None:
        left = self._cutter.waiting
        window = self._cutter.end()
        if left and window is None:
            log.warning("%s: its last %d rows are fewer than a window holds", self.path, left)
        return window

    def _taken(self, number: int, rows: list[bytes]) -> Taken:
        assert self._header is not None
        table = b"\n".join([self._header, *rows, b""])
        cells, column = self._cells(rows[0]), self._column
        if column is None and "-" in cells[0] and not _is_number(cells[0]):
            column = 0  # a first column of dates under another name, as read_series takes it
        if column is not None and column < len(cells):
            return taken(self.path.stem, cells[column], self.path.name, table)
        # Without times the same rows may come again in another file.
        where = f"{self.path.name}|{self._inode}"
        return taken(self.path.stem, f"row {number + 1}", where, table)


def _is_number(cell: str) -> bool:
    try:
        float(cell.replace(",", "."))
    except ValueError:
        return False
    return True

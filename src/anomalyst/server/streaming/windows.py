"""Rows as they come, cut into windows: recordings as long as the good ones of a product."""

import hashlib
from collections import deque
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from statistics import median_low
from typing import Generic, Self, TypeVar

from anomalyst.errors import AnomalystError
from anomalyst.product_index import read_record
from anomalyst.senses.sense import SignalSense, sense_of
from anomalyst.senses.series import LEAST_SAMPLES
from anomalyst.server.streaming.sources import Taken

Row = TypeVar("Row")
MOST_SECONDS = 1e8  # three years
LONGEST_LABEL = 60  # characters of a time in a window's name


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """How long windows are, and how far from each other they begin."""

    rows: int
    stride: int  # rows; fewer than `rows`: windows overlap
    rate_hz: float  # samples in a second

    @property
    def told(self) -> str:
        """The same in words."""
        length = f"in windows of {self.rows} samples ({self.rows / self.rate_hz:.4g} s)"
        if self.stride == self.rows:
            return length
        return f"{length} that begin every {self.stride} ({self.stride / self.rate_hz:.4g} s)"

    @classmethod
    def of(
        cls, product: Path, sense: SignalSense, window: float | None, stride: float | None
    ) -> Self:
        """Of seconds; None: as long as the product's good recordings, and one after the other.

        Raises AnomalystError for a window too short to be judged, or rows that no window holds.
        """
        rate = sense.rate_hz or 1.0
        for option, seconds in (("--window", window), ("--stride", stride)):
            if seconds is not None and not 0 < seconds < MOST_SECONDS:
                raise AnomalystError(f"{option} {seconds:g}: a number of seconds is needed.")
        rows = _taught_rows(product, sense) if window is None else round(window * rate)
        if rows < LEAST_SAMPLES:
            raise AnomalystError(
                f"--window {window:g} holds {rows} samples at {rate:.4g} a second; {LEAST_SAMPLES} "
                f"or more are needed, so {LEAST_SAMPLES / rate:.4g} s or longer."
            )
        step = rows if stride is None else round(stride * rate)
        if not 1 <= step <= rows:
            raise AnomalystError(
                f"--stride {stride:g} is {step} samples; from 1 sample ({1 / rate:.4g} s) to the "
                f"length of a window ({rows / rate:.4g} s) is needed, or some would not be seen."
            )
        return cls(rows=rows, stride=step, rate_hz=rate)


def series_sense(product: Path) -> SignalSense | None:
    """How a product's tables are read; None for a product that was not taught with tables."""
    told = read_record(product).get("sense")
    sense = sense_of(told, f"{product}: sense") if told else None
    return sense if isinstance(sense, SignalSense) and sense.kind == "series" else None


def _taught_rows(product: Path, sense: SignalSense) -> int:
    """How many samples the good recordings hold, the lower median."""
    references = read_record(product)["references"]
    return median_low(len(sense.read(product / one["file"]).values) for one in references)


class Cutter(Generic[Row]):
    """Cuts rows by their number alone, so that the same rows always give the same windows."""

    def __init__(self, cut: Cut, first: int = 0):
        self.cut = cut
        self.first = first  # number of the row that the next window begins with, from 0
        self._next = first  # number of the row that comes next
        self._given = first  # rows before this one are in a window
        self._last: deque[Row] = deque(maxlen=cut.rows)  # the newest rows

    @property
    def waiting(self) -> int:
        """How many rows are in no window yet."""
        return self._next - self._given

    def add(self, row: Row) -> tuple[int, list[Row]] | None:
        """Take one more; the window that it completes, and the number of its first row."""
        self._last.append(row)
        self._next += 1
        if self._next - self.first < self.cut.rows:
            return None
        begins, self.first, self._given = self.first, self.first + self.cut.stride, self._next
        return begins, list(self._last)

    def end(self) -> tuple[int, list[Row]] | None:
        """The newest rows as a last window, if some of them are in no window yet.

        It reaches back into the window before. None where there are fewer rows than a window has.
        """
        if not self.waiting or len(self._last) < self.cut.rows:
            return None
        self._given = self._next
        return self._next - self.cut.rows, list(self._last)


def taken(stem: str, label: str, where: str, table: bytes) -> Taken:
    """A window as what a watch takes: a small CSV, called by its source and when it begins.

    `where`: what tells it from another window that holds the same.
    """
    shown = label.replace("/", "-")[:LONGEST_LABEL]
    digest = hashlib.sha256(table).hexdigest()[:20]
    return Taken(
        name=f"{stem} {shown}.csv", mark=f"{where}|{label}|{digest}", open=partial(BytesIO, table)
    )

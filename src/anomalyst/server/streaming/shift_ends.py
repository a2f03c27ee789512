"""A watch's shift reports: one when each shift ends, never a second, over restarts."""

import hashlib
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy.exc import IntegrityError

from anomalyst.errors import AnomalystError
from anomalyst.report.shift.checked import Summary
from anomalyst.report.shift.facts import ShiftFacts
from anomalyst.report.shift.page import write_shift_page
from anomalyst.report.shift.period import Period, last_ended
from anomalyst.server.records.shift import shift_of_record, summary_of
from anomalyst.server.storage.store import Store
from anomalyst.server.storage.tables import DeliveryRow, RequestRow, now

log = logging.getLogger(__name__)
KIND = "shift report"  # of a message
LOOK_SECONDS = 0.5
PATIENCE = timedelta(seconds=60)  # for parts that are still being inspected when a shift ends


@dataclass(frozen=True, slots=True, kw_only=True)
class ShiftEnds:
    """When shifts end, and whose clocks tell it."""

    ends: tuple[time, ...]
    zone: ZoneInfo
    folder: Path  # where the pages go


class ShiftReports:
    """Looks at the clock in a thread of its own and puts reports where messages wait."""

    def __init__(
        self,
        store: Store,
        product: str,
        shifts: ShiftEnds,
        sinks: Sequence[str] = (),
        clock: Callable[[], datetime] = now,
    ):
        self.store, self.product, self.shifts, self.sinks = store, product, shifts, tuple(sinks)
        self.clock, self.begun = clock, clock()
        self._last: datetime | None = None  # the end of the newest shift that is dealt with
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="shift reports", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Look a last time, then end."""
        self._ended.set()
        self._thread.join()
        self.look()

    def look(self) -> Path | None:
        """The page of the newest shift that is over, if it has just been reported.

        A shift that ended before this watch began is reported if the product was inspected in it.
        """
        period = last_ended(self.clock(), self.shifts.ends, self.shifts.zone)
        if period.end == self._last:
            return None
        facts, seen = shift_of_record(self.store, period, self.product)
        if facts.waiting and self.clock() - period.end < PATIENCE:
            return None
        self._last = period.end
        if period.end <= self.begun and facts.empty:
            return None
        summary = summary_of(facts)
        places = [self._leave(period, sink, facts, summary) for sink in ("page", *self.sinks)]
        if not places[0]:
            return None
        page = self.shifts.folder / f"{self.product}-{period.end:%Y%m%dT%H%MZ}.html"
        write_shift_page(page, facts, seen, summary)
        log.info("shift report: %s", page)
        return page

    def _leave(self, period: Period, sink: str, facts: ShiftFacts, summary: Summary) -> bool:
        """Keep that the shift was reported there and, in the same transaction, the message."""
        key = f"{period.end.isoformat()} {sink}"
        mark = RequestRow(
            by=f"watch shift {self.product}",
            key=key,
            fingerprint=hashlib.sha256(key.encode()).hexdigest(),
            made=[],
        )
        try:
            with self.store.session() as session:
                session.add(mark)
                session.flush()
                if sink != "page":
                    session.add(DeliveryRow(sink=sink, payload=self._message(facts, summary)))
        except IntegrityError:
            return False  # reported before
        return True

    def _message(self, facts: ShiftFacts, summary: Summary) -> dict[str, Any]:
        return {"kind": KIND, **facts.as_dict(), "product": self.product, "summary": summary.text}

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                self.look()
            except (AnomalystError, OSError) as error:
                log.warning("the shift report could not be written: %s", error)
            self._ended.wait(LOOK_SECONDS)

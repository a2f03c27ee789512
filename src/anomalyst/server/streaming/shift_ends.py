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

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from anomalyst.errors import AnomalystError
from anomalyst.report.shift.checked import Summary
from anomalyst.report.shift.facts import Seen, ShiftFacts
from anomalyst.report.shift.page import write_shift_page
from anomalyst.report.shift.period import Period, ended_since, last_ended
from anomalyst.server.records.shift import shift_of_record, summary_of
from anomalyst.server.storage.store import Store
from anomalyst.server.storage.tables import DeliveryRow, RequestRow, now

log = logging.getLogger(__name__)
KIND = "shift report"  # of a message
LOOK_SECONDS = 0.5
AGAIN_SECONDS = 10.0  # after a look that failed
LONGEST_DOWN = timedelta(days=14)  # shifts that ended longer ago are not made up for
PAGE = "page"  # the mark of a shift that is dealt with, which is left last
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
        """Look a last time, then end; what could not be reported is when the watch is back."""
        self._ended.set()
        self._thread.join()
        self._looked()

    def look(self) -> list[Path]:
        """The pages of the shifts that are over and have just been reported, oldest first.

        A shift that ended before this watch began is reported if the product was inspected in it.
        Raises AnomalystError, OSError or SQLAlchemyError for what is tried again at the next look.
        """
        pages, moment = [], self.clock()
        for period in self._over(moment):
            if self.store.request(self._by, _key(period, PAGE)) is None:
                facts, seen = shift_of_record(self.store, period, self.product)
                if facts.waiting and moment - period.end < PATIENCE:
                    break
                if period.end > self.begun or not facts.empty:
                    pages.append(self._report(period, facts, seen))
                self._leave(period, PAGE)
            self._last = period.end
        return pages

    def _over(self, moment: datetime) -> list[Period]:
        """The shifts that are over and not dealt with; of a product's first watch, the newest."""
        newest = last_ended(moment, self.shifts.ends, self.shifts.zone)
        since = self._last or self._last_marked()
        if since is None:
            return [newest]
        if newest.end <= since:
            return []
        since = max(since, moment - LONGEST_DOWN)
        return ended_since(since, moment, self.shifts.ends, self.shifts.zone)

    def _report(self, period: Period, facts: ShiftFacts, seen: Sequence[Seen]) -> Path:
        """The page first: what fails is done again, and no message is left twice."""
        summary = summary_of(facts)
        page = self.shifts.folder / f"{self.product}-{period.end:%Y%m%dT%H%MZ}.html"
        write_shift_page(page, facts, seen, summary)
        for sink in self.sinks:
            self._leave(period, sink, self._message(facts, summary))
        log.info("shift report: %s", page)
        return page

    @property
    def _by(self) -> str:
        return f"watch shift {self.product}"

    def _last_marked(self) -> datetime | None:
        """The end of the newest shift that a watch of this product has dealt with."""
        query = select(func.max(RequestRow.key)).where(
            RequestRow.by == self._by, RequestRow.key.endswith(f" {PAGE}")
        )
        with self.store.session() as session:
            key = session.scalar(query)
        return datetime.fromisoformat(key.split()[0]) if key else None

    def _leave(self, period: Period, sink: str, message: dict[str, Any] | None = None) -> None:
        """Keep that the shift was reported there and, in the same transaction, the message."""
        key = _key(period, sink)
        mark = RequestRow(
            by=self._by, key=key, fingerprint=hashlib.sha256(key.encode()).hexdigest(), made=[]
        )
        try:
            with self.store.session() as session:
                session.add(mark)
                session.flush()
                if message is not None:
                    session.add(DeliveryRow(sink=sink, payload=message))
        except IntegrityError:
            log.debug("reported before: %s", key)  # by a look that failed later, or another watch

    def _message(self, facts: ShiftFacts, summary: Summary) -> dict[str, Any]:
        return {"kind": KIND, **facts.as_dict(), "product": self.product, "summary": summary.text}

    def _run(self) -> None:
        while not self._ended.is_set():
            self._ended.wait(LOOK_SECONDS if self._looked() else AGAIN_SECONDS)

    def _looked(self) -> bool:
        """Whether a look went well; a database or a disk that fails now may be back later."""
        try:
            self.look()
        except (AnomalystError, OSError, SQLAlchemyError) as error:
            log.warning("the shift report could not be written: %s", error)
            return False
        return True


def _key(period: Period, sink: str) -> str:
    return f"{period.end.isoformat()} {sink}"

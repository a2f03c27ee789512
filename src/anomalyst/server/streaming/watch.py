"""`anomalyst watch`: pictures from a source, inspected as they come, told to whom it concerns.

What passes is waited for: a full queue, a database that is away and a full disk hold up all
pictures alike, so the next one waits where it is; a file that cannot be read now is tried again
later, and the others go on. Only what is no picture is passed over for good.
"""

import errno
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sqlalchemy.exc import SQLAlchemyError

from anomalyst.errors import AnomalystError
from anomalyst.product_index import product_folder, product_senses
from anomalyst.server.config import ServingConfig
from anomalyst.server.errors import Busy
from anomalyst.server.pauses import pause_after
from anomalyst.server.service import Service
from anomalyst.server.storage import messages
from anomalyst.server.storage.database import is_outage
from anomalyst.server.storage.tables import InspectionRow
from anomalyst.server.streaming.cameras import Camera
from anomalyst.server.streaming.line import (
    Gated,
    Line,
    TakenUp,
    tell_of_blind,
    tell_of_late,
    warm_up,
)
from anomalyst.server.streaming.outbox import Outbox
from anomalyst.server.streaming.shift_ends import ShiftEnds, ShiftReports
from anomalyst.server.streaming.signals.gate import LatePart
from anomalyst.server.streaming.sinks import Sink
from anomalyst.server.streaming.sources import Source, Taken

log = logging.getLogger(__name__)
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0  # seconds between tries
TRIES_ONCE = 4  # of a file with --once, which has an end
OURS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENOMEM}  # no fault of one file
AT_ONCE, CAMERA_AT_ONCE = 32, 2  # pictures under way; further ones wait where they are


@dataclass(slots=True)
class Tally:
    """What a watch has done so far."""

    verdicts: Counter[str] = field(default_factory=Counter)
    failed: int = 0
    refused: int = 0  # files that are no picture
    alarms: list[str] = field(default_factory=list)
    dropped: int = 0
    late: int = 0  # parts without a signal in time

    @property
    def done(self) -> int:
        """Pictures inspected."""
        return self.verdicts.total()


@dataclass(slots=True)
class Later:
    """A picture whose file could not be read, and when it is tried again."""

    taken: Taken
    tries: int
    due: float  # of time.monotonic()


def _pause(tries: int) -> float:
    return pause_after(tries, FIRST_PAUSE, LONGEST_PAUSE)


class Watch:
    """One source, one product, any number of sinks; survives restarts without losing a picture."""

    def __init__(
        self,
        config: ServingConfig,
        product: str,
        source: Source,
        place: str,
        sinks: Sequence[Sink] = (),
        on_done: Callable[[InspectionRow, Tally], None] = lambda *_: None,
        shifts: ShiftEnds | None = None,
        line: Line | None = None,
    ):
        # UnknownProduct before anything is started.
        self.sense = product_senses(product_folder(product, config.products))[0]
        self.product, self.source, self.on_done = product, source, on_done
        self.by = f"watch {place} {product}"
        self.tally = Tally()
        labels = self._labels = [sink.label for sink in sinks]
        self.line = line or Line()
        self.service = Service(config, owner=self.by, sinks=labels, line=self.line.name)
        if self.line.gate is not None:
            self.line.gate.on_late = self._late
        store = self.service.store
        self.reports = ShiftReports(store, product, shifts, labels) if shifts else None
        locks = config.home / "sinks"
        self.outboxes = [Outbox(self.service.store, sink, locks) for sink in sinks]
        self.ended = threading.Event()
        most = AT_ONCE
        if isinstance(source, Camera):
            source.on_blind, source.on_lost = self._blind, self._passed_over
            if source.blind is not None:  # before anybody listened
                self._blind(source.blind)
            most = AT_ONCE if source.rule.each else CAMERA_AT_ONCE
        self._places = threading.BoundedSemaphore(most)
        self._refused: set[str] = set()
        self._later: dict[str, Later] = {}  # by mark
        self._once = False
        self.left = 0  # messages not taken when it ended

    def run(self, *, once: bool = False) -> Tally:
        """Inspect what comes until `ended` is set; `once`: only what is there now."""
        gate, done = self.line.gate, self._finished
        if gate is not None:
            gate.start()
        resumed = self.service.resume(done if gate is None else TakenUp(done))
        if resumed:
            log.info("took up %d pictures of an earlier run", resumed)
        self._once = once
        if gate is not None:
            warm_up(self.service, self.product, self.ended.is_set)
            self.source.begin()  # before `open`: a part that comes right after it is judged
            gate.open()
        while not self.ended.is_set():
            count = 0
            for taken in self._due():
                count += self._take(taken)
            for taken in self.source.new():
                if self.ended.is_set():
                    break
                count += self._take(taken)
            self.tally.dropped = self.source.dropped
            if once and count == 0 and not self.service.in_flight and not self._later:
                break
            if count == 0:
                self.ended.wait(self.source.poll_seconds)
        if gate is not None:
            gate.shut()
        return self.tally

    def close(self) -> None:
        """Finish what is under way and send what can be sent; the rest waits in the store."""
        deadline = time.monotonic() + 20
        while self.service.in_flight and time.monotonic() < deadline:
            time.sleep(0.05)
        try:
            self.source.close()
            if self.reports is not None:
                self.reports.close()
            for outbox in self.outboxes:
                outbox.close()
            self.left = messages.count_waiting(self.service.store) if self.outboxes else 0
        except SQLAlchemyError as error:
            log.warning("the database is away (%s); what waits is in it", error)
        finally:
            if self.line.gate is not None:
                self.line.gate.close()
            self.service.close()

    def _due(self) -> list[Taken]:
        """Pictures that are tried again now."""
        now = time.monotonic()
        return [one.taken for one in list(self._later.values()) if one.due <= now]

    def _take(self, taken: Taken) -> int:
        """Acknowledge one picture, when there is a place; 1 if it was taken, 0 if known or none."""
        tries = 0
        while not self.ended.is_set():
            try:
                return self._acknowledged(taken, again=tries > 0)
            except (Busy, SQLAlchemyError, OSError) as error:
                if not _holds_up_all(error):
                    return self._put_off(taken, error)
                tries += 1
                if tries == 1:
                    log.warning("%s waits (%s); it is tried again", taken.name, error)
                self.ended.wait(_pause(tries))
            except AnomalystError as error:
                return self._refuse(taken, error)
        return 0

    def _acknowledged(self, taken: Taken, *, again: bool = False) -> int:
        """`again`: the database went away meanwhile; what it had kept already is done yet."""
        known = self.service.store.request(self.by, taken.mark)
        if taken.mark in self._refused or (known and not (again and self._is_left(known.made))):
            self._later.pop(taken.mark, None)
            return 0
        if (gate := self.line.gate) is not None:
            gate.expect(taken.mark, taken.name, taken.came_at)
        while not self._places.acquire(timeout=0.2):
            if self.ended.is_set():
                return 0
        try:
            with taken.open() as stream:
                sent = self.service.take(stream, taken.name, self.sense)
            self.service.acknowledge(
                [sent], self.product, by=self.by, source="watch", key=taken.mark,
                on_done=Gated(gate, taken.mark, self._done) if gate else self._done,
            )  # fmt: skip
        except BaseException:
            self._places.release()
            raise
        self._later.pop(taken.mark, None)
        return 1

    def _is_left(self, ids: Sequence[str]) -> bool:
        """Whether inspections were kept whose acknowledgement was lost, and nobody does them."""
        return any(
            row.state == "queued" and row.id not in self.service.in_flight
            for row in self.service.store.inspections(ids)
        )

    def _put_off(self, taken: Taken, error: Exception) -> int:
        """Try it again later. One that is gone is let go: if it comes back, it is listed anew."""
        if isinstance(error, SQLAlchemyError):
            raise error
        tries = self._later[taken.mark].tries + 1 if taken.mark in self._later else 1
        if self._once and tries == TRIES_ONCE:
            return self._refuse(taken, error)
        if isinstance(error, FileNotFoundError) and not self._once:
            self._later.pop(taken.mark, None)
            self._unseen(taken, "it is gone")
            log.warning("%s is gone; it is taken if it comes back", taken.name)
            return 0
        if tries == 1:
            log.warning("%s cannot be read now (%s); it is tried again", taken.name, error)
        self._later[taken.mark] = Later(taken, tries, time.monotonic() + _pause(tries))
        return 0

    def _refuse(self, taken: Taken, error: Exception) -> int:
        self._later.pop(taken.mark, None)
        self._refused.add(taken.mark)
        self._unseen(taken, str(error))
        self.tally.refused += 1
        log.warning("passed over: %s", error)
        return 0

    def _unseen(self, taken: Taken, why: str) -> None:
        """A part of which there is no picture; a line must know."""
        if (gate := self.line.gate) is not None:
            gate.found(taken.mark, None, why)
            gate.forget(taken.mark)

    def _passed_over(self, name: str, came_at: float) -> None:
        """A camera's frame for which there was no room, where each is a part."""
        if (gate := self.line.gate) is not None:
            gate.expect(name, name, came_at)
            gate.found(name, None, "too many frames waited")
            gate.forget(name)

    def _blind(self, why: str | None) -> None:
        """A camera that sees nothing, or sees again: nothing is judged meanwhile."""
        assert isinstance(self.source, Camera)
        label = self.source.label
        if why is not None:
            self.tally.alarms.append(f"{label}: {why}")
        (log.info if why is None else log.error)("%s: %s", label, why or "it sees again")
        if (gate := self.line.gate) is not None:
            gate.blind(f"{label}: {why}" if why else None)
            if gate.stopped:
                self.ended.set()
        tell_of_blind(self.service, self.product, self.line.name, self._labels, label, why)

    def _late(self, part: LatePart) -> None:
        self.tally.late += 1
        if part.stops:
            self.ended.set()
        tell_of_late(self.service, self.product, self.line.name, self._labels, part)

    def _done(self, row: InspectionRow) -> None:
        self._places.release()
        self._finished(row)

    def _finished(self, row: InspectionRow) -> None:
        if row.verdict is None:
            self.tally.failed += 1
        else:
            self.tally.verdicts[row.verdict] += 1
        if row.alarm:
            self.tally.alarms.append(row.alarm)
        self.on_done(row, self.tally)


def _holds_up_all(error: Exception) -> bool:
    """Whether every picture would meet it: nothing is gained by trying another one first."""
    if isinstance(error, OSError):
        return error.errno in OURS
    return isinstance(error, Busy) or is_outage(error)

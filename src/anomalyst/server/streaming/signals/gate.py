"""The deadline of each part: from its picture to its signal, and what happens when it passes.

A part never passes in silence. Whatever keeps a verdict from coming in time (a queue, a model that
starts anew, a picture that cannot be read, a controller that does not answer) is an alarm, and
what the line does then was said beforehand.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from anomalyst.errors import AnomalystError
from anomalyst.server.streaming.signals.pulses import Alive, Signal

log = logging.getLogger(__name__)
WhenLate = Literal["alarm", "reject", "stop"]
LONGEST_MS = 60_000.0
OWN_WAY = 0.1, 0.05  # of a signal: this share of the budget, at most so many seconds
KEPT_SECONDS = 2.0  # past the deadline, until what became of a signal is no longer waited for
BEFORE = "it came before the watch began"
TAKEN_UP = "it was taken up after a restart"


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How long a part may take, and what happens when it takes longer."""

    ms: float  # from the picture to the signal
    late: WhenLate = "alarm"
    unsure_too: bool = False  # a part of which nothing certain can be said is rejected, too

    def __post_init__(self) -> None:
        if not 1 <= self.ms <= LONGEST_MS:
            raise AnomalystError(f"--budget-ms {self.ms:g}: 1 to {LONGEST_MS:g} is needed.")
        if self.late not in get_args(WhenLate):
            raise AnomalystError(f"--late {self.late}: is none of {', '.join(get_args(WhenLate))}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class LatePart:
    """A part that had no signal in time."""

    name: str  # of its picture
    why: str
    rejected: bool  # the line was told to reject it
    stops: bool  # the watch ends for it


@dataclass(slots=True, eq=False)
class _Part:
    name: str
    came_at: float | None  # None: before the watch
    deadline: float
    decided: bool = False
    asked: int = 0  # signals that have not said yet what came of it
    untaken: str = ""  # why one of them was not taken
    why: str | None = None  # it is late
    signal_ms: float | None = None
    settled: threading.Event = field(default_factory=threading.Event)


class Gate:
    """Watches over the parts under way; tells the outputs, and whom it concerns."""

    def __init__(
        self,
        budget: Budget,
        signals: Sequence[Signal] = (),
        alive: Alive | None = None,
        on_late: Callable[[LatePart], None] = lambda _: None,
    ):
        self.budget, self.signals, self.alive, self.on_late = budget, tuple(signals), alive, on_late
        self._seconds = budget.ms / 1000
        self._reserve = min(OWN_WAY[0] * self._seconds, OWN_WAY[1]) if signals else 0.0
        self._parts: dict[str, _Part] = {}  # by mark
        self._changed = threading.Condition(threading.RLock())
        self._ended = False
        self.stopped: str | None = None  # why the line was stopped
        self._opened = self._blind = False
        # Alarms may wait for a database; the clock may not.
        self._telling = ThreadPoolExecutor(1, thread_name_prefix="late parts")
        self._thread = threading.Thread(target=self._run, name="gate", daemon=True)

    def start(self) -> None:
        """Set what holds until `open`. Raises AnomalystError for a controller that is away."""
        for signal in self.signals:
            signal.start()
        self._thread.start()

    def open(self) -> None:
        """From now on parts are judged."""
        self._opened = True
        self._stand()
        if self.alive is not None:
            self.alive.start()

    def blind(self, why: str | None) -> None:
        """The camera sees nothing, or sees again (None): no part may pass as if it were judged."""
        self._blind = why is not None
        if why is not None and self.budget.late == "stop":
            self.stopped = self.stopped or why
        if self._opened:
            self._stand()
        if self.alive is not None:
            self.alive.paused = why is not None

    def _stand(self) -> None:
        stands = self.stopped is not None or (self._blind and self.budget.late != "alarm")
        for signal in self.signals:
            signal.stand(stands)

    def shut(self) -> None:
        """Nothing that comes now is judged; what is under way still has its signal."""
        self._opened = False
        for signal in self.signals:
            signal.stand(signal.rule.at_stop or self.stopped is not None)

    def close(self) -> None:
        """Set what holds at the end; a line that was stopped stays so."""
        with self._changed:
            self._ended = True
            self._changed.notify()
        if self.alive is not None:
            self.alive.close()
        for signal in self.signals:
            signal.close(signal.rule.at_stop or self.stopped is not None)
        self._telling.shutdown(wait=True)

    def expect(self, mark: str, name: str, came_at: float | None) -> None:
        """A part has come (time.monotonic()); known ones are expected already."""
        with self._changed:
            if mark in self._parts:
                return
            if came_at is None:
                part = _Part(name, None, 0.0, decided=True, why=BEFORE)
                part.settled.set()
            else:
                part = _Part(name, came_at, came_at + self._seconds)
            self._parts[mark] = part
            self._changed.notify()

    def found(self, mark: str, verdict: str | None, problem: str = "") -> None:
        """What the model has said of it, or why it could not; at once, from its thread."""
        with self._changed:
            part = self._parts.get(mark)
            if part is None or part.decided:
                return
            part.decided = True
        if verdict is None:
            self._unjudged(part, f"it could not be inspected: {problem}")
            return
        rejects = verdict == "anomalous" or (verdict == "unsure" and self.budget.unsure_too)
        told = [one for one in self.signals if rejects or not one.rule.pulse_ms]
        if told:
            self._ask(part, told, on=rejects, not_after=part.deadline)
        else:
            self._settle(part, time.monotonic())

    def kept(self, mark: str) -> dict[str, Any]:
        """What the record keeps of a part whose verdict was found: milliseconds, why it is late."""
        with self._changed:
            part = self._parts.get(mark)
        if part is None:
            return {}
        left = max(0.0, part.deadline - time.monotonic()) + KEPT_SECONDS
        part.settled.wait(left)
        with self._changed:
            self._parts.pop(mark, None)
        return {"signal_ms": part.signal_ms, "late": part.why}

    def forget(self, mark: str) -> None:
        """A part that is not inspected after all: what it missed has been told."""
        with self._changed:
            self._parts.pop(mark, None)

    def _run(self) -> None:
        while True:
            with self._changed:
                open_ = [one for one in self._parts.values() if not one.decided]
                now = time.monotonic()
                over = [one for one in open_ if one.deadline - self._reserve <= now]
                if not over and not self._ended:
                    ends = [one.deadline - self._reserve - now for one in open_]
                    self._changed.wait(min(ends, default=None))
                if self._ended:
                    return
                for part in over:
                    part.decided = True
            for part in over:
                self._unjudged(part, f"there was no verdict within {self.budget.ms:g} ms")

    def _unjudged(self, part: _Part, why: str) -> None:
        """A part of which nothing is known in time: an alarm, and what was said beforehand."""
        part.why = why
        if self.budget.late == "reject" and self.signals:
            self._ask(part, self.signals, on=True, not_after=part.deadline)
            return
        self._settle(part, None)

    def _ask(self, part: _Part, signals: Sequence[Signal], *, on: bool, not_after: float) -> None:
        part.asked = len(signals)

        def told(taken_at: float | None, problem: str) -> None:
            with self._changed:
                part.asked -= 1
                part.untaken = part.untaken or problem
                if part.asked:
                    return
            if part.untaken:
                said = f"the signal was not taken in time ({part.untaken})"
                part.why = f"{part.why}, and {said}" if part.why else said
                self._settle(part, None)
            else:
                self._settle(part, taken_at, rejected=on)

        for signal in signals:
            signal.ask(on, not_after, told)

    def _settle(self, part: _Part, at: float | None, *, rejected: bool = False) -> None:
        """Nothing more happens to it; whoever must know of a late one is told."""
        came = part.came_at
        if at is not None and came is not None:
            part.signal_ms = round(1000 * (at - came), 1)
            if part.why is None and part.signal_ms > self.budget.ms:
                part.why = f"its signal took {part.signal_ms:.0f} ms of {self.budget.ms:g}"
        if part.why is not None:
            stops = self.budget.late == "stop"
            if stops and self.stopped is None:
                self.stopped = f"{part.name}: {part.why}"
                for signal in self.signals:
                    signal.stand(True)
            late = LatePart(name=part.name, why=part.why, rejected=rejected, stops=stops)
            log.error("LATE: %s: %s%s", part.name, part.why, "; rejected" if rejected else "")
            with contextlib.suppress(RuntimeError):  # it is closed: the log has it, and the record
                self._telling.submit(self._tell, late)
        part.settled.set()

    def _tell(self, late: LatePart) -> None:
        try:
            self.on_late(late)
        except Exception:
            log.exception("whoever is told of late parts failed")

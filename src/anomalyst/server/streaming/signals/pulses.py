"""One output of a line: raised for a time or until it is lowered, by a thread of its own.

A reject signal that comes late would reject another part: what could not be written before its
time is given up, and whoever asked is told so.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from anomalyst.errors import AnomalystError
from anomalyst.server.streaming.signals.outputs import Output

log = logging.getLogger(__name__)
AGAIN_SECONDS = 0.05  # after a write that failed
REFRESH_SECONDS = 1.0  # what stands is written again: finds a lost connection, a controller anew
FIRST_SECONDS = 5.0  # for a controller to answer at the start
Told = Callable[[float | None, str], None]  # when it was taken (time.monotonic), or why not


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalRule:
    """How a reject signal looks."""

    pulse_ms: float = 200.0  # 0: it stands until the next part's verdict
    active_low: bool = False  # a rejected part is 0, anything else 1
    at_start: bool = True  # whether parts are rejected until the watch can judge
    at_stop: bool = True  # and when it has ended

    def __post_init__(self) -> None:
        if not 0 <= self.pulse_ms <= 60_000:
            raise AnomalystError(f"--pulse-ms {self.pulse_ms:g}: 0 to 60000 is needed.")


@dataclass(frozen=True, slots=True)
class _Wish:
    on: bool
    not_after: float  # of time.monotonic()
    told: Told


class Signal:
    """Raises and lowers one output."""

    def __init__(self, output: Output, rule: SignalRule):
        self.output, self.rule, self.label = output, rule, output.label
        self.problem: str | None = None  # why the controller takes nothing now
        self._changed = threading.Condition()
        self._wishes: list[_Wish] = []
        self._standing = rule.at_start  # what holds where no pulse is
        self._until = 0.0  # the end of the pulse
        self._written: tuple[bool, float] | None = None  # what, and when
        self._ended = False
        self._thread = threading.Thread(target=self._run, name=f"signal {self.label}", daemon=True)

    def start(self) -> None:
        """Write what holds at the start. Raises AnomalystError if nobody takes it."""
        deadline = time.monotonic() + FIRST_SECONDS
        while True:
            try:
                self._write(self._standing)
                break
            except OSError as error:
                if time.monotonic() > deadline:
                    raise AnomalystError(
                        f"{self.label}: {error}; check that the controller runs, and its address."
                    ) from error
                time.sleep(AGAIN_SECONDS)
        self._thread.start()

    def ask(self, on: bool, not_after: float, told: Told) -> None:
        """Raise or lower it for a part, before its time is over; `told` hears what came of it."""
        with self._changed:
            ended = self._ended
            if not ended:
                self._wishes.append(_Wish(on, not_after, told))
                self._changed.notify()
        if ended:
            told(None, "the watch has ended")

    def stand(self, on: bool) -> None:
        """What holds from now on where no pulse is."""
        with self._changed:
            self._standing = on
            self._changed.notify()

    def close(self, on: bool) -> None:
        """Write what holds at the end, then let go."""
        with self._changed:
            self._standing, self._until, self._ended = on, 0.0, True
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join(FIRST_SECONDS)
        try:
            self._write(on)
        except OSError as error:
            log.error("%s: %s; what it is at the end could not be said", self.label, error)
        self.output.close()

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._wishes and not self._ended:
                    self._changed.wait(self._rest())
                if self._ended:
                    left, self._wishes = self._wishes, []
                    break
                now, on = time.monotonic(), self._wanted(time.monotonic())
                wishes = [one for one in self._wishes if one.not_after > now]
                late = [one for one in self._wishes if one.not_after <= now]
                self._wishes = wishes.copy()
            for one in late:
                one.told(None, self.problem or "its time was over")
            if wishes or not self._stands(on, now):
                self._tried(on, wishes)
        for one in left:
            one.told(None, "the watch has ended")

    def _rest(self) -> float:
        """Seconds until something is due."""
        now = time.monotonic()
        if self._written is None:
            return AGAIN_SECONDS
        due = self._written[1] + REFRESH_SECONDS
        if self._until > now:
            due = min(due, self._until)
        elif self._written[0] != self._standing:
            return 0.0
        return max(0.0, due - now)

    def _wanted(self, now: float) -> bool:
        """What the output should be; of a level the newest part decides, a pulse is any's."""
        timely = [one.on for one in self._wishes if one.not_after > now]
        if not self.rule.pulse_ms:
            return timely[-1] if timely else self._standing
        return any(timely) or self._standing or self._until > now

    def _stands(self, on: bool, now: float) -> bool:
        written = self._written
        return written is not None and written[0] == on and now - written[1] < REFRESH_SECONDS

    def _tried(self, on: bool, wishes: list[_Wish]) -> None:
        try:
            self._write(on)
        except OSError as error:
            if self.problem is None:
                log.error("%s: %s; parts cannot be rejected", self.label, error)
            self.problem, self._written = str(error), None
            with self._changed:
                self._changed.wait(AGAIN_SECONDS)
            return
        if self.problem is not None:
            log.warning("%s takes signals again", self.label)
        self.problem = None
        taken_at = time.monotonic()
        with self._changed:
            self._wishes = [one for one in self._wishes if one not in wishes]
            if any(one.on for one in wishes) and self.rule.pulse_ms:
                self._until = taken_at + self.rule.pulse_ms / 1000
            elif wishes and not self.rule.pulse_ms:
                self._standing = on
        for one in wishes:
            one.told(taken_at, "")

    def _write(self, on: bool) -> None:
        self.output.write(on != self.rule.active_low)
        self._written = (on, time.monotonic())


class Alive:
    """A bit that turns over twice a second while the watch can judge: a controller sees it die.

    A process that is killed can set nothing; a controller that misses the turns can.
    """

    def __init__(self, output: Output):
        self.output = output
        self.paused = False  # it cannot judge now
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="alive", daemon=True)

    def start(self) -> None:
        """Begin to turn it over."""
        self._thread.start()

    def close(self) -> None:
        """It stands from now on."""
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join(FIRST_SECONDS)
        self.output.close()

    def _run(self) -> None:
        on, failing = True, False
        while not self._ended.wait(0.5):
            if self.paused:
                continue
            try:
                self.output.write(on)
                on, failing = not on, False
            except OSError as error:
                if not failing:
                    log.error("%s: %s", self.output.label, error)
                failing = True

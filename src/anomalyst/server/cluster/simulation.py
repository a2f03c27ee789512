"""Cameras, replicas and the queue between them as events: how long a picture waits.

As Ray Serve does it with the app of `app.py`: a picture goes to the shorter of two replicas drawn
at random among those with room, waits at the front while none has, and is inspected with those
that wait beside it. Time is simulated: no picture is inspected.
"""

import heapq
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Literal

import numpy as np

from anomalyst.errors import AnomalystError

Arrivals = Literal["periodic", "random"]
TOO_LATE = 1.5  # the last quarter's waits over the first half's: the queue grows without end
MOST = 100_000  # replicas that are tried
# Of what replicas can do at most. Nearer to it, a queue takes minutes to go down after each
# interruption, which a simulation of seconds does not show.
FULL = 0.9
WARMING = 0.2  # of the time, left out of the figures: the queue begins empty


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaSpeed:
    """Seconds that one replica takes for pictures inspected together: fixed + each * pictures."""

    fixed: float
    each: float
    variation: float = 0.0  # standard deviation over the mean; 1.0: exponential

    def __post_init__(self) -> None:
        if self.fixed < 0 or self.each < 0 or self.fixed + self.each <= 0 or self.variation < 0:
            raise AnomalystError(
                f"a replica that takes {self.fixed} s and {self.each} s a picture: neither may be "
                "negative, and one must be above 0."
            )

    def seconds(self, pictures: int) -> float:
        """The mean."""
        return self.fixed + self.each * pictures

    def most_per_second(self, together: int) -> float:
        """Pictures a second when all inspections are full."""
        return together / self.seconds(together)


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Cameras, and how long they are simulated."""

    cameras: int = 1000
    rate: float = 10.0  # pictures a second of each
    arrivals: Arrivals = "periodic"  # each camera by its own clock; random: Poisson
    seconds: float = 20.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("cameras", "rate", "seconds"):
            if getattr(self, name) <= 0:
                raise AnomalystError(f"--{name} {getattr(self, name)}: above 0 is needed.")

    @property
    def per_second(self) -> float:
        """Pictures a second of all cameras."""
        return self.cameras * self.rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """What `serve --ray` is set to; see `app.py`."""

    replicas: int
    together: int = 16  # pictures inspected at once, at most
    wait: float = 0.005  # seconds that an idle replica waits for more of them
    ongoing: int = 32  # pictures that a replica has, at most; the others wait at the front


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """What a simulation came to, the warming up left out; seconds."""

    offered: float  # pictures a second
    pictures: int
    load: float  # share of the time that replicas were busy
    together: float  # mean pictures of an inspection
    mean_wait: float  # until the inspection began
    p50: float  # from the camera to the verdict
    p95: float
    p99: float
    most_waiting: int  # pictures at the front at once
    keeps_up: bool

    @property
    def unit(self) -> tuple[float, str]:
        """For a person."""
        return (1000.0, "ms") if self.p99 < 10 else (1.0, "s")


@dataclass(slots=True)
class _Replica:
    waiting: deque[float] = field(default_factory=deque)
    doing: int = 0  # pictures
    place: int = 0  # among those with room; -1: full
    timer: float = -1.0  # when it begins with what it has


def arrivals_of(site: Site) -> np.ndarray:
    """When pictures come: (pictures,) seconds, rising."""
    drawn = np.random.default_rng(site.seed)
    if site.arrivals == "random":
        count = drawn.poisson(site.per_second * site.seconds)
        return np.sort(drawn.uniform(0, site.seconds, count))
    first = drawn.uniform(0, 1 / site.rate, site.cameras)
    times = first[:, None] + np.arange(ceil(site.seconds * site.rate)) / site.rate
    return np.sort(times[times < site.seconds])


def simulate(site: Site, speed: ReplicaSpeed, serving: Serving) -> Waits:
    """All pictures of the site through the replicas."""
    return run_events(arrivals_of(site), speed, serving, seed=site.seed, site=site)


def run_events(
    times: Sequence[float] | np.ndarray, speed: ReplicaSpeed, serving: Serving, *, seed: int,
    site: Site,
) -> Waits:  # fmt: skip
    """Pictures that come at `times` through the replicas, in the order of what happens."""
    events = _Events(speed, serving, random.Random(seed))
    for time in times:
        events.until(float(time))
        events.arrive(float(time))
    events.until(float("inf"))
    return _figures(np.asarray(times), events, site, serving)


class _Events:
    """The state between two events."""

    def __init__(self, speed: ReplicaSpeed, serving: Serving, drawn: random.Random):
        self.speed, self.serving, self.drawn = speed, serving, drawn
        self.replicas = [_Replica(place=i) for i in range(serving.replicas)]
        self.roomy = list(range(serving.replicas))  # those with room
        self.front: deque[float] = deque()
        self.heap: list[tuple[float, int, int, bool]] = []  # when, number, replica, done or timer
        self.count = self.most_waiting = self.inspections = 0
        self.busy = 0.0
        self.done: list[tuple[float, float, float]] = []  # came, began, ended

    def until(self, time: float) -> None:
        """All that happens before."""
        while self.heap and self.heap[0][0] <= time:
            now, _, index, ended = heapq.heappop(self.heap)
            replica = self.replicas[index]
            if ended:
                replica.doing = 0
                self._pull(index)
                if replica.waiting:
                    self._begin_or_wait(index, now)
            elif replica.timer == now and not replica.doing:
                self._begin(index, now)

    def arrive(self, now: float) -> None:
        """A picture."""
        if self.roomy:
            self._give(self._chosen(), now, now)
        else:
            self.front.append(now)
            self.most_waiting = max(self.most_waiting, len(self.front))

    def _chosen(self) -> int:
        """The shorter of two drawn."""
        room = self.roomy
        one = room[int(self.drawn.random() * len(room))]
        other = room[int(self.drawn.random() * len(room))]
        return one if self._held(one) <= self._held(other) else other

    def _held(self, index: int) -> int:
        replica = self.replicas[index]
        return len(replica.waiting) + replica.doing

    def _give(self, index: int, came: float, now: float) -> None:
        replica = self.replicas[index]
        replica.waiting.append(came)
        if self._held(index) >= self.serving.ongoing:
            self._close(index)
        if not replica.doing:
            self._begin_or_wait(index, now)

    def _begin_or_wait(self, index: int, now: float) -> None:
        replica = self.replicas[index]
        if len(replica.waiting) >= self.serving.together or not self.serving.wait:
            self._begin(index, now)
        elif replica.timer < now:
            replica.timer = now + self.serving.wait
            self._push(replica.timer, index, ended=False)

    def _begin(self, index: int, now: float) -> None:
        replica = self.replicas[index]
        replica.timer = -1.0
        count = min(len(replica.waiting), self.serving.together)
        replica.doing = count
        ended = now + self._drawn_seconds(count)
        self.done += [(replica.waiting.popleft(), now, ended) for _ in range(count)]
        self.busy, self.inspections = self.busy + ended - now, self.inspections + 1
        self._push(ended, index, ended=True)

    def _drawn_seconds(self, count: int) -> float:
        mean, variation = self.speed.seconds(count), self.speed.variation
        if not variation:
            return mean
        shape = 1 / variation**2
        return self.drawn.gammavariate(shape, mean / shape)

    def _pull(self, index: int) -> None:
        """A replica has room: those at the front first."""
        replica = self.replicas[index]
        while self.front and self._held(index) < self.serving.ongoing:
            replica.waiting.append(self.front.popleft())
        if self._held(index) < self.serving.ongoing and replica.place < 0:
            replica.place = len(self.roomy)
            self.roomy.append(index)

    def _close(self, index: int) -> None:
        """Full: out of those with room, the last one taking its place."""
        place, last = self.replicas[index].place, self.roomy.pop()
        if last != index:
            self.roomy[place] = last
            self.replicas[last].place = place
        self.replicas[index].place = -1

    def _push(self, when: float, index: int, *, ended: bool) -> None:
        self.count += 1
        heapq.heappush(self.heap, (when, self.count, index, ended))


def _figures(times: np.ndarray, events: _Events, site: Site, serving: Serving) -> Waits:
    """Of the pictures that came after the warming up."""
    came, began, ended = np.array(events.done).T
    kept = came >= WARMING * site.seconds
    if not kept.any():
        raise AnomalystError("no picture came after the first fifth of the time; simulate longer.")
    order = np.argsort(came[kept])
    waits, spent = (began - came)[kept][order], (ended - came)[kept]
    half, last = max(1, len(waits) // 2), min(len(waits) - 1, 3 * len(waits) // 4)
    # A queue that is stable waits as long in the end as before, but for chance.
    grows = waits[last:].mean() > TOO_LATE * waits[:half].mean() + events.speed.seconds(1)
    whole = max(float(ended.max()), site.seconds)
    p50, p95, p99 = np.quantile(spent, [0.5, 0.95, 0.99])
    return Waits(
        offered=len(times) / site.seconds,
        pictures=int(kept.sum()),
        load=events.busy / (serving.replicas * whole),
        together=len(times) / events.inspections,
        mean_wait=float(waits.mean()),
        p50=float(p50),
        p95=float(p95),
        p99=float(p99),
        most_waiting=events.most_waiting,
        keeps_up=not grows,
    )


def fewest_replicas(
    site: Site, speed: ReplicaSpeed, *, within: float, together: int = 16,
    told: Callable[[Serving, Waits], None] = lambda *_: None,
) -> tuple[Serving, Waits]:  # fmt: skip
    """The fewest replicas, used to nine tenths, from which 95 % of the pictures are back in time.

    `within`: seconds from the camera to the verdict.

    Raises AnomalystError where one picture alone takes longer, or 100,000 are too few.
    """
    if speed.seconds(1) >= within:
        raise AnomalystError(
            f"--within {within:g}: one picture alone takes {speed.seconds(1):.3g} s on a replica; "
            "allow more, or take a faster machine."
        )

    times = arrivals_of(site)

    def tried(replicas: int) -> tuple[Serving, Waits]:
        serving = Serving(replicas=replicas, together=together, ongoing=2 * together)
        waits = run_events(times, speed, serving, seed=site.seed, site=site)
        told(serving, waits)
        return serving, waits

    few = max(1, ceil(site.per_second / (FULL * speed.most_per_second(together))))
    many, best = few, tried(few)
    while not _good(best[1], within):
        few, many = many + 1, ceil(1.25 * many) + 1
        if many > MOST:
            raise AnomalystError(f"{MOST} replicas are too few for {site.per_second:g} a second.")
        best = tried(many)
    while few < many:
        middle = (few + many) // 2
        found = tried(middle)
        few, many, best = (few, middle, found) if _good(found[1], within) else (
            middle + 1, many, best
        )  # fmt: skip
    return best


def _good(waits: Waits, within: float) -> bool:
    return waits.keeps_up and waits.p95 <= within

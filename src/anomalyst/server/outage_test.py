"""A server whose database goes away under load: what clients see, and what is there afterwards.

Each client is a line: its parts come at a steady rate and are sent in their order, each until the
server has acknowledged it, under one idempotency key. What comes while nothing is taken waits.
"""

import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import httpx

from anomalyst.server.breakable import Breakable, LockedFile, postgres
from anomalyst.server.client import Client
from anomalyst.server.load_test import DEMO, PRODUCT, Server, free_port
from anomalyst.server.streaming.load_test import teach_flange

Of = Literal["database", "file"]
Say = Callable[[str], None]
BEFORE_SECONDS, AFTER_SECONDS = 10.0, 10.0  # of load in peace on each side
MOST_SECONDS = 300.0  # from the return until all clients give up
SENT_SECONDS = 120.0  # a client waits so long for an answer
TAUGHT = 4  # good pictures: what is measured is not how well it judges
NOT_REACHED = "no answer"
TOLD_WHEN = "503 with Retry-After"
HONEST = (NOT_REACHED, TOLD_WHEN)  # what a client may be told during an outage, beside 2xx


@dataclass(slots=True, kw_only=True)
class Outage:
    """What a run with an outage came to."""

    of: str
    seconds: float  # it was away
    sent: int = 0  # parts
    acknowledged: int = 0
    kept: int = 0  # inspections that are there and done, or messages that came
    lost: int = 0  # parts that are not
    doubled: int = 0
    out_of_order: int = 0  # that came before one of their line that was sent earlier
    answers: Counter[str] = field(default_factory=Counter)  # what clients were told, by status
    longest_answer_seconds: float = 0.0
    first_seconds: float = 0.0  # from the return to the first one taken
    all_seconds: float = 0.0  # and until all that had waited was done

    def rows(self) -> list[tuple[str, str]]:
        """As a table of two columns."""
        told = ", ".join(f"{count} x {what}" for what, count in sorted(self.answers.items()))
        return [
            ("away", f"{self.of}, {self.seconds:.0f} s"),
            ("parts sent", str(self.sent)),
            ("acknowledged", str(self.acknowledged)),
            ("there afterwards", str(self.kept)),
            ("lost", str(self.lost)),
            ("doubled", str(self.doubled)),
            ("out of order", str(self.out_of_order)),
            *([("answers", told)] if told else []),
            *([("longest answer, s", f"{self.longest_answer_seconds:.1f}")] if told else []),
            ("first one after the return, s", f"{self.first_seconds:.1f}"),
            ("all that waited, s", f"{self.all_seconds:.1f}"),
        ]

    @property
    def is_whole(self) -> bool:
        """Nothing was lost, doubled or out of order, and no client was told of a fault of ours."""
        faults = [told for told in self.answers if not (told in HONEST or told.startswith("2"))]
        return not (self.lost or self.doubled or self.out_of_order or faults)


@dataclass(slots=True, kw_only=True)
class Lines:
    """Clients that send parts at a steady rate, and what they were answered."""

    address: str
    per_second: float  # of all together
    clients: int
    ended: threading.Event = field(default_factory=threading.Event)
    ended_at: float = 0.0
    made: dict[str, str] = field(default_factory=dict)  # key -> id of its inspection
    came: dict[str, float] = field(default_factory=dict)  # key -> when its part came
    times: dict[str, float] = field(default_factory=dict)  # key -> when it was answered
    sent: Counter[int] = field(default_factory=Counter)  # parts that came, by line
    answers: Counter[str] = field(default_factory=Counter)
    longest: float = 0.0
    given_up: bool = False  # what was not acknowledged is sent no more
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def end(self) -> None:
        """No further part comes."""
        self.ended_at = time.monotonic()
        self.ended.set()

    def run(self, line: int) -> None:
        """One line, until it is ended and all its parts are acknowledged."""
        pictures = sorted((DEMO / "test").glob("*.jpg"))
        every = self.clients / self.per_second
        due = time.monotonic() + line * every / self.clients
        with httpx.Client(base_url=f"{self.address}/api/v1", timeout=SENT_SECONDS) as client:
            while True:
                over = self.ended.wait(max(0.0, due - time.monotonic()))
                if over and due > self.ended_at:  # what came before the end is sent
                    return
                number = self.sent[line]
                key = f"{line}-{number:05d}"
                self.came[key] = due
                self.sent[line], due = number + 1, due + every
                self._send(client, key, pictures[number % len(pictures)])

    def _send(self, client: httpx.Client, key: str, picture: Path) -> None:
        """One part, until it is acknowledged."""
        data, headers = {"product": PRODUCT}, {"Idempotency-Key": key}
        while not self.given_up:
            began, pause = time.monotonic(), 1.0
            files = {"picture": (f"{key}.jpg", picture.read_bytes())}
            try:
                answer = client.post("/inspections", data=data, files=files, headers=headers)
                told = str(answer.status_code)
                if answer.status_code == 503:
                    again = answer.headers.get("retry-after")
                    told = TOLD_WHEN if again else "503 without Retry-After"
                    pause = float(again or pause)
            except httpx.HTTPError:
                answer, told = None, NOT_REACHED
            with self._lock:
                self.answers[told] += 1
                self.longest = max(self.longest, time.monotonic() - began)
                if answer is not None and answer.is_success:
                    self.made[key], self.times[key] = answer.json()["id"], time.monotonic()
                    return
            time.sleep(pause)


def measure(
    of: Of, seconds: float, *, per_second: float = 1.5, clients: int = 3, say: Say = lambda _: None
) -> Outage:
    """A server whose database is away for so long.

    `of`: a PostgreSQL that ends at once ("database"), or the SQLite file, locked by another program
    ("file").
    """
    with _server(of, say) as (server, thing):
        lines = Lines(address=server.address, per_second=per_second, clients=clients)
        outage = Outage(of="PostgreSQL" if of == "database" else "SQLite file", seconds=seconds)
        with ThreadPoolExecutor(clients) as pool:
            running = [pool.submit(lines.run, line) for line in range(clients)]
            try:
                returned = taken_away(thing, outage, say)
            except BaseException:  # Ctrl-C too: the clients would go on without it
                lines.given_up = True
                raise
            finally:
                lines.end()
            lines.given_up = bool(wait(running, MOST_SECONDS).not_done)
            for one in running:
                one.result()
        _await_done(server, sum(lines.sent.values()))
        _count(server, lines, outage, returned)
    return outage


def taken_away(thing: Breakable, outage: Outage, say: Say) -> float:
    """Load, outage, load; returns when it was back."""
    say("in peace")
    time.sleep(BEFORE_SECONDS)
    say(f"{outage.of} is away for {outage.seconds:.0f} s")
    thing.away()
    time.sleep(outage.seconds)
    thing.back()
    returned = time.monotonic()
    say("it is back")
    time.sleep(AFTER_SECONDS)
    return returned


def _count(server: Server, lines: Lines, outage: Outage, returned: float) -> None:
    with Client(server.address) as client:
        kept = list(client.history(product=PRODUCT, source="api", limit=500))
    names = {one.id: str(one.whole["name"]) for one in kept if one.state == "done"}
    keys = [name.removesuffix(".jpg") for name in names.values()]
    after = sorted(when for when in lines.times.values() if when > returned)
    outage.sent, outage.acknowledged = sum(lines.sent.values()), len(lines.made)
    outage.kept, outage.lost = len(names), outage.sent - len(set(keys))
    outage.lost += sum(names.get(id) != f"{key}.jpg" for key, id in lines.made.items())
    outage.doubled = len(kept) - len({one.whole["name"] for one in kept})
    outage.out_of_order = out_of_order([names[id] for id in sorted(names)])
    outage.answers, outage.longest_answer_seconds = lines.answers, lines.longest
    outage.first_seconds = after[0] - returned if after else float("nan")
    waited = [lines.times.get(key, returned) for key, at in lines.came.items() if at < returned]
    outage.all_seconds = max(waited, default=returned) - returned


def out_of_order(names: Sequence[str]) -> int:
    """How many came before one of their line with a lower number; names are LINE-NUMBER."""
    newest: dict[str, str] = {}
    count = 0
    for name in names:
        line, _, number = name.partition("-")
        count += number < newest.get(line, "")
        newest[line] = max(number, newest.get(line, ""))
    return count


def _await_done(server: Server, count: int) -> None:
    """Until so many inspections are done; those that never are count as lost."""
    end = time.monotonic() + MOST_SECONDS
    with Client(server.address) as client:
        while time.monotonic() < end:
            page = client.request("GET", "inspections", params={"source": "api", "state": "done"})
            if page["total"] >= count:
                return
            time.sleep(0.5)


@contextmanager
def _server(of: Of, say: Say) -> Iterator[tuple[Server, Breakable]]:
    """A server over a new home, and its database."""
    with tempfile.TemporaryDirectory(prefix="anomalyst-outage-") as name:
        home = Path(name)
        say("teaching")
        teach_flange(home / "products", TAUGHT)
        if of == "database":
            with postgres() as found, _started(home, say, "--database", found.url) as server:
                yield server, found
            return
        with _started(home, say) as server:
            yield server, LockedFile(home / "anomalyst.db")


@contextmanager
def _started(home: Path, say: Say, *options: str) -> Iterator[Server]:
    say("starting a server")
    server = Server(home, free_port(), *options)
    try:
        server.await_ready()
        yield server
    finally:
        server.stop()

"""A server under load: how fast, how large, and whether anything is lost or made twice."""

import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil

from anomalyst.errors import AnomalystError
from anomalyst.server.client import Client, Found
from anomalyst.server.jobs.queue import ASIDE_SECONDS

DEMO = Path(__file__).parent.parent / "demo" / "flange"
PRODUCT = "flange"  # what a new home opens with
START_SECONDS = 180.0  # a busy machine takes its time; one that is ready is not waited for
IDLE_SECONDS = 5.0
Told = Callable[[int, int], None]


@dataclass(slots=True, kw_only=True)
class Load:
    """What a run came to."""

    first_page_seconds: float  # from the command to the whole first page
    ready_seconds: float  # until the model had been read
    idle_mb: float  # server and model together, what they share once
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    acknowledged: int = 0
    kept: int = 0  # inspections in the store afterwards
    lost: int = 0  # acknowledged and not there, or there with another result
    doubled: int = 0
    kills: int = 0

    @property
    def per_second(self) -> float:
        """Inspections a second."""
        return self.acknowledged / self.seconds

    def quantile(self, share: float) -> float:
        """Of the latencies, in seconds."""
        return statistics.quantiles(self.latencies, n=1000)[round(share * 1000) - 1]


class Server:
    """`anomalyst serve` in a process of its own."""

    def __init__(self, home: Path, port: int, *options: str):
        self.home, self.port, self.options = home, port, options
        self.address = f"http://127.0.0.1:{port}"
        self.process = self._started()

    def await_page(self) -> float:
        """Seconds until the first page was there as a whole."""
        return self._await(lambda: httpx.get(self.address, timeout=5).is_success)

    def await_ready(self) -> float:
        """Seconds until the model and the first product were there."""

        def ready() -> bool:
            there = httpx.get(f"{self.address}/api/v1/ready", timeout=5).is_success
            products = httpx.get(f"{self.address}/api/v1/products", timeout=5).json()
            return there and PRODUCT in [one["name"] for one in products]

        return self._await(ready, pause=0.5)  # it wants the cores for itself

    def idle_mb(self, after: float = IDLE_SECONDS) -> float:
        """Memory of the server and all its processes, some seconds after the last task.

        What they share counts once (proportional set size), where the system tells it.
        """
        time.sleep(after)
        told = [one.memory_full_info() for one in self._processes()]
        return sum(getattr(one, "pss", one.rss) for one in told) / 1e6

    def kill(self) -> None:
        """SIGKILL, the model too: as when the power goes."""
        for one in self._processes():
            one.kill()
        self.process.wait()

    def restart(self) -> None:
        """The same command again."""
        self.process = self._started()

    def stop(self) -> None:
        """End it as Ctrl-C does."""
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(40)
        except subprocess.TimeoutExpired:
            self.kill()

    def _processes(self) -> list[psutil.Process]:
        whole = psutil.Process(self.process.pid)
        return [*whole.children(recursive=True), whole]

    def _started(self) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "anomalyst", "serve", "--port", str(self.port)]
        command += ["--home", str(self.home), "--products", str(self.home / "products")]
        command += self.options
        self.began = time.perf_counter()
        with (self.home / "server.log").open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def _await(self, there: Callable[[], bool], pause: float = 0.02) -> float:
        while time.perf_counter() - self.began < START_SECONDS:
            if self.process.poll() is not None:
                break
            try:
                if there():
                    return time.perf_counter() - self.began
            except httpx.HTTPError:
                pass
            time.sleep(pause)
        tail = (self.home / "server.log").read_text(encoding="utf-8", errors="replace")[-800:]
        raise AnomalystError(f"the server did not come up; its last words: {tail}")


@contextmanager
def served(home: Path | None = None) -> Iterator[Server]:
    """A server on a free port, over a new home unless one is given."""
    with tempfile.TemporaryDirectory(prefix="anomalyst-serve-") as folder:
        server = Server(home or Path(folder), free_port())
        try:
            yield server
        finally:
            server.stop()


def measure(count: int, clients: int, *, kills: int = 0, told: Told = lambda *_: None) -> Load:
    """`count` inspections by so many clients at once; the server is killed so often on the way.

    Each client sends the next picture when it has its answer; a lost answer is asked for again
    under the same idempotency key.
    """
    with served() as server:
        load = Load(
            first_page_seconds=server.await_page(),
            ready_seconds=server.await_ready(),
            idle_mb=server.idle_mb(ASIDE_SECONDS + IDLE_SECONDS),  # what taught has ended then
        )
        found: dict[str, Found] = {}
        _send(server, count, clients, kills, load, found, told)
        _check(server, load, found)
    return load


def _send(
    server: Server, count: int, clients: int, kills: int, load: Load, found: dict[str, Found],
    told: Told,
) -> None:  # fmt: skip
    pictures = sorted((DEMO / "test").glob("*.jpg"))
    numbers, lock = iter(range(count)), threading.Lock()  # next() of a range is atomic

    def work() -> None:
        with Client(server.address) as client:
            while (number := next(numbers, None)) is not None:
                began = time.perf_counter()
                key = f"load-{number}"
                one = client.inspect(pictures[number % len(pictures)], PRODUCT, key=key)
                with lock:
                    load.latencies.append(time.perf_counter() - began)
                    found[key] = one
                    told(len(found), count)

    began = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        working = [pool.submit(work) for _ in range(clients)]
        for kill in range(1, kills + 1):
            while len(found) < kill * count // (kills + 1) and not all(w.done() for w in working):
                time.sleep(0.01)
            server.kill()
            load.kills += 1
            server.restart()
        for one in working:
            one.result()
    load.seconds = time.perf_counter() - began


def _check(server: Server, load: Load, found: dict[str, Found]) -> None:
    """Every answer that was given is there, as it was given; and nothing else is."""
    with Client(server.address) as client:
        found_there = client.history(product=PRODUCT, source="api", limit=500)
        kept = {one.id: one for one in found_there}
    load.acknowledged, load.kept = len(found), len(kept)
    load.lost = sum(
        one.id not in kept or (kept[one.id].verdict, kept[one.id].score) != (one.verdict, one.score)
        for one in found.values()
    )
    load.doubled = len(found) - len({one.id for one in found.values()})
    load.doubled += max(0, load.kept - load.acknowledged)


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def table(loads: Sequence[tuple[str, Load]]) -> list[list[str]]:
    """Runs beside each other, for the terminal."""
    rows = [["", *(name for name, _ in loads)]]
    figures: list[tuple[str, Callable[[Load], str]]] = [
        ("first page, s after the command", lambda one: f"{one.first_page_seconds:.2f}"),
        ("model and product ready, s", lambda one: f"{one.ready_seconds:.2f}"),
        ("idle memory, MB", lambda one: f"{one.idle_mb:.0f}"),
        ("inspections acknowledged", lambda one: str(one.acknowledged)),
        ("inspections in the store", lambda one: str(one.kept)),
        ("lost", lambda one: str(one.lost)),
        ("doubled", lambda one: str(one.doubled)),
        ("SIGKILLs on the way", lambda one: str(one.kills)),
        ("inspections a second", lambda one: f"{one.per_second:.1f}"),
        ("median, ms", lambda one: f"{1000 * one.quantile(0.5):.0f}"),
        ("p95, ms", lambda one: f"{1000 * one.quantile(0.95):.0f}"),
    ]
    rows += [[what, *(shown(one) for _, one in loads)] for what, shown in figures]
    return rows

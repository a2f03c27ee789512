"""One replica of the model, really run: its speed, and its waits beside the simulated ones."""

import json
import queue
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from anomalyst.config import from_mapping
from anomalyst.errors import AnomalystError
from anomalyst.io.files import write_text
from anomalyst.server.cluster.simulation import WARMING, ReplicaSpeed, Serving

if TYPE_CHECKING:
    from anomalyst.inspector import Inspector
    from anomalyst.product import Product

DEMO = Path(__file__).parents[2] / "demo" / "flange"
REPEATS = 3
Say = Callable[[str], None]


def replica_speed(path: Path | None, together: int, say: Say = lambda _: None) -> ReplicaSpeed:
    """Read from a JSON file, or measured here with the bundled flange (and written there).

    Raises AnomalystError for a file that holds something else.
    """
    if path is not None and path.exists():
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise AnomalystError(
                f"{path}: cannot be read as a replica's speed ({error})."
            ) from None
        return from_mapping(ReplicaSpeed, values, where=str(path))
    say("Measuring one replica on this machine.")
    speed = measure_speed(together)
    if path is not None:
        write_text(path, json.dumps(asdict(speed)) + "\n")
    return speed


def measure_speed(together: int) -> ReplicaSpeed:
    """Least squares through the medians of 1, 2, 4, ... pictures inspected together."""
    inspector, product, pictures = _opened()
    counts = [2**k for k in range(together.bit_length()) if 2**k <= together]
    medians, spreads = [], []
    for count in counts:
        some = [pictures[i % len(pictures)] for i in range(count)]
        inspector.inspect_together(some, product)
        taken = [_timed(inspector, product, some) for _ in range(REPEATS)]
        medians.append(statistics.median(taken))
        spreads.append(statistics.stdev(taken) / statistics.mean(taken))
    if len(counts) == 1:
        return ReplicaSpeed(fixed=0.0, each=medians[0], variation=spreads[0])
    # Relative errors, or the longest alone would decide.
    weights = 1 / np.array(medians)
    system = np.stack([np.ones(len(counts)), np.array(counts)], 1) * weights[:, None]
    fixed, each = np.linalg.lstsq(system, np.array(medians) * weights, rcond=None)[0]
    if fixed < 0:
        fixed, each = 0.0, float(np.mean(np.array(medians) / np.array(counts)))
    return ReplicaSpeed(fixed=float(fixed), each=float(each), variation=statistics.median(spreads))


def run_one(
    times: Sequence[float] | np.ndarray, serving: Serving, told: Callable[[], None]
) -> tuple[float, float]:
    """Pictures that come at `times` through one real replica: median and p95, seconds."""
    inspector, product, pictures = _opened()
    inspector.inspect_together(pictures[:1], product)
    waiting: queue.SimpleQueue[float | None] = queue.SimpleQueue()
    begun = time.perf_counter()

    def send() -> None:
        for when in times:
            time.sleep(max(0.0, begun + when - time.perf_counter()))
            waiting.put(float(when))
        waiting.put(None)

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    spent: list[tuple[float, float]] = []
    while came := _together(waiting, serving):
        some = [pictures[i % len(pictures)] for i in range(len(came))]
        inspector.inspect_together(some, product)
        now = time.perf_counter() - begun
        spent += [(one, now - one) for one in came]
        for _ in came:
            told()
    sender.join()
    kept = [one for when, one in spent if when >= WARMING * times[-1]]
    p50, p95 = np.quantile(kept, [0.5, 0.95])
    return float(p50), float(p95)


def _together(waiting: "queue.SimpleQueue[float | None]", serving: Serving) -> list[float]:
    """As Ray Serve gathers a batch; empty when no more come."""
    first = waiting.get()
    if first is None:
        return []
    found, end = [first], time.perf_counter() + serving.wait
    while len(found) < serving.together:
        try:
            another = waiting.get(timeout=max(0.0, end - time.perf_counter()))
        except queue.Empty:
            break
        if another is None:
            waiting.put(None)
            break
        found.append(another)
    return found


def _timed(inspector: "Inspector", product: "Product", some: Sequence[Path]) -> float:
    begun = time.perf_counter()
    inspector.inspect_together(some, product)
    return time.perf_counter() - begun


@cache
def _opened() -> tuple["Inspector", "Product", list[Path]]:
    """As a new home opens with it: twenty good pictures."""
    from anomalyst.inspector import Inspector
    from anomalyst.io.pictures import list_pictures

    inspector = Inspector.load()
    product = inspector.teach("flange", list_pictures(DEMO / "good"))
    return inspector, product, list_pictures(DEMO / "test")

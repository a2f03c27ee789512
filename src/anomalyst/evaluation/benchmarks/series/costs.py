"""What a method costs: to fit, to judge a recording, and to watch a stream sample by sample."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from anomalyst.detection.series.config import SeriesConfig
from anomalyst.teaching.series import fit_series

CHANNELS, GOOD, ASKED, STREAMED = 8, 2000, 4000, 300  # samples
TIMES = 3  # of which the quickest counts: others may want the processor


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Of one method on one thread, eight channels, 2,000 good samples."""

    method: str
    fit_s: float
    whole_ms: float  # for 1,000 samples of a recording at once
    stream_ms: float  # for 1,000 samples, one at a time
    core_share_at_100_hz: float  # processor time of a stream of 100 samples a second


def costs(methods: Sequence[str], on_method: Callable[[str], None] = lambda _: None) -> list[Cost]:
    """Measured here and now, processor time of this process on one thread of torch."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        found = []
        for name in methods:
            found.append(_cost(name))
            on_method(name)
        return found
    finally:
        torch.set_num_threads(before)


def _cost(name: str) -> Cost:
    rng = np.random.default_rng(0)
    good, asked = (
        rng.normal(size=(length, CHANNELS)).astype(np.float32) for length in (GOOD, ASKED)
    )
    config = SeriesConfig(method=name)  # type: ignore[arg-type]
    start = time.process_time()
    method = fit_series([good], config)
    fit_s = time.process_time() - start
    whole = _quickest(lambda: method.surprise(asked)) * 1e6 / ASKED
    stream = method.stream()
    stream.step(asked[: config.silent + 1])  # from here on every sample is judged

    def watch() -> None:
        for row in asked[:STREAMED]:
            stream.step(row[None])

    streamed = _quickest(watch) * 1e6 / STREAMED
    return Cost(
        method=name,
        fit_s=round(fit_s, 3),
        whole_ms=round(whole, 3),
        stream_ms=round(streamed, 2),
        core_share_at_100_hz=round(streamed / 1000 / 10, 5),
    )


def _quickest(work: Callable[[], object]) -> float:
    """Seconds of processor time."""
    found = []
    for _ in range(TIMES):
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return min(found)

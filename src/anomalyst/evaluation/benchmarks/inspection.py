"""How fast it is here: latency by stage, throughput, memory, and share of the machine's peak."""

import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from anomalyst.errors import PictureError
from anomalyst.hardware.processor import PEAK_SIZE, Engine, Precision, matrix_peaks, processor
from anomalyst.inspection.config import InspectorConfig
from anomalyst.inspector import Inspector
from anomalyst.types import Dialogue, Inspection
from anomalyst.vlm.facts import facts_of

STAGES = ("open", "encode", "decode", "network", "score", "total")  # network: of an engine


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchResult:
    """Figures of one run on one machine; times in milliseconds."""

    load_ms: float
    teach_ms: float  # without fitting the detector to the product
    adapt_ms: float  # with it; the product that is inspected with
    first_ms: float
    median_ms: dict[str, float]
    p95_ms: dict[str, float]
    pictures_per_second: float
    peak_memory_mb: float
    gflop_per_picture: float
    peak_gflops: dict[str, float]  # measured matrix product, by precision
    share_of_peak: float  # of that of the precision in use, during encode and decode
    products: float  # median time of a whole inspection in float32 products of 1024 x 1024
    setting: dict[str, Any] = field(default_factory=dict)


def bench_inspect(
    references: Sequence[Path],
    pictures: Sequence[Path],
    *,
    side_px: int = 256,
    encoder: str = "embedded",
    precision: Precision = "auto",
    engine: Engine = "auto",
    on_picture: Callable[[], None] = lambda: None,
) -> BenchResult:
    """Teach from `references`, inspect `pictures` one by one and then as a stream.

    Every reference is remembered, however many they are. Raises PictureError for a bad picture.
    """
    config = InspectorConfig(
        side_px=side_px, max_references=len(references), precision=precision, engine=engine
    )
    load_ms, inspector = _timed(lambda: Inspector.load(encoder, config))
    inspector.teach("warm-up", references[:1])
    teach_ms, _ = _timed(lambda: inspector.teach("bench", references, adapted=False))
    adapt_ms, product = _timed(lambda: inspector.teach("bench", references, adapted=True))
    first_ms, _ = _timed(lambda: inspector.inspect(pictures[0], product))
    stages: dict[str, list[float]] = {stage: [] for stage in STAGES}
    for picture in pictures:
        total, result = _timed(lambda p=picture: inspector.inspect(p, product))  # type: ignore[misc]
        for stage, seconds in result.seconds.items():
            stages[stage].append(seconds * 1e3)
        stages["total"].append(total)
        on_picture()
    stream_ms, _ = _timed(lambda: _drain(inspector.inspect_many(pictures, product)))
    memory_mb = peak_memory_mb()  # before anything is loaded that an inspection does without
    gflop = _gflop(Inspector.load(encoder, replace(config, engine="torch")), pictures[0], product)
    peaks = matrix_peaks()
    used = str(inspector.detector.dtype).removeprefix("torch.")
    if stages["network"]:  # an engine computes in float32 unless asked
        used = "bfloat16" if precision == "bfloat16" else "float32"
    stages = {stage: values for stage, values in stages.items() if values}
    median = {stage: statistics.median(values) for stage, values in stages.items()}
    busy = sum(median.get(stage, 0.0) for stage in ("encode", "decode", "network")) / 1e3
    return BenchResult(
        load_ms=load_ms,
        teach_ms=teach_ms,
        adapt_ms=adapt_ms,
        first_ms=first_ms,
        median_ms=median,
        p95_ms={stage: float(np.quantile(values, 0.95)) for stage, values in stages.items()},
        pictures_per_second=len(pictures) / (stream_ms / 1e3),
        peak_memory_mb=memory_mb,
        gflop_per_picture=gflop,
        peak_gflops=peaks,
        share_of_peak=gflop / busy / peaks[used],
        products=median["total"] / (2 * PEAK_SIZE**3 / peaks["float32"] / 1e6),
        setting={
            "encoder": encoder,
            "side_px": side_px,
            "references": product.num_references,
            "pose": product.pose,
            "pictures": len(pictures),
            **processor().as_dict(),
            "precision": used,
            "engine": engine,
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
        },
    )


def peak_memory_mb() -> float:
    """Most memory this process has held so far, MiB."""
    kilo = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kilo / 1024 if sys.platform != "darwin" else kilo / 1024**2


def _gflop(inspector: Inspector, picture: Path, product: Any) -> float:
    counter = FlopCounterMode(display=False)
    with counter:
        inspector.inspect(picture, product)
    return counter.get_total_flops() / 1e9


def _drain(results: Iterable[Inspection | PictureError]) -> None:
    """Wait for every answer, keeping none: their maps would count as memory."""
    for result in results:
        if isinstance(result, PictureError):
            raise result


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    result = work()
    return (time.perf_counter() - started) * 1e3, result


@dataclass(frozen=True, slots=True, kw_only=True)
class AskResult:
    """Medians over pictures, in milliseconds."""

    map_ms: float
    words_ms: float
    both_ms: float
    forty_tokens_ms: float  # reading the prompt and 40 greedy tokens, nothing checked


def bench_ask(
    good: Sequence[Path],
    pictures: Sequence[Path],
    question: str,
    on_picture: Callable[[], None] = lambda: None,
) -> AskResult:
    """Ask the embedded default one question about each picture."""
    inspector = Inspector.load()
    product = inspector.teach("part", good)
    warm = inspector.inspect(pictures[0], product)
    inspector.ask(question, Dialogue(warm))
    maps, words = [], []
    for picture in pictures:
        started = time.perf_counter()
        found = inspector.inspect(picture, product)
        maps.append(time.perf_counter() - started)
        inspector.ask(question, Dialogue(found))
        words.append(time.perf_counter() - started - maps[-1])
        on_picture()
    both = [m + w for m, w in zip(maps, words, strict=True)]
    forty = [_forty_tokens(inspector, question, warm) for _ in range(5)]
    middle = [1000 * statistics.median(values) for values in (maps, words, both, forty)]
    return AskResult(
        map_ms=middle[0], words_ms=middle[1], both_ms=middle[2], forty_tokens_ms=middle[3]
    )


def _forty_tokens(inspector: Inspector, question: str, found: Inspection) -> float:
    """Seconds of a greedy answer of exactly 40 tokens."""
    speaker = inspector.speaker
    inputs = speaker.processor(speaker.prompt(question, facts_of(found)), dict(found.shown))
    started = time.perf_counter()
    with torch.inference_mode():
        speaker.model.generate(**inputs, max_new_tokens=40, min_new_tokens=40, do_sample=False)
    return time.perf_counter() - started

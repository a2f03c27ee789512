"""How fast it is here: latency by stage, throughput, memory, and share of the machine's peak."""

import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from anomalyst.errors import PictureError
from anomalyst.hardware.processor import PEAK_SIZE, Engine, Precision, matrix_peaks, processor
from anomalyst.inspection.config import InspectorConfig
from anomalyst.inspector import Inspector
from anomalyst.product import Product
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
    setting: dict[str, Any]


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
    """Teach from all `references`, inspect `pictures` one by one and then as a stream.

    Raises PictureError for a bad picture.
    """
    config = InspectorConfig(
        side_px=side_px, max_references=len(references), precision=precision, engine=engine
    )
    load_ms, inspector = _timed(lambda: Inspector.load(encoder, config))
    product, first_times = _first_steps(inspector, references, pictures[0])
    stages = _stages(inspector, pictures, product, on_picture)
    stream_ms, _ = _timed(lambda: _drain(inspector.inspect_many(pictures, product)))
    memory_mb = peak_memory_mb()  # before anything is loaded that an inspection does without
    gflop = _gflop(Inspector.load(encoder, replace(config, engine="torch")), pictures[0], product)
    peaks, used = matrix_peaks(), _computed_in(inspector, precision, stages)
    median = {stage: statistics.median(values) for stage, values in stages.items()}
    busy = sum(median.get(stage, 0.0) for stage in ("encode", "decode", "network")) / 1e3
    return BenchResult(
        **first_times,
        load_ms=load_ms,
        median_ms=median,
        p95_ms={stage: float(np.quantile(values, 0.95)) for stage, values in stages.items()},
        pictures_per_second=len(pictures) / (stream_ms / 1e3),
        peak_memory_mb=memory_mb,
        gflop_per_picture=gflop,
        peak_gflops=peaks,
        share_of_peak=gflop / busy / peaks[used],
        products=median["total"] / (2 * PEAK_SIZE**3 / peaks["float32"] / 1e6),
        setting=_setting(encoder, side_px, product, len(pictures), used, engine),
    )


def _computed_in(inspector: Inspector, asked: Precision, stages: Iterable[str]) -> str:
    """The precision of the networks; an engine computes in float32 unless asked."""
    if "network" in stages:
        return "bfloat16" if asked == "bfloat16" else "float32"
    return str(inspector.detector.dtype).removeprefix("torch.")


def _setting(
    encoder: str, side_px: int, product: Product, pictures: int, precision: str, engine: Engine
) -> dict[str, Any]:
    return {
        "encoder": encoder,
        "side_px": side_px,
        "references": product.num_references,
        "pose": product.pose,
        "pictures": pictures,
        **processor().as_dict(),
        "precision": precision,
        "engine": engine,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def _first_steps(
    inspector: Inspector, references: Sequence[Path], picture: Path
) -> tuple[Product, dict[str, float]]:
    """The product; milliseconds to teach it without and with fitting, and of a first picture."""
    inspector.teach("warm-up", references[:1])
    teach_ms, _ = _timed(lambda: inspector.teach("bench", references, adapted=False))
    adapt_ms, product = _timed(lambda: inspector.teach("bench", references, adapted=True))
    first_ms, _ = _timed(lambda: inspector.inspect(picture, product))
    return product, {"teach_ms": teach_ms, "adapt_ms": adapt_ms, "first_ms": first_ms}


def _stages(
    inspector: Inspector, pictures: Sequence[Path], product: Any, on_picture: Callable[[], None]
) -> dict[str, list[float]]:
    """Milliseconds of each picture by stage; a stage that nothing went through is left out."""
    stages: dict[str, list[float]] = {stage: [] for stage in STAGES}
    for picture in pictures:
        total, result = _timed(lambda p=picture: inspector.inspect(p, product))  # type: ignore[misc]
        for stage, seconds in result.seconds.items():
            stages[stage].append(seconds * 1e3)
        stages["total"].append(total)
        on_picture()
    return {stage: values for stage, values in stages.items() if values}


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


def bench_ask(
    good: Sequence[Path],
    pictures: Sequence[Path],
    question: str,
    on_picture: Callable[[], None] = lambda: None,
) -> dict[str, float]:
    """Ask the embedded default one question about each picture: medians in milliseconds.

    "map", "words", "both"; "forty tokens": reading the prompt and 40 greedy tokens, unchecked.
    """
    inspector = Inspector.load()
    product = inspector.teach("part", good)
    warm = inspector.inspect(pictures[0], product)
    inspector.ask(question, Dialogue(warm))
    times: dict[str, list[float]] = {"map": [], "words": [], "both": []}
    for picture in pictures:
        looked, found = _timed(lambda p=picture: inspector.inspect(p, product))  # type: ignore[misc]
        asked, _ = _timed(lambda f=found: inspector.ask(question, Dialogue(f)))  # type: ignore[misc]
        for name, taken in zip(times, (looked, asked, looked + asked), strict=True):
            times[name].append(taken)
        on_picture()
    times["forty tokens"] = [_forty_tokens(inspector, question, warm) for _ in range(5)]
    return {name: statistics.median(taken) for name, taken in times.items()}


def _forty_tokens(inspector: Inspector, question: str, found: Inspection) -> float:
    """Milliseconds of a greedy answer of exactly 40 tokens."""
    speaker = inspector.speaker
    inputs = speaker.processor(speaker.prompt(question, facts_of(found)), dict(found.shown))
    generate = partial(
        speaker.model.generate, max_new_tokens=40, min_new_tokens=40, do_sample=False
    )
    with torch.inference_mode():
        return _timed(lambda: generate(**inputs))[0]

"""The same inspections in every precision and on every engine: how far they differ, how fast."""

import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import numpy as np
import torch
from scipy.stats import spearmanr

from anomalyst.datasets.splits import k_shot
from anomalyst.evaluation.metrics import auroc
from anomalyst.evaluation.protocols.plans import plan_runs
from anomalyst.evaluation.reports.tables import markdown_table
from anomalyst.hardware.processor import (
    PRECISIONS,
    Engine,
    Precision,
    precision_of,
    processor,
    product_seconds,
)
from anomalyst.inspection.config import InspectorConfig
from anomalyst.inspector import Inspector
from anomalyst.runtime.engines import checked_engine, installed
from anomalyst.types import Inspection, Sample


@dataclass(frozen=True, slots=True)
class Way:
    """One way to compute an inspection."""

    engine: Engine
    precision: Precision

    @classmethod
    def read(cls, text: str) -> "Way":
        """The way written as "torch:float32". Raises AnomalystError; it names the nearest."""
        engine, _, precision = text.partition(":")
        checked_engine(engine)
        precision_of(precision or "auto")
        return cls(cast(Engine, engine), cast(Precision, precision or "auto"))

    def __str__(self) -> str:
        return f"{self.engine} {self.precision}"


@dataclass(slots=True)
class Measured:
    """What one way gave, by category: scores, labels, verdicts; and its times."""

    scores: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    labels: dict[str, list[bool]] = field(default_factory=lambda: defaultdict(list))
    verdicts: dict[Path, tuple[str, float]] = field(default_factory=dict)  # with its score
    millis: list[float] = field(default_factory=list)

    def add(self, sample: Sample, one: Inspection) -> None:
        """One picture's answer."""
        self.scores[sample.category].append(one.score)
        self.labels[sample.category].append(sample.label == "anomalous")
        self.verdicts[sample.image] = one.verdict, one.score
        self.millis.append(1e3 * sum(one.seconds.values()))

    def auroc(self) -> float:
        """Mean over the categories, in percent."""
        each = [auroc(self.labels[c], self.scores[c]) for c in self.scores]
        return 100 * statistics.fmean(each)


def ways_here() -> list[Way]:
    """Every way this machine does well; the first is what the others are compared with."""
    precisions = PRECISIONS[1:] if processor().bfloat16 else PRECISIONS[1:2]
    ways = [Way("torch", precision) for precision in precisions]
    if installed("openvino"):
        ways += [Way("openvino", precision) for precision in precisions]
    return ways + ([Way("onnx", "float32")] if installed("onnx") else [])


def compare_ways(
    samples: Sequence[Sample],
    ways: Sequence[Way],
    *,
    shots: int = 1,
    max_pictures: int | None = None,
    on_picture: Callable[[], None] = lambda: None,
) -> dict[Way, Measured]:
    """Inspect the same pictures each way, beside the same good ones (the first draw).

    Of a paired set a picture is inspected beside its own reference. Raises PictureError for a
    picture that cannot be used.
    """
    found = {way: Measured() for way in ways}
    for way in ways:
        config = InspectorConfig(precision=way.precision, engine=way.engine, device="cpu")
        inspector = Inspector.load(config=config)
        for plan in plan_runs(samples, shots, 1, max_pictures=max_pictures):
            good = [sample.image for sample in k_shot(plan.train, shots, plan.seed)]
            shared = None if plan.paired else inspector.teach(plan.category, good)
            for sample in plan.test:
                own = [sample.reference] if sample.reference else good
                product = shared or inspector.teach(plan.category, own)
                found[way].add(sample, inspector.inspect(sample.image, product))
                on_picture()
    return found


def ways_table(found: dict[Way, Measured]) -> str:
    """Markdown: a row a way; what differs is against the first one."""
    first = next(iter(found.values()))
    product = 1e3 * product_seconds(torch.float32)
    heads = ["engine and precision", "median, ms", "p95, ms", "products", "image AUROC",
             "rank correlation, least and mean", "largest score difference", "verdicts that differ",
             "largest score difference of these"]  # fmt: skip
    rows = []
    for way, one in found.items():
        pairs = [(first.scores[c], one.scores[c]) for c in first.scores]
        apart = max(float(np.abs(np.subtract(*pair)).max()) for pair in pairs)
        alike = [float(spearmanr(*pair).statistic) for pair in pairs]
        flips = [
            abs(first.verdicts[path][1] - score)
            for path, (verdict, score) in one.verdicts.items()
            if first.verdicts[path][0] != verdict
        ]
        median = statistics.median(one.millis)
        rows.append([
            str(way), f"{median:.1f}", f"{np.quantile(one.millis, 0.95):.1f}",
            f"{median / product:.2f}", f"{one.auroc():.2f}",
            f"{min(alike):.5f}, {statistics.fmean(alike):.5f}", f"{apart:.2g}",
            f"{len(flips)} of {len(one.verdicts)}", f"{max(flips, default=0):.2g}",
        ])  # fmt: skip
    return markdown_table(heads, rows, words=1) + "\n"

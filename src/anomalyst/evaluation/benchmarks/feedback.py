"""What learning from false alarms is worth: before and after a person called some of them fine."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from anomalyst.datasets.reading import read_categories
from anomalyst.detection.regions import box_iou
from anomalyst.evaluation.metrics import auroc
from anomalyst.evaluation.protocols.run_records import by_category
from anomalyst.inspector import Inspector
from anomalyst.product import Product
from anomalyst.types import Inspection, Sample


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackEffect:
    """One product before and after; figures are of the pictures that were not corrected."""

    category: str
    corrections: int
    gone: int  # corrected places of which nothing is found any more
    auroc: tuple[float, float]
    alarms: tuple[int, int]  # good pictures called anomalous
    found: tuple[int, int]  # defective ones called anomalous
    good: int
    defective: int


def bench_corrections(
    dataset: Path,
    categories: Sequence[str],
    *,
    good: int = 8,
    corrections: int = 2,
    most: int = 20,
    say: Callable[[str], None] = lambda _: None,
) -> Iterator[FeedbackEffect]:
    """Teach from `good` pictures, call what is found on the worst good test pictures fine.

    Of good and of defective test pictures at most `most` are taken, the first by name.
    A category without enough pictures is told to `say` and left out.
    """
    inspector = Inspector.load()
    for name, samples in by_category(read_categories(dataset, categories)).items():
        train = [s.image for s in samples if s.split == "train" and s.label == "normal"]
        tests = [*_first(samples, "normal", most), *_first(samples, "anomalous", most)]
        if len(train) < good or len({s.label for s in tests}) < 2:
            say(f"{name}: left out; {good} good pictures to learn from, and good and defective "
                "ones to test with, are needed.")  # fmt: skip
            continue
        order = np.random.default_rng(0).permutation(len(train))[:good]
        product = inspector.teach(name, [train[i] for i in order])
        yield _corrected(inspector, product, tests, corrections)


def _first(samples: Sequence[Sample], label: str, most: int) -> list[Sample]:
    return [s for s in samples if s.split == "test" and s.label == label][:most]


def _corrected(
    inspector: Inspector, product: Product, tests: Sequence[Sample], corrections: int
) -> FeedbackEffect:
    before = _inspected(inspector, product, tests)
    alarmed = [found for sample, found in before if sample.label == "normal" and found.regions]
    chosen = sorted(alarmed, key=lambda found: -found.score)[:corrections]
    after = product
    with tempfile.TemporaryDirectory(prefix="anomalyst-") as folder:
        for number, found in enumerate(chosen):
            boxes = [region.box_xyxy for region in found.regions]
            after = inspector.accept(
                after, found.image, boxes, name=f"c{number}", folder=Path(folder)
            )
        images = {found.image for found in chosen}
        again = {found.image: inspector.inspect(found.image, after) for found in chosen}
        rest = [sample for sample in tests if sample.image not in images]
        then = _inspected(inspector, after, rest)
    left = [pair for pair in before if pair[0].image not in images]
    return FeedbackEffect(
        category=product.name,
        corrections=len(chosen),
        gone=sum(not _touches(again[found.image], found) for found in chosen),
        auroc=(_auroc(left), _auroc(then)),
        alarms=(_count(left, "normal"), _count(then, "normal")),
        found=(_count(left, "anomalous"), _count(then, "anomalous")),
        good=sum(sample.label == "normal" for sample in rest),
        defective=sum(sample.label == "anomalous" for sample in rest),
    )


Pairs = Sequence[tuple[Sample, Inspection]]


def _inspected(inspector: Inspector, product: Product, tests: Sequence[Sample]) -> Pairs:
    nothing = np.zeros((0, 0), np.float32)  # maps are large and not needed
    found = ((sample, inspector.inspect(sample.image, product)) for sample in tests)
    return [(sample, replace(one, map=nothing, shown={})) for sample, one in found]


def _auroc(pairs: Pairs) -> float:
    labels = [int(sample.label == "anomalous") for sample, _ in pairs]
    return auroc(labels, [found.score for _, found in pairs])


def _count(pairs: Pairs, label: str) -> int:
    return sum(s.label == label and found.verdict == "anomalous" for s, found in pairs)


def _touches(after: Inspection, before: Inspection) -> bool:
    """Whether something is still found where something was called fine."""
    return any(box_iou(a.box_xyxy, b.box_xyxy) > 0 for a in after.regions for b in before.regions)

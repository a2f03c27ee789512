"""A picture on its way through an inspection: opened, cut to the product's frame, encoded."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from anomalyst.detection.counted import OnQuery
from anomalyst.detection.detector import Detector
from anomalyst.detection.pose import Shown
from anomalyst.detection.scoring import Evidence
from anomalyst.io.geometry import Frame, Views
from anomalyst.teaching.references import stacked
from anomalyst.types import Features
from anomalyst.vlm.facts import seen_colours

MOST_TOGETHER = 16  # canvases encoded at once: more take memory and no less time


@dataclass(slots=True)
class Prepared:
    """A picture on its way through: cut to the product's frame, then encoded."""

    image: Path
    size_hw: tuple[int, int]
    colours: tuple[str, ...]
    views: Views
    stopwatch: "Stopwatch"
    features: Features | None = None
    evidence: list[Evidence] | None = None  # where an engine gave it with the features
    picture: np.ndarray | None = None  # uint8 (H, W, 3), where it is looked at again
    counted: OnQuery | None = None  # what counts, of a product with areas

    @property
    def shown(self) -> Sequence[Shown]:
        """What of each canvas shows the picture, and counts."""
        return self.views.placements if self.counted is None else self.counted.parts

    @classmethod
    def of(
        cls, image: Path, picture: np.ndarray, frame: Frame, stopwatch: "Stopwatch"
    ) -> "Prepared":
        """Of the picture, uint8 (H, W, 3), no more is kept than the frame shows."""
        size_hw = (picture.shape[0], picture.shape[1])
        return cls(image, size_hw, seen_colours(picture), frame.cut(picture), stopwatch)


def _of_one_size(seen: Sequence[Prepared]) -> list[list[Prepared]]:
    """Those whose canvases may share a batch."""
    groups: dict[tuple[int, ...], list[Prepared]] = {}
    for one in seen:
        groups.setdefault(one.views.canvases[0].shape, []).append(one)
    return list(groups.values())


class Stopwatch:
    """Seconds per stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds[stage] = time.perf_counter() - started


def encode(detector: Detector, seen: "Sequence[Prepared]") -> None:
    """Give each its features: canvases of one size as one batch, a few at a time."""
    for some in _of_one_size(seen):
        canvases = [canvas for one in some for canvas in one.views.canvases]
        stopwatch = Stopwatch()
        with stopwatch("encode"):
            cuts = range(0, len(canvases), MOST_TOGETHER)
            parts = [detector.encode(canvases[i : i + MOST_TOGETHER]) for i in cuts]
            features = stacked(parts) if len(parts) > 1 else parts[0]
        first = 0
        for one in some:
            count = len(one.views.canvases)
            one.features = features.rows(range(first, first + count))
            one.stopwatch.seconds["encode"] = stopwatch.seconds["encode"] / len(some)
            first += count

"""The pictures worth looking at after an evaluation: the most wrongly and the best scored."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from anomalyst.io.geometry import canvas_for, resize
from anomalyst.io.pictures import open_picture
from anomalyst.types import Inspection, Sample


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One picture small enough to keep, with what was said about it."""

    name: str
    score: float
    verdict: str
    picture: np.ndarray  # uint8 (h, w, 3)
    map: np.ndarray  # float32 (h, w)
    mask: np.ndarray | None  # bool (h, w); None where the pixel truth is not known


class Extremes:
    """The lowest and highest scores of each label, `num_each` of each; all others are let go.

    So that a sheet can be drawn without the maps of the whole set in memory.
    """

    def __init__(self, *, num_each: int = 4, side_px: int = 160):
        """`side_px`: pictures and maps are kept at the area of a square with this side."""
        self._num_each, self._side_px = num_each, side_px
        self._lowest: dict[str, list[Case]] = {"normal": [], "anomalous": []}
        self._highest: dict[str, list[Case]] = {"normal": [], "anomalous": []}

    def offer(self, sample: Sample, inspection: Inspection, mask: np.ndarray | None) -> None:
        """Keep this picture if its score is among the extremes; mask: bool, the picture's size."""
        assert sample.label is not None
        lowest, highest = self._lowest[sample.label], self._highest[sample.label]
        is_low = len(lowest) < self._num_each or inspection.score < lowest[-1].score
        is_high = len(highest) < self._num_each or inspection.score > highest[-1].score
        if not (is_low or is_high):
            return
        case = self._shrunk(sample, inspection, mask)
        if is_low:
            lowest[:] = sorted([*lowest, case], key=lambda c: c.score)[: self._num_each]
        if is_high:
            highest[:] = sorted([*highest, case], key=lambda c: -c.score)[: self._num_each]

    def groups(self) -> Mapping[str, list[Case]]:
        """Heading -> cases, worst first; a picture among the worst is not shown as best too."""
        missed, suspected = self._lowest["anomalous"], self._highest["normal"]
        return {
            "Defects scored lowest": missed,
            "Good pictures scored highest": suspected,
            "Defects scored highest": _without(self._highest["anomalous"], missed),
            "Good pictures scored lowest": _without(self._lowest["normal"], suspected),
        }

    def _shrunk(self, sample: Sample, inspection: Inspection, mask: np.ndarray | None) -> Case:
        size_hw = canvas_for(inspection.size_hw, self._side_px, 1)
        return Case(
            name="/".join(part for part in (sample.defect, sample.image.name) if part),
            score=inspection.score,
            verdict=inspection.verdict,
            picture=resize(open_picture(sample.image), size_hw),
            map=resize(np.asarray(inspection.map, dtype=np.float32), size_hw),
            mask=None if mask is None else resize(mask.astype(np.float32), size_hw) > 0,
        )


def _without(cases: list[Case], others: list[Case]) -> list[Case]:
    return [case for case in cases if not any(case is other for other in others)]

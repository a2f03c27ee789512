"""The pictures of a category that cost most, and for each what the measurements say of why."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from anomalyst.evaluation.metrics import image_metrics
from anomalyst.io.geometry import canvas_for, resize
from anomalyst.types import Inspection, Sample, place_of

MAP_SIDE_PX = 96  # maps are kept at the area of this square
PATCH_PX = 8  # side of a patch on a canvas of 256 px, what the detector matches
CANVAS_PX = 256


@dataclass(frozen=True, slots=True)
class Judged:
    """What is kept of one answer: enough to say why it fails."""

    image: str
    label: str
    defect: str
    score: float
    map: np.ndarray  # float16 (h, w)
    mask: np.ndarray | None  # bool (h, w); None where the pixel truth is not known
    area_share: float  # of the picture that the mask covers

    @classmethod
    def of(cls, sample: Sample, inspection: Inspection, mask: np.ndarray | None) -> "Judged":
        """The facts of one answer; `mask` bool, the picture's size."""
        size_hw = canvas_for(inspection.size_hw, MAP_SIDE_PX, 1)
        small = None if mask is None else resize(mask.astype(np.float32), size_hw)
        return cls(
            image=sample.image.as_posix(),
            label=sample.label or "",
            defect=sample.defect or "",
            score=float(inspection.score),
            map=resize(np.asarray(inspection.map, np.float32), size_hw).astype(np.float16),
            mask=None if small is None else small > min(0.5, float(small.max()) / 2),
            area_share=0.0 if mask is None else float(mask.mean()),
        )


@dataclass(frozen=True, slots=True)
class Failure:
    """One of the worst pictures."""

    judged: Judged
    pairs_lost: float  # share of the pictures of the other label ranked on the wrong side
    reason: str


def worst(pictures: Sequence[Judged], count: int) -> list[Failure]:
    """At most `count` pictures, those on the wrong side of most others first.

    Where no pair is lost, the defects whose map points elsewhere follow.
    """
    lost = [_pairs_lost(judged, pictures) for judged in pictures]
    elsewhere = [_misplaced(judged) for judged in pictures]
    order = sorted(range(len(pictures)), key=lambda i: (lost[i], elsewhere[i]), reverse=True)
    kept = [i for i in order if lost[i] > 0 or elsewhere[i] > 0][:count]
    normal = [judged for judged in pictures if judged.label == "normal"]
    return [Failure(pictures[i], lost[i], reason(pictures[i], normal, lost[i])) for i in kept]


def reason(judged: Judged, normal: Sequence[Judged], pairs_lost: float) -> str:
    """One sentence, from figures only. `normal`: all good pictures of the category."""
    if judged.label == "normal":
        return _why_alarmed(judged, [s for s in normal if s is not judged], pairs_lost)
    if judged.mask is None or not judged.mask.any():
        where, peak = _strongest(judged.map)
        return (
            f"Strongest at the {where} ({peak:.2f}); {pairs_lost:.0%} of the good pictures score "
            "higher. No mask says where the defect is."
        )
    return _why_missed(judged, pairs_lost)


def _why_missed(judged: Judged, pairs_lost: float) -> str:
    assert judged.mask is not None
    heat = judged.map.astype(np.float32)
    inside, outside = heat[judged.mask], heat[~judged.mask]
    peak, elsewhere = float(inside.max()), float(outside.max(initial=0.0))
    side = np.sqrt(judged.area_share) * CANVAS_PX
    tiny = f" It is small: {side:.0f} px across on the canvas." if side < 2 * PATCH_PX else ""
    behind = (
        f"{pairs_lost:.0%} of the good pictures score higher"
        if pairs_lost
        else "no good picture scores higher"
    )
    if peak >= elsewhere:
        return f"Found: {peak:.2f} there, {elsewhere:.2f} elsewhere; {behind}.{tiny}"
    usual = float(np.quantile(outside, 0.9))
    where, _ = _strongest(np.where(judged.mask, 0, heat))
    if peak <= usual:
        return (
            f"Not seen: the map reaches {peak:.2f} in the defect, and a tenth of the rest is above "
            f"{usual:.2f}; {behind}.{tiny}"
        )
    return f"Outshone: {elsewhere:.2f} at the {where}, {peak:.2f} in the defect; {behind}.{tiny}"


def _why_alarmed(judged: Judged, others: Sequence[Judged], pairs_lost: float) -> str:
    heat = judged.map.astype(np.float32)
    where, peak = _strongest(heat)
    above = f"scores above {pairs_lost:.0%} of the defects"
    alike = [o.map.astype(np.float32) for o in others if o.map.shape == judged.map.shape]
    if not alike:
        return f"Strongest at the {where} ({peak:.2f}); {above}."
    y, x = np.unravel_index(int(heat.argmax()), heat.shape)
    around = np.s_[max(0, y - 4) : y + 5, max(0, x - 4) : x + 5]
    there = np.array([float(other[around].max()) for other in alike])
    level = float(np.median([np.median(other) for other in alike]))
    if (share := float((there >= 0.5 * peak).mean())) >= 0.5:
        return (
            f"A restless place: {share:.0%} of the good pictures light up at the {where}, too "
            f"({peak:.2f} here); {above}."
        )
    if float(np.median(heat)) > 2 * level + 0.01:
        return (
            f"The whole map is raised (median {np.median(heat):.2f}, usually {level:.2f}), as when "
            f"light or pose differ; {above}."
        )
    return f"Only here: {peak:.2f} at the {where}, usually {np.median(there):.2f}; {above}."


def _pairs_lost(judged: Judged, pictures: Sequence[Judged]) -> float:
    others = np.array([other.score for other in pictures if other.label != judged.label])
    if not len(others):
        return 0.0
    wrong = others >= judged.score if judged.label == "anomalous" else others <= judged.score
    return float(wrong.mean())


def _misplaced(judged: Judged) -> float:
    """One minus the AUROC of the pixels of one defect; 0 without a mask."""
    if judged.label == "normal" or judged.mask is None or not 0 < judged.mask.mean() < 1:
        return 0.0
    labels = judged.mask.ravel().astype(int)
    return 1 - image_metrics(labels.tolist(), judged.map.astype(float).ravel().tolist()).auroc


def _strongest(heat: np.ndarray) -> tuple[str, float]:
    y, x = np.unravel_index(int(heat.argmax()), heat.shape)
    return place_of((float(x) + 0.5, float(y) + 0.5), heat.shape), float(heat[y, x])

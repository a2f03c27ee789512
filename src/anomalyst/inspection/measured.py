"""What was found -> measured, and judged by the product's acceptance rules, after all else."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache

import numpy as np

from anomalyst.detection.classifiers.kinds import KIND_OF, KINDS
from anomalyst.detection.regions import region_level, sentence
from anomalyst.io.masks import mask_box, unpacked
from anomalyst.measuring.figures import CRISP, Edge, measure
from anomalyst.measuring.rules import Ruling, judge, parse_rules
from anomalyst.measuring.scale import Scale
from anomalyst.measuring.settings import Measuring
from anomalyst.types import Inspection, Measures, Region
from anomalyst.vlm.wording import KIND_WORDS

# Maps show thin and long defects in part, and others wider than they are: lengths were 0.28 to 1.8
# times the defect's, and this interval held 95 % of them (`anomalyst bench measuring --maps 160
# --seed 8`).
BLURRED = Edge(sd_px=3.0, relative_sd=1.0, note="measured on the blurred map")
RAISED = (
    "An acceptance rule made an unsure verdict an alarm; false alarms by such are no part of the "
    "guarantee: with them, at most twice the rate asked for."
)


@cache
def kind_words(own: tuple[str, ...] = ()) -> Mapping[str, str]:
    """What people call kinds of defects -> the kind that regions have; `own`: a product's kinds."""
    said = {word: kind for kind, words in KIND_WORDS.items() for word in words}
    taught = {name.lower(): name.lower() for name in own}
    return taught | said | KIND_OF | {kind: kind for kind in KINDS}


def measured(found: Inspection, measuring: Measuring) -> Inspection:
    """The inspection with its regions measured, and the verdict that the rules leave.

    The same for one that was measured before. Score, p-value and conformal verdict stay in it.
    """
    if not measuring or found.unfit:  # what cannot be judged has nothing to be measured
        return found
    before = found.verdict_before_rules or found.verdict
    scale, notes = _scale_for(found, measuring)
    regions = tuple(_with_measures(region, found, scale) for region in found.regions)
    found = replace(found, regions=regions, notes=tuple(dict.fromkeys((*found.notes, *notes))))
    own = tuple(region.called for region in regions if region.called)
    ruling = judge(parse_rules(measuring.rules, kind_words(own), kept=True), regions, before)
    if ruling is None:
        return replace(found, verdict=before)
    said = f"{'; '.join(ruling.words)}."
    answer = f"{sentence(before, regions, found.p_value)} {said[0].upper()}{said[1:]}"
    if ruling.verdict != before:
        answer = f"{ruling.verdict.capitalize()} by the acceptance rules: {said}"
    raised = ruling.verdict == "anomalous" != before
    return replace(
        found,
        verdict=ruling.verdict,
        verdict_before_rules=before,
        ruled=ruling.words,
        answer=answer,
        confidence=found.confidence if ruling.verdict == before else _sure(ruling),
        guaranteed=found.guaranteed and not raised,
        notes=(*found.notes, RAISED) if raised and found.guaranteed else found.notes,
    )


def _sure(ruling: Ruling) -> float:
    """That the verdict is right; of an unsure one, that something is out of tolerance."""
    return 1 - ruling.chance if ruling.verdict == "normal" else ruling.chance


def _scale_for(found: Inspection, measuring: Measuring) -> tuple[Scale | None, tuple[str, ...]]:
    """The scale, if it holds for this picture; else a note that says why it does not."""
    scale = measuring.scale
    if scale is None or scale.fits(found.size_hw):
        return scale, ()
    assert scale.size_hw is not None  # else it fits
    (height, width), (tall, wide) = found.size_hw, scale.size_hw
    told = (
        f"Not measured in mm: the scale holds for pictures of {wide} x {tall} px, this one has "
        f"{width} x {height}."
    )
    return None, (told,)


def _with_measures(region: Region, found: Inspection, scale: Scale | None) -> Region:
    if region.mask is not None:
        mask = unpacked(region.mask)
        x0, y0, x1, y1 = mask_box(mask)
        mask = mask[y0:y1, x0:x1]  # all that follows would else go over the whole picture
        edge = CRISP if region.fit is None else Edge.of_iou(region.fit, mask)
        return replace(region, measures=_of(mask, (x0, y0), scale, edge))
    x0, y0, x1, y1 = region.box_xyxy
    above = found.map[y0:y1, x0:x1] >= min(region_level(found.regions), region.peak)
    return replace(region, measures=_of(above, (x0, y0), scale, BLURRED))


def _of(
    mask: np.ndarray, corner_xy: tuple[int, int], scale: Scale | None, edge: Edge
) -> Measures | None:
    """Measured within its own box; None of an empty mask."""
    x0, y0, x1, y1 = mask_box(mask)
    if x0 == x1:
        return None
    corner_xy = corner_xy[0] + x0, corner_xy[1] + y0
    return measure(mask[y0:y1, x0:x1], corner_xy=corner_xy, scale=scale, edge=edge)


def checked_rules(lines: list[str], own: tuple[str, ...] = ()) -> list[str]:
    """The rules, each as it is kept; `own`: names of the product's kinds, where it was taught some.

    Raises AnomalystError for one that cannot be read.
    """
    return [rule.text for rule in parse_rules(lines, kind_words(own))]


def told_apart(lines: Sequence[str], own: tuple[str, ...] = ()) -> list[str]:
    """What to say of rules whose words are one kind to the detector: all hold for each region."""
    by_kind: dict[str, list[str]] = {}
    taught = {name.lower() for name in own}
    for rule in parse_rules(lines, kind_words(own), kept=True):
        for kind in () if taught & set(rule.kinds) else rule.kinds[:1]:
            by_kind.setdefault(kind, []).append(rule.word)
    return [
        f"{' and '.join(sorted(set(words)))} are one kind to the detector, {kind!r}: the rules of "
        "each hold for all of it."
        for kind, words in by_kind.items()
        if len(set(words)) > 1
    ]

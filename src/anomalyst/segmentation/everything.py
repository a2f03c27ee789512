"""All things on a picture without a word about them: a grid of clicks, the best answers kept.

Kirillov et al., Segment Anything, ICCV 2023 (arXiv:2304.02643), appendix B, "Automatic mask
generation".
"""

from dataclasses import dataclass

from anomalyst.io.masks import mask_iou
from anomalyst.segmentation.prompts import Look, Prompt, Segment


@dataclass(frozen=True, slots=True, kw_only=True)
class EverythingConfig:
    """Which answers count."""

    clicks_per_side: int = 12
    least_iou: float = 0.5  # predicted
    least_stability: float = 0.8  # IoU of the mask a little wider and a little narrower
    stability_offset: float = 0.5  # of the logits
    least_share: float = 5e-4  # of the view
    most_share: float = 0.6
    most_overlap: float = 0.6  # IoU of two answers: the less certain one goes


def everything(
    look: Look, size_hw: tuple[int, int], config: EverythingConfig | None = None
) -> list[Segment]:
    """What can be told apart on a picture of `size_hw`, the most certain first."""
    config = config or EverythingConfig()
    count = config.clicks_per_side
    found: list[Segment] = []
    for index in range(count * count):
        place = (
            (index % count + 0.5) / count * size_hw[1],
            (index // count + 0.5) / count * size_hw[0],
        )
        answers = look.segment(Prompt(points_xy=(place,), positive=(True,)))
        found += [one for one in answers if _counts(one, config)]
    found.sort(key=lambda one: -one.iou)
    kept: list[Segment] = []
    for one in found:
        if all(mask_iou(one.logits > 0, other.logits > 0) <= config.most_overlap for other in kept):
            kept.append(one)
    return kept


def _counts(one: Segment, config: EverythingConfig) -> bool:
    share = float((one.logits > 0).mean())
    if one.iou < config.least_iou or not config.least_share <= share <= config.most_share:
        return False
    narrow, wide = (one.logits > sign * config.stability_offset for sign in (1, -1))
    return mask_iou(narrow, wide) >= config.least_stability

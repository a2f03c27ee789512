"""Clicks, boxes and anomaly maps as people and the detector would give them of a known mask.

Kirillov et al., Segment Anything, ICCV 2023 (arXiv:2304.02643), appendix A, "Training algorithm":
a first prompt, then clicks from what is wrong so far, the mask so far beside them.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from anomalyst.segmentation.prompt_encoder import BESIDE, CORNER, NOTHING, ON, OTHER_CORNER
from anomalyst.segmentation.soft_masks import LARGEST, as_logits

BOX_JITTER = 0.1  # of a box's side: standard deviation of each of its edges
MOST_JITTER = 0.15
SPREAD = (1, 9)  # cells by which an anomaly map is wider than what it means, least and most
FALSE_SHARE = 0.3  # of the maps with a place that means nothing
HARD_SHARE = 0.4  # of the answers that come back without shades
HALF_SHARE = 0.2  # of the maps that show part of a thing only


def random_click(wanted: Tensor) -> Tensor:
    """A random cell of each mask, bool (P, h, w) -> (P, 2) as shares (x, y); any where it is empty.

    Within its cell the place is random, too.
    """
    count, height, width = wanted.shape
    chance = torch.rand_like(wanted, dtype=torch.float32) + wanted.float()
    at = chance.flatten(1).argmax(1)
    rows, columns = at // width, at % width
    inside = torch.rand(count, 2, device=wanted.device)
    x = (columns + inside[:, 0]) / width
    y = (rows + inside[:, 1]) / height
    return torch.stack([x, y], 1)


def click_from_error(said: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """The next click: a random place of what is wrong -> (P, 2), and its kind (P,).

    `said` and `truth` bool (P, h, w). Where nothing is wrong, a place on the thing.
    """
    wrong = said ^ truth
    anything = wrong.flatten(1).any(1)
    places = random_click(torch.where(anything[:, None, None], wrong, truth))
    height, width = truth.shape[1:]
    rows = (places[:, 1] * height).long().clamp(max=height - 1)
    columns = (places[:, 0] * width).long().clamp(max=width - 1)
    on = truth[torch.arange(len(truth)), rows, columns]
    return places, torch.where(on, ON, BESIDE)


def box_of(masks: Tensor, jitter: float = 0.0) -> tuple[Tensor, Tensor]:
    """The box of each mask, bool (P, h, w) -> corners (P, 2, 2) as shares, and their kinds."""
    height, width = masks.shape[1:]
    columns, rows = masks.any(1), masks.any(2)
    x0, x1 = _ends(columns)
    y0, y1 = _ends(rows)
    box = torch.stack([x0 / width, y0 / height, x1 / width, y1 / height], 1)
    sides = torch.stack([box[:, 2] - box[:, 0], box[:, 3] - box[:, 1]], 1).repeat(1, 2)
    moved = torch.randn_like(box) * jitter
    box = (box + moved.clamp(-MOST_JITTER, MOST_JITTER) * sides).clamp(0, 1)
    kinds = torch.tensor([CORNER, OTHER_CORNER], device=masks.device).expand(len(masks), -1)
    return box.view(-1, 2, 2), kinds


def no_place(count: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """The place that is none, of prompts without a box."""
    kinds = torch.full((count, 1), NOTHING, dtype=torch.long, device=device)
    return torch.zeros(count, 1, 2, device=device), kinds


def anomaly_map(truth: Tensor) -> Tensor:
    """A map (P, 1, h, w) in [0, 1] as a detector draws it: wider, blurred, uneven, half wrong."""
    count = len(truth)
    shown = truth[:, None].clone()
    if torch.rand(()) < HALF_SHARE:
        keep = F.interpolate(torch.rand(count, 1, 3, 3), shown.shape[2:], mode="bilinear")
        shown = shown * (keep > 0.4)
    wide = int(torch.randint(*SPREAD, ()))
    grown = F.max_pool2d(shown, 2 * (wide // 2) + 1, 1, wide // 2)
    if torch.rand(()) < FALSE_SHARE:
        spots = F.interpolate(torch.rand(count, 1, 12, 12), shown.shape[2:], mode="bilinear")
        grown = torch.maximum(grown, (spots > 0.93).float())
    for _ in range(3):
        grown = F.avg_pool2d(grown, 2 * wide + 1, 1, wide, count_include_pad=False)
    peak = grown.flatten(1).amax(1).clamp(min=1e-3)[:, None, None, None]
    strength = 0.5 + 0.5 * torch.rand(count, 1, 1, 1)
    uneven = F.interpolate(torch.rand(count, 1, 6, 6), shown.shape[2:], mode="bilinear")
    return (grown / peak * strength * (0.7 + 0.6 * uneven)).clamp(0, 1)


def as_region(found: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What a region of a map (P, 1, h, w) prompts: places (P, 3, 2), kinds, logits of the map."""
    flat = found.flatten(1)
    peak = flat.argmax(1)
    width, height = found.shape[3], found.shape[2]
    at = torch.stack([(peak % width + 0.5) / width, (peak // width + 0.5) / height], 1)
    above = found[:, 0] >= (0.5 * flat.amax(1))[:, None, None]
    corners, kinds = box_of(above)
    places = torch.cat([at[:, None], corners], 1)
    return places, torch.cat([torch.full_like(kinds[:, :1], ON), kinds], 1), as_logits(found)


def so_far(logits: Tensor) -> Tensor:
    """An answer (P, 1, h, w) as what is known in the next round; now and then as black and white.

    People who paint give masks without shades.
    """
    found = logits.detach().float().clamp(-LARGEST, LARGEST)
    hard = torch.where(found > 0, LARGEST, -LARGEST)
    return hard if torch.rand(()) < HARD_SHARE else found


def _ends(along: Tensor) -> tuple[Tensor, Tensor]:
    """First and one past the last that is true of each row, (P, n) -> (P,), (P,)."""
    length = along.shape[1]
    first = along.float().argmax(1)
    last = length - along.flip(1).float().argmax(1)
    return first.float(), last.float()

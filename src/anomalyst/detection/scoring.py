"""Logits -> evidence: map, score (ranks within a product), contrast (between products)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from anomalyst.detection.counted import Counted
from anomalyst.detection.pose import Shown

PEAK_WEIGHT = 0.2  # of the most anomalous place in a score: the least that ranks drawn parts best
# Of the log of the mean of the highest distances on the frozen trunk, and of how many: what ranks
# drawn parts best (docs/research/embedded.md). None counts as smaller than the last.
FROZEN_WEIGHT, FROZEN_TOP_SHARE, FROZEN_LEAST = 3.0, 0.01, 0.01
CONTRAST_SLOPE, CONTRAST_START = 0.96, 0.80


@dataclass(slots=True)
class Evidence:
    """What one tile of a query shows."""

    map: np.ndarray  # float32 (h, w) in [0, 1], over the canvas
    score: float  # unbounded, higher is more anomalous
    contrast: float | None = None  # the most anomalous place, comparable between products
    detail: Tensor | None = None  # (1, 2D+1, h, w): what was compared (classifiers/defect_types.py)
    logits: Tensor | None = None  # (1, 1, h, w) behind the map; -inf on padding
    # The score over all that is seen, where areas let only some of it count: it tells how the
    # product lies. Where nothing counts at all, `score` is -inf and there is no contrast.
    whole: float | None = None


def evidence_of(
    logits: Tensor,
    shown: Tensor,
    detail: Tensor | None,
    frozen: Tensor | None,
    placement: Shown | None,
    *,
    seen: Tensor | None = None,
) -> Evidence:
    """Logits and map (1, 1, h, w) of one tile -> its evidence; padding does not count.

    `frozen`: `Detector.frozen_distances`. `seen`: the logits before words had their share; the
    contrast is theirs, for it is compared with that of drawn products, of which nothing was said.
    """
    kept = content(placement, logits)
    whole = logits.masked_fill(~kept, -math.inf)
    seen_score = None
    if isinstance(placement, Counted):
        below = placement.shown
        seen_score = _score(logits, frozen, below, content(below, logits))
    if seen_score is not None and not kept.any():
        return nothing_counts(shown, seen_score, detail, whole)
    score = _score(logits, frozen, placement, kept)
    stands_out = contrast((logits if seen is None else seen)[kept].double())
    map_ = (shown * kept)[0, 0].numpy()
    return Evidence(map_, score, stands_out, detail, whole, seen_score)


def nothing_counts(
    shown: Tensor, whole: float | None, detail: Tensor | None = None, logits: Tensor | None = None
) -> Evidence:
    """The evidence of a tile, map (1, 1, h, w), on which nothing counts."""
    map_ = torch.zeros_like(shown)[0, 0].numpy()
    return Evidence(map_, -math.inf, None, detail, logits, whole)


def _score(logits: Tensor, frozen: Tensor | None, placement: Shown | None, kept: Tensor) -> float:
    """The score of what counts; that is at least one cell of the logits, `kept` of them."""
    values = logits[kept].double()
    score = float(expected_share(values) + PEAK_WEIGHT * values.max())
    if frozen is None:
        return score
    distances = frozen[content(placement, frozen)]
    if not len(distances):  # what counts is smaller than a cell of the frozen trunk's
        distances = resized(frozen, logits.shape[-2:])[kept]
    farthest = top_mean(distances, FROZEN_TOP_SHARE)
    return score + FROZEN_WEIGHT * math.log(max(FROZEN_LEAST, farthest))


def expected_share(logits: Tensor) -> Tensor:
    """Log of the mean probability over the last axis, in nats: (..., n) -> (...).

    How much of the picture is expected to be anomalous. Takes the sum of many faint places and one
    clear one alike, where the mean of a top share must first decide how large defects are
    (docs/decisions.md).
    """
    return F.logsigmoid(logits).logsumexp(-1) - math.log(logits.shape[-1])


def contrast(logits: Tensor) -> float:
    """How far the most anomalous place stands out, as a logit: comparable between products.

    A product that varies everywhere raises its score, which therefore says little beside another
    product's; the maximum of the logits (n,) tells normal from defective over all products. Slope
    and start are those of a logistic regression of "has a defect" on drawn products; neither
    quantiles nor what varied copies of the good picture show added to it
    (docs/research/embedded.md).
    """
    return CONTRAST_SLOPE * float(logits.max()) + CONTRAST_START


def mixed_logits(logits: Sequence[Tensor], shares: Sequence[float]) -> Tensor:
    """Logits of the weighted mean of the probabilities behind some logits of one shape.

    Takes the first of the shares, one for each, whatever their sum.
    """
    weights = torch.tensor(
        list(shares[: len(logits)]), dtype=logits[0].dtype, device=logits[0].device
    ).log()
    stacked = torch.stack(list(logits), -1)  # (..., S)
    yes = (F.logsigmoid(stacked) + weights).logsumexp(-1)
    return yes - (F.logsigmoid(-stacked) + weights).logsumexp(-1)


def top_mean(values: Tensor, share: float) -> float:
    """Mean of the highest `share` of the values: robust where a maximum would be one pixel."""
    flat = values.flatten()
    return float(flat.topk(max(1, int(share * flat.numel()))).values.mean())


def content(placement: Shown | None, like: Tensor) -> Tensor:
    """Bool mask of a map (1, 1, h, w): False on the padding around the picture."""
    if placement is None or not placement.padded:
        return torch.ones_like(like, dtype=torch.bool)
    return torch.from_numpy(placement.inside(*like.shape[-2:]))[None, None]


def resized(x: Tensor, size_hw: tuple[int, int] | torch.Size) -> Tensor:
    return F.interpolate(x, size=list(size_hw), mode="bilinear", align_corners=False)


def blurred(x: Tensor, sigma: float) -> Tensor:
    if sigma <= 0:
        return x
    reach = max(1, round(3 * sigma))
    offsets = torch.arange(-reach, reach + 1, dtype=x.dtype)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = kernel / kernel.sum()
    padded = F.pad(x, (reach, reach, reach, reach), mode="replicate")
    return F.conv2d(F.conv2d(padded, kernel[None, None, None]), kernel[None, None, :, None])

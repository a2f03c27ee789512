"""What training and adaptation lower: losses of logits (B, 1, S, S) against masks in {0, 1}."""

import torch
import torch.nn.functional as F
from torch import Tensor


def focal_loss(logits: Tensor, mask: Tensor, gamma: float | Tensor = 2.0) -> Tensor:
    """Mean focal loss (Lin et al. 2017, eq. 4, without alpha); `gamma` (B,): one a picture."""
    loss = F.binary_cross_entropy_with_logits(logits, mask, reduction="none")
    certainty = torch.exp(-loss)  # probability given to the true class
    if isinstance(gamma, Tensor):
        gamma = gamma[:, None, None, None]
    # Where a pixel is certain and gamma below 1, the slope of 0 ** gamma would be infinite.
    return ((1 - certainty).clamp(min=1e-6) ** gamma * loss).mean()


def dice_loss(logits: Tensor, mask: Tensor) -> Tensor:
    """Mean over the pictures that have a defect of 1 - Dice (Milletari et al. 2016, squared)."""
    p, m = logits.sigmoid().flatten(1), mask.flatten(1)
    overlap = (2 * (p * m).sum(1) + 1) / (p.square().sum(1) + m.sum(1) + 1)
    has = (m.sum(1) > 0).float()
    return ((1 - overlap) * has).sum() / has.sum().clamp(min=1)


def rank_loss(scores: Tensor, mask: Tensor) -> Tensor:
    """Logistic loss of ranking a defective picture above a normal one of the same product.

    `scores` (2 B,): of B queries with masks (B, 1, S, S), then of a normal picture of each product.
    What it lowers is one minus AUROC within a product (Burges et al. 2005, eq. 3).
    """
    query, normal = scores.chunk(2)
    has = (mask.flatten(1).amax(1) > 0).float()
    return (F.softplus(normal - query) * has).sum() / has.sum().clamp(min=1)


def image_loss(logits: Tensor, mask: Tensor, share: float = 0.003) -> Tensor:
    """Cross-entropy of the picture's own score, the mean of the top share of its logits."""
    flat = logits.flatten(1)
    score = flat.topk(max(1, int(share * flat.shape[1])), 1).values.mean(1)
    return F.binary_cross_entropy_with_logits(score, (mask.flatten(1).amax(1) > 0).float())

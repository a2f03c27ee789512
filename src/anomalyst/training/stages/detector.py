"""The detector stage: encoder and pair decoder together, on episodes of the procedural world."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anomalyst.detection.decoder import PairDecoder
from anomalyst.encoders.embedded import EmbeddedEncoder
from anomalyst.training.episodes import Batch
from anomalyst.training.recipe import Recipe
from anomalyst.types import Features


class DetectorStage(nn.Module):
    """What is trained, and its loss."""

    def __init__(self, recipe: Recipe):
        super().__init__()
        self.encoder = EmbeddedEncoder(recipe.encoder)
        self.decoder = PairDecoder(recipe.decoder)

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """-> (loss, its parts by name)."""
        logits, distances = self.predict(batch)
        parts = {
            "focal": focal_loss(logits, batch.mask) * 4,
            "dice": dice_loss(logits, batch.mask) * 0.5,
            "image": image_loss(logits, batch.mask) * 0.2,
            "nearest": self.nearest_loss(distances, batch.mask) * 0.15,
        }
        return torch.stack(list(parts.values())).sum(), parts

    def predict(self, batch: Batch) -> tuple[Tensor, list[Tensor]]:
        """Logits (B, 1, S, S) float32 and each level's nearest distance (B, 1, h, w)."""
        count, kept = batch.query.shape[0], batch.references.shape[1]
        pixels = torch.cat([batch.query, batch.references.flatten(0, 1)])
        features = self.encoder(pixels.contiguous(memory_format=torch.channels_last))
        query = Features([f[:count] for f in features.levels], features.embedding[:count])
        good = Features([f[count:] for f in features.levels], features.embedding[count:])
        logits, distances = self.decoder(query, self.decoder.remember(good, kept))
        return F.interpolate(logits.float(), size=batch.query.shape[-2:], mode="bilinear"), (
            distances
        )

    def nearest_loss(self, distances: list[Tensor], mask: Tensor) -> Tensor:
        """Makes plain nearest-patch distance tell good from bad, so the bank is worth having."""
        losses = []
        for logits in self.decoder.nearest_logits(distances):
            target = F.adaptive_avg_pool2d(mask, (logits.shape[-2], logits.shape[-1]))
            clear = (target > 0.25) | (target == 0)
            loss = F.binary_cross_entropy_with_logits(
                logits, (target > 0.25).float(), reduction="none"
            )
            weight = torch.where(target > 0.25, 3.0, 1.0) * clear
            losses.append((loss * weight).sum() / weight.sum())
        return torch.stack(losses).mean()


def focal_loss(logits: Tensor, mask: Tensor, gamma: float = 2.0) -> Tensor:
    """Mean focal loss (Lin et al. 2017, eq. 4, without alpha)."""
    loss = F.binary_cross_entropy_with_logits(logits, mask, reduction="none")
    certainty = torch.exp(-loss)  # probability given to the true class
    return ((1 - certainty) ** gamma * loss).mean()


def dice_loss(logits: Tensor, mask: Tensor) -> Tensor:
    """Mean over the pictures that have a defect of 1 - Dice (Milletari et al. 2016, squared)."""
    p, m = logits.sigmoid().flatten(1), mask.flatten(1)
    overlap = (2 * (p * m).sum(1) + 1) / (p.square().sum(1) + m.sum(1) + 1)
    has = (m.sum(1) > 0).float()
    return ((1 - overlap) * has).sum() / has.sum().clamp(min=1)


def image_loss(logits: Tensor, mask: Tensor, share: float = 0.003) -> Tensor:
    """Cross-entropy of the picture's own score, the mean of the top share of its logits."""
    flat = logits.flatten(1)
    score = flat.topk(max(1, int(share * flat.shape[1])), 1).values.mean(1)
    return F.binary_cross_entropy_with_logits(score, (mask.flatten(1).amax(1) > 0).float())

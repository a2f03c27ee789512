"""The detector stage: encoder and pair decoder together, on episodes of the procedural world."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anomalyst.detection.decoder import PairDecoder
from anomalyst.detection.detector import expected_share
from anomalyst.detection.losses import dice_loss, focal_loss, image_loss, rank_loss
from anomalyst.encoders.embedded import EmbeddedEncoder
from anomalyst.training.episodes import Batch
from anomalyst.training.recipe import Recipe


class DetectorStage(nn.Module):
    """What is trained, and its loss."""

    def __init__(self, recipe: Recipe):
        super().__init__()
        self.encoder = EmbeddedEncoder(recipe.encoder)
        self.decoder = PairDecoder(recipe.decoder)
        self.rank_weight = recipe.rank_weight

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """-> (loss, its parts by name)."""
        logits, distances = self.predict(batch)
        mask = batch.mask
        if batch.shown != len(batch.references[0]):
            mask = torch.cat([mask, torch.zeros_like(mask)])
        whole = F.interpolate(logits, size=mask.shape[-2:], mode="bilinear")
        parts = {
            "focal": focal_loss(whole, mask) * 4,
            "dice": dice_loss(whole, mask) * 0.5,
            "image": image_loss(whole, mask) * 0.2,
            "nearest": self.nearest_loss(distances, mask) * 0.15,
        }
        if len(mask) > len(batch.mask):
            # The scores that an inspection would give.
            scores = expected_share(self.decoder.with_nearest(logits, distances).flatten(1))
            parts["rank"] = rank_loss(scores, batch.mask) * self.rank_weight
        return torch.stack(list(parts.values())).sum(), parts

    def predict(self, batch: Batch) -> tuple[Tensor, list[Tensor]]:
        """Logits (Q, 1, S/4, S/4) float32 and each level's nearest distance (Q, 1, h, w).

        Q = 2 B unless every good picture is shown: a good picture that is not shown serves as a
        second, sound query of the same product.
        """
        count, good = batch.references.shape[:2]
        pixels = torch.cat([batch.query, batch.references.transpose(0, 1).flatten(0, 1)])
        features = self.encoder(pixels.contiguous(memory_format=torch.channels_last))
        rows = torch.arange(len(pixels)).reshape(1 + good, count)  # query, then good pictures
        if batch.shown == good:
            queries, shown = rows[0], rows[1:].T.flatten()
        elif batch.shown == 0:
            queries = shown = rows[:2].flatten()
        else:
            queries = rows[[0, 1 + batch.shown]].flatten()
            shown = rows[1 : 1 + batch.shown].T.repeat(2, 1).flatten()
        query = features.rows(queries.tolist())
        references = self.decoder.remember(
            features.rows(shown.tolist()), max(1, batch.shown), alone=batch.shown == 0
        )
        logits, distances = self.decoder(query, references)
        return logits.float(), distances

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

"""The detector task: encoder and pair decoder together, on episodes of the procedural world."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anomalyst.backbones import detector_weights
from anomalyst.backbones.efficientnet_lite import LiteTrunk, imagenet_weights
from anomalyst.backbones.embedded import EmbeddedEncoder, fill, load_embedded, read_weights
from anomalyst.config import to_mapping
from anomalyst.detection.pair_decoder import PairDecoder, load_decoder
from anomalyst.detection.scoring import expected_share
from anomalyst.errors import AnomalystError
from anomalyst.teaching.losses import dice_loss, focal_loss, image_loss, rank_loss
from anomalyst.training.checkpoint import write_weights
from anomalyst.training.data.episodes import Batch, batches
from anomalyst.training.data.procedural_calibration import HELD_OUT, write_procedural_calibration
from anomalyst.training.recipe import DetectorRecipe
from anomalyst.training.task import Share, Task


class DetectorModel(nn.Module):
    """What is trained, and its loss."""

    def __init__(self, recipe: DetectorRecipe):
        super().__init__()
        self.encoder = EmbeddedEncoder(recipe.encoder)
        self.decoder = PairDecoder(recipe.decoder)
        self.rank_weight, self.teacher_weight = recipe.rank_weight, recipe.teacher_weight

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
        if batch.taught is not None:
            parts["teacher"] = teacher_loss(logits, batch.taught) * self.teacher_weight
        return torch.stack(list(parts.values())).sum(), parts

    def predict(self, batch: Batch) -> tuple[Tensor, list[Tensor]]:
        """Logits and distances of `predicted`."""
        return predicted(self.encoder, self.decoder, batch)

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


def predicted(
    encoder: EmbeddedEncoder, decoder: PairDecoder, batch: Batch
) -> tuple[Tensor, list[Tensor]]:
    """Logits (Q, 1, S/4, S/4) float32 and each level's nearest distance (Q, 1, h, w).

    Q = 2 B unless every good picture is shown: a good picture that is not shown serves as a
    second, normal query of the same product.
    """
    count, good = batch.references.shape[:2]
    pixels = torch.cat([batch.query, batch.references.transpose(0, 1).flatten(0, 1)])
    features = encoder(pixels.contiguous(memory_format=torch.channels_last))
    rows = torch.arange(len(pixels)).reshape(1 + good, count)  # query, then good pictures
    if batch.shown == good:
        queries, shown = rows[0], rows[1:].T.flatten()
    elif batch.shown == 0:
        queries = shown = rows[:2].flatten()
    else:
        queries = rows[[0, 1 + batch.shown]].flatten()
        shown = rows[1 : 1 + batch.shown].T.repeat(2, 1).flatten()
    query = features.rows(queries.tolist())
    references = decoder.remember(
        features.rows(shown.tolist()), max(1, batch.shown), alone=batch.shown == 0
    )
    logits, distances = decoder(query, references)
    return logits.float(), distances


def teacher_loss(logits: Tensor, taught: Tensor) -> Tensor:
    """Cross-entropy of each cell with the teacher's probability, less the teacher's own entropy.

    Both (Q, 1, h, w) logits; zero where they agree (Hinton et al. 2015, arXiv:1503.02531, T = 1).
    """
    target = taught.sigmoid()
    own = F.binary_cross_entropy_with_logits(taught, target)
    return F.binary_cross_entropy_with_logits(logits, target) - own


class Teacher:
    """A detector of another run, frozen: what it says of a batch."""

    def __init__(self, spec: str):
        weights = detector_weights(spec)
        if weights is None:
            raise AnomalystError(
                f"teacher {spec!r}: has no pair decoder to learn maps from; write embedded, or "
                "run: and the folder of a detector's run."
            )
        self.encoder = load_embedded(weights, torch.float32)
        self.decoder = load_decoder(weights)

    @torch.no_grad()
    def logits(self, batch: Batch) -> Tensor:
        """Its logits (Q, 1, S/4, S/4), on the batch's device."""
        device = batch.query.device
        return predicted(self.encoder.to(device), self.decoder.to(device), batch)[0]


class DetectorTask(Task):
    """Ships model.safetensors and, at the end, calibrations."""

    leaves_out = True  # what judges a picture alone is not asked beside good ones

    def __init__(self, recipe: DetectorRecipe, out: Path):
        self.recipe, self.out = recipe, out
        model = DetectorModel(recipe)
        if recipe.initial:
            start_from(model, Path(recipe.initial))
        elif isinstance(model.encoder.trunk, LiteTrunk):
            imagenet_weights(model.encoder.trunk)
        # Kept apart: the average has only what is trained, and an engine may split the rest.
        # A trunk of hf: stays in its own folder.
        still = (
            (name, parameter)
            for name, parameter in model.named_parameters()
            if not parameter.requires_grad and not name.startswith("encoder.trunk.hub.")
        )
        self.frozen = {name: parameter.detach().clone() for name, parameter in still}
        self.teacher = Teacher(recipe.teacher) if recipe.teacher else None
        self.model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.module: nn.Module = self.model

    def batches(self, first_step: int, share: Share) -> Iterator[Batch]:
        """Batches of episodes."""
        return batches(self.recipe, first_step, share)

    def held_out(self, share: Share, count: int) -> Iterator[Batch]:
        """Episodes of other seeds, each seen once."""
        other = replace(self.recipe, seed=self.recipe.seed + HELD_OUT, steps=count, workers=0)
        return batches(other, 0, share)

    def amount(self, batch: Batch) -> dict[str, int]:
        """Episodes count."""
        return {"samples": len(batch.query)}

    def loss(self, batch: Batch, device: torch.device) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of one batch, moved to the device."""
        moved = replace(
            batch,
            references=batch.references.to(device),
            query=batch.query.to(device),
            mask=batch.mask.to(device),
        )
        if self.teacher is not None:
            moved = replace(moved, taught=self.teacher.logits(moved))
        return self.model(moved)

    def ship(self, average: Mapping[str, Tensor]) -> Path:
        """The averaged encoder and decoder in half precision, with their configuration."""
        note = {
            "encoder": to_mapping(self.recipe.encoder),
            "decoder": to_mapping(self.recipe.decoder),
        }
        path = self.out / "model.safetensors"
        kept = {n: t for n, t in average.items() if not n.startswith("encoder.trunk.hub.")}
        write_weights(path, self.frozen | kept, note)
        return path

    def finish(self, weights: Path) -> None:
        """Write the scores of normal products that were never trained on."""
        recipe = self.recipe
        write_procedural_calibration(
            weights, self.out, world=recipe.world, count=recipe.calibration_episodes
        )


def start_from(model: DetectorModel, weights: Path) -> None:
    """Fill a model with weights of the same shape. AnomalystError says what does not fit."""
    tensors, _ = read_weights(weights, "encoder")
    fill(model.encoder, tensors, weights)
    tensors, _ = read_weights(weights, "decoder")
    try:
        model.decoder.load_state_dict(tensors, strict=True)
    except RuntimeError as error:
        raise AnomalystError(
            f"{weights}: its decoder does not fit the recipe's ({str(error).splitlines()[1]})."
        ) from None

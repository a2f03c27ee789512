"""The kinds task: what kind of defect a found region is, learnt on drawn products."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anomalyst.detection.classifiers.defect_types import KindClassifier
from anomalyst.detection.classifiers.kinds import KINDS
from anomalyst.training.checkpoint import write_weights
from anomalyst.training.data.feature_cache import FeatureCacheRecipe, read_crops
from anomalyst.training.task import Share, Task


@dataclass(frozen=True, slots=True, kw_only=True)
class KindsRecipe(FeatureCacheRecipe):
    """The kind classifier; `batch` counts regions."""

    task: Literal["kinds"] = "kinds"
    episodes: int = 16000  # to look at, where the folder has fewer
    smoothing: float = 0.05  # of the labels


class KindsTask(Task):
    """Regions in random order, turned, mirrored and recoloured."""

    def __init__(self, recipe: KindsRecipe, out: Path):
        self.recipe, self.out = recipe, out
        self.classifier = KindClassifier(len(KINDS))
        self.module: nn.Module = self.classifier

    def batches(self, first_step: int, share: Share) -> Iterator[dict[str, Tensor]]:
        """Regions of a step, drawn by the step's own random numbers; every part takes its rows."""
        recipe = self.recipe
        crops = read_crops(recipe.feature_folder(self.out))
        for step in range(first_step, recipe.steps):
            numbers = torch.Generator().manual_seed(recipe.seed * (1 << 20) + step)
            rows = torch.randint(len(crops["kinds"]), (recipe.batch,), generator=numbers)
            whole = _varied({name: values[rows] for name, values in crops.items()}, numbers)
            for part in share.parts:
                yield {name: values[part :: share.of] for name, values in whole.items()}

    def amount(self, batch: dict[str, Tensor]) -> dict[str, int]:
        """Regions count."""
        return {"samples": len(batch["kinds"])}

    def loss(
        self, batch: dict[str, Tensor], device: torch.device
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy of the kinds, and how many were right."""
        moved = {name: values.to(device) for name, values in batch.items()}
        logits = self.classifier(
            moved["pixels"], moved["maps"], moved["details"], moved["figures"]
        ).float()
        loss = F.cross_entropy(logits, moved["kinds"], label_smoothing=self.recipe.smoothing)
        return loss, {"right": (logits.argmax(1) == moved["kinds"]).float().mean()}

    def ship(self, average: Mapping[str, Tensor]) -> Path:
        """kinds.safetensors, as `detection.kinds` reads it."""
        path = self.out / "kinds.safetensors"
        write_weights(path, {f"kinds.{k}": v for k, v in average.items()}, {"kinds": list(KINDS)})
        return path


def _varied(batch: dict[str, Tensor], numbers: torch.Generator) -> dict[str, Tensor]:
    """The same turn, mirror and order of colours for a whole batch; a brightness for each."""
    pixels, pictures = batch["pixels"].float(), ("maps", "details")
    turned = {name: batch[name].float() for name in pictures} | {"pixels": pixels}
    turns = int(torch.randint(4, (1,), generator=numbers))
    turned = {name: x.rot90(turns, (2, 3)) for name, x in turned.items()}
    if torch.rand(1, generator=numbers) < 0.5:
        turned = {name: x.flip(3) for name, x in turned.items()}
    light = 0.8 + 0.4 * torch.rand(len(pixels), 1, 1, 1, generator=numbers)
    turned["pixels"] = turned["pixels"][:, torch.randperm(3, generator=numbers)] * light
    return batch | turned

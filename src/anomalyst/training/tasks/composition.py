"""The composition task: whether a part is missing at a place or one too many lies there."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from anomalyst.backbones.embedded import load_embedded, read_weights
from anomalyst.detection.classifiers.composition import (
    CHANGES,
    CompositionClassifier,
    trunk_features,
)
from anomalyst.errors import AnomalystError
from anomalyst.io.files import written_whole
from anomalyst.synthetic.procedural import WorldConfig
from anomalyst.synthetic.procedural.families import HELD_OUT
from anomalyst.training.checkpoint import write_weights
from anomalyst.training.data.part_changes import places
from anomalyst.training.recipe import Recipe
from anomalyst.training.task import Share, Task, prefetched

HELD_OUT_SEED = 1 << 42  # products of these seeds choose from when the network is believed
DRAWN = "places.safetensors"  # in the run's folder: a run that goes on draws nothing again


@dataclass(frozen=True, slots=True, kw_only=True)
class CompositionRecipe(Recipe):
    """The composition classifier; `batch` counts places."""

    task: Literal["composition"] = "composition"
    products: int = 3000  # drawn before the first step, some five places each
    precision_wanted: float = 0.9  # of "missing" and "extra" on held-out products
    held_out_products: int = 300
    world: WorldConfig = field(default_factory=lambda: WorldConfig(size_px=192, without=HELD_OUT))


class CompositionTask(Task):
    """Places of drawn products as the frozen trunk sees them, turned and mirrored."""

    def __init__(self, recipe: CompositionRecipe, out: Path):
        self.recipe, self.out = recipe, out
        self.classifier = CompositionClassifier()
        self.module: nn.Module = self.classifier

    def batches(self, first_step: int, share: Share) -> Iterator[dict[str, Any]]:
        """Places of a step, drawn by the step's own random numbers; every part takes its rows."""
        recipe = self.recipe
        path = self.out / DRAWN
        if not path.is_file():
            pairs, changes = drawn(recipe, recipe.products, recipe.world, recipe.seed)
            with written_whole(path) as part_file:
                save_file({"pairs": pairs, "changes": changes}, part_file)
        kept = load_file(path)
        seen, changes = seen_by_trunk(kept["pairs"]), kept["changes"]
        for step in range(first_step, recipe.steps):
            numbers = torch.Generator().manual_seed(recipe.seed * (1 << 20) + step)
            rows = torch.randint(len(changes), (recipe.batch,), generator=numbers)
            turns, flip = step % 4, step // 4 % 2
            looked = [one[rows].float().rot90(turns, (2, 3)) for one in seen]
            looked = [one.flip(3) if flip else one for one in looked]
            for part in share.parts:
                own = slice(part, None, share.of)
                yield {"seen": [one[own] for one in looked], "changes": changes[rows][own]}

    def amount(self, batch: dict[str, Any]) -> dict[str, int]:
        """Places count."""
        return {"samples": len(batch["changes"])}

    def loss(self, batch: dict[str, Any], device: torch.device) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy, and how many were right."""
        changes = batch["changes"].to(device)
        logits = self.classifier(*(one.to(device) for one in batch["seen"])).float()
        loss = F.cross_entropy(logits, changes, label_smoothing=0.02)
        return loss, {"right": (logits.argmax(1) == changes).float().mean()}

    def ship(self, average: Mapping[str, Tensor]) -> Path:
        """composition.safetensors, believed from a half on until `finish` knows better."""
        return self._write(average, 0.5, {})

    def finish(self, weights: Path) -> None:
        """Choose from which probability on it is believed, on held-out products."""
        tensors, _ = read_weights(weights, "composition")
        self.classifier.load_state_dict(tensors)
        self.classifier.eval()
        recipe = self.recipe
        world = replace(recipe.world, without=(), families=HELD_OUT)
        pairs, changes = drawn(recipe, recipe.held_out_products, world, HELD_OUT_SEED)
        parts = zip(*(one.split(256) for one in seen_by_trunk(pairs)), strict=True)
        with torch.no_grad():
            logits = torch.cat([self.classifier(*(x.float() for x in part)) for part in parts])
        believed, figures = chosen_belief(logits.softmax(1), changes, recipe.precision_wanted)
        self._write(tensors, believed, figures)

    def _write(self, average: Mapping[str, Tensor], believed: float, figures: object) -> Path:
        path = self.out / "composition.safetensors"
        tensors = {f"composition.{name}": value for name, value in average.items()}
        write_weights(path, tensors, {"believed": believed, "held_out": figures})
        return path


def drawn(
    recipe: CompositionRecipe, products: int, world: WorldConfig, seed: int
) -> tuple[Tensor, Tensor]:
    """Places of so many products, drawn in worker processes: (N, 7, 64, 64) uint8, changes (N,).

    Raises AnomalystError where none of the products has parts.
    """
    lots = prefetched(partial(_product, world, seed), range(products), Share(), recipe.workers)
    # Copied, for a tensor of another process holds an open file each.
    found = [(pair.clone(), change) for lot in lots for pair, change in lot]
    if not found:
        raise AnomalystError(
            f"products, held_out_products: none of {products} drawn has parts; draw more."
        )
    return torch.stack([pair for pair, _ in found]), torch.tensor([change for _, change in found])


def seen_by_trunk(pairs: Tensor) -> list[Tensor]:
    """Pairs (N, 7, 64, 64) uint8 as the shipped encoder's trunk sees them, float16."""
    trunk = load_embedded(dtype=torch.float32).trunk
    found = [trunk_features(trunk, part.float() / 255) for part in pairs.split(64)]
    return [torch.cat([one.half() for one in level]) for level in zip(*found, strict=True)]


def chosen_belief(shares: Tensor, truth: Tensor, wanted: float) -> tuple[float, dict[str, float]]:
    """The least probability from which `wanted` of what is said is right, and figures there.

    `shares` (N, 3) are probabilities of `CHANGES`, `truth` (N,) indexes them.
    """
    sure, said = shares.max(1)

    def figures(believed: float) -> dict[str, float]:
        told = (said > 0) & (sure >= believed)
        right = told & (said == truth)
        kinds = {
            str(CHANGES[i]): float((right & (truth == i)).sum() / (truth == i).sum().clamp(min=1))
            for i in (1, 2)
        }
        return {"precision": float(right.sum() / told.sum().clamp(min=1)), **kinds}

    steps = [round(0.4 + 0.01 * i, 2) for i in range(60)]
    good = [b for b in steps if figures(b)["precision"] >= wanted]
    believed = good[0] if good else steps[-1]
    return believed, {name: round(value, 3) for name, value in figures(believed).items()}


def _product(world: WorldConfig, seed: int, number: int, part: int) -> list[tuple[Tensor, int]]:
    del part  # places are shared out afterwards
    return places((seed, number), world)

"""The classifier task: the yardstick of contrastive training, supervised by labels.

A residual network from scratch on pixels, or the image tower of a contrastive run, fine-tuned.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anomalyst.backbones.drawn_senses import TOWERS, Words
from anomalyst.backbones.imagebind.config import ImageBindConfig
from anomalyst.backbones.imagebind.model import ImageBind
from anomalyst.errors import AnomalystError
from anomalyst.synthetic.senses.conditions import CONDITIONS
from anomalyst.training.checkpoint import write_weights
from anomalyst.training.recipe import Recipe
from anomalyst.training.task import Share, Task
from anomalyst.training.tasks.contrastive.contrastive import start_towers
from anomalyst.training.tasks.contrastive.pairs import (
    FAMILY_NAMES,
    KIND_NAMES,
    Pairs,
    PairsConfig,
    read_pairs,
)

Target = Literal["family", "condition", "kind"]
CLASSES: Mapping[Target, tuple[str, ...]] = {
    "family": FAMILY_NAMES, "condition": CONDITIONS, "kind": KIND_NAMES,
}  # fmt: skip
STAGES = (32, 64, 128, 192)  # channels at strides 2, 4, 8 and 16


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierRecipe(Recipe):
    """A classifier of pictures; `batch` counts pictures."""

    task: Literal["classifier"] = "classifier"
    network: Literal["cnn", "tower"] = "cnn"  # from scratch on pixels; the tower of `initial`
    target: Target = "condition"
    labels_per_class: int = 0  # labelled parts of each class; 0: all
    drawn: str = ""  # a folder of pairs drawn before, or to be; empty: in the run's folder
    pairs: PairsConfig = field(default_factory=PairsConfig)
    model: ImageBindConfig = TOWERS

    def __post_init__(self) -> None:
        if self.labels_per_class < 0:
            raise AnomalystError("labels_per_class is 0 (all) or more.")
        if self.network == "tower" and not self.initial:
            raise AnomalystError(
                "network tower: it is what a contrastive run trained; name its senses.safetensors "
                "as `initial`, or take network cnn."
            )


class ClassifierTask(Task):
    """Labelled pictures in random order, mirrored."""

    def __init__(self, recipe: ClassifierRecipe, out: Path):
        self.recipe, self.out = recipe, out
        folder = Path(recipe.drawn) if recipe.drawn else out / "pairs"
        pairs = read_pairs(folder, recipe.pairs, "train", recipe.workers)
        rows = labelled(pairs.labels[recipe.target], recipe.labels_per_class, recipe.seed)
        self.pairs = pairs.rows(rows)
        self.module: nn.Module = network_of(recipe)
        if recipe.network == "tower":
            assert isinstance(self.module, TowerClassifier)
            start_towers(self.module.towers, Path(recipe.initial), Words(()))

    def batches(self, first_step: int, share: Share) -> Iterator[dict[str, Tensor]]:
        """Pictures of a step, drawn by the step's own random numbers; every part takes its rows."""
        recipe, count = self.recipe, len(self.pairs)
        for step in range(first_step, recipe.steps):
            numbers = torch.Generator().manual_seed(recipe.seed * (1 << 20) + step)
            rows = torch.randint(count, (recipe.batch,), generator=numbers)
            seen = read_of(self.pairs, rows, recipe.network)
            if recipe.network == "cnn" and step % 2:
                seen = seen.flip(3)
            labels = self.pairs.labels[recipe.target][rows]
            for part in share.parts:
                own = slice(part, None, share.of)
                yield {"seen": seen[own], "labels": labels[own]}

    def amount(self, batch: dict[str, Tensor]) -> dict[str, int]:
        """Pictures count."""
        return {"samples": len(batch["labels"])}

    def loss(
        self, batch: dict[str, Tensor], device: torch.device
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy, and how many were right."""
        labels = batch["labels"].to(device)
        logits = self.module(batch["seen"].to(device)).float()
        loss = F.cross_entropy(logits, labels, label_smoothing=0.05)
        return loss, {"right": (logits.argmax(1) == labels).float().mean()}

    def ship(self, average: Mapping[str, Tensor]) -> Path:
        """classifier.safetensors."""
        path = self.out / "classifier.safetensors"
        classes = list(CLASSES[self.recipe.target])
        whole = self.module.state_dict() | dict(average)
        write_weights(path, {f"classifier.{n}": x for n, x in whole.items()}, {"classes": classes})
        return path


def network_of(recipe: ClassifierRecipe) -> nn.Module:
    """The recipe's network, untrained."""
    classes = len(CLASSES[recipe.target])
    return (
        ResidualNetwork(classes)
        if recipe.network == "cnn"
        else TowerClassifier(recipe.model, classes)
    )


def labelled(labels: Tensor, each: int, seed: int) -> Tensor:
    """Which rows have a label: `each` of every class in a random order of their own; 0: all."""
    if not each:
        return torch.arange(len(labels))
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    rows = [order[labels[order] == name][:each] for name in labels.unique()]
    return torch.cat(rows).sort().values


def read_of(pairs: Pairs, rows: Tensor, network: str) -> Tensor:
    """What a network reads of some parts, float32: pixels in [0, 1], or what the trunk saw."""
    return (
        pairs.pixels[rows].float() / 255
        if network == "cnn"
        else pairs.senses["image"][rows].float()
    )


class TowerClassifier(nn.Module):
    """The image tower up to its embedding, and a linear layer."""

    def __init__(self, config: ImageBindConfig, classes: int):
        super().__init__()
        self.towers = ImageBind(config.only("image"))
        self.head = nn.Linear(config.embed_dim, classes)

    def forward(self, seen: Tensor) -> Tensor:
        """(B, 320, 8, 8) -> logits (B, classes)."""
        # Unit vectors are short for a linear layer: a longer one learns as quickly as others.
        logits: Tensor = self.head(10 * self.towers.embed("image", seen))
        return logits


class ResidualNetwork(nn.Module):
    """Four stages of a residual block each (He et al. 2016): 1.4 million parameters."""

    def __init__(self, classes: int):
        super().__init__()
        widths = (3, *STAGES)
        steps = [_Stage(a, b) for a, b in zip(widths, widths[1:], strict=False)]
        self.stages = nn.Sequential(*steps)
        self.head = nn.Linear(STAGES[-1], classes)

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] -> logits (B, classes)."""
        found: Tensor = self.head(self.stages(pixels - 0.5).mean((2, 3)))
        return found


class _Stage(nn.Module):
    """Half the side, then a block with a shortcut."""

    def __init__(self, before: int, width: int):
        super().__init__()
        self.down = nn.Sequential(_conv(before, width, 2), nn.ReLU())
        self.block = nn.Sequential(_conv(width, width), nn.ReLU(), _conv(width, width))

    def forward(self, x: Tensor) -> Tensor:
        x = self.down(x)
        return F.relu(x + self.block(x))


def _conv(before: int, width: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width))

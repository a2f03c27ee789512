"""The layers task: a network of layers by name, on digits that are drawn once."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from anomalyst.errors import AnomalystError
from anomalyst.layers.stack import LayerConfig, make_stack
from anomalyst.training.checkpoint import write_weights
from anomalyst.training.data.digits import draw_digits
from anomalyst.training.data.order import order_of
from anomalyst.training.data.procedural_calibration import HELD_OUT
from anomalyst.training.optimization import SOURCE_RATES
from anomalyst.training.recipe import Recipe
from anomalyst.training.task import Share, Task
from anomalyst.training.tasks.supervised.figures import keep_figures

CLASSES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class LayersRecipe(Recipe):
    """A network of layers by name; `batch` counts pictures."""

    task: Literal["layers"] = "layers"
    learning_rate: float = 0.0  # 0: what the source gives the optimizer (SOURCE_RATES)
    network: tuple[LayerConfig, ...] = (LayerConfig(layer="dense"),)  # a linear layer follows
    pictures: int = 2000  # drawn to train on, all of the set
    test_pictures: int = 1000  # drawn to judge on
    size_px: int = 16
    noise: float = 0.15  # deviation of the grey values, of a range of 1

    def __post_init__(self) -> None:
        if not 1 <= self.batch <= self.pictures:
            raise AnomalystError(
                f"batch is {self.batch}; of {self.pictures} pictures, 1 to {self.pictures} can be "
                "in a step."
            )
        if self.size_px < 4 or self.test_pictures < 1:
            raise AnomalystError("size_px is 4 or more, test_pictures 1 or more.")

    @property
    def peak_learning_rate(self) -> float:
        """The largest that a step has."""
        return self.learning_rate or SOURCE_RATES[self.optimizer]


class LayersTask(Task):
    """Every picture once in each pass through the set, in an order of its own."""

    finite = True

    def __init__(self, recipe: LayersRecipe, out: Path):
        self.recipe, self.out = recipe, out
        self.set_size = recipe.pictures
        size, noise = recipe.size_px, recipe.noise
        self.seen, self.labels = draw_digits(recipe.pictures, size, recipe.seed, noise=noise)
        self.unseen = draw_digits(recipe.test_pictures, size, recipe.seed + HELD_OUT, noise=noise)
        self.module: nn.Module = make_stack(recipe.network, (1, size, size), CLASSES)

    def batches(self, first_step: int, share: Share) -> Iterator[dict[str, Tensor]]:
        """Pictures of a step, its share; what is left over of a pass waits for another."""
        recipe = self.recipe
        steps_a_pass = self.set_size // recipe.batch
        for step in range(first_step, recipe.steps):
            done, place = divmod(step, steps_a_pass)
            order = order_of(done, self.set_size, recipe.seed)
            rows = order[place * recipe.batch : (place + 1) * recipe.batch]
            for part in share.parts:
                own = rows[part :: share.of]
                yield {"seen": self.seen[own], "labels": self.labels[own]}

    def held_out(self, share: Share, count: int) -> Iterator[dict[str, Tensor]]:
        """Of the pictures that are never trained on."""
        pictures, labels = self.unseen
        each = max(1, len(labels) // (count * share.of))
        for index in range(count):
            for part in share.parts:
                own = (torch.arange(each) + (index * share.of + part) * each) % len(labels)
                yield {"seen": pictures[own], "labels": labels[own]}

    def amount(self, batch: dict[str, Tensor]) -> dict[str, int]:
        """Pictures count."""
        return {"samples": len(batch["labels"])}

    def loss(
        self, batch: dict[str, Tensor], device: torch.device
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy, and how many were right."""
        labels = batch["labels"].to(device)
        logits = self.module(batch["seen"].to(device)).float()
        right = (logits.argmax(1) == labels).float().mean()
        return F.cross_entropy(logits, labels), {"right": right}

    def ship(self, average: Mapping[str, Tensor]) -> Path:
        """layers.safetensors."""
        path = self.out / "layers.safetensors"
        write_weights(path, {f"layers.{k}": v for k, v in average.items()}, {"classes": CLASSES})
        return path

    def finish(self, weights: Path) -> None:
        """figures.json of the pictures that were never seen."""
        held = {k.removeprefix("layers."): v.float() for k, v in load_file(weights).items()}
        network = make_stack(self.recipe.network, tuple(self.seen.shape[1:]), CLASSES)
        network.load_state_dict(held)
        with torch.no_grad():
            shares = network.eval()(self.unseen[0]).softmax(1)
        keep_figures(self.out, self.unseen[1], shares, [str(digit) for digit in range(CLASSES)])

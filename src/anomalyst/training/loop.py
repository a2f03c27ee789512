"""The one loop: read it top to bottom."""

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from anomalyst.config import to_mapping
from anomalyst.files import write_text
from anomalyst.training.checkpoint import load_checkpoint, save_checkpoint, trained_state
from anomalyst.training.recipe import Recipe
from anomalyst.training.stages import course_of

Say = Callable[[dict[str, Any]], None]


def train(recipe: Recipe, out: Path, *, resume: bool = True, say: Say = lambda _: None) -> Path:
    """Run a recipe to its end in folder `out`; returns the path of the weights to ship.

    Goes on from `out/checkpoint.safetensors` if it is there and `resume` is true. `say` hears a
    dict of figures every `log_every` steps; the same lines are in `out/log.jsonl`.
    Raises AnomalystError when the checkpoint belongs to another recipe or the disk is full.
    """
    torch.manual_seed(recipe.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    course = course_of(recipe, out)
    model = course.module.to(device)
    average = {k: v.detach().clone() for k, v in trained_state(model).items()}
    optimizer = torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad],
        recipe.learning_rate,
        weight_decay=recipe.weight_decay,
    )
    checkpoint, first = out / "checkpoint.safetensors", 0
    if resume and checkpoint.exists():
        first = load_checkpoint(
            checkpoint, recipe=recipe, model=model, average=average, optimizer=optimizer
        )
    write_text(out / "recipe.json", json.dumps(to_mapping(recipe), indent=2))
    log = Log(out / "log.jsonl", first, recipe, say)

    for step, batch in enumerate(course.batches(first), start=first):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(recipe, step)
        with torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bfloat16"):
            loss, parts = course.loss(batch, device)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), recipe.clip_norm)
        optimizer.step()
        update_average(average, model, recipe, step)
        log.add(step, loss, parts, norm)
        if (step + 1) % recipe.checkpoint_every == 0 or step + 1 == recipe.steps:
            save_checkpoint(
                checkpoint,
                step=step + 1,
                recipe=recipe,
                model=model,
                average=average,
                optimizer=optimizer,
            )
            course.ship(average)
    weights = course.ship(average)
    course.finish(weights)
    return weights


def learning_rate(recipe: Recipe, step: int) -> float:
    """Linear warm-up, then a cosine down to 1 % of the peak."""
    if step < recipe.warmup_steps:
        return recipe.learning_rate * (step + 1) / recipe.warmup_steps
    share = (step - recipe.warmup_steps) / max(1, recipe.steps - recipe.warmup_steps)
    return recipe.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, share))))


@torch.no_grad()
def update_average(average: dict[str, Tensor], model: nn.Module, recipe: Recipe, step: int) -> None:
    """Exponential moving average of all weights and statistics; young at first, so it warms up."""
    decay = min(recipe.ema_decay, (step + 1) / (step + 10))
    for name, value in trained_state(model).items():
        if value.dtype.is_floating_point:
            average[name].lerp_(value, 1 - decay)
        else:
            average[name].copy_(value)


class Log:
    """Figures every so many steps: to the listener and to a file, one JSON object a line."""

    def __init__(self, path: Path, first: int, recipe: Recipe, say: Say):
        self.path, self.recipe, self.say = path, recipe, say
        self.started, self.first = time.perf_counter(), first
        self.sums: dict[str, float] = {}
        self.counts: dict[str, int] = {}  # not every step has every part
        if first == 0:
            path.unlink(missing_ok=True)

    def add(self, step: int, loss: Tensor, parts: dict[str, Tensor], norm: Tensor) -> None:
        """Count one step; speak when it is time."""
        figures = {"loss": loss, **parts, "gradient_norm": norm}
        for name, value in figures.items():
            self.sums[name] = self.sums.get(name, 0.0) + float(value.detach())
            self.counts[name] = self.counts.get(name, 0) + 1
        if (step + 1) % self.recipe.log_every and step + 1 != self.recipe.steps:
            return
        seconds = time.perf_counter() - self.started
        line: dict[str, float] = {"step": step + 1, "steps": self.recipe.steps}
        line |= {k: round(v / self.counts[k], 5) for k, v in self.sums.items()}
        line["learning_rate"] = learning_rate(self.recipe, step)
        line["steps_per_second"] = round((step + 1 - self.first) / seconds, 3)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        self.say(line)
        self.sums, self.counts = {}, {}

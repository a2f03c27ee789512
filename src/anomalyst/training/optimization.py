"""Optimizers by name, the learning rate of every step, and the scale of a float16 loss."""

import math
from typing import Any

import torch

from anomalyst.training.recipe import OptimizerName, Recipe

# Rates of the course on neural networks that these names are from (docs/building-blocks.md).
SOURCE_RATES: dict[OptimizerName, float] = {
    "gradient_descent": 0.01, "sgd": 0.01, "momentum": 0.01, "adagrad": 0.01, "rmsprop": 0.001,
    "adam": 0.001, "adamw": 0.001,
}  # fmt: skip


def make_optimizer(recipe: Recipe, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    """The recipe's optimizer over groups {"params": [...]}, at its peak learning rate.

    AdamW decays weights apart from the gradient (Loshchilov and Hutter 2019), the others with it.
    """
    given: dict[str, Any] = {"lr": recipe.peak_learning_rate, "weight_decay": recipe.weight_decay}
    match recipe.optimizer:
        case "adamw":
            return torch.optim.AdamW(groups, betas=recipe.betas, **given)
        case "adam":
            return torch.optim.Adam(groups, betas=recipe.betas, **given)
        # What makes it full-batch is the batch (setup.py): the step is SGD's.
        case "sgd" | "gradient_descent":
            return torch.optim.SGD(groups, **given)
        case "momentum":
            return torch.optim.SGD(groups, momentum=recipe.momentum, **given)
        case "adagrad":
            return torch.optim.Adagrad(groups, **given)
        case "rmsprop":
            return torch.optim.RMSprop(groups, **given)


def learning_rate(recipe: Recipe, step: int) -> float:
    """Linear warm-up, then a cosine or a line down to `final_share` of the peak, or the peak."""
    peak = recipe.peak_learning_rate
    if step < recipe.warmup_steps:
        return peak * (step + 1) / recipe.warmup_steps
    if recipe.schedule == "constant":
        return peak
    done = (step - recipe.warmup_steps) / max(1, recipe.steps - recipe.warmup_steps)
    left = 1 - min(1.0, done)
    if recipe.schedule == "cosine":
        left = 0.5 * (1 + math.cos(math.pi * (1 - left)))
    return peak * (recipe.final_share + (1 - recipe.final_share) * left)


class LossScale:
    """A float16 loss is multiplied by `scale`: halved at an overflow, doubled after `window` steps.

    Micikevicius et al. 2018, section 3.2. It never falls below 1.
    """

    FLOOR = 1.0

    def __init__(self, power: int, window: int):
        self.scale, self.window, self.calm = 2.0**power, window, 0

    def after(self, *, overflow: bool) -> None:
        """Count one step."""
        if overflow:
            self.scale, self.calm = max(self.FLOOR, self.scale / 2), 0
            return
        self.calm += 1
        if self.calm == self.window:
            self.scale, self.calm = self.scale * 2, 0

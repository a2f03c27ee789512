"""What a recipe asks for that cannot matter, said before the first step."""

from collections.abc import Sequence

import torch
from torch import nn

from anomalyst.training.recipe import Recipe
from anomalyst.training.task import Task


def ineffective_settings(recipe: Recipe, task: Task, device: torch.device) -> list[str]:
    """A sentence for each setting without effect, and each figure that no training changes."""
    found = _settings(recipe)
    modules = dict(task.module.named_modules())
    for name, module in modules.items():
        if isinstance(module, nn.Dropout) and module.p and not trains(_holder(modules, name)):
            found.append(f"{name}: dropout {module.p} where nothing is trained only adds noise.")
        if is_norm(module) and "patched_" in name and not trains(module):
            found.append(
                f"{name}: a {kind_of(module)} put into a frozen block cannot learn, and what comes "
                "after it was trained without it."
            )
    with torch.enable_grad():
        outputs = task.outputs(device)
    found += [
        f"{name} does not depend on anything that is trained: it stays the same to all digits."
        for name, value in outputs.items()
        if not value.requires_grad
    ]
    return _grouped(found)


def trains(module: nn.Module) -> bool:
    """Whether anything in it is trained."""
    return any(p.requires_grad for p in module.parameters())


def is_norm(module: nn.Module) -> bool:
    """LayerNorm or BatchNorm."""
    return isinstance(module, nn.LayerNorm | nn.modules.batchnorm._BatchNorm)


def kind_of(norm: nn.Module) -> str:
    """Its name."""
    return "LayerNorm" if isinstance(norm, nn.LayerNorm) else "BatchNorm"


def _settings(recipe: Recipe) -> list[str]:
    """What the recipe says that has no effect."""
    found = []
    if recipe.schedule != "constant" and recipe.warmup_steps >= recipe.steps:
        found.append(
            f"warmup_steps {recipe.warmup_steps}: the run ends after {recipe.steps}, so the "
            f"learning rate never reaches {recipe.peak_learning_rate:g} and never falls."
        )
    lora_from = getattr(recipe, "lora_from", 0)
    if lora_from >= recipe.steps:
        found.append(f"lora_from {lora_from}: the run ends before it, LoRA is never tuned.")
    if recipe.optimizer in ("sgd", "gradient_descent") and recipe.momentum != 0.9:
        found.append(
            f"momentum {recipe.momentum}: optimizer {recipe.optimizer} has none; say momentum."
        )
    return found


def _grouped(sentences: Sequence[str]) -> list[str]:
    """The same sentence about many layers is said once, with how many."""
    kept: dict[str, tuple[str, int]] = {}
    for sentence in sentences:
        name, _, rest = sentence.partition(": ")
        first, count = kept.get(rest, (sentence, 0)) if "." in name else (sentence, 0)
        kept[rest or name] = (first, count + 1)
    return [
        first if count == 1 else f"{first[:-1]} (and so in {count - 1} more)."
        for first, count in kept.values()
    ]


def _holder(modules: dict[str, nn.Module], name: str) -> nn.Module:
    """The nearest module around that has weights of its own or inside."""
    while name:
        name = name.rpartition(".")[0]
        if any(True for _ in modules[name].parameters()):
            return modules[name]
    return modules[""]

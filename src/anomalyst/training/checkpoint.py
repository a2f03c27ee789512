"""A run on disk: safetensors and JSON only, written whole, resumed exactly."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from anomalyst.config import to_mapping
from anomalyst.errors import AnomalystError
from anomalyst.files import written_whole
from anomalyst.training.recipe import Recipe

FREE_TO_CHANGE = ("workers", "log_every", "checkpoint_every", "calibration_episodes")


def save_checkpoint(
    path: Path,
    *,
    step: int,
    recipe: Recipe,
    model: nn.Module,
    average: dict[str, Tensor],
    optimizer: torch.optim.Optimizer,
) -> None:
    """Everything needed to go on from `step`, under one name."""
    tensors = {f"model.{k}": v.detach().clone() for k, v in trained_state(model).items()}
    tensors |= {f"average.{k}": v for k, v in average.items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{k}": torch.as_tensor(v) for k, v in state.items()}
    note = {"step": step, "recipe": to_mapping(recipe)}
    with written_whole(path) as part:
        whole = {name: value.contiguous() for name, value in tensors.items()}
        save_file(whole, part, {"anomalyst": json.dumps(note)})


def load_checkpoint(
    path: Path,
    *,
    recipe: Recipe,
    model: nn.Module,
    average: dict[str, Tensor],
    optimizer: torch.optim.Optimizer,
) -> int:
    """Fill model, average and optimizer; returns the step to go on from.

    Raises AnomalystError when the file is broken or belongs to another recipe (with the keys
    that differ).
    """
    try:
        with safe_open(str(path), framework="pt") as file:
            note = json.loads(file.metadata()["anomalyst"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise AnomalystError(f"{path}: is no whole checkpoint ({error}); use --fresh.") from error
    _refuse_another_recipe(path, note["recipe"], to_mapping(recipe))
    fill(model, _under(tensors, "model."))
    for name, value in _under(tensors, "average.").items():
        average[name].copy_(value)
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in _under(tensors, "optimizer.").items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict(
        {"state": state, "param_groups": optimizer.state_dict()["param_groups"]}
    )
    return int(note["step"])


def trained_state(model: nn.Module) -> dict[str, Tensor]:
    """The state of a model without its frozen parameters, which are not ours to keep."""
    frozen = {name for name, p in model.named_parameters(remove_duplicate=False)
              if not p.requires_grad}  # fmt: skip
    return {name: value for name, value in model.state_dict().items() if name not in frozen}


def fill(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Load what `trained_state` gave. Raises RuntimeError if anything is missing or left over."""
    wanted = trained_state(model).keys()
    if wanted != tensors.keys():
        odd = sorted(wanted ^ tensors.keys())
        raise RuntimeError(f"the weights do not fit: {', '.join(odd[:3])} and {len(odd)} in all.")
    model.load_state_dict(dict(tensors), strict=False)


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _refuse_another_recipe(path: Path, old: dict[str, Any], new: dict[str, Any]) -> None:
    different = [
        f"{key} was {old.get(key)!r}, is {new.get(key)!r}"
        for key in sorted(old.keys() | new.keys())
        if key not in FREE_TO_CHANGE and old.get(key) != new.get(key)
    ]
    if different:
        raise AnomalystError(
            f"{path}: belongs to another recipe ({'; '.join(different)}); "
            "use --fresh to start over, or another --out."
        )


def write_weights(path: Path, tensors: Mapping[str, Tensor], note: Mapping[str, Any]) -> None:
    """Weights as they ship: bfloat16, with a note in JSON beside them."""
    kept = {
        name: value.to("cpu", torch.bfloat16 if value.dtype.is_floating_point else value.dtype)
        for name, value in tensors.items()
    }
    with written_whole(path) as part:
        whole = {name: value.contiguous() for name, value in kept.items()}
        save_file(whole, part, {"format": "pt", "anomalyst": json.dumps(dict(note))})

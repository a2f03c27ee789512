"""A run on disk: written whole, resumed exactly, the last good one kept whatever happens.

checkpoints/step-00000200/trained.safetensors   weights and their average, whole
                          optimizer/            the optimizer's state, as the engine keeps it
                          state.json            step, recipe, engine; written last
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from anomalyst.config import from_mapping, to_mapping
from anomalyst.errors import AnomalystError
from anomalyst.io.files import written_whole
from anomalyst.training.engines import Engine, trained_state
from anomalyst.training.recipe import Recipe, with_task

FREE_TO_CHANGE = (
    "workers", "log_every", "checkpoint_every", "keep_checkpoints", "calibration_episodes",
    "validate_every", "validation_batches", "profile_steps", "trackers", "watch", "engine",
    "activation_checkpointing",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One that is there and whole."""

    folder: Path
    step: int
    engine: str
    world: int
    note: dict[str, Any]

    def tensors(self, part: str) -> dict[str, Tensor]:
        """The trained tensors ("model"), or their averages ("average")."""
        with safe_open(str(self.folder / "trained.safetensors"), framework="pt") as file:
            names = [n for n in file.keys() if n.startswith(f"{part}.")]  # noqa: SIM118
            return {n.removeprefix(f"{part}."): file.get_tensor(n) for n in names}


def save_checkpoint(
    out: Path,
    *,
    step: int,
    recipe: Recipe,
    engine: Engine,
    average: Mapping[str, Tensor],
    note: Mapping[str, Any],
) -> None:
    """Everything needed to go on from `step`; every process calls.

    `average`: the averaged weights, whole; the weights themselves where none are kept. `note`: what
    engine and task must know again, as JSON. Raises
    AnomalystError, in every process, when the disk is full: what was there stays.
    """
    target = out / "checkpoints" / f"step-{step:08d}"
    part = target.with_name(f".part-{target.name}")
    model = whole_state(engine, engine.state()) if recipe.ema_decay else average
    whole = {f"model.{k}": v for k, v in model.items()}
    if recipe.ema_decay:
        whole |= {f"average.{k}": v for k, v in average.items()}
    size = sum(v.numel() * v.element_size() for v in whole.values())
    needed = size + engine.optimizer_bytes()
    trouble: AnomalystError | None = None
    if engine.rank == 0:
        shutil.rmtree(part, ignore_errors=True)
        trouble = _room_for(out, part, needed)
    _agree(engine, trouble, part)
    try:
        engine.save(part / "optimizer")
        if engine.rank == 0:
            _written(whole, part / "trained.safetensors")
            note = {"step": step, "engine": engine.name, "world": engine.world,
                    "recipe": to_mapping(recipe), "note": dict(note)}  # fmt: skip
            (part / "state.json").write_text(json.dumps(note, indent=1), encoding="utf-8")
    except (OSError, SafetensorError, RuntimeError) as error:
        trouble = AnomalystError(
            f"{target}: could not be written ({str(error).splitlines()[0]}); the checkpoint before "
            "it is untouched. Free some space and run the same command again."
        )
    _agree(engine, trouble, part)
    if engine.rank == 0:
        shutil.rmtree(target, ignore_errors=True)
        part.replace(target)
        for old in _folders(out)[: -recipe.keep_checkpoints]:
            shutil.rmtree(old)
    engine.barrier()


def find_checkpoint(out: Path, recipe: Recipe, *, engine: str, world: int) -> Checkpoint | None:
    """The newest checkpoint of a run's folder, if there is one.

    Raises AnomalystError when it is broken, belongs to another recipe (with the keys that differ),
    or holds an optimizer's state that this engine cannot take up.
    """
    folders = _folders(out)
    if not folders:
        return None
    folder = folders[-1]
    try:
        read = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        with safe_open(str(folder / "trained.safetensors"), framework="pt"):
            pass
        found = Checkpoint(folder, read["step"], read["engine"], read["world"], read["note"])
        old = with_task(read["recipe"])
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        before = f"delete it to go on from {folders[-2].name}" if folders[1:] else "use --fresh"
        raise AnomalystError(
            f"{folder}: is no whole checkpoint ({str(error).splitlines()[0]}); {before}."
        ) from error
    _refuse_another_recipe(folder, _with_new_keys(old, type(recipe)), to_mapping(recipe))
    own = "deepspeed" in (found.engine, engine)
    if own and (found.engine, found.world) != (engine, world):
        raise AnomalystError(
            f"{folder}: was written by {found.engine} with {found.world} processes; what DeepSpeed "
            f"keeps goes on with just as many, not with {engine} and {world}. Use these, or "
            "--fresh to start over."
        )
    return found


def fill(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Load what `trained_state` gave. Raises RuntimeError if anything is missing or left over."""
    wanted = trained_state(module).keys()
    if wanted != tensors.keys():
        odd = sorted(wanted ^ tensors.keys())
        raise RuntimeError(f"the weights do not fit: {', '.join(odd[:3])} and {len(odd)} in all.")
    module.load_state_dict(dict(tensors), strict=False)


def write_weights(path: Path, tensors: Mapping[str, Tensor], note: Mapping[str, Any]) -> None:
    """Weights as they ship: bfloat16, with a note in JSON beside them."""
    kept = {
        name: value.to("cpu", torch.bfloat16 if value.dtype.is_floating_point else value.dtype)
        for name, value in tensors.items()
    }
    with written_whole(path) as part:
        whole = {name: value.contiguous() for name, value in kept.items()}
        save_file(whole, part, {"format": "pt", "anomalyst": json.dumps(dict(note))})


def whole_state(engine: Engine, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What `engine.state()` or an average of it holds, whole, by the names of the task's module.

    Statistics that each process kept for itself are their mean. Every process calls.
    """
    parameters = {name for name, _ in engine.task.named_parameters(remove_duplicate=False)}
    whole = engine.whole(tensors)
    for name in sorted(whole.keys() - parameters):
        if whole[name].is_floating_point():
            whole[name] = engine.reduce(whole[name].to(engine.device)).to("cpu")
    return {name.removeprefix("module."): value for name, value in whole.items()}


def _written(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Safetensors, tied tensors as often as they have names."""
    kept: dict[str, Tensor] = {}
    places = set()
    for name, value in tensors.items():
        kept[name] = value.clone() if value.data_ptr() in places else value.contiguous()
        places.add(value.data_ptr())
    save_file(kept, path)


def _agree(engine: Engine, trouble: AnomalystError | None, part: Path) -> None:
    """What stops one process stops all, and leaves nothing half-written."""
    if not float(engine.reduce(torch.tensor([float(trouble is not None)]), "max")):
        return
    if engine.rank == 0:
        shutil.rmtree(part, ignore_errors=True)
    raise trouble or AnomalystError("another process could not write the checkpoint.")


def _room_for(out: Path, part: Path, needed: int) -> AnomalystError | None:
    """Make the folder if there is room for it."""
    try:
        part.mkdir(parents=True)
        free = shutil.disk_usage(part).free
    except OSError as error:
        return AnomalystError(
            f"{out}: may not be written ({error.strerror}); choose another --out."
        )
    if free < needed * 1.05 + (1 << 20):
        return AnomalystError(
            f"{out}: a checkpoint needs {needed / 1e6:.0f} MB, {free / 1e6:.0f} MB are free; the "
            "last one is untouched. Free some space and run the same command again."
        )
    return None


def _folders(out: Path) -> list[Path]:
    return sorted((out / "checkpoints").glob("step-*"))


def _with_new_keys(old: dict[str, Any], kind: type[Recipe]) -> dict[str, Any]:
    """A run's recipe with the defaults of keys that came since; of another task, as it is."""
    try:
        return to_mapping(from_mapping(kind, old))
    except AnomalystError:
        return old


def _refuse_another_recipe(folder: Path, old: dict[str, Any], new: dict[str, Any]) -> None:
    different = [
        f"{key} was {old.get(key)!r}, is {new.get(key)!r}"
        for key in sorted(old.keys() | new.keys())
        if key not in FREE_TO_CHANGE and old.get(key) != new.get(key)
    ]
    if different:
        raise AnomalystError(
            f"{folder}: belongs to another recipe ({'; '.join(different)}); "
            "use --fresh to start over, or another --out."
        )

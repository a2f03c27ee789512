"""Before the first step: the task, its engine, and what an earlier checkpoint left."""

import json
import shutil
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from anomalyst.errors import AnomalystError
from anomalyst.hardware.processor import precision_of
from anomalyst.io.files import write_text
from anomalyst.training.checkpoint import Checkpoint, fill, find_checkpoint
from anomalyst.training.engines import Engine, EngineSetup
from anomalyst.training.engines.base import Precision
from anomalyst.training.monitor.config_checks import ineffective_settings
from anomalyst.training.monitor.log import LogCallback
from anomalyst.training.recipe import Recipe
from anomalyst.training.start import Start, same_start
from anomalyst.training.task import Share, Task
from anomalyst.training.tasks import is_finite, task_of

FEWEST = 8  # samples of a micro-batch that are taken unasked


@dataclass(frozen=True, slots=True)
class Run:
    """What every part of the loop needs."""

    recipe: Recipe
    task: Task
    engine: Engine
    share: Share
    start: Start


def prepare_run(
    recipe: Recipe, out: Path, engine: Engine, *, resume: bool, on_log: LogCallback
) -> tuple[Run, Checkpoint | None]:
    """The task on its engine, as the newest checkpoint left it if there is one."""
    torch.manual_seed(recipe.seed)
    copies = recipe.engine.copies(engine.world)
    recipe = whole_set_recipe(recipe, out, copies, on_log)
    parts = recipe.parts(copies)
    count = parts // copies
    share = Share(engine.rank * count if copies > 1 else 0, count, parts)
    if engine.rank:
        engine.barrier()  # the first process makes what all read
    task = task_of(recipe, out)
    if recipe.validate_every and type(task).held_out is Task.held_out:
        raise AnomalystError(
            f"validate_every: task {recipe.task!r} holds nothing out; leave it at 0."
        )
    if engine.rank == 0:
        if not resume:
            shutil.rmtree(out / "checkpoints", ignore_errors=True)
        out.mkdir(parents=True, exist_ok=True)
        engine.barrier()
        notes = [*ineffective_settings(recipe, task, engine.device), *task.remarks()]
        write_text(out / "notes.json", json.dumps(notes, indent=2) + "\n")
        for sentence in notes:
            on_log({"note": sentence})
        if copies > 1 and not recipe.micro_batch and not task.sees_all:
            on_log({"note": _other_curve(recipe, copies)})
    found = find_checkpoint(out, recipe, engine=engine.name, world=engine.world)
    if found:
        fill(task.module, found.tensors("model"))
    if recipe.activation_checkpointing:
        for block in task.blocks().values():
            block.forward = partial(checkpoint, block.forward, use_reentrant=False)
    precision = settled_precision(recipe, engine.device)
    start = same_start(engine, task.module, precision, share, found.step if found else 0)
    setup = EngineSetup(
        recipe=recipe,
        share=share,
        precision=precision,
        blocks=task.blocks(),
        chain=task.chain() if recipe.divisible() else None,
        leaves_out=task.leaves_out,
    )
    engine.prepare(LossModule(task, precision, engine.device), setup)
    task.engine = engine
    if found:
        engine.load(found.folder / "optimizer")
        engine.restore(found.note)
        task.restore(found.note.get("task", {}))
    return Run(recipe, task, engine, share, start), found


def whole_set_recipe(recipe: Recipe, out: Path, world: int, on_log: LogCallback) -> Recipe:
    """The recipe as it is; of gradient_descent, one whose every step is the whole set.

    The set is shared into equal micro-batches of at most `micro_batch` or `batch` samples, whose
    gradients add up. Raises AnomalystError for a task whose data never end, and for a set that can
    only be shared into a few samples at a time where more were asked for: too few for BatchNorm.
    """
    if recipe.optimizer != "gradient_descent":
        return recipe
    if not is_finite(recipe):  # asked before anything is drawn
        raise AnomalystError(
            f"optimizer gradient_descent: task {recipe.task!r} draws its data without end, and a "
            "step needs all of them; take sgd, or a task over a set that has an end."
        )
    with torch.random.fork_rng():
        task = task_of(recipe, out)
    size, most = task.set_size, recipe.micro_batch or recipe.batch
    all_sizes = [n for n in range(1, size + 1) if size % n == 0 and size // n % world == 0]
    if not all_sizes:
        raise AnomalystError(
            f"optimizer gradient_descent: a set of {size} cannot be shared evenly by {world} "
            f"processes; take a set of a multiple of {world}."
        )
    micro = max(n for n in all_sizes if n <= most)
    if micro < min(most, size // world, FEWEST):
        larger = min(n for n in all_sizes if n > most)
        raise AnomalystError(
            f"optimizer gradient_descent: a set of {size} can be shared into equal micro-batches "
            f"of {micro}; the next larger are of {larger}. Take micro_batch={larger} (or "
            f"{micro}, if so few are meant), or a set of another number."
        )
    on_log({
        "note": f"gradient_descent: every step sees all {size:,} samples, in "
        f"{size // micro:,} micro-batches of {micro:,}."
    })  # fmt: skip
    return replace(recipe, batch=size, micro_batch=micro)


def _other_curve(recipe: Recipe, world: int) -> str:
    """Why several processes do not go down the curve of one, where the recipe lets them not."""
    each = recipe.batch // world
    return (
        f"micro_batch is 0: {world} processes take micro-batches of {each} and one would take "
        f"{recipe.batch}, so losses are not those of one process, not even the first; micro_batch="
        f"{each} gives one curve on any number."
    )


class LossModule(nn.Module):
    """A task as a module whose forward is its loss: what an engine can wrap."""

    def __init__(self, task: Task, precision: Precision, device: torch.device):
        super().__init__()
        self.module, self.task, self.device = task.module, task, device
        inside = {p for block in task.blocks().values() for p in block.parameters()}
        self.outside = [n for n, p in task.module.named_parameters() if p not in inside]
        self.dtype = None if precision == "float32" else getattr(torch, precision)
        task.low_precision = self.dtype

    def forward(self, batch: Any) -> Any:
        """-> (loss, its parts by name); a function in place of a batch -> what it gives.

        Inside, weights that an engine splits are whole where they are used.
        """
        if callable(batch):
            return batch()
        low = self.dtype is not None
        with torch.autocast(self.device.type, self.dtype, enabled=low):
            loss, parts = self.task.loss(batch, self.device)
        if self.task.leaves_out:
            # Processes that split the weights must all send the same gradients, zeros included.
            held = dict(self.module.named_parameters())
            trained = [held[n] for n in self.outside if held[n].requires_grad]
            loss = loss + sum((p * 0).sum() for p in trained)
        return loss, {name: value.detach() for name, value in parts.items()}


def settled_precision(recipe: Recipe, device: torch.device) -> Precision:
    """What the recipe's precision comes to on a device: hardware/processor.py decides `auto`."""
    if recipe.precision != "auto":
        return recipe.precision
    return "bfloat16" if precision_of("auto", device) == torch.bfloat16 else "float32"

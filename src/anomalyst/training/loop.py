"""The one loop: read it top to bottom."""

import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from anomalyst.config import to_mapping
from anomalyst.io.files import write_text
from anomalyst.training.checkpoint import (
    Checkpoint,
    save_checkpoint,
    whole_state,
)
from anomalyst.training.distributed.ranks import Place
from anomalyst.training.engines import Engine, open_engine
from anomalyst.training.monitor.log import Log, Say
from anomalyst.training.monitor.profiling import Profiler, named
from anomalyst.training.monitor.training_monitor import TrainingMonitor, TrainingStopped
from anomalyst.training.optimization import learning_rate
from anomalyst.training.recipe import Recipe
from anomalyst.training.setup import PROBE, Run, prepared
from anomalyst.training.task import Task


class Interrupted(Exception):
    """Somebody asked the run to end; a checkpoint was written first."""


def train(
    recipe: Recipe,
    out: Path,
    *,
    place: Place | None = None,
    resume: bool = True,
    say: Say = lambda _: None,
) -> Path | None:
    """Run a recipe to its end in folder `out`; returns the path of the weights to ship.

    `place`: where this process stands among several; every one of them calls, and all but the
    first get None. Goes on from the newest checkpoint in `out` if `resume` is true. `say` hears a
    dict of figures every `log_every` steps ({"note": ...} for a remark); the same lines are in
    `out/log.jsonl`. Raises AnomalystError when the checkpoint belongs to another recipe or the disk
    is full, TrainingStopped when the training monitor ends the run, Interrupted after SIGTERM.
    """
    engine = open_engine(recipe.engine.name, place or Place())
    run, found = prepared(recipe, out, engine, resume=resume, say=say)
    task, first = run.task, found.step if found else 0
    average = _average(recipe, engine, found)
    if engine.rank == 0:
        write_text(out / "recipe.json", json.dumps(to_mapping(recipe), indent=2))
        (out / "end.json").unlink(missing_ok=True)
    monitor = TrainingMonitor(recipe, task, engine, out)
    log = Log(out, first, recipe, engine, say)
    looked_at = recipe.profile_steps or 2 * (engine.world > 1)
    keep = bool(recipe.profile_steps)
    profiler = Profiler(out, engine.rank, first=first, steps=looked_at, keep=keep)
    save = partial(save_checkpoint, out, recipe=recipe, engine=engine)
    stream = task.batches(first, run.share)

    try:
        with log.resources, profiler, _asked_to_end() as ended:
            for step in range(first, recipe.steps):
                with log.stopwatch.stopped():
                    profiler.at(step)
                batches = _next(stream, run.share.count, log)
                with monitor.looking(monitor.due(step)):
                    loss = _pass(run, step, batches, log)
                if monitor.due(step):
                    monitor.before_step(step)
                with named("optimizer"):
                    stepped = engine.step(learning_rate(recipe, step))
                rerun = partial(_pass, run, step, batches, None)
                monitor.after_step(step, loss, stepped, rerun)
                _update_average(average, engine, recipe, step)
                if profiler.communication_share is not None:
                    log.note({"communication_share": profiler.communication_share})
                _look_aside(run, step, loss, monitor, log)
                log.step(step, stepped)
                stop = bool(engine.reduce(torch.tensor([float(ended[0])]), "max"))
                if stop or (step + 1) % recipe.checkpoint_every == 0 or step + 1 == recipe.steps:
                    shipped = whole_state(engine, average)
                    save(step=step + 1, average=shipped)
                    if engine.rank == 0 and step + 1 < recipe.steps:  # the last are shipped below
                        task.ship(shipped)
                if stop and step + 1 < recipe.steps:
                    raise Interrupted(f"step {step + 1}")
    except (TrainingStopped, Interrupted) as error:
        how = "stopped" if isinstance(error, TrainingStopped) else "interrupted"
        _write_end(out, engine, how, str(error))
        raise
    shipped = whole_state(engine, average)
    engine.close()
    return _finished(task, shipped, out, engine)


def _pass(run: Run, step: int, batches: list[Any], log: Log | None) -> float:
    """Forward and backward of a step's micro-batches; their mean loss over all processes."""
    losses = []
    for part, batch in zip(run.share.parts, batches, strict=True):
        # Dropout is a function of step and part, not of who computes it or what came before.
        _seed((run.recipe.seed * 1_000_003 + step) * 4096 + part, run.engine.device)
        last = part == run.share.parts[-1]
        with named("forward"):
            loss, parts = run.engine.forward(batch, last=last)
        with named("backward"):
            run.engine.backward(loss, last=last)
        losses.append(loss.detach().float().cpu())
        if log:
            log.add({"loss": loss, **parts})
            log.stopwatch.did(run.task.amount(batch))
    return float(run.engine.reduce(torch.stack(losses).mean()))


def _seed(number: int, device: torch.device) -> None:
    """As torch.manual_seed, without asking every kind of device there might be (0.5 ms)."""
    torch.default_generator.manual_seed(number)
    if device.type == "cuda":
        torch.cuda.manual_seed(number)


def _look_aside(run: Run, step: int, loss: float, monitor: TrainingMonitor, log: Log) -> None:
    """What is held out, and the training monitor's questions, when they are due."""
    recipe = run.recipe
    every = recipe.validate_every
    if every and ((step + 1) % every == 0 or step + 1 == recipe.steps):
        log.note({"validation_loss": validation_loss(run)})
    if recipe.watch.probe_every and (step + 1) % recipe.watch.probe_every == 0:
        with torch.no_grad():
            asked = run.engine.task(PROBE)
        if asked:
            log.note(monitor.probe(step + 1, loss, asked))


@torch.no_grad()
def validation_loss(run: Run) -> float:
    """Mean loss of micro-batches that are never trained on, as the weights are now."""
    engine = run.engine
    engine.wrapped.eval()
    losses = []
    for index, batch in enumerate(run.task.held_out(run.share, run.recipe.validation_batches)):
        _seed(index, engine.device)
        losses.append(engine.forward(batch, last=True)[0].float().cpu())
    engine.wrapped.train()
    return round(float(engine.reduce(torch.stack(losses).mean())), 6)


def _next(stream: Iterator[Any], count: int, log: Log) -> list[Any]:
    begun = time.perf_counter()
    with named("data"):
        batches = [next(stream) for _ in range(count)]
    log.stopwatch.waits(time.perf_counter() - begun)
    return batches


def _average(recipe: Recipe, engine: Engine, found: Checkpoint | None) -> dict[str, Tensor]:
    """The averaged weights as the engine holds them; the weights themselves if none are kept."""
    if not recipe.ema_decay:
        return engine.state()
    if found:
        return engine.share({f"module.{k}": v for k, v in found.tensors("average").items()})
    return {
        name: value.detach().float().clone() if value.is_floating_point() else value.clone()
        for name, value in engine.state().items()
    }


@torch.no_grad()
def _update_average(average: dict[str, Tensor], engine: Engine, recipe: Recipe, step: int) -> None:
    """Exponential moving average of all weights and statistics; young at first, so it warms up."""
    if not recipe.ema_decay:
        return
    decay = min(recipe.ema_decay, (step + 1) / (step + 10))
    state = engine.state()
    floats = {n: v for n, v in state.items() if v.is_floating_point()}
    kept = [average[name] for name in floats]
    torch._foreach_lerp_(kept, [v.to(k.dtype) for v, k in zip(floats.values(), kept, strict=True)],
                         1 - decay)  # fmt: skip
    for name, value in state.items():
        if name not in floats:
            average[name].copy_(value)


@contextmanager
def _asked_to_end() -> Iterator[list[bool]]:
    """A flag that SIGTERM raises instead of ending the process."""
    ended = [False]

    def heard(number: int, frame: object) -> None:
        del number, frame
        ended[0] = True

    try:
        before = signal.signal(signal.SIGTERM, heard)
    except ValueError:  # not the main thread: somebody else hears signals
        yield ended
        return
    try:
        yield ended
    finally:
        signal.signal(signal.SIGTERM, before)


def _finished(task: Task, shipped: dict[str, Tensor], out: Path, engine: Engine) -> Path | None:
    if engine.rank:
        return None
    weights = task.ship(shipped)
    task.finish(weights)
    _write_end(out, engine, "finished", "")
    return weights


def _write_end(out: Path, engine: Engine, how: str, why: str) -> None:
    """How a run ended, so that nobody starts a finished or a stopped one again."""
    if engine.rank == 0:
        note = {"how": how, "why": why, "engine": engine.name, "world": engine.world}
        write_text(out / "end.json", json.dumps(note, indent=2) + "\n")

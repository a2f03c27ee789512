"""The one loop: read it top to bottom."""

import json
import signal
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from anomalyst.config import to_mapping
from anomalyst.io.files import write_text
from anomalyst.training.averaging import AveragedWeights
from anomalyst.training.chain import Figures
from anomalyst.training.checkpoint import save_checkpoint, whole_state
from anomalyst.training.distributed.ranks import RankContext
from anomalyst.training.engines import Engine, StepResult, open_engine
from anomalyst.training.monitor.log import Log, LogCallback
from anomalyst.training.monitor.profiling import Profiler, trace_range
from anomalyst.training.monitor.training_monitor import TrainingMonitor, TrainingStopped
from anomalyst.training.optimization import learning_rate
from anomalyst.training.recipe import Recipe
from anomalyst.training.setup import Run, prepare_run


class Interrupted(Exception):
    """Somebody asked the run to end; a checkpoint was written first."""


def train(
    recipe: Recipe,
    out: Path,
    *,
    context: RankContext | None = None,
    resume: bool = True,
    on_log: LogCallback = lambda _: None,
) -> Path | None:
    """Run a recipe to its end in folder `out`; returns the path of the weights to ship.

    `context`: where this process stands among several; every one of them calls, and all but the
    first get None. Goes on from the newest checkpoint in `out` if `resume` is true. `on_log` gets a
    dict of figures every `log_every` steps ({"note": ...} for a remark); the same lines are in
    `out/log.jsonl`. Raises AnomalystError when the checkpoint belongs to another recipe or the disk
    is full, TrainingStopped when the training monitor ends the run, Interrupted after SIGTERM.
    """
    engine = open_engine(recipe.engine, context or RankContext())
    run, found = prepare_run(recipe, out, engine, resume=resume, on_log=on_log)
    average = AveragedWeights(recipe.ema_decay, engine, found)
    if engine.rank == 0:
        write_text(out / "recipe.json", json.dumps(to_mapping(recipe), indent=2))
        write_text(out / "start.json", json.dumps(asdict(run.start), indent=2) + "\n")
        (out / "end.json").unlink(missing_ok=True)
    try:
        _run_steps(run, out, found.step if found else 0, average, on_log)
    except (TrainingStopped, Interrupted) as error:
        how = "stopped" if isinstance(error, TrainingStopped) else "interrupted"
        _write_end(out, engine, how, str(error))
        raise
    shipped = whole_state(engine, average.tensors)
    engine.close()
    if engine.rank:
        return None
    weights = run.task.ship(shipped)
    run.task.finish(weights)
    _write_end(out, engine, "finished", "")
    return weights


def _run_steps(
    run: Run, out: Path, first: int, average: AveragedWeights, on_log: LogCallback
) -> None:
    """Every step from `first`: batches, forward and backward, step, average, log, checkpoint."""
    recipe, engine = run.recipe, run.engine
    monitor = TrainingMonitor(recipe, run.task, engine, out)
    log = Log(out, first, recipe, engine, on_log)
    profiler = Profiler(out, recipe.profile_steps, engine, first)
    # Closed in any case: its worker processes do not end by a signal (task.py).
    stream = closing(cast(Generator[Any, None, None], run.task.batches(first, run.share)))
    with stream as made, log.resources, profiler, _termination_requested() as ended:
        for step in range(first, recipe.steps):
            with log.stopwatch.stopped():
                profiler.at(step)
            with log.stopwatch.waiting(), trace_range("data"):
                batches = [next(made) for _ in run.share.parts]
            loss, stepped = _step(run, step, batches, monitor, log)
            average.update(step)
            if profiler.communication_share is not None:
                log.note({"communication_share": profiler.communication_share})
            _validate_and_probe(run, step, loss, monitor, log)
            log.step(step, stepped)
            _save_if_due(run, out, step, average, ended=ended[0])


def _step(
    run: Run, step: int, batches: list[Any], monitor: TrainingMonitor, log: Log
) -> tuple[float, StepResult]:
    """One watched step of the optimizer: its loss, and what the step did."""
    with monitor.recording(monitor.due(step)):
        loss = _pass(run, step, batches, log)
    if monitor.due(step):
        monitor.before_step(step)
    with trace_range("optimizer"):
        stepped = run.engine.step(learning_rate(run.recipe, step))
    monitor.after_step(step, loss, stepped, partial(_pass, run, step, batches, None))
    monitor.listen(step)
    return loss, stepped


def _pass(run: Run, step: int, batches: list[Any], log: Log | None) -> float:
    """Forward and backward of a step's micro-batches; their mean loss over all processes."""
    losses = []
    for batch, (loss, parts) in zip(batches, _passes(run, step, batches), strict=True):
        losses.append(loss.detach().float().cpu())
        if log:
            log.add({"loss": loss, **parts})
            log.stopwatch.counts.update(run.task.amount(batch))
    return float(run.engine.reduce(torch.stack(losses).mean()))


def _passes(run: Run, step: int, batches: list[Any]) -> Iterator[tuple[Tensor, Figures]]:
    """One micro-batch after the other, or as the engine orders them: each one's loss."""
    if run.engine.own_order:
        with trace_range("passes"):
            yield from run.engine.all_passes(batches)
        return
    for part, batch in zip(run.share.parts, batches, strict=True):
        # Dropout is a function of step and part, not of who computes it or what came before.
        _seed((run.recipe.seed * 1_000_003 + step) * 4096 + part, run.engine.device)
        last = part == run.share.parts[-1]
        with trace_range("forward"):
            loss, parts = run.engine.forward(batch, last=last)
        with trace_range("backward"):
            run.engine.backward(loss, last=last)
        yield loss, parts


def _seed(number: int, device: torch.device) -> None:
    """As torch.manual_seed, without asking every kind of device there might be (0.5 ms)."""
    torch.default_generator.manual_seed(number)
    if device.type == "cuda":
        torch.cuda.manual_seed(number)


def _validate_and_probe(
    run: Run, step: int, loss: float, monitor: TrainingMonitor, log: Log
) -> None:
    """What is held out, and the training monitor's questions, when they are due."""
    recipe = run.recipe
    every = recipe.validate_every
    if every and ((step + 1) % every == 0 or step + 1 == recipe.steps):
        log.note({"validation_loss": validation_loss(run)})
        with torch.no_grad():
            log.note(run.engine.task(run.task.held_out_figures))
    if recipe.watch.probe_every and (step + 1) % recipe.watch.probe_every == 0:
        with torch.no_grad():
            asked = run.engine.task(run.task.probe)
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


def _save_if_due(run: Run, out: Path, step: int, average: AveragedWeights, *, ended: bool) -> None:
    """Write a checkpoint and the weights so far. Raises Interrupted where a process shall end."""
    recipe, engine, last = run.recipe, run.engine, step + 1 == run.recipe.steps
    stop = bool(engine.reduce(torch.tensor([float(ended)]), "max"))
    if not last and (step + 1) % run.task.round_steps:
        return  # what the round trains on is not kept
    due = any((step + 1 - i) % recipe.checkpoint_every == 0 for i in range(run.task.round_steps))
    if stop or last or due:
        shipped = whole_state(engine, average.tensors)
        note = engine.note() | {"task": run.task.note()}
        save_checkpoint(
            out, step=step + 1, recipe=recipe, engine=engine, average=shipped, note=note
        )
        if engine.rank == 0 and not last:  # the last are shipped at the end
            run.task.ship(shipped)
    if stop and not last:
        raise Interrupted(f"step {step + 1}")


@contextmanager
def _termination_requested() -> Iterator[list[bool]]:
    """A flag that SIGTERM raises instead of ending the process."""
    ended = [False]

    def on_sigterm(number: int, frame: object) -> None:
        del number, frame
        ended[0] = True

    try:
        before = signal.signal(signal.SIGTERM, on_sigterm)
    except ValueError:  # not the main thread: somebody else handles signals
        yield ended
        return
    try:
        yield ended
    finally:
        signal.signal(signal.SIGTERM, before)


def _write_end(out: Path, engine: Engine, how: str, why: str) -> None:
    """How a run ended, so that a finished or stopped one is not started again."""
    if engine.rank == 0:
        note = {"how": how, "why": why, "engine": engine.name, "world": engine.world}
        write_text(out / "end.json", json.dumps(note, indent=2) + "\n")

"""`anomalyst train`: run a recipe, in one process or many."""

import json
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Option

from anomalyst.cli import options as opt
from anomalyst.cli.screen import needs, progress, say
from anomalyst.errors import AnomalystError
from anomalyst.training.engine_names import EngineName

if TYPE_CHECKING:
    from anomalyst.training.distributed.ranks import RankContext
    from anomalyst.training.recipe import Recipe

# What gloo and NCCL say when a process at the other end has died.
LOST = (
    "Connection closed by peer",
    "Connection reset by peer",
    "Broken pipe",
    "remote process exited",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Processes:
    """How many, and where the others are: `training.distributed.launching.Launch` as options."""

    nproc: Annotated[int, Option(min=1, help="Processes on this machine.")] = 1
    nnodes: Annotated[str, Option(metavar="N|MIN:MAX", help="Machines; two numbers: elastic.")] = (
        "1"
    )
    node_rank: Annotated[int, Option(help="Which machine this is, from 0.")] = 0
    master: Annotated[str, Option(metavar="HOST:PORT", help="The first machine's address.")] = ""
    hostfile: Annotated[str, Option(metavar="FILE", help="Machines, as `host slots=N` lines.")] = ""
    max_restarts: Annotated[int, Option(min=0, help="Start again so often if a process dies.")] = 0


@opt.grouped
def train(
    recipe: opt.RecipeFile,
    override: opt.Overrides = None,
    *,
    out: Annotated[
        Path | None, Option(metavar="DIR", help="The run's folder.", show_default="runs/RECIPE")
    ] = None,
    fresh: Annotated[bool, Option("--fresh/--resume", help="Start over, or continue.")] = False,
    engine: Annotated[
        EngineName | None,
        Option(help="How it is spread.", show_default="the recipe's, or single"),
    ] = None,
    processes: Processes,
) -> None:
    """Train by a recipe; the same command goes on with an interrupted run.

    Writes log.jsonl, watch.jsonl, checkpoints/, the weights and summary.html into the run's folder.
    Several machines: the same command on each, with --nnodes, --node-rank and --master, or
    --hostfile; under torchrun or srun the command finds its place by itself.

    Example: anomalyst train recipes/embedded.yaml steps=200 --out runs/short

    On two processes: anomalyst train recipes/anomalygpt.yaml --engine ddp --nproc 2

    Layers dealt to two: anomalyst train recipes/parallel/language.yaml --engine pipeline --nproc 2
    """
    needs("train", "matplotlib", "peft", "psutil")
    from anomalyst.training.distributed.ranks import read_context
    from anomalyst.training.tasks import load_recipe

    changes = [*(override or []), *([f"engine.name={engine}"] if engine else [])]
    read = load_recipe(recipe, changes)
    target = out or Path("runs") / recipe.stem
    context = read_context(os.environ)
    if context:
        os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # its profiler prints when it starts
        _work(read, target, context, fresh=fresh)
    else:
        words = ["train", str(recipe), *changes, "--out", str(target)]
        launch(read, target, processes, words, fresh=fresh)


def launch(
    recipe: "Recipe", out: Path, processes: Processes, words: list[str], *, fresh: bool
) -> None:
    """Train here, or start the processes that do, each with these words of the command line."""
    from anomalyst.training.distributed.launching import (
        Launch,
        checked_recipe,
        read_launch,
        run_processes,
    )

    spread = read_launch(Launch(**asdict(processes)))
    resolved = checked_recipe(recipe, out, world=spread.world, here=spread.nproc, resume=not fresh)
    if recipe.engine.name == "single":
        _run(resolved, out, None, resume=not fresh)
    elif status := run_processes(spread, recipe.engine.name, words + ["--fresh"] * fresh):
        raise typer.Exit(status)


def _work(recipe: "Recipe", out: Path, context: "RankContext", *, fresh: bool) -> None:
    """One process of several: the first speaks for all."""
    from anomalyst.training.distributed.launching import checked_recipe
    from anomalyst.training.monitor.training_monitor import TrainingStopped

    end = out / "end.json"
    if context.restart and end.exists():
        how = json.loads(end.read_text(encoding="utf-8"))["how"]
        if how != "interrupted":  # a finished run is not begun again, nor a hopeless one
            raise typer.Exit(0 if how == "finished" else 2)
    if context.restart and not context.rank:
        say(f"Started again ({context.restart}).")
    resume = not fresh or bool(context.restart)
    try:
        resolved = checked_recipe(recipe, out, world=context.world, here=1, resume=resume)
        _run(resolved, out, context, resume=resume)
    except TrainingStopped:
        if context.rank:
            raise typer.Exit(2) from None
        raise
    except RuntimeError as error:
        if not any(word in str(error) for word in LOST):
            raise
        say(f"Process {context.rank} lost another one and ends, too.")
        raise typer.Exit(1) from None
    except AnomalystError as error:
        if context.rank:
            raise AnomalystError(f"process {context.rank}: {error}") from error
        raise
    if recipe.engine.name == "deepspeed":
        # Its destructors abort now and then after a run that went well.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _run(recipe: "Recipe", out: Path, context: "RankContext | None", *, resume: bool) -> None:
    from anomalyst.training.distributed.launching import SAVED
    from anomalyst.training.experiments.summary import write_summary
    from anomalyst.training.loop import Interrupted
    from anomalyst.training.loop import train as run_training

    first = not context or not context.rank
    with progress(f"Training {out.name}", recipe.steps if first else None) as bar:

        def show(line: dict[str, Any]) -> None:
            if "note" in line:
                say(f"Note: {line['note']}")
                return
            bar.show(line["step"])
            say(
                f"step {line['step']}/{line['steps']}  loss {line['loss']:.4f}  "
                f"{line['steps_per_second']:.2f} steps/s"
            )

        try:
            weights = run_training(recipe, out, context=context, resume=resume, on_log=show)
        except KeyboardInterrupt:
            if first:
                say(f"Stopped. The same command goes on from the last checkpoint in {out}.")
            raise typer.Exit(130) from None
        except Interrupted as error:
            if first:
                say(f"Saved at {error} and stopped; the same command goes on from there.")
            raise typer.Exit(SAVED) from None
        finally:
            if first and (out / "log.jsonl").exists():
                write_summary(out)
    if first:
        typer.echo(f"Weights: {weights}")
        typer.echo(f"Summary: {out / 'summary.html'}")

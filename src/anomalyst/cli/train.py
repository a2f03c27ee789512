"""`anomalyst train`: run a recipe."""

from pathlib import Path
from typing import Annotated, Any

import typer

from anomalyst.cli.screen import progress, say


def train(
    recipe: Annotated[
        Path, typer.Argument(metavar="RECIPE.yaml", help="What to train.", show_default=False)
    ],
    override: Annotated[
        list[str] | None,
        typer.Argument(metavar="key=value...", help="Change keys of the recipe, as in steps=100."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The run's folder.", show_default="runs/RECIPE"),
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh/--resume", help="Start over, or go on where it stopped.")
    ] = False,
) -> None:
    """Train by a recipe; the same command goes on with an interrupted run.

    Writes log.jsonl, checkpoint.safetensors and model.safetensors into the run's folder.

    Example: anomalyst train recipes/embedded.yaml steps=200 --out runs/short
    """
    from anomalyst.training.loop import train as run_training
    from anomalyst.training.stages import load_recipe

    read = load_recipe(recipe, override or [])
    target = out or Path("runs") / recipe.stem
    with progress(f"Training {recipe.stem}", read.steps) as (bar, task):

        def hear(line: dict[str, Any]) -> None:
            bar.update(task, completed=line["step"])  # type: ignore[arg-type]
            say(
                f"step {line['step']}/{line['steps']}  loss {line['loss']:.4f}  "
                f"{line['steps_per_second']:.2f} steps/s"
            )

        try:
            weights = run_training(read, target, resume=not fresh, say=hear)
        except KeyboardInterrupt:
            say(f"Stopped. The same command goes on from the last checkpoint in {target}.")
            raise typer.Exit(130) from None
    typer.echo(f"Weights: {weights}")

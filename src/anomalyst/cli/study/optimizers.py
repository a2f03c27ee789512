"""`anomalyst study optimizers`: paths over a surface, and one recipe's loss under each."""

from pathlib import Path
from typing import Annotated

import typer
from typer import Option

from anomalyst.cli import options as opt
from anomalyst.cli.screen import needs, progress


def optimizers(
    override: opt.Overrides = None,
    full: Annotated[
        bool, Option("--full", help="The recipe's own network; without, two dense layers.")
    ] = False,
    seeds: Annotated[int, Option(min=1, help="Runs of each optimizer.")] = 3,
    path_steps: Annotated[int, Option(min=1, help="Over the surface.")] = 200,
    recipe: Annotated[
        Path, Option(metavar="RECIPE.yaml", help="What is trained; task layers.")
    ] = Path("recipes/layers.yaml"),
    out: opt.Results = Path("out/optimizers"),
) -> None:
    """Full-batch descent, SGD, momentum, AdaGrad, RMSprop and Adam side by side.

    Their paths over the loss of a line that is fitted, at the rates of the source and at their
    best, as SVG; and the loss of one recipe under each. Writes optimizers.html, optimizers.md and
    optimizers.json; goes on where it stopped.

    Example: anomalyst study optimizers --seeds 5

    Example: anomalyst study optimizers --full steps=2000 --out out/optimizers-full
    """
    needs("train", "matplotlib", "psutil")
    from anomalyst.training.studies.blocks.optimizers import OptimizerStudy, study_optimizers
    from anomalyst.training.studies.blocks.optimizers_page import write_optimizers_page

    study = OptimizerStudy(
        recipe=recipe,
        overrides=tuple(override or ()),
        full=full,
        seeds=seeds,
        path_steps=path_steps,
    )
    with progress("Walking") as bar:
        walks, runs = study_optimizers(study, out, bar.tell)
    typer.echo(write_optimizers_page(study, walks, runs, out))
    typer.echo(f"Written to {out}: optimizers.html, optimizers.md, optimizers.json")

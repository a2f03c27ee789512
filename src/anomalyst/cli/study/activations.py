"""`anomalyst study activations`: their curves, and what is said about them, measured."""

from pathlib import Path
from typing import Annotated

import typer
from typer import Option

from anomalyst.cli import options as opt
from anomalyst.cli.screen import needs, progress


def activations(
    seeds: Annotated[int, Option(min=1, help="Of everything.")] = 3,
    steps: Annotated[int, Option(min=2, help="Of each training run.")] = 400,
    depth: Annotated[
        int, Option(min=2, help="Layers through which a gradient is followed back.")
    ] = 20,
    out: opt.Results = Path("out/activations"),
) -> None:
    """Draw eleven activations and their derivatives, and test what is said about them.

    Do sigmoid and tanh vanish, does ReLU die, does softmax overflow? And how well does one network
    learn drawn digits under each? Writes activations.html, activations.md and activations.json;
    goes on where it stopped.

    Example: anomalyst study activations --seeds 5 --steps 2000
    """
    needs("train", "matplotlib", "psutil")
    from anomalyst.training.studies.blocks.activations import ActivationStudy, study_activations
    from anomalyst.training.studies.blocks.activations_page import write_activations_page

    study = ActivationStudy(seeds=seeds, steps=steps, depth=depth)
    with progress("Following gradients") as bar:
        figures = study_activations(study, out, bar.tell)
    typer.echo(write_activations_page(study, figures, out))
    typer.echo(f"Written to {out}: activations.html, activations.md, activations.json")

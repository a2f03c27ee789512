"""`anomalyst study language`: norm, its place, positions and activation, one changed at a time."""

from pathlib import Path
from typing import Annotated

import typer
from typer import Option

from anomalyst.cli import options as opt
from anomalyst.cli.screen import needs, progress


def language(
    override: opt.Overrides = None,
    full: Annotated[
        bool, Option("--full", help="The recipe's own sizes: hours; without, minutes on a core.")
    ] = False,
    seeds: Annotated[int, Option(min=1, help="Runs of each row.")] = 2,
    recipe: Annotated[
        Path, Option(metavar="RECIPE.yaml", help="What is trained; task language.")
    ] = Path("recipes/language.yaml"),
    out: opt.Results = Path("out/language-blocks"),
) -> None:
    """Train the embedded language model with other norms, places of norms, positions, activations.

    Nine rows: as it is; LayerNorm for RMSNorm; norm after the sum, with each; no, sinusoidal and
    relative positions; ReLU; GELU. Writes language.html, language.md and language.json; goes on
    where it stopped.

    Example: anomalyst study language --seeds 3

    Example: anomalyst study language steps=300 model.width=64 --out out/narrow
    """
    needs("train", "matplotlib", "psutil")
    from anomalyst.training.studies.blocks.language import (
        LanguageStudy,
        study_language,
        write_language_page,
    )

    study = LanguageStudy(recipe=recipe, overrides=tuple(override or ()), full=full, seeds=seeds)
    with progress("Looking at drawn parts") as bar:
        runs = study_language(study, out, bar.tell)
    typer.echo(write_language_page(study, runs, out))
    typer.echo(f"Written to {out}: language.html, language.md, language.json")

"""`anomalyst compare`: runs beside each other."""

from pathlib import Path
from typing import Annotated

import typer
from typer import Argument

from anomalyst.cli import options as opt
from anomalyst.cli.screen import needs, say


def compare(
    runs: Annotated[list[Path], Argument(metavar="RUN...", help="Folders that `train` wrote.")],
    out: opt.Results = Path("out/compare"),
) -> None:
    """Compare runs: what differs in their recipes, their figures, right answers by category.

    Prints the tables and writes compare.md, compare.html and curves.png.

    Example: anomalyst compare runs/v2 runs/v4 runs/v6
    """
    needs("evaluate", "matplotlib")
    from anomalyst.training.experiments.summary import compare_runs

    found = [folder for folder in runs if (folder / "recipe.json").is_file()]
    for folder in runs:
        if folder not in found:
            say(f"Left out: {folder} holds no recipe.json, so no run.")
    typer.echo(compare_runs(found or runs, out))
    typer.echo(f"Written to {out}")

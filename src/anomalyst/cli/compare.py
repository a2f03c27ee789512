"""`anomalyst compare`: runs beside each other."""

from pathlib import Path
from typing import Annotated

import typer


def compare(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Folders that `train` wrote.")
    ],
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Where table, page and curves go.")
    ] = Path("out/compare"),
) -> None:
    """Compare runs: what differs in their recipes, their figures, right answers by category.

    Prints the tables and writes compare.md, compare.html and curves.png.

    Example: anomalyst compare runs/v2 runs/v4 runs/v6
    """
    from anomalyst.training.summary import compare_runs

    typer.echo(compare_runs(runs, out))
    typer.echo(f"Written to {out}")

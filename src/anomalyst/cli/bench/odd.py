"""`anomalyst bench odd`: are good pictures left in peace, and defective ones among them found?"""

import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from anomalyst.cli import options as opt
from anomalyst.cli.screen import print_table, progress

if TYPE_CHECKING:
    from anomalyst.evaluation.benchmarks.odd import OddDraw


def odd(
    dataset: Annotated[
        Path | None,
        Argument(metavar="DATASET", help="A set to draw from; drawn products if none."),
    ] = None,
    draws: Annotated[
        int, Option(min=1, help="Drawn products; of a set, draws of each category.")
    ] = 50,
    good: Annotated[int, Option(min=3, help="Good pictures beside the defective one.")] = 8,
    category: opt.Categories = None,
    seed: opt.Seed = 0,
    as_json: opt.JsonObject = False,
) -> None:
    """Teach clean sets of good pictures, and the same with a defective one in the place of one.

    Counts clean sets in which any picture is called odd, and defective pictures that are found, at
    the right place where there is a mask.

    Example: anomalyst bench odd --draws 200
    Example: anomalyst bench odd sets/mvtec --category screw --draws 10
    """
    from anomalyst.datasets.reading import read_categories
    from anomalyst.evaluation.benchmarks.odd import bench_odd, drawn_sets, real_sets

    found: list[OddDraw] = []
    with tempfile.TemporaryDirectory() as folder:
        if dataset is None:
            sets, total = drawn_sets(Path(folder), draws, good, seed), draws
        else:
            samples = read_categories(dataset, category or [])
            total = draws * len({one.category for one in samples})
            sets = real_sets(samples, draws, good, seed)
        with progress("Teaching", total) as bar:
            for one in bench_odd(sets):
                found.append(one)
                bar.advance()
    if as_json:
        typer.echo(json.dumps([asdict(one) for one in found], indent=1))
        return
    names = sorted({one.name for one in found})
    rows = [_cells(name, [one for one in found if one.name == name]) for name in names]
    heads = ["set", "draws", "clean, odd", "found", "at its place", "good beside", "copies"]
    title = f"{good} good pictures and a defective one; clean: {good + 1} good ones"
    print_table(title, heads, rows, _cells("all", found))


def _cells(name: str, draws: "list[OddDraw]") -> list[str]:
    """Counts of some draws."""
    placed = [one.at_place for one in draws if one.at_place is not None]
    return [
        name,
        str(len(draws)),
        str(sum(one.false > 0 for one in draws)),
        str(sum(one.found for one in draws)),
        f"{sum(placed)} of {len(placed)}",
        str(sum(one.beside for one in draws)),
        str(sum(one.copies > 0 for one in draws)),
    ]

"""`anomalyst bench making|defects`: how fast pictures are made, and what they are worth."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from typer import Option

from anomalyst.cli import options as opt
from anomalyst.cli.screen import needs, say


def making(
    dataset: opt.Dataset,
    category: opt.Categories = None,
    count: Annotated[int, Option(min=20, help="Pictures a category and method.")] = 200,
) -> None:
    """Make pictures by every method at 256 px on all cores and time it.

    Example: anomalyst bench making sets/bolts --category m8 --count 200
    """
    needs("train", "matplotlib", "sklearn", "kornia")
    from anomalyst.datasets.builders.throughput import bench_making
    from anomalyst.evaluation.reports.tables import markdown_table

    with TemporaryDirectory() as folder:
        found = bench_making(dataset, category or (), Path(folder), count=count, say=say)
    rows = [
        (one.method, one.pictures, one.not_made, f"{one.whole:.1f}", f"{one.steady:.1f}")
        for one in found
    ]
    heads = ["method", "pictures", "not made", "pictures/s", "once running"]
    typer.echo(markdown_table(heads, rows, words=1))


def defects(
    dataset: opt.Dataset,
    category: opt.Categories = None,
    recipe: Annotated[Path, Option(metavar="FILE.yaml", help="Of the text-aligned task.")] = Path(
        "recipes/defects.yaml"
    ),
    seeds: Annotated[int, Option(min=1, help="Trainings of each method.")] = 3,
    count: Annotated[int, Option(min=1, help="Made pictures a category and method.")] = 120,
    out: Annotated[
        Path, Option(metavar="DIR", help="Where sets and runs go, and where it goes on.")
    ] = Path("out/defects"),
) -> None:
    """Train one small decoder per method of planting defects, and look for real ones with it.

    It sees single pictures, no good one beside them: what it finds it learnt from planted defects.

    Example: anomalyst bench defects sets/mvtec --category bottle --category screw --seeds 3
    """
    needs("train", "matplotlib", "sklearn", "kornia")
    from anomalyst.config import from_mapping
    from anomalyst.training.experiments.synthesis_ablation import bench_methods
    from anomalyst.training.experiments.tables import method_table
    from anomalyst.training.tasks import read_recipe
    from anomalyst.training.tasks.text_aligned import TextAlignedRecipe

    made = from_mapping(TextAlignedRecipe, read_recipe(recipe), where=str(recipe))
    found = bench_methods(
        dataset, category or (), out, recipe=made, seeds=seeds, count=count, say=say
    )
    typer.echo(method_table(found))
    typer.echo(f"Written to {out}")

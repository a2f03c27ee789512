"""`anomalyst bench products`: are products told apart, and pictures that cannot be judged named?"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from anomalyst.cli import options as opt
from anomalyst.cli.screen import progress

if TYPE_CHECKING:
    from anomalyst.evaluation.benchmarks.products import ProductPictures


def products(
    dataset: Annotated[
        Path | None, Argument(metavar="DATASET", help="A set of several products; none: drawn.")
    ] = None,
    category: opt.Categories = None,
    shots: Annotated[int, Option(min=1, help="Good pictures that each is taught from.")] = 8,
    drawn: Annotated[int, Option(min=2, help="How many products are drawn.")] = 30,
    max_pictures: Annotated[
        int, Option(metavar="N", min=1, help="At most N good and N defective ones of each.")
    ] = 20,
    every: Annotated[bool, Option("--every", help="A row for each product, too.")] = False,
) -> None:
    """Look at the pictures of several products as each of them; count what is told of them.

    "as another": "this does not look like ...". "unfit": too dark, over-exposed, out of focus or
    empty; the last columns are of good pictures that were made so.

    Example: anomalyst bench products --drawn 30 --shots 1
    Example: anomalyst bench products sets/mvtec --category bottle --category screw --every
    """
    from anomalyst.evaluation.benchmarks.products import HEADS, drawn_products, judge_products
    from anomalyst.evaluation.reports.tables import markdown_table
    from anomalyst.inspector import Inspector

    with TemporaryDirectory() as folder:
        if dataset is None:
            each = min(max_pictures, 6)
            sets = drawn_products(Path(folder), drawn, shots=shots, each=each)
        else:
            sets = _read(dataset, category or [], shots, max_pictures)
        total = sum(len(one.good) + len(one.defective) for one in sets)
        with progress("Looking at pictures", total) as bar:
            found = judge_products(Inspector.load(), sets, bar.advance)
    shown = {name: told for name, told in found.items() if every or name == "all"}
    rows = [(name, *told.row()) for name, told in shown.items()]
    typer.echo(markdown_table(list(HEADS), rows, words=1))


def _read(dataset: Path, categories: list[str], shots: int, most: int) -> "list[ProductPictures]":
    from anomalyst.datasets.reading import read_categories
    from anomalyst.evaluation.benchmarks.products import ProductPictures

    samples = read_categories(dataset, categories)
    found = []
    for name in dict.fromkeys(one.category for one in samples):
        own = [one for one in samples if one.category == name]
        train = [one.image for one in own if one.split == "train" and one.label == "normal"]
        test = {
            label: [one.image for one in own if one.split == "test" and one.label == label]
            for label in ("normal", "anomalous")
        }
        found.append(
            ProductPictures(
                name=name,
                taught=_spread(train, shots),
                good=_spread(test["normal"], most),
                defective=_spread(test["anomalous"], most),
            )
        )
    return found


def _spread(paths: list[Path], most: int) -> list[Path]:
    """At most so many, from all over the list."""
    step = max(1.0, len(paths) / most)
    return [paths[int(i * step)] for i in range(min(most, len(paths)))]

"""`anomalyst data parts`: drawn parts, sound and defective, to train a classifier on."""

from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from anomalyst.cli import options as opt
from anomalyst.cli.screen import progress, say


def parts(
    out: Annotated[
        Path, Argument(metavar="OUT", help="An empty folder; the same command goes on there.")
    ],
    count: Annotated[int, Option(help="Pictures, all classes together.")] = 2000,
    kinds: Annotated[
        bool, Option("--kinds", help="A class for each kind of defect, not one for all.")
    ] = False,
    kind: Annotated[
        list[str] | None,
        Option(
            metavar="NAME",
            help="A kind to draw; may be repeated.",
            show_default="scratch, stain, hole, dent, chip",
        ),
    ] = None,
    family: Annotated[str, Option(metavar="NAME", help="Which kind of product.")] = "machined part",
    products: Annotated[int, Option(help="Products of the family, in turn.")] = 1,
    size: Annotated[int, Option(help="Side of the pictures in pixels.")] = 96,
    test_share: Annotated[float, Option(help="Of all pictures.")] = 0.2,
    seed: opt.Seed = 0,
    workers: Annotated[
        int | None, Option(min=1, metavar="N", help="Processes.", show_default="one per core")
    ] = None,
) -> None:
    """Draw good and defective parts as a labelled set, a folder for each class.

    OUT/train/CLASS and OUT/test/CLASS hold the pictures, index.csv in each what is on them,
    OUT/preview.png some of each class. File names do not tell the class.

    Example: anomalyst data parts sets/parts --count 4000

    A class for each kind of defect: anomalyst data parts sets/kinds --kinds --family biscuit
    """
    from anomalyst.datasets.builders.parts import KINDS, PartsConfig, write_parts

    config = PartsConfig(
        count=count,
        by_kind=kinds,
        kinds=tuple(kind or KINDS),
        family=family,
        products=products,
        size_px=size,
        test_share=test_share,
        seed=seed,
    )
    with progress("Drawing", count) as bar:
        filled = write_parts(out, config, workers=workers, on_picture=bar.advance)
    for fault in filled.faults:
        say(f"Left out: {fault.path}: {fault.reason}")
    train, test = config.parts()
    typer.echo(
        f"Written to {out}: {count - len(filled.faults)} pictures of {', '.join(config.classes)} "
        f"({train} to train, {test} to test), {filled.made_now} of them now."
    )
    typer.echo(f"Look at {out / 'preview.png'}.")

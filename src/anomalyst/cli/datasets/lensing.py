"""`anomalyst data lensing`: pictures of gravitational lenses, with the truth about them."""

from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from anomalyst.cli import options as opt
from anomalyst.cli.screen import progress


def lensing(
    out: Annotated[
        Path, Argument(metavar="OUT", help="An empty folder; the same command goes on there.")
    ],
    count: Annotated[int, Option(help="Pictures, all classes together.")] = 10_000,
    classes: Annotated[
        int, Option(metavar="2|3", help="2: none, spherical (subhaloes); 3: vortex (a string).")
    ] = 3,
    profile: Annotated[
        str, Option(metavar="point|nfw|tnfw", help="Of the mass of a subhalo.")
    ] = "tnfw",
    mass_share: Annotated[
        tuple[float, float],
        Option(metavar="LOW HIGH", help="Mass of the substructure, a share of the lens's."),
    ] = (0.01, 0.02),
    variety: Annotated[
        float, Option(metavar="0...1", help="How far lens and source differ between pictures.")
    ] = 1.0,
    lens_light: Annotated[
        bool, Option("--lens-light", help="Show the lens galaxy, too; it hides faint arcs.")
    ] = False,
    size: Annotated[int, Option(help="Side of the pictures in pixels; the sky stays.")] = 128,
    bits: Annotated[int, Option(metavar="8|16", help="Per pixel of the PNG files.")] = 8,
    test_share: Annotated[float, Option(help="Of all pictures.")] = 0.2,
    seed: opt.Seed = 0,
    workers: Annotated[
        int | None, Option(min=1, metavar="N", help="Processes.", show_default="one per core")
    ] = None,
) -> None:
    """Ray-trace strong gravitational lenses with and without dark substructure.

    OUT/train/CLASS and OUT/test/CLASS hold the pictures, OUT/record.jsonl what was drawn in each
    of them, OUT/preview.png some to look at. Classes differ by substructure alone: lens, source,
    noise and the mass of what is dark are drawn alike. File names do not tell the class.

    Example: anomalyst data lensing sets/lensing --count 10000 --seed 0

    Easier ones: anomalyst data lensing out/lenses --mass-share 0.03 0.06 --variety 0.2
    """
    from anomalyst.datasets.builders.lensing import LensingSet, write_lensing
    from anomalyst.synthetic.lensing.scene import LensingConfig

    wanted = LensingSet(count=count, classes=classes, test_share=test_share, seed=seed)
    config = LensingConfig(
        size_px=size,
        bits=bits,
        profile=profile,
        lens_light=lens_light,
        mass_share=mass_share,
        variety=variety,
    )
    with progress("Tracing", count) as bar:
        made = write_lensing(out, wanted, config, workers=workers, on_picture=bar.advance)
    typer.echo(
        f"Written to {out}: {count} pictures of {', '.join(wanted.kinds)} "
        f"({count - wanted.num_test} to train, {wanted.num_test} to test), {made} of them now."
    )
    typer.echo(f"Look at {out / 'preview.png'}; what was drawn is in {out / 'record.jsonl'}.")

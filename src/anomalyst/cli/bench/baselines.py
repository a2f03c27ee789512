"""`anomalyst bench peers`: the pair decoder beside others on the same features."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Option

from anomalyst.cli import options as opt
from anomalyst.cli.screen import needs, progress
from anomalyst.errors import AnomalystError

if TYPE_CHECKING:
    from anomalyst.evaluation.baselines.comparison import Shots
    from anomalyst.evaluation.protocols.protocol import Progress


def peers(
    dataset: opt.Dataset,
    shots: Annotated[
        str, Option(metavar="N,N,...|all", help="Good pictures to teach, a table for each.")
    ] = "1,2,4,all",
    seeds: Annotated[int, Option(min=1, help="Draws of these pictures.")] = 5,
    encoder: opt.Encoder = "embedded",
    category: opt.Categories = None,
    halves: Annotated[
        str,
        Option(
            metavar="NAME,NAME,...",
            help="Categories of the first half; the rest are the second.",
            show_default="no halves",
        ),
    ] = "",
    max_pictures: opt.MaxPictures = None,
    clip: Annotated[
        Path | None,
        Option(
            metavar="DIR",
            help="Folder of a CLIP model: also WinCLIP and AnomalyGPT, without and with pictures.",
        ),
    ] = None,
    untrained: Annotated[
        bool, Option("--untrained", help="Baselines also on a ResNet and a ViT never trained.")
    ] = False,
    out: Annotated[
        Path, Option(metavar="DIR", help="Where results go, and where they are gone on with.")
    ] = Path("out/peers"),
) -> None:
    """Compare the pair decoder with PatchCore, PaDiM, SPADE, AnomalyDINO and PCA on its own trunk.

    All of them, and the plain nearest patch, see EfficientNet-Lite0's features at strides 8 and 16
    of the detector under test (ImageNet's, from the package, if it has another trunk), at its size,
    and learn from all good pictures. The tables are in DIR/peers.md, the bars in DIR/peers.png; the
    same command again goes on where an interrupted one stopped.

    Example: anomalyst bench peers sets/mvtec --shots 1,all --seeds 2 --max-pictures 40

    Example: anomalyst bench peers sets/mvtec --halves bottle,screw --clip models/clip-vit-b16
    """
    needs("evaluate", "matplotlib")
    from anomalyst.datasets.reading import read_categories
    from anomalyst.evaluation.baselines.comparison import ComparisonConfig, compare_baselines
    from anomalyst.evaluation.baselines.report import as_markdown

    config = ComparisonConfig(
        shots=read_shots(shots),
        seeds=seeds,
        max_pictures=max_pictures,
        encoder=encoder,
        first_half=tuple(name.strip() for name in halves.split(",") if name.strip()),
        clip=str(clip) if clip else None,
        untrained=untrained,
    )
    samples = read_categories(dataset, category or [])
    with progress("Comparing") as bar:

        def show(name: str, step: "Progress") -> None:
            bar.describe(name)
            bar.show(step.pictures_done, step.pictures_total)

        found = compare_baselines(samples, config, out=out, progress=show)
    typer.echo(as_markdown(found))
    typer.echo(f"Written to {out}: peers.md, peers.png")


def read_shots(text: str) -> "tuple[Shots, ...]":
    """What --shots says. Raises AnomalystError."""
    found: list[Shots] = []
    for word in (part.strip() for part in text.split(",")):
        if word != "all" and not (word.isdecimal() and int(word) > 0):
            raise AnomalystError(
                f"--shots {text}: {word!r} is no number of good pictures; write numbers from 1 "
                "and `all` with commas between them, as in 1,2,4,all."
            )
        found.append("all" if word == "all" else int(word))
    return tuple(dict.fromkeys(found))

"""`anomalyst study few-shot`: six ways with a few good pictures, beside what was published."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Option

from anomalyst.cli import options as opt
from anomalyst.cli.bench.baselines import read_shots
from anomalyst.cli.screen import needs, progress

if TYPE_CHECKING:
    from anomalyst.evaluation.protocols.protocol import Progress


def few_shot(
    dataset: opt.Dataset,
    shots: Annotated[
        str, Option(metavar="N,N,...", help="Good pictures to teach, a column for each.")
    ] = "1,2,4",
    seeds: Annotated[int, Option(min=1, help="Draws of these pictures.")] = 5,
    encoder: opt.Encoder = "embedded",
    category: opt.Categories = None,
    max_pictures: opt.MaxPictures = None,
    clip: Annotated[
        Path | None,
        Option(metavar="DIR", help="Folder of a CLIP model: WinCLIP and AnomalyGPT are run, too."),
    ] = None,
    out: Annotated[
        Path, Option(metavar="DIR", help="Where results go, and where they are gone on with.")
    ] = Path("out/few-shot"),
) -> None:
    """Fill the few-shot table: SPADE, PaDiM, PatchCore, WinCLIP, AnomalyGPT and ours.

    Image and pixel AUROC with 1, 2 and 4 good pictures, mean and spread of five draws, beside the
    published figures: in one table on MVTec-AD and VisA whole, in tables apart on any other set.
    Every cell says whether it was measured or is quoted, or why it is empty. WinCLIP and
    AnomalyGPT's map by patches need a CLIP folder; methods and runs are those of `bench peers`,
    whose folder may be gone on with. DIR/few-shot.md, few-shot.html and few-shot.png.

    Example: anomalyst study few-shot sets/mvtec --clip models/clip-vit-b16

    Example: anomalyst study few-shot sets/own --shots 1,4 --seeds 3 --max-pictures 40
    """
    needs("evaluate", "matplotlib")
    from anomalyst.datasets.reading import read_categories
    from anomalyst.evaluation.baselines.comparison import ComparisonConfig
    from anomalyst.evaluation.studies.few_shot import study_few_shot
    from anomalyst.evaluation.studies.few_shot_report import as_markdown

    config = ComparisonConfig(
        shots=read_shots(shots),
        seeds=seeds,
        max_pictures=max_pictures,
        encoder=encoder,
        clip=str(clip) if clip else None,
    )
    samples = read_categories(dataset, category or [])
    with progress("Measuring") as bar:

        def show(name: str, step: "Progress") -> None:
            bar.describe(name)
            bar.show(step.pictures_done, step.pictures_total)

        found = study_few_shot(samples, config, name=dataset.resolve().stem, out=out, progress=show)
    typer.echo(as_markdown(found, config.shots))
    typer.echo(f"Written to {out}: few-shot.html, few-shot.md, few-shot.png")

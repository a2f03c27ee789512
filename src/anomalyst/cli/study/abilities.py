"""`anomalyst study abilities`: what each method can do, by trying."""

from pathlib import Path
from typing import Annotated

import typer
from typer import Option

from anomalyst.cli import options as opt
from anomalyst.cli.screen import progress


def abilities(
    clip: Annotated[
        Path | None,
        Option(metavar="DIR", help="Folder of a CLIP model: WinCLIP and AnomalyGPT are run, too."),
    ] = None,
    out: opt.Results = Path("out/abilities"),
) -> None:
    """Fill the ability matrix: few-shot, score, localisation, judgement, dialogue.

    Every method that can be run is tried on drawn parts, which takes a minute or two; the cells of
    the others are quoted and say so. The table is in DIR/abilities.md, what was found of those
    tried in DIR/abilities.json.

    Example: anomalyst study abilities --clip models/clip-vit-b16
    """
    from anomalyst.evaluation.studies.ability_table import study_abilities

    with progress("Drawing products") as bar:

        def show(name: str, done: int, total: int) -> None:
            bar.describe(name)
            bar.show(done, total)

        text = study_abilities(out, clip=str(clip) if clip else None, progress=show)
    typer.echo(text)
    typer.echo(f"Written to {out}: abilities.json, abilities.md")

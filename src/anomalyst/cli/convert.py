"""`anomalyst convert`: weights that others published, into folders of ours."""

from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from anomalyst.cli.screen import say

app = typer.Typer(no_args_is_help=True, help="Published weights, made into folders of ours.")


@app.callback()
def convert() -> None:
    """Published weights, made into folders of ours."""


@app.command()
def imagebind(
    file: Annotated[
        Path, Argument(metavar="FILE", help="The published state dict, imagebind_huge.pth.")
    ],
    out: Annotated[Path, Option(metavar="DIR", help="A new folder.")],
    size: Annotated[
        str,
        Option(
            metavar="huge|small|FILE.yaml", help="What it is the state dict of: `huge`, published."
        ),
    ] = "huge",
) -> None:
    """ImageBind's six towers (image, text, audio, depth, thermal, imu) as config and safetensors.

    Nothing in FILE is run. Each of its tensors is used exactly once; anything else is refused. The
    published weights are CC-BY-NC 4.0, not for commercial use; their licence is written beside
    them.

    Example: anomalyst convert imagebind imagebind_huge.pth --out models/imagebind-huge
    """
    from anomalyst.backbones.imagebind.converting import LICENCE_FILE, convert_file
    from anomalyst.backbones.imagebind.sizes import size_of

    config = size_of(size)
    numbers = convert_file(file, out, config)
    towers = ", ".join(config.modalities)
    typer.echo(f"{out}: {numbers / 1e6:.1f} million numbers, towers {towers}.")
    say(f"Licence: CC-BY-NC 4.0, not for commercial use; see {out / LICENCE_FILE}.")

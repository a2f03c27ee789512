"""`anomalyst bench compression`: detector and language model in fewer bytes."""

from pathlib import Path
from typing import Annotated

import typer
from typer import Option

from anomalyst.cli import options as opt
from anomalyst.cli.screen import needs, progress, say


def compression(
    dataset: opt.Dataset,
    category: opt.Categories = None,
    max_pictures: Annotated[int, Option(min=4, metavar="N", help="Of each category.")] = 16,
    detector: Annotated[
        list[str] | None,
        Option(metavar="WAY", help="One way; may be repeated; none: no way.", show_default="all"),
    ] = None,
    language: Annotated[
        list[str] | None,
        Option(metavar="WAY", help="The same of the language model.", show_default="all"),
    ] = None,
    half: Annotated[
        str,
        Option(metavar="run:DIR", help="A run of recipes/half.yaml, measured beside the others."),
    ] = "",
    halves: Annotated[
        str, Option(metavar="NAMES", help="Categories of the first half, by commas.")
    ] = "",
    steps: Annotated[int, Option(min=1, help="Of fine-tuning, where a way has it.")] = 40,
    rounds: Annotated[int, Option(min=1, help="Of timing, in turns with float32.")] = 5,
    out: opt.Results = Path("out/compression"),
) -> None:
    """Make detector and language model smaller in every way: accuracy, size, latency, one table.

    float32, bfloat16, 8 bit (dynamic, static, quantisation-aware), 6-bit float and 4-bit weights,
    pruned by magnitude and by structure (both fine-tuned), and a distilled half-size detector.
    Beside one good picture; the language model on held-out dialogues about drawn parts. What is
    shipped stays as it is. Writes compression.md, .json and .png; goes on where it stopped.

    Example: anomalyst --threads 1 bench compression sets/mvtec --max-pictures 16
    Example: anomalyst bench compression sets/mvtec --detector "int8 static" --language none
    Example: anomalyst bench compression sets/mvtec --half run:runs/half --halves bottle,screw
    """  # fmt: skip
    needs("train", "matplotlib", "sklearn", "psutil")
    from anomalyst.datasets.reading import read_categories
    from anomalyst.training.studies.compression.page import compression_table
    from anomalyst.training.studies.compression.study import (
        CompressionStudy,
        study_compression,
    )

    chosen = {
        name: () if ways == ["none"] else tuple(ways)
        for name, ways in (("detector", detector), ("language", language))
        if ways
    }
    study = CompressionStudy(
        max_pictures=max_pictures,
        steps=steps,
        rounds=rounds,
        half=half,
        halves=tuple(name for name in halves.split(",") if name),
        **chosen,  # type: ignore[arg-type]
    )
    samples = read_categories(dataset, category or [])
    with progress("Inspecting and fine-tuning") as bar:
        rows = study_compression(samples, study, out, say=say, on_step=bar.advance)
    typer.echo(compression_table(rows))
    typer.echo(f"Written to {out}")

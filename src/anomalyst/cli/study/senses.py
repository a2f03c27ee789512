"""`anomalyst study senses`: one space for six senses, and what it is good for."""

from pathlib import Path
from typing import Annotated

import typer
from typer import Option

from anomalyst.cli import options as opt
from anomalyst.cli.screen import needs, say


def senses(
    parts: Annotated[int, Option(min=2, help="Drawn to train on.")] = 4000,
    held_out: Annotated[
        int, Option(min=2, help="Drawn of known families, and of families never seen, to judge.")
    ] = 500,
    bind_steps: Annotated[int, Option(min=2, help="Of recipes/imagebind.yaml.")] = 450,
    clip_steps: Annotated[int, Option(min=2, help="Of recipes/clip.yaml, with each loss.")] = 600,
    way_steps: Annotated[int, Option(min=2, help="Of symmetric and one-way InfoNCE.")] = 300,
    probe_steps: Annotated[int, Option(min=2, help="Of a classifier with all labels.")] = 120,
    products: Annotated[int, Option(min=1, help="Held out, on which faults are found.")] = 14,
    seed: Annotated[int, Option(help="Of each run.")] = 1,
    out: opt.Results = Path("out/senses"),
) -> None:
    """Bind picture, text, sound, depth, heat and vibration of drawn parts; retrieval and more.

    Trains the small ImageBind, CLIP with InfoNCE and with the sigmoid, and each direction of
    InfoNCE; then retrieval from every sense to every other, zero-shot names, few-label probes
    beside a CNN, and faults found by one sense. Writes senses.html, senses.md and JSON; the same
    command goes on where it stopped.

    Example: anomalyst study senses --out out/senses
    """
    needs("train", "sklearn", "matplotlib", "psutil")
    from anomalyst.training.studies.senses.page import write_senses_page
    from anomalyst.training.studies.senses.study import SensesStudy, study_senses

    study = SensesStudy(
        parts=parts,
        held_out=held_out,
        bind_steps=bind_steps,
        clip_steps=clip_steps,
        way_steps=way_steps,
        probe_steps=probe_steps,
        products=products,
        seed=seed,
    )
    figures = study_senses(study, out, say)
    typer.echo(write_senses_page(out, study, figures))
    typer.echo(f"Written to {out}: senses.html, senses.md")

"""`anomalyst study sft`: a base model, and SFT on one, four and six data sets."""

from pathlib import Path
from typing import Annotated

import typer
from typer import Option

from anomalyst.cli import options as opt
from anomalyst.cli.screen import needs, say


def sft(
    tiny: Annotated[bool, Option("--tiny", help="A few steps and questions, to try it.")] = False,
    seed: Annotated[int, Option(help="Of the weights and of all that is written.")] = 0,
    out: opt.Results = Path("out/sft-sets"),
) -> None:
    """Ask a base model and the same after SFT on 1, 4 and 6 data sets the same questions.

    The base is a small LLaMA pretrained on running text: it speaks our sentences, answers nothing,
    and goes on with turns of its own. All three tunings have equally many steps. Writes sft.html
    and sft.md; goes on where it stopped.

    Example: anomalyst study sft --out out/sft-sets
    """
    needs("train", "matplotlib", "peft", "psutil")
    from anomalyst.training.studies.sft.page import write_sft_page
    from anomalyst.training.studies.sft.study import SFTStudy, study_sft

    study = SFTStudy(seed=seed)
    if tiny:
        study = SFTStudy(seed=seed, base_steps=8, sft_steps=8, questions=2)
    answers = study_sft(study, out, say=say)
    typer.echo(write_sft_page(out, study, answers))
    typer.echo(f"Written to {out}: sft.html, sft.md")

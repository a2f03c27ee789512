"""`anomalyst study peft`: ways to tune few parameters, side by side."""

from pathlib import Path
from typing import Annotated

import typer
from typer import Option

from anomalyst.cli import options as opt
from anomalyst.cli.screen import needs, say


def peft(
    method: Annotated[
        list[str] | None,
        Option(
            metavar="none|prompt_learner|lora|adapter|prefix|prompt|ia3|bitfit|sparse|language",
            help="What is trained; may be repeated.",
            show_default="all",
        ),
    ] = None,
    steps: Annotated[int, Option(min=10, help="Of each run.")] = 100,
    pictures: Annotated[int, Option(min=20, help="Drawn; a fifth is held out.")] = 400,
    seed: Annotated[int, Option(help="Of the drawings and of each run.")] = 0,
    language: Annotated[
        Path | None,
        Option(metavar="DIR", help="The model that is tuned.", show_default="the shipped one"),
    ] = None,
    out: opt.Results = Path("out/peft"),
) -> None:
    """Tune one language model with LoRA, adapters, prefix, prompt, IA3, BitFit and sparse masks.

    It was told in words what a detector found, and shall now answer from the map alone. What shows
    it the map, the prompt learner, is trained in every row but `none`. Beside the seven: that
    alone, and the whole language model. Writes peft.md, peft.png and every run; goes on where it
    stopped.

    Example: anomalyst study peft --method lora --method ia3 --steps 100
    """
    needs("train", "matplotlib", "peft", "psutil")
    from anomalyst.inspection.config import EMBEDDED_LANGUAGE
    from anomalyst.training.experiments.tables import peft_table
    from anomalyst.training.studies.peft import ROWS, PeftStudy, study_peft

    study = PeftStudy(
        methods=tuple(method or ROWS),
        steps=steps,
        pictures=pictures,
        seed=seed,
        language=str(language or EMBEDDED_LANGUAGE),
    )
    rows = study_peft(study, out, say=say)
    typer.echo(peft_table(rows))
    typer.echo(f"Written to {out}")

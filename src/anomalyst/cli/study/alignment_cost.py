"""`anomalyst study alignment-cost`: seconds and memory of SFT, reward model and PPO."""

from pathlib import Path
from typing import Annotated

import typer
from typer import Option

from anomalyst.cli import options as opt
from anomalyst.cli.screen import needs, say


def alignment_cost(
    override: opt.Overrides = None,
    steps: Annotated[int, Option(min=3, help="Of each stage; the first is not timed.")] = 6,
    width: Annotated[
        list[int] | None,
        Option(
            metavar="N",
            help="Of an actor of random weights beside the shipped one; may be repeated.",
            show_default="128, 512",
        ),
    ] = None,
    looks: Annotated[
        Path | None,
        Option(metavar="DIR", help="Looks gathered before.", show_default="gathered in OUT"),
    ] = None,
    recipes: Annotated[Path, Option(metavar="DIR", help="sft.yaml, reward.yaml, ppo.yaml.")] = Path(
        "recipes"
    ),
    training_utilisation: Annotated[
        float, Option(min=0.01, max=1.0, help="Share of an A100's peak in training, assumed.")
    ] = 0.45,
    generation_utilisation: Annotated[
        float, Option(min=0.001, max=1.0, help="Share of it in saying token by token, assumed.")
    ] = 0.10,
    out: opt.Results = Path("out/alignment-cost"),
) -> None:
    """Time and weigh SFT, reward model and PPO; project hours and price for 1.3B to 175B.

    Each stage of `anomalyst align` is run for a few steps with simulated preferences, for actors of
    several sizes. Beside the projection stand the figures that DeepSpeed-Chat's report claims.
    Overrides are STAGE.key=value. Writes alignment-cost.html and alignment-cost.md; goes on where
    it stopped.

    Example: anomalyst study alignment-cost --steps 6 --width 128 --width 512

    Example: anomalyst study alignment-cost ppo.batch=16 ppo.answer_tokens=256
    """
    needs("train", "matplotlib", "peft", "psutil")
    from anomalyst.training.studies.alignment_cost.measuring import CostStudy, measure_costs
    from anomalyst.training.studies.alignment_cost.page import write_cost_page
    from anomalyst.training.studies.alignment_cost.projection import ProjectionConfig

    study = CostStudy(
        steps=steps,
        widths=tuple(width or (128, 512)),
        looks=str(looks or ""),
        recipes=recipes,
        overrides=tuple(override or ()),
    )
    config = ProjectionConfig(
        training_utilisation=training_utilisation, generation_utilisation=generation_utilisation
    )
    costs = measure_costs(study, out, say=say)
    typer.echo(write_cost_page(out, costs, config))
    typer.echo(f"Written to {out}: alignment-cost.html, alignment-cost.md")

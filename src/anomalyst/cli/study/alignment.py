"""`anomalyst study alignment`: simulated inspectors of a known taste."""

from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Argument, Option

from anomalyst.cli import options as opt
from anomalyst.cli.screen import needs, say


def alignment(
    override: Annotated[
        list[str] | None,
        Argument(metavar="[STAGE.key=value...]", help="Changes to the recipes."),
    ] = None,
    *,
    taste: Annotated[
        list[str] | None,
        Option(metavar="short|precise|cautious", help="May be repeated.", show_default="all"),
    ] = None,
    method: Annotated[
        list[str] | None,
        Option(metavar="ppo|grpo|dpo", help="May be repeated.", show_default="all"),
    ] = None,
    corrections: Annotated[int, Option(min=1, help="Answers worded better.")] = 200,
    rankings: Annotated[int, Option(min=1, help="Questions of which 4 answers are ranked.")] = 500,
    noise: Annotated[float, Option(min=0, max=0.5, help="Comparisons gone wrong.")] = 0.1,
    rounds: Annotated[int, Option(min=1, help="Of PPO: collect, reward, PPO, again.")] = 1,
    questions: Annotated[int, Option(min=10, help="Held out, to judge on.")] = 200,
    looks: Annotated[
        Path | None, Option(metavar="DIR", help="Features of drawn pictures that are there.")
    ] = None,
    recipes: opt.AlignRecipes = Path("recipes"),
    seed: Annotated[int, Option(help="Of the questions and of the sampled answers.")] = 0,
    out: opt.Results = Path("out/alignment"),
) -> None:
    """Align the shipped model with inspectors whose taste is known, and see whether they like it.

    For each taste: corrections, SFT, rankings of sampled answers, a reward model, PPO, GRPO and
    DPO. Writes alignment.html, alignment.md and every run; goes on where it stopped.

    Example: anomalyst study alignment --taste short --method ppo --out out/alignment
    """
    needs("train", "matplotlib", "peft", "psutil")
    from anomalyst.training.alignment.stages import METHODS
    from anomalyst.training.data.preferences.tastes import TASTES
    from anomalyst.training.studies.alignment import AlignmentStudy, run_alignment_study
    from anomalyst.training.studies.alignment_page import write_alignment_page

    study = AlignmentStudy(
        tastes=tuple(taste or TASTES),
        methods=tuple(method or METHODS),
        corrections=corrections,
        rankings=rankings,
        noise=noise,
        rounds=rounds,
        questions=questions,
        looks=str(looks or ""),
        recipes=recipes,
        seed=seed,
        overrides=tuple(override or ()),
    )

    def on_log(name: str) -> Any:
        def told(line: dict[str, Any]) -> None:
            if "step" in line:
                figure = line.get("reward", line["loss"])
                say(f"{name}: step {line['step']}/{line['steps']}  {figure:.3f}")

        return told

    results = run_alignment_study(study, out, say=say, on_log=on_log)
    typer.echo(write_alignment_page(study, results, out))
    typer.echo(f"Written to {out}")

"""`anomalyst study imbalance`: categories of unequal size, drawn and weighted."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Option

from anomalyst.cli import options as opt
from anomalyst.cli.screen import needs, progress, say


def imbalance(
    override: opt.Overrides = None,
    tiny: Annotated[
        bool, Option("--tiny", help="Drawn sets of 60 to 391 good pictures, a tiny language model.")
    ] = False,
    recipe: Annotated[
        Path, Option(metavar="RECIPE.yaml", help="What is trained; task anomalygpt.")
    ] = Path("recipes/anomalygpt.yaml"),
    seeds: Annotated[int, Option(min=1, help="Runs of each arm.")] = 3,
    out: Annotated[
        Path, Option(metavar="DIR", help="Runs and page; the same command goes on there.")
    ] = Path("out/imbalance"),
) -> None:
    """Train by each way of drawing categories and each loss; right answers by category.

    Six arms: categories drawn by_picture, uniform, inverse; and by_picture with weighted
    cross-entropy, with adaptive focal loss, with both. Writes imbalance.html, imbalance.md and a
    plot. Without --tiny the recipe's own sets and language model are used.

    Example: anomalyst study imbalance --tiny --seeds 3

    Example: anomalyst study imbalance 'data=\\[sets/mvtec]' language_model=./vicuna-7b epochs=5
    """
    needs("train", "matplotlib", "peft", "psutil", "kornia")
    from anomalyst.training.studies.imbalance import ARMS, ImbalanceConfig, run_imbalance
    from anomalyst.training.studies.imbalance_page import write_imbalance_page

    config = ImbalanceConfig(recipe=recipe, overrides=tuple(override or ()), tiny=tiny, seeds=seeds)
    with progress("Preparing") as bar:

        def heard(arm: str, seed: int) -> Callable[[dict[str, Any]], None]:
            bar.describe(f"{arm}, seed {seed}")
            bar.show(seed * len(ARMS) + list(ARMS).index(arm))

            def show(line: dict[str, Any]) -> None:
                if line.get("step") == line.get("steps", 0):
                    say(f"{arm}, seed {seed}: loss {line['loss']:.4f}")

            return show

        counts, runs = run_imbalance(
            config, out, on_plan=lambda total: bar.show(0, total), on_log=heard
        )
    typer.echo(write_imbalance_page(out, config, counts, runs))
    typer.echo(f"Written to {out}: imbalance.html, imbalance.md")

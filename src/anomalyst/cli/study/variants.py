"""`anomalyst study variants`: the six variants of the predecessor's successor."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer import Option

from anomalyst.cli import options as opt
from anomalyst.cli.screen import Bar, needs, progress, say


def variants(
    override: opt.Overrides = None,
    tiny: Annotated[
        bool, Option("--tiny", help="Drawn pictures and a tiny language model: minutes on a CPU.")
    ] = False,
    reading: Annotated[
        Literal["written", "scheduler"],
        Option(help="The learning rate written, or the scheduler's own maximum."),
    ] = "written",
    recipes: Annotated[
        Path, Option(metavar="DIR", help="Where table.yaml and v1.yaml to v6.yaml are.")
    ] = Path("recipes/variants"),
    out: Annotated[
        Path, Option(metavar="DIR", help="Runs and page; the same command goes on there.")
    ] = Path("out/variants"),
) -> None:
    """Train the reports' six variants and a baseline, and set them beside the reports' figures.

    Writes variants.html and variants.md: configuration, curves, right and wrong answers by
    category, AUROCs, what the training monitor found. Without --tiny the recipes' own sets and
    language model are used; key=value changes them in every recipe.

    Example: anomalyst study variants --tiny

    Example: anomalyst study variants language_model=./vicuna-7b images=sets/llava --reading
    scheduler --out out/variants-scheduler
    """
    needs("train", "matplotlib", "peft", "psutil", "kornia")
    from anomalyst.training.studies.variant_page import write_variant_page
    from anomalyst.training.studies.variants import VariantStudyConfig, run_variants

    config = VariantStudyConfig(
        recipes=recipes, reading=reading, tiny=tiny, overrides=tuple(override or ())
    )
    with progress("Preparing") as bar:
        shown = _Shown(bar)
        table, runs = run_variants(config, out, on_plan=shown.plan, on_log=shown.log)
    typer.echo(write_variant_page(out, config, table, runs))
    typer.echo(f"Written to {out}: variants.html, variants.md")


class _Shown:
    """One bar over the steps of all runs."""

    def __init__(self, bar: Bar):
        self.bar, self.steps = bar, dict[str, int]()

    def plan(self, steps: Mapping[str, int]) -> None:
        """So many steps of each run are to come."""
        self.steps = dict(steps)
        self.bar.show(0, sum(steps.values()))

    def log(self, name: str) -> Callable[[dict[str, Any]], None]:
        """What a run says is counted; its notes are said."""
        names = list(self.steps)
        before = sum(self.steps[other] for other in names[: names.index(name)])
        self.bar.describe(f"Training {name}")
        self.bar.show(before)

        def show(line: dict[str, Any]) -> None:
            if "note" not in line:
                self.bar.show(before + int(line["step"]))
                if line["step"] == line["steps"]:
                    say(f"{name}: {line['steps']} steps, loss {line['loss']:.4f}")

        return show

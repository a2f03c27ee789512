"""Every arm trained with every seed, and judged on the pictures it has not seen."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from anomalyst.config import to_mapping
from anomalyst.errors import AnomalystError
from anomalyst.evaluation.classifiers.costs import Costs, cost_table
from anomalyst.evaluation.classifiers.delong import Difference, difference
from anomalyst.evaluation.classifiers.figures import ClassifierFigures
from anomalyst.training.experiments.runs import RunRecord, read_run
from anomalyst.training.loop import train
from anomalyst.training.monitor.log import LogCallback
from anomalyst.training.networks.classifier import Classifier
from anomalyst.training.recipe import Recipe
from anomalyst.training.studies.networks.plan import Arm, NetworksConfig, arms_of
from anomalyst.training.studies.networks.results import Results, Trained
from anomalyst.training.studies.resuming import begin_study, has_ended, refuse_other_study
from anomalyst.training.tasks import load_recipe

CURVE_POINTS = 60
EXAMPLES = 64  # test pictures on which 8 bit is compared with float32


def run_networks(
    config: NetworksConfig,
    out: Path,
    *,
    only: Sequence[int] = (),
    on_plan: Callable[[int], None] = lambda _: None,
    on_run: Callable[[str, int], LogCallback] = lambda *_: lambda _: None,
) -> Results | None:
    """Every arm with every seed, trained unless it is; None while seeds but `only` are missing.

    `only`: train runs of these seeds and no others, so that processes share the work. `on_plan`
    gets the number of runs, `on_run` an arm and a seed. Raises AnomalystError where another study
    was begun in `out`, and where the recipes cannot be run.
    """
    settings = to_mapping(config)
    for grows in ("seeds", "groups"):
        settings.pop(grows)  # more of them may follow
    refuse_other_study(out, settings)
    arms = arms_of(config.groups)
    planned = [(arm, seed) for seed in range(config.seeds) for arm in arms if _runs(arm, seed)]
    wanted = [(arm, seed) for arm, seed in planned if not only or seed in only]
    on_plan(len(wanted))
    for arm, seed in wanted:
        recipe = _recipe(config, arm, out, seed)
        begin_study(out, settings)
        folder = arm.folder(out, seed)
        if not has_ended(recipe, folder):
            train(recipe, folder, on_log=on_run(arm.name, seed))
    if any(not (arm.folder(out, seed) / "end.json").exists() for arm, seed in planned):
        return None
    return _gathered(config, out, planned)


def _runs(arm: Arm, seed: int) -> bool:
    return seed == 0 or not arm.first_seed_only


def _recipe(config: NetworksConfig, arm: Arm, out: Path, seed: int) -> Recipe:
    path = config.recipes / f"{arm.network}.yaml"
    words = [f"data={config.data}", *config.overrides, *arm.recipe_words(out, seed)]
    recipe = load_recipe(path, words)
    if recipe.task != "supervised":
        raise AnomalystError(f"{path}: task is {recipe.task!r}; supervised is needed.")
    return recipe.resolved()


def _gathered(config: NetworksConfig, out: Path, planned: Sequence[tuple[Arm, int]]) -> Results:
    trained = tuple(_read(arm, out, seed) for arm, seed in planned)
    first = [arm for arm, seed in planned if arm.group == "scratch" and seed == 0]
    recipes = {arm.network: read_run(arm.folder(out, 0)).recipe for arm in first}
    found = Results(
        study=to_mapping(config),
        recipes=recipes,
        counts=json.loads((first[0].folder(out, 0) / "data.json").read_text(encoding="utf-8")),
        trained=trained,
        against_best={},
        costs=tuple(_costs(first, out)),
        machine=_machine(),
    )
    return found


def _read(arm: Arm, out: Path, seed: int) -> Trained:
    folder = arm.folder(out, seed)
    run = read_run(folder)
    figures = json.loads((folder / "figures.json").read_text(encoding="utf-8"))
    return Trained(
        arm=arm.name,
        group=arm.group,
        network=arm.network,
        seed=seed,
        parameters=0,
        seconds=0.0,
        figures=ClassifierFigures.from_dict(figures),
        curve=_curve(run),
    )

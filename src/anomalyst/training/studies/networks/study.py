"""Every arm trained with every seed, and judged on the pictures it has not seen."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from anomalyst.config import to_mapping
from anomalyst.errors import AnomalystError
from anomalyst.evaluation.classifiers.costs import Costs, cost_table
from anomalyst.evaluation.classifiers.delong import Difference, macro_difference
from anomalyst.hardware.processor import processor
from anomalyst.training.experiments.runs import RunRecord, read_run
from anomalyst.training.monitor.log import LogCallback
from anomalyst.training.networks.built import number_of
from anomalyst.training.networks.classifier import Classifier, read_card
from anomalyst.training.studies.networks.plan import (
    Arm,
    NetworksConfig,
    arms_of,
)
from anomalyst.training.studies.networks.results import Results, Trained
from anomalyst.training.studies.resuming import begin_study, refuse_other_study, run_once
from anomalyst.training.tasks import load_as
from anomalyst.training.tasks.supervised.figures import read_figures
from anomalyst.training.tasks.supervised.pictures import Pictures, read_pictures
from anomalyst.training.tasks.supervised.recipe import SupervisedRecipe

CURVE_POINTS = 60
EXAMPLES = 64  # test pictures on which 8 bit is compared with float32
CURVES = {  # a run's figures -> a curve's
    "loss": "train_loss",
    "validation_loss": "test_loss",
    "train_accuracy": "train_accuracy",
    "test_accuracy": "test_accuracy",
    "test_auroc": "test_auroc",
}


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
    # Before anything is trained, so that what cannot be run is told at once.
    recipes = {arm.name: recipe_of(config, arm, out) for arm in arms}
    on_plan(len(wanted))
    for arm, seed in wanted:
        if arm.teacher and not _has_figures(Path(arm.taught_by(out, seed))):
            continue  # the training monitor ended the teacher's run
        recipe = replace(recipes[arm.name], seed=seed, teacher=arm.taught_by(out, seed))
        begin_study(out, settings)
        run_once(recipe, arm.folder(out, seed), on_run(arm.name, seed))
    scratch = [(arm, seed) for arm, seed in planned if not arm.teacher]
    if any(not (arm.folder(out, seed) / "end.json").exists() for arm, seed in scratch):
        return None
    if any(_is_missing(arm, out, seed) for arm, seed in planned if arm.teacher):
        return None
    return _gathered(config, out, planned)


def _has_figures(folder: Path) -> bool:
    return (folder / "figures.json").is_file()


def _is_missing(arm: Arm, out: Path, seed: int) -> bool:
    """Whether a student's run is still to come; without its teacher it never does."""
    taught = _has_figures(Path(arm.taught_by(out, seed)))
    return taught and not (arm.folder(out, seed) / "end.json").exists()


def _runs(arm: Arm, seed: int) -> bool:
    return seed == 0 or not arm.first_seed_only


def recipe_of(config: NetworksConfig, arm: Arm, out: Path) -> SupervisedRecipe:
    """The resolved recipe of an arm, whatever its seed and without its teacher."""
    path = config.recipes / f"{arm.network}.yaml"
    words = [f"data={config.data}", f"kept={out / 'pictures.safetensors'}", *config.overrides]
    recipe = load_as(SupervisedRecipe, path, [*words, *arm.words])
    if arm.parameters_share != 1:
        recipe = replace(recipe, params=round(arm.parameters_share * number_of(recipe.params)))
    return recipe.resolved()


def _gathered(config: NetworksConfig, out: Path, planned: Sequence[tuple[Arm, int]]) -> Results:
    stopped = {
        f"{arm.name}, seed {seed}": _why(arm, out, seed)
        for arm, seed in planned
        if not _has_figures(arm.folder(out, seed))
    }
    planned = [one for one in planned if _has_figures(one[0].folder(out, one[1]))]
    trained = tuple(_read(arm, out, seed) for arm, seed in planned)
    first = [arm for arm, seed in planned if arm.group == "scratch" and seed == 0]
    if not first:
        raise AnomalystError(f"{out}: no network came to its end; {next(iter(stopped.values()))}")
    recipe = recipe_of(config, first[0], out)
    pictures = read_pictures(recipe)
    found = Results(
        study=to_mapping(config),
        recipes={arm.name: read_run(arm.folder(out, 0)).recipe for arm, n in planned if n == 0},
        counts=_counts(pictures, recipe.classes),
        trained=trained,
        stopped=stopped,
        against_best={},
        costs=tuple(_costs(first, out, pictures)),
        machine=f"{processor().name}, one thread",
    )
    return replace(found, against_best=_against_best(found.best(), out, planned))


def _why(arm: Arm, out: Path, seed: int) -> str:
    """Why a run has no figures: what its record says, or its teacher has none."""
    folder = arm.folder(out, seed)
    if not (folder / "end.json").exists():
        return f"its teacher, {arm.teacher}, was stopped"
    return str(read_run(folder).end.get("why") or "it was ended before its figures were written")


def _read(arm: Arm, out: Path, seed: int) -> Trained:
    folder = arm.folder(out, seed)
    figures = read_figures(folder)
    assert figures is not None  # others are told as stopped
    run = read_run(folder)
    return Trained(
        arm=arm.name,
        group=arm.group,
        network=arm.network,
        seed=seed,
        parameters=read_card(folder).parameters,
        seconds=_seconds(run),
        figures=figures,
        curve=tuple(_curve(run)),
    )


def _seconds(run: RunRecord) -> float:
    """Of all steps; looks at the test part are not counted."""
    steps, before = 0.0, 0.0
    for line in run.lines:
        if "seconds_per_step" in line:
            steps += (line["step"] - before) * line["seconds_per_step"]
            before = line["step"]
    return round(steps, 1)


def _curve(run: RunRecord) -> Iterator[dict[str, float]]:
    """Loss and accuracy on train and test, under one name each."""
    every = max(1, len(run.lines) // CURVE_POINTS)
    for number, line in enumerate(run.lines):
        point = {"step": line["step"]} | {
            name: line[key] for key, name in CURVES.items() if key in line
        }
        if number % every == 0 or "test_accuracy" in point:
            yield point


def _counts(pictures: Pictures, classes: Sequence[str]) -> dict[str, dict[str, int]]:
    """Pictures by split and class."""
    return {
        split: {name: int((part.labels == place).sum()) for place, name in enumerate(classes)}
        for split, part in (("train", pictures.train), ("test", pictures.test))
    }


def _against_best(
    best: str, out: Path, planned: Sequence[tuple[Arm, int]]
) -> dict[str, tuple[Difference, ...]]:
    """DeLong's paired test of every arm's (macro) AUROC with the best arm's of the same seed."""
    folders = {seed: arm.folder(out, seed) for arm, seed in planned if arm.name == best}
    known = {seed: _predictions(folder)[1] for seed, folder in folders.items()}
    found: dict[str, list[Difference]] = {}
    for arm, seed in planned:
        if arm.name == best or seed not in known:
            continue
        labels, said = _predictions(arm.folder(out, seed))
        found.setdefault(arm.name, []).append(macro_difference(labels, said, known[seed]))
    return {name: tuple(rows) for name, rows in found.items()}


def _predictions(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Of the test pictures: classes (N,) and probabilities (N, K)."""
    lines = (folder / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    classes = list(rows[0]["probabilities"])
    labels = np.array([classes.index(row["label"]) for row in rows])
    return labels, np.array([[row["probabilities"][name] for name in classes] for row in rows])


def _costs(arms: Sequence[Arm], out: Path, pictures: Pictures) -> list[Costs]:
    """Of each network trained from labels with seed 0, on test pictures as it gets them."""
    loaded = {arm.name: Classifier.load(arm.folder(out, 0)) for arm in arms}
    inputs = next(iter(loaded.values())).card.inputs
    some = torch.linspace(0, len(pictures.test) - 1, min(EXAMPLES, len(pictures.test))).long()
    return cost_table(
        {name: one.network for name, one in loaded.items()},
        inputs.size,
        channels=inputs.channels,
        examples=inputs.normalised(pictures.test.pixels[some]),
    )

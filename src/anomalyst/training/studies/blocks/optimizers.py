"""Optimizers: their paths over a surface of two weights, and one recipe's loss under each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from anomalyst.config import to_mapping
from anomalyst.training.optimization import SOURCE_RATES, make_optimizer
from anomalyst.training.recipe import OptimizerName, Recipe, WatchConfig
from anomalyst.training.studies.blocks.runs import RowRun, Told, run_rows, write_figures
from anomalyst.training.studies.resuming import begin_study, refuse_other_study
from anomalyst.training.tasks import load_as
from anomalyst.training.tasks.layers import LayersRecipe

NAMES: tuple[OptimizerName, ...] = (
    "gradient_descent", "sgd", "momentum", "adagrad", "rmsprop", "adam",
)  # fmt: skip
RATES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)  # among which each finds its best on the surface
POINTS, BATCH = 64, 4  # of the line that is fitted; seen at once by all but full-batch descent
START = (-1.5, 2.5)  # slope and intercept


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerStudy:
    """What is run."""

    recipe: Path = Path("recipes/layers.yaml")
    overrides: tuple[str, ...] = ()
    full: bool = False  # the recipe's own network and steps
    seeds: int = 3
    path_steps: int = 200


# Two dense layers and 30 passes through 1,000 digits; --full leaves the recipe as it is.
SMALL = (
    "network=[{layer: dense, width: 64}, {layer: dense, width: 64}]", "pictures=1000",
    "steps=600", "batch=50",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Walk:
    """A way over the surface."""

    name: OptimizerName
    rate: float
    of_source: bool  # the source's rate, or the best of RATES
    places: tuple[tuple[float, float], ...]  # (slope, intercept), the start first
    loss: float  # of all points, at the end


def line_data() -> tuple[Tensor, Tensor]:
    """x (POINTS,), not centred, which makes a long narrow valley, and y = 2 x - 1 with noise."""
    generator = torch.Generator().manual_seed(0)
    x = 1.5 + torch.randn(POINTS, generator=generator)
    return x, 2 * x - 1 + 0.5 * torch.randn(POINTS, generator=generator)


def line_loss(weights: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Half the mean squared error of slope and intercept (..., 2) on points (n,) -> (...)."""
    return 0.5 * (weights[..., :1] * x + weights[..., 1:] - y).square().mean(-1)


def walk(name: OptimizerName, rate: float, steps: int, *, of_source: bool) -> Walk:
    """Fit the line from START; batches are the same for all optimizers."""
    x, y = line_data()
    numbers = torch.Generator().manual_seed(1)
    weights = torch.tensor(START, requires_grad=True)
    recipe = Recipe(optimizer=name, learning_rate=rate, weight_decay=0)
    optimizer = make_optimizer(recipe, [{"params": [weights]}])
    places = [START]
    for _ in range(steps):
        rows = torch.randint(POINTS, (BATCH,), generator=numbers)
        seen = slice(None) if name == "gradient_descent" else rows
        optimizer.zero_grad()
        line_loss(weights, x[seen], y[seen]).backward()
        optimizer.step()
        slope, intercept = weights.tolist()
        places.append((slope, intercept))
    return Walk(name, rate, of_source, tuple(places), float(line_loss(weights.detach(), x, y)))


def walks(steps: int) -> list[Walk]:
    """Of every optimizer the way at the source's rate, and at its best of RATES."""
    found = []
    for name in NAMES:
        found.append(walk(name, SOURCE_RATES[name], steps, of_source=True))
        tried = [walk(name, rate, steps, of_source=False) for rate in RATES]
        found.append(min((w for w in tried if w.loss == w.loss), key=lambda w: w.loss))
    return found


def study_optimizers(
    study: OptimizerStudy, out: Path, told: Told = lambda *_: None
) -> tuple[list[Walk], list[RowRun]]:
    """The walks, and the recipe's runs under each optimizer; OUT/optimizers.json.

    Every run sees as many pictures: full-batch descent has as many steps as the others have passes.
    Raises AnomalystError where OUT holds another study, and for a recipe of another task.
    """
    settings = to_mapping(study)
    settings.pop("seeds")  # more of them may follow
    refuse_other_study(out, settings)
    recipes: dict[str, Sequence[LayersRecipe]] = {name: recipes_of(study, name) for name in NAMES}
    begin_study(out, settings)
    found = walks(study.path_steps)
    runs = run_rows(recipes, out, told)
    write_figures(out, "optimizers", study, walks=found, runs=runs)
    return found, runs


def recipes_of(study: OptimizerStudy, name: OptimizerName) -> Sequence[LayersRecipe]:
    """The recipe under an optimizer at the source's rate, one for each seed."""
    words = [*(() if study.full else SMALL), *study.overrides, f"optimizer={name}"]
    recipe = load_as(LayersRecipe, study.recipe, words)
    passes = max(1, recipe.steps * recipe.batch // recipe.pictures)
    steps = passes if name == "gradient_descent" else recipe.steps
    quiet = replace(
        recipe, steps=steps, watch=WatchConfig(every=0), validate_every=steps,
        checkpoint_every=steps, log_every=max(1, steps // 30),
    )  # fmt: skip
    return [replace(quiet, seed=seed) for seed in range(study.seeds)]


def passes_of(
    runs: Sequence[RowRun], study: OptimizerStudy
) -> Mapping[str, list[list[tuple[float, float]]]]:
    """Of each optimizer its runs' losses against passes through the set."""
    found: dict[str, list[list[tuple[float, float]]]] = {}
    for name in NAMES:
        recipe = recipes_of(study, name)[0]
        whole = 1.0 if name == "gradient_descent" else recipe.batch / recipe.pictures
        found[name] = [
            [(step * whole, loss) for step, loss in run.curve] for run in runs if run.row == name
        ]
    return found

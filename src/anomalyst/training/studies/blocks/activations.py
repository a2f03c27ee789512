"""Activations: their curves, and what is said about them, each sentence measured."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anomalyst.config import to_mapping
from anomalyst.layers.activations import (
    ACTIVATIONS,
    ActivationName,
    NamedActivation,
    careless_softmax,
    softmax,
)
from anomalyst.layers.stack import LayerConfig
from anomalyst.training.data.digits import draw_digits
from anomalyst.training.recipe import WatchConfig
from anomalyst.training.studies.blocks.runs import RowRun, Told, run_rows, write_figures
from anomalyst.training.studies.resuming import begin_study, refuse_other_study
from anomalyst.training.tasks.layers import LayersRecipe

# Softmax works on a row as a whole: it is an output, not what stands between layers.
HIDDEN: tuple[ActivationName, ...] = tuple(n for n in get_args(ActivationName) if n != "softmax")
DYING = ("relu", "leaky_relu", "elu", "softplus")


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivationStudy:
    """How much of everything."""

    seeds: int = 3
    steps: int = 400  # of each training run
    depth: int = 20  # layers through which a gradient is followed
    width: int = 64
    dying_rates: tuple[float, ...] = (0.01, 0.1, 1.0, 3.0)  # of SGD; large ones kill ReLUs
    dying_steps: int = 200


@dataclass(frozen=True, slots=True)
class Followed:
    """How much of a gradient is left at the first of many layers."""

    name: str
    seed: int
    share: float  # gradient norm at the first layer's weights over that at the last's
    largest_slope: float  # of the activation, from -20 to 20
    slope_at_5: float


@dataclass(frozen=True, slots=True)
class Dead:
    """Units without any slope on any picture of the set, which no step can wake."""

    name: str
    rate: float
    seed: int
    share: float
    right: float  # of the set, after training


@dataclass(frozen=True, slots=True)
class Overflow:
    """Softmax of (x, 0, 0): as written and with its largest taken off."""

    dtype: str
    x: float
    careless: str
    careful: str


@dataclass(frozen=True, slots=True)
class ActivationFigures:
    """All that was measured."""

    followed: list[Followed]
    dead: list[Dead]
    overflow: list[Overflow]
    runs: list[RowRun]


def study_activations(
    study: ActivationStudy, out: Path, told: Told = lambda *_: None
) -> ActivationFigures:
    """Vanishing, dying, overflowing, and a run of each activation; OUT/activations.json.

    Training goes on where it stopped; the rest takes seconds. Raises AnomalystError where OUT holds
    another study.
    """
    settings = to_mapping(study)
    settings.pop("seeds")  # more of them may follow
    refuse_other_study(out, settings)
    begin_study(out, settings)
    recipes: dict[str, list[LayersRecipe]] = {
        name: [training_recipe(study, name, seed) for seed in range(study.seeds)] for name in HIDDEN
    }
    figures = ActivationFigures(
        followed=[
            follow_gradient(study, name, seed) for name in HIDDEN for seed in range(study.seeds)
        ],
        dead=dying_units(study),
        overflow=overflowing(),
        runs=run_rows(recipes, out, told),
    )
    write_figures(
        out, "activations", study, followed=figures.followed, dead=figures.dead,
        overflow=figures.overflow, runs=figures.runs,
    )  # fmt: skip
    return figures


def training_recipe(study: ActivationStudy, name: ActivationName, seed: int) -> LayersRecipe:
    """Two hidden layers of one activation, Adam at the source's rate."""
    hidden = LayerConfig(layer="dense", width=study.width, activation=name)
    return LayersRecipe(
        network=(hidden, hidden), seed=seed, steps=study.steps, batch=50, optimizer="adam",
        schedule="constant", warmup_steps=0, weight_decay=0, clip_norm=0, ema_decay=0,
        precision="float32", log_every=20, checkpoint_every=max(study.steps, 1),
        validate_every=study.steps, watch=WatchConfig(every=0),
    )  # fmt: skip


def follow_gradient(study: ActivationStudy, name: ActivationName, seed: int) -> Followed:
    """One backward pass through `depth` dense layers with Glorot and Bengio's weights (2010)."""
    generator = torch.Generator().manual_seed(seed)
    layers = [nn.Linear(study.width, study.width) for _ in range(study.depth)]
    x = torch.randn(256, study.width, generator=generator)
    for layer in layers:
        nn.init.xavier_uniform_(layer.weight, generator=generator)
        nn.init.zeros_(layer.bias)
        x = NamedActivation(name)(layer(x))
    goal = torch.randn(x.shape, generator=generator)
    first, last = layers[0].weight, layers[-1].weight
    if x.requires_grad:
        F.mse_loss(x, goal).backward()
    share = _norm(first) / _norm(last) if _norm(last) else 0.0
    grid = torch.linspace(-20, 20, 4001)
    slope = ACTIVATIONS[name].derivative
    return Followed(
        name, seed, share, float(slope(grid).max()), float(slope(torch.tensor([5.0]))[0])
    )


def dying_units(study: ActivationStudy) -> list[Dead]:
    """Train a hidden layer by plain SGD at rising rates; who has no slope on any picture?"""
    found = []
    for seed in range(study.seeds):
        pictures, labels = draw_digits(1000, 16, seed, noise=0.15)
        seen = pictures.flatten(1)  # (1000, 256)
        for name in DYING:
            for rate in study.dying_rates:
                found.append(_trained_and_counted(study, name, rate, seed, seen, labels))
    return found


def overflowing() -> list[Overflow]:
    """Where the formula as written stops being one, in two precisions."""
    found = []
    for dtype in (torch.float32, torch.float16):
        for x in (10.0, 12.0, 80.0, 89.0, 1000.0):
            row = torch.tensor([x, 0.0, 0.0], dtype=dtype)
            found.append(
                Overflow(
                    str(dtype).removeprefix("torch."), x, _words(careless_softmax(row)),
                    _words(softmax(row)),
                )
            )  # fmt: skip
    return found


def shares(dead: Sequence[Dead], name: str, rate: float) -> list[float]:
    """The shares of dead units of an activation at a rate, over seeds."""
    return [one.share for one in dead if one.name == name and one.rate == rate]


def _trained_and_counted(
    study: ActivationStudy, name: str, rate: float, seed: int, seen: Tensor, labels: Tensor
) -> Dead:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        first, last = nn.Linear(seen.shape[1], study.width), nn.Linear(study.width, 10)
    numbers = torch.Generator().manual_seed(seed)
    act = ACTIVATIONS[name]
    optimizer = torch.optim.SGD([*first.parameters(), *last.parameters()], rate)
    for _ in range(study.dying_steps):
        rows = torch.randint(len(seen), (50,), generator=numbers)
        loss = F.cross_entropy(last(act.value(first(seen[rows]))), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        before = first(seen)  # (1000, width)
        asleep = (act.derivative(before) == 0).all(0)
        right = (last(act.value(before)).argmax(1) == labels).float().mean()
    return Dead(name, rate, seed, float(asleep.float().mean()), float(right))


def _norm(weight: Tensor) -> float:
    return 0.0 if weight.grad is None else float(weight.grad.norm())


def _words(row: Tensor) -> str:
    return ", ".join("nan" if math.isnan(x) else f"{x:.4g}" for x in row.tolist())

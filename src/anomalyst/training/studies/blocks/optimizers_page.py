"""The study of optimizers as a page: paths over a surface as SVG, losses, a table."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from anomalyst.report.sections import Section
from anomalyst.training.experiments.plots import draw_curves
from anomalyst.training.experiments.tables import SPREAD, spread
from anomalyst.training.optimization import SOURCE_RATES
from anomalyst.training.studies.blocks.optimizers import (
    BATCH,
    NAMES,
    POINTS,
    RATES,
    OptimizerStudy,
    Walk,
    line_data,
    line_loss,
    passes_of,
    recipes_of,
)
from anomalyst.training.studies.blocks.runs import RowRun
from anomalyst.training.studies.page import write_page


def write_optimizers_page(
    study: OptimizerStudy, walks: Sequence[Walk], runs: Sequence[RowRun], out: Path
) -> str:
    """OUT/optimizers.html, optimizers.md, the paths as SVG, the losses as PNG; the Markdown."""
    intro = [
        "Six optimizers by name, at the rates of the course that they are from: "
        f"{', '.join(f'{name} {SOURCE_RATES[name]:g}' for name in NAMES)}.",
        "gradient_descent sees the whole set in each step; the others a few of it.",
    ]
    sections = [_paths(study, walks), _losses(study, runs)]
    return write_page(out, "optimizers", "Optimizers", intro, sections)


def draw_paths(walks: Sequence[Walk]) -> bytes:
    """An SVG: the surface of slope and intercept, and every way over it."""
    figure = Figure(figsize=(12, 5.2), layout="constrained")
    for axes, of_source in zip(figure.subplots(1, 2), (True, False), strict=True):
        _draw_surface(axes)
        for index, one in enumerate(w for w in walks if w.of_source == of_source):
            way = np.array(one.places)
            axes.plot(way[:, 0], way[:, 1], ".-", markersize=2.5, linewidth=1, color=f"C{index}",
                      label=f"{one.name} {one.rate:g}: loss {one.loss:.3f}")  # fmt: skip
        axes.set(xlabel="slope", ylabel="intercept", xlim=(-2.2, 4), ylim=(-3.2, 3.4))
        axes.set_title("the source's rates" if of_source else "the best rate of each")
        axes.legend(fontsize="small", loc="upper right")
    FigureCanvasSVG(figure)
    held = BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "optimizers"}):  # the same walks, the same file
        figure.savefig(held, format="svg", metadata={"Date": None})
    return held.getvalue()


def _draw_surface(axes: Axes) -> None:
    slopes, intercepts = torch.linspace(-2.2, 4, 150), torch.linspace(-3.2, 3.4, 150)
    grid = torch.stack(torch.meshgrid(slopes, intercepts, indexing="xy"), -1)  # (150, 150, 2)
    loss = line_loss(grid, *line_data())
    levels = np.geomspace(0.13, float(loss.max()), 18)
    axes.contour(slopes, intercepts, loss, levels=levels, colors="0.75", linewidths=0.7)
    lowest = _lowest()
    axes.plot([lowest[0]], [lowest[1]], "k+", markersize=12)


def _lowest() -> tuple[float, float]:
    """Where the surface is lowest, by least squares."""
    x, y = line_data()
    slope, intercept = torch.linalg.lstsq(torch.stack([x, torch.ones_like(x)], 1), y).solution
    return float(slope), float(intercept)


def _paths(study: OptimizerStudy, walks: Sequence[Walk]) -> Section:
    lowest = float(line_loss(torch.tensor(_lowest()), *line_data()))
    rows = []
    for name in NAMES:
        own, best = (next(w for w in walks if w.name == name and w.of_source == s)
                     for s in (True, False))  # fmt: skip
        rows.append(
            [name, f"{own.rate:g}", f"{own.loss:.4f}", f"{best.rate:g}", f"{best.loss:.4f}"]
        )
    told = (
        f"A line is fitted to {POINTS} points from one start, {study.path_steps} steps; all but "
        f"gradient_descent see {BATCH} points, the same for each. The lowest loss there is: "
        f"{lowest:.4f} (+). Best rates are the best of {', '.join(f'{r:g}' for r in RATES)}."
    )
    heads = ["optimizer", "source's rate", "loss", "best rate", "its loss"]
    return Section(
        title="Paths over a surface of two weights", sentences=[told], heads=heads, rows=rows,
        picture=draw_paths(walks), shows="contours of the loss and the way of each optimizer",
    )  # fmt: skip


def _losses(study: OptimizerStudy, runs: Sequence[RowRun]) -> Section:
    rows = []
    for name in NAMES:
        some = [run for run in runs if run.row == name]
        right = [100 * r.test_accuracy for r in some if r.test_accuracy is not None]
        recipe = recipes_of(study, name)[0]
        rows.append([
            name, f"{recipe.peak_learning_rate:g}", str(recipe.steps),
            spread([run.loss for run in some]),
            spread(right, 1) if right else "stopped",
        ])  # fmt: skip
    recipe = recipes_of(study, "adam")[0]
    told = (
        f"{study.recipe.name}: {recipe.pictures:,} drawn digits, {study.seeds} "
        f"seed{'s' * (study.seeds > 1)}; {SPREAD}. All see as many pictures: "
        f"gradient_descent has a step where the others have {recipe.pictures // recipe.batch}."
    )
    heads = ["optimizer", "rate", "steps", "last loss in training", "right of unseen, %"]
    return Section(
        title="One recipe under each", sentences=[told], heads=heads, rows=rows,
        picture=draw_curves(
            passes_of(runs, study), "loss in training, mean of seeds",
            across="passes through the set",
        ),
        shows="a curve for each optimizer",
    )  # fmt: skip

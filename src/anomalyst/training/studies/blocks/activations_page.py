"""The study of activations as a page: curves, claims with their answers, tables."""

import statistics
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from anomalyst.layers.activations import ACTIVATIONS
from anomalyst.report.sections import Section
from anomalyst.training.experiments.plots import as_png, draw_curves
from anomalyst.training.experiments.tables import SPREAD, spread
from anomalyst.training.studies.blocks.activations import (
    DYING,
    HIDDEN,
    ActivationFigures,
    ActivationStudy,
    shares,
)
from anomalyst.training.studies.blocks.runs import curves_of
from anomalyst.training.studies.page import write_page

OUTPUTS = (
    ("one number (regression)", "1", "linear", "squared error"),
    ("several numbers", "N", "linear", "squared error"),
    ("one of two classes", "1", "sigmoid", "binary cross-entropy"),
    ("one of N classes", "N", "softmax", "cross-entropy"),
    ("any of N labels", "N", "sigmoid", "binary cross-entropy of each"),
)


def write_activations_page(study: ActivationStudy, figures: ActivationFigures, out: Path) -> str:
    """OUT/activations.html, activations.md and a PNG each; returns the Markdown."""
    intro = [
        "Eleven activations by name, as networks of layers and the language model take them; what "
        "is said about them was measured here.",
        f"{study.seeds} seed{'s' * (study.seeds > 1)} of everything; {SPREAD}.",
    ]
    sections = [
        _formulas(), _curves(), _claims(study, figures), _vanishing(study, figures),
        _dying(study, figures), _overflow(figures), _trained(study, figures), _outputs(),
    ]  # fmt: skip
    return write_page(out, "activations", "Activations", intro, sections)


def _formulas() -> Section:
    rows = [
        [name, a.formula, a.derivative_formula, f"{a.range[0]:g} to {a.range[1]:g}"]
        for name, a in ACTIVATIONS.items()
    ]
    heads = ["name", "formula f(x)", "derivative", "values from"]
    return Section(title="Formulas", heads=heads, rows=rows)


def _curves() -> Section:
    figure = Figure(figsize=(12, 7.5), layout="constrained")
    x = torch.linspace(-5, 5, 1001)
    panels = figure.subplots(3, 4).flat
    for axes, (name, act) in zip(panels[: len(ACTIVATIONS)], ACTIVATIONS.items(), strict=True):
        if name == "softmax":  # of two: the other logit is 0
            pairs = torch.stack([x, torch.zeros_like(x)], -1)
            value, slope = act.value(pairs)[:, 0], act.derivative(pairs)[:, 0, 0]
        else:
            value, slope = act.value(x), act.derivative(x)
        axes.plot(x, value, label="f", linewidth=1.8)
        axes.plot(x, slope, "--", label="derivative", linewidth=1.4)
        axes.set(title="softmax of (x, 0), first" if name == "softmax" else name, ylim=(-1.5, 3))
        axes.grid(alpha=0.3)
    for axes in panels[len(ACTIVATIONS) :]:
        axes.set_axis_off()
    figure.axes[0].legend(fontsize="small")
    return Section(
        title="Curves", picture=as_png(figure), shows="each activation and its derivative"
    )


def _claims(study: ActivationStudy, figures: ActivationFigures) -> Section:
    share = {n: _median(f.share for f in figures.followed if f.name == n) for n in HIDDEN}
    rate = study.dying_rates[-1]
    dead = {n: statistics.fmean(shares(figures.dead, n, rate)) for n in DYING}
    first = next((o for o in figures.overflow if "nan" in o.careless), None)
    rows = [
        [
            "Sigmoid vanishes", f"of the gradient at layer {study.depth}, {share['sigmoid']:.1e} "
            f"is left at layer 1 (ReLU: {share['relu']:.1e})",
            "yes" if share["sigmoid"] < 0.01 * share["relu"] else "no, not here",
        ],
        [
            "Tanh vanishes", f"{share['tanh']:.1e} is left; its slope is 1 at 0 and "
            f"{_slope(figures, 'tanh'):.1e} at 5",
            "only where it saturates" if share["tanh"] > 0.1 else "yes",
        ],
        [
            "ReLU can die", f"{100 * dead['relu']:.0f} % of units are dead after SGD at {rate:g}, "
            f"{100 * dead['leaky_relu']:.0f} % of leaky ReLU's",
            "yes" if dead["relu"] > dead["leaky_relu"] else "no, not here",
        ],
        [
            "Softmax overflows without care",
            f"as written it is nan at x = {first.x:g} and above in {first.dtype}, with its largest "
            "taken off never" if first else "nowhere in the table",
            "yes" if first else "no",
        ],
    ]  # fmt: skip
    return Section(
        title="What is said, and what was found", heads=["claim", "measured", "true?"], rows=rows
    )


def _vanishing(study: ActivationStudy, figures: ActivationFigures) -> Section:
    rows = []
    for name in HIDDEN:
        some = [f for f in figures.followed if f.name == name]
        rows.append([
            name, " ".join(f"{f.share:.1e}" for f in some), f"{some[0].largest_slope:.3f}",
            f"{some[0].slope_at_5:.1e}",
        ])  # fmt: skip
    told = (
        f"Gradient norm at the weights of layer 1 as a share of that of layer {study.depth}, "
        f"width {study.width}, Glorot weights, a value per seed. Step has no gradient at all."
    )
    heads = ["activation", "share left", "largest slope", "slope at 5"]
    return Section(title="Vanishing", sentences=[told], heads=heads, rows=rows)


def _dying(study: ActivationStudy, figures: ActivationFigures) -> Section:
    rows = []
    for name in DYING:
        last = [d for d in figures.dead if (d.name, d.rate) == (name, study.dying_rates[-1])]
        rows.append([
            name,
            *(spread([100 * x for x in shares(figures.dead, name, rate)], 1)
              for rate in study.dying_rates),
            spread([100 * d.right for d in last], 1),
        ])  # fmt: skip
    told = (
        f"Units of {study.width} whose slope is exactly 0 on each of 1,000 digits, in percent, "
        f"after {study.dying_steps} steps of SGD at four rates. (ELU's slope is never 0 on paper; "
        "below -104 its exponential is 0 in float32.) The last column: digits of that set named "
        "right after the largest rate, %."
    )
    heads = ["activation", *(f"rate {rate:g}" for rate in study.dying_rates), "right"]
    return Section(title="Dying", sentences=[told], heads=heads, rows=rows)


def _overflow(figures: ActivationFigures) -> Section:
    rows = [[o.dtype, f"{o.x:g}", o.careless, o.careful] for o in figures.overflow]
    heads = ["precision", "x", "as written", "largest taken off"]
    return Section(title="Softmax of (x, 0, 0)", heads=heads, rows=rows)


def _trained(study: ActivationStudy, figures: ActivationFigures) -> Section:
    rows = []
    for name in HIDDEN:
        some = [r for r in figures.runs if r.row == name]
        right = [100 * r.test_accuracy for r in some if r.test_accuracy is not None]
        rows.append([
            name, spread([r.loss for r in some]),
            spread(right, 1) if right else "stopped",
        ])  # fmt: skip
    told = (
        f"Drawn digits, two hidden layers of {study.width}, Adam at 0.001, {study.steps} steps of "
        "50. Step: nothing below the last layer learns. Linear: the layers come to one."
    )
    return Section(
        title="The same network under each", sentences=[told],
        heads=["activation", "last loss in training", "right of 1,000 unseen, %"], rows=rows,
        picture=draw_curves(curves_of(figures.runs, HIDDEN), "loss in training, mean of seeds"),
        shows="a curve for each activation",
    )  # fmt: skip


def _outputs() -> Section:
    told = (
        "The course that these names are from gives softmax for many labels. Softmax makes the N "
        "outputs share 1, so a picture with two labels could not have both above 0.5; with a "
        "sigmoid each label is a question of its own."
    )
    heads = ["what is asked", "outputs", "activation", "loss"]
    return Section(title="Output layers", sentences=[told], heads=heads, rows=list(OUTPUTS))


def _slope(figures: ActivationFigures, name: str) -> float:
    return next(f.slope_at_5 for f in figures.followed if f.name == name)


def _median(values: object) -> float:
    return float(np.median(list(values)))  # type: ignore[call-overload]

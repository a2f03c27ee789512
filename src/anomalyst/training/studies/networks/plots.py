"""Drawings of the study, as PNG."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from anomalyst.evaluation.classifiers.costs import FormatCost
from anomalyst.evaluation.classifiers.figures import ClassifierFigures
from anomalyst.training.experiments.plots import as_png
from anomalyst.training.studies.networks import tables
from anomalyst.training.studies.networks.results import Results, Trained

LOW, HIGH = 0.45, 1.0  # AUROCs drawn; chance is 0.5


def curves(results: Results, arms: Sequence[str]) -> bytes:
    """Loss and accuracy over the steps, train and test, mean of the seeds."""
    figure = Figure(figsize=(12, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for index, arm in enumerate(arms):
        runs = results.of(arm)
        colour = _colour(index)
        for axes, name in ((left, "loss"), (right, "accuracy")):
            for split, style in (("train", "--"), ("test", "-")):
                steps, values = _mean_curve(runs, f"{split}_{name}")
                label = arm if split == "test" else None
                axes.plot(steps, values, style, color=colour, label=label, linewidth=1.4)
    left.set(title="loss; dashed: train, full: test, labels alone", xlabel="step")
    right.set(title="accuracy; dashed: train, full: test", xlabel="step")
    for axes in (left, right):
        axes.grid(alpha=0.3)
    right.legend(fontsize="small")
    return as_png(figure)


def roc(results: Results, arms: Sequence[str]) -> bytes:
    """ROC curves of each arm's first seed, a panel for each class that has one."""
    shown = [results.of(arm)[0] for arm in arms]
    classes = list(shown[0].figures.curves)
    figure = Figure(figsize=(5.2 * len(classes), 4.8), layout="constrained")
    for axes, name in zip(figure.subplots(1, len(classes), squeeze=False)[0], classes, strict=True):
        for index, one in enumerate(shown):
            curve, area = one.figures.curves[name], one.figures.areas[name]
            label = f"{one.arm}: {area.value:.3f} {tables.interval_of(area, 3)}"
            axes.plot(curve.false_alarms, curve.recall, color=_colour(index), label=label)
        axes.plot((0, 1), (0, 1), ":", color="grey", linewidth=1)
        axes.set(xlabel="false alarm rate", ylabel="recall", title=name, aspect="equal")
        axes.legend(fontsize="x-small", loc="lower right")
        axes.grid(alpha=0.3)
    return as_png(figure)


def reliability(results: Results, arms: Sequence[str]) -> bytes:
    """Share of right answers against confidence, of each arm's first seed."""
    figure = Figure(figsize=(5.4, 4.8), layout="constrained")
    axes = figure.subplots()
    for index, arm in enumerate(arms):
        found = results.of(arm)[0].figures.reliability
        axes.plot(
            found.confidence, found.accuracy, "o-", color=_colour(index), markersize=3,
            label=f"{arm}: ECE {found.ece:.3f}",
        )  # fmt: skip
    axes.plot((0, 1), (0, 1), ":", color="grey")
    axes.set(xlabel="confidence", ylabel="share of right answers", aspect="equal")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    return as_png(figure)


def areas(results: Results, arms: Sequence[str]) -> bytes:
    """AUROC of every run with DeLong's 95 % interval, an arm a row."""
    figure = Figure(figsize=(9, 1 + 0.32 * len(arms)), layout="constrained")
    axes = figure.subplots()
    for row, arm in enumerate(reversed(arms)):
        runs = results.of(arm)
        places = row + 0.18 * (np.arange(len(runs)) - (len(runs) - 1) / 2)
        for place, one in zip(places, runs, strict=True):
            area = one.figures.area
            axes.plot((area.low, area.high), (place, place), "-", color="C0", linewidth=1.2)
            axes.plot(area.value, place, "o", color="C0", markersize=3)
    axes.axvline(0.5, linestyle=":", color="grey")
    axes.set_yticks(range(len(arms)), list(reversed(arms)), fontsize="small")
    found = [one.figures.area for arm in arms for one in results.of(arm)]
    lowest = min(area.value if math.isnan(area.low) else area.low for area in found)
    axes.set_xlim(min(LOW, math.floor(20 * lowest) / 20), HIGH + 0.01)
    axes.set_xlabel("AUROC")
    axes.grid(alpha=0.3, axis="x")
    return as_png(figure)


def cost(results: Results) -> bytes:
    """AUROC against milliseconds of one picture, float32 and 8 bit."""
    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    axes = figure.subplots()
    for index, one in enumerate(results.costs):
        mean = float(np.mean(results.aurocs(one.name)))
        for format_, mark in zip(one.formats, "os^", strict=False):
            if format_.milliseconds is not None:
                axes.plot(format_.milliseconds, mean, mark, color=_colour(index), alpha=0.8)
        axes.annotate(one.name, (_milliseconds(one.formats), mean), fontsize="small")
    axes.set(xscale="log", xlabel="ms a picture (circle float32, square and triangle 8 bit)")
    axes.set_ylabel("AUROC, mean of the seeds")
    axes.grid(alpha=0.3)
    return as_png(figure)


def confusion(figures: ClassifierFigures) -> bytes:
    """Cases of a class (rows) called another (columns)."""
    figure = Figure(figsize=(3.6, 3.2), layout="constrained")
    axes: Axes = figure.subplots()
    counts = np.array(figures.confusion)
    axes.imshow(counts / counts.sum(1, keepdims=True), cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        light = "white" if count > counts[row].sum() / 2 else "black"
        axes.text(column, row, str(count), ha="center", va="center", color=light)
    ticks = range(len(figures.classes))
    axes.set_xticks(ticks, figures.classes, rotation=30, fontsize="small")
    axes.set_yticks(ticks, figures.classes, fontsize="small")
    axes.set(xlabel="called", ylabel="is")
    return as_png(figure)


def _milliseconds(formats: Sequence[FormatCost]) -> float:
    return next(one.milliseconds for one in formats if one.milliseconds is not None)


def _mean_curve(runs: Sequence[Trained], name: str) -> tuple[list[float], list[float]]:
    lines = [{p["step"]: p[name] for p in one.curve if name in p} for one in runs]
    steps = sorted(set.intersection(*map(set, lines)))
    return steps, [float(np.mean([line[step] for line in lines])) for step in steps]


def _colour(index: int) -> str:
    return f"C{index % 10}"

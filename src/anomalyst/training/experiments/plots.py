"""Curves of one run or of many: loss, learning rate, gradient, time. PNG, no window."""

from collections.abc import Sequence
from io import BytesIO

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from anomalyst.training.experiments.runs import RunRecord

PANELS = (
    ("loss", "loss", False),
    ("learning_rate", "effective learning rate", False),
    ("gradient_norm", "gradient norm", True),
    ("seconds_per_step", "seconds per step", False),
)
SMOOTH = 15  # lines of a log in one point of a smooth curve
FIGURES = ("loss", "validation_loss", "learning_rate", "gradient_norm", "seconds_per_step")


def draw_runs(runs: Sequence[RunRecord]) -> bytes:
    """A PNG of four panels; thin lines are what was logged, thick ones their running means."""
    figure = Figure(figsize=(11, 7), layout="constrained")
    colours = matplotlib.colormaps["tab10"].colors  # type: ignore[attr-defined]
    for axes, (figure_name, title, log) in zip(figure.subplots(2, 2).flat, PANELS, strict=True):
        for index, run in enumerate(runs):
            colour = colours[index % len(colours)]
            _draw(axes, run, figure_name, run.name if len(runs) > 1 else title, colour)
            if figure_name == "loss":
                label = "validation" if len(runs) == 1 else ""
                _draw(axes, run, "validation_loss", label, colour, "--")
                if len(runs) == 1:
                    _draw_parts(axes, run)
        axes.set_title(title)
        axes.set_xlabel("step")
        if log and any((line.get_ydata() > 0).any() for line in axes.lines):
            axes.set_yscale("log")
        else:
            axes.set_ylim(bottom=min(0, axes.get_ylim()[0]))
        axes.grid(alpha=0.3)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    if len(labels) > 1:
        figure.axes[0].legend(handles, labels, fontsize="small")
    return as_png(figure)


def as_png(figure: Figure) -> bytes:
    """The bytes of a figure."""
    FigureCanvasAgg(figure)
    held = BytesIO()
    figure.savefig(held, format="png", dpi=110)
    return held.getvalue()


def _draw(
    axes: Axes, run: RunRecord, name: str, label: str, colour: object, style: str = "-"
) -> None:
    points = [(line["step"], line[name]) for line in run.lines if name in line]
    if not points:
        return
    steps, values = np.array(points).T
    smooth = values if name == "learning_rate" else _smoothed(values)  # that one is exact
    if len(values) > SMOOTH and smooth is not values:
        axes.plot(steps, values, color=colour, alpha=0.25, linewidth=0.8)
    shape = "o" if len(values) == 1 else ""
    axes.plot(steps, smooth, style, marker=shape, color=colour, label=label, linewidth=1.8)


def _draw_parts(axes: Axes, run: RunRecord) -> None:
    """What the loss is made of, apart: mixed they are a band that nobody can read."""
    known = {*FIGURES, "step", "steps", "skipped", "loss_scale", "answered", "answers_right"}
    parts = [n for n in (run.lines[0] if run.lines else {}) if n not in known]
    parts = [n for n in parts if not n.endswith(("_second", "_share", "_mb", "_percent"))]
    for index, name in enumerate(parts):
        _draw(axes, run, name, name, f"C{index + 2}")


def _smoothed(values: np.ndarray) -> np.ndarray:
    """Mean of the SMOOTH values around each, fewer at the ends: (n,) -> (n,)."""
    if len(values) <= SMOOTH:
        return values
    sums = np.cumsum(np.concatenate([np.zeros(1), values]))
    places = np.arange(len(values))
    half = np.minimum(np.minimum(places, len(values) - 1 - places), SMOOTH // 2)
    return np.asarray((sums[places + half + 1] - sums[places - half]) / (2 * half + 1))

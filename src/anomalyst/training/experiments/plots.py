"""Drawings of all experiments, as PNG and without a window."""

from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from anomalyst.training.experiments.allreduce.cost import MessageCost
from anomalyst.training.experiments.runs import RunRecord
from anomalyst.training.experiments.tables import AllReduceRow, EngineRow, PeftRow

PANELS = (
    ("loss", "loss", False),
    ("learning_rate", "effective learning rate", False),
    ("gradient_norm", "gradient norm", True),
    ("seconds_per_step", "seconds per step", False),
)
JUDGED = (("accuracy", "accuracy"), ("auroc", "AUROC"))  # on train and test, of classifiers
SMOOTH = 15  # lines of a log in one point of a smooth curve
LOG_FROM = 100  # a range whose ends are so far apart is searched and drawn by factors
FIGURES = ("loss", "validation_loss", "learning_rate", "gradient_norm", "seconds_per_step")


def draw_runs(runs: Sequence[RunRecord]) -> bytes:
    """A PNG of four panels; thin lines are what was logged, thick ones their running means.

    Two more where runs were judged on train (dashed) and test.
    """
    judged = any(run.last("test_accuracy") is not None for run in runs)
    rows = 3 if judged else 2
    figure = Figure(figsize=(11, 3.5 * rows), layout="constrained")
    colours = matplotlib.colormaps["tab10"].colors  # type: ignore[attr-defined]
    panels = list(figure.subplots(rows, 2).flat)
    for axes, (name, title) in zip(panels[4:], JUDGED, strict=False):
        for index, run in enumerate(runs):
            colour = colours[index % len(colours)]
            _draw(axes, run, f"test_{name}", "test" if len(runs) == 1 else run.name, colour)
            _draw(axes, run, f"train_{name}", "train" if len(runs) == 1 else "", colour, "--")
        axes.set(title=f"{title} on train (dashed) and test", xlabel="step")
        axes.grid(alpha=0.3)
    for axes, (figure_name, title, log) in zip(panels[:4], PANELS, strict=True):
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


def draw_search(trials: Sequence[Any], keys: Sequence[str], method: str) -> bytes:
    """A search by a method: the loss over time, and against each key."""
    figure = Figure(figsize=(3.6 * (len(keys) + 1), 3.4), layout="constrained")
    over_time, *panels = figure.subplots(1, len(keys) + 1, squeeze=False)[0]
    numbers = sorted((t.number, t.value) for t in trials)
    over_time.plot([n for n, _ in numbers], [v for _, v in numbers], "o", alpha=0.6)
    lowest = [min(v for _, v in numbers[: i + 1]) for i in range(len(numbers))]
    over_time.step([n for n, _ in numbers], lowest, where="post", label="best so far")
    over_time.set(xlabel="trial", ylabel="loss", title=f"search by {method}")
    over_time.legend(fontsize="small")
    for axes, key in zip(panels, keys, strict=True):
        values = [t.params[key] for t in trials]
        words = any(isinstance(v, str | bool) for v in values)
        axes.plot([str(v) if words else v for v in values], [t.value for t in trials], "o")
        if not words and min(values) > 0 and max(values) / min(values) >= LOG_FROM:
            axes.set_xscale("log")
        axes.set(xlabel=key)
    return as_png(figure)


def draw_engines(rows: Sequence[EngineRow], losses: Mapping[str, Sequence[float]]) -> bytes:
    """Engines: loss curves over each other, time and bytes beside each other."""
    figure = Figure(figsize=(13, 4.2), layout="constrained")
    curve, times, sent = figure.subplots(1, 3)
    for name, values in losses.items():
        curve.plot(range(1, len(values) + 1), values, label=name, linewidth=1, alpha=0.8)
    curve.set_title("loss: one line, all engines")
    curve.set_xlabel("step")
    curve.legend(fontsize="x-small", ncols=2)
    names = [f"{r.engine} x {r.processes}" for r in rows]
    times.barh(names, [1000 * r.seconds_per_step for r in rows])
    times.set_title("ms per step")
    sent.barh(names, [r.sent_kb_per_step for r in rows])
    sent.set_title("KB sent per step")
    for axes in (times, sent):
        axes.invert_yaxis()
    return as_png(figure)


def draw_allreduce(
    rows: Sequence[AllReduceRow], expected: Callable[[str, int, int], MessageCost]
) -> bytes:
    """All-reduce: time against size for each number of processes, then bytes as theory has them.

    `expected`: what is sent, of an algorithm, processes and numbers.
    """
    worlds = sorted({row.processes for row in rows})
    figure = Figure(figsize=(5 * (len(worlds) + 1), 4.4), layout="constrained")
    *panels, last = figure.subplots(1, len(worlds) + 1)
    for axes, world in zip(panels, worlds, strict=True):
        for way in dict.fromkeys(row.way for row in rows):
            some = [row for row in rows if row.way == way and row.processes == world]
            axes.plot([4 * x.numbers for x in some], [1000 * x.seconds for x in some], "o-",
                      markersize=3, label=way)  # fmt: skip
        axes.set(xscale="log", yscale="log", xlabel="bytes", ylabel="ms, median")
        axes.set_title(f"{world} processes")
    numbers = max(row.numbers for row in rows)
    counts = range(2, 17)
    for index, way in enumerate(dict.fromkeys(row.way for row in rows if row.sent)):
        shares = [expected(way, p, numbers).most_bytes / 4 / numbers for p in counts]
        style = "--" if way == "driver" else "-"  # as much as naive: one line over the other
        last.plot(counts, shares, style, color=f"C{index}", label=f"{way}, theory")
        some = [row for row in rows if row.way == way and row.numbers == numbers and row.sent]
        counted = [row.sent.most_bytes / 4 / numbers for row in some if row.sent]
        last.plot([row.processes for row in some], counted, "o", color=f"C{index}")
    last.set(xlabel="processes", ylabel="messages' bytes / bytes of the numbers")
    last.set_title("sent by the busiest process; dots: counted")
    for axes in (*panels, last):
        axes.legend(fontsize="small")
        axes.grid(alpha=0.3)
    return as_png(figure)


def draw_peft(rows: Sequence[PeftRow]) -> bytes:
    """Right answers, then validation loss, against the share of parameters that is trained."""
    figure = Figure(figsize=(11, 4.4), layout="constrained")
    panels = figure.subplots(1, 2)
    values: tuple[Callable[[PeftRow], float], ...] = (
        lambda row: 100 * row.right / row.asked,
        lambda row: row.validation_loss,
    )
    titles = ("right answers about held-out pictures, %", "validation loss")
    for axes, value, title in zip(panels, values, titles, strict=True):
        for row in rows:
            if row.trained:
                axes.plot([100 * row.trained / row.whole], [value(row)], "o", label=row.method)
            else:
                axes.axhline(value(row), linestyle="--", color="grey", label="nothing trained")
        axes.set(xscale="log", xlabel="trained parameters, % of the model", title=title)
        axes.grid(alpha=0.3)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right center")
    return as_png(figure)


def draw_alignment(lines: Sequence[Mapping[str, float]]) -> bytes:
    """Rewards, KL and its coefficient, entropy and length of the answers, over the steps."""
    panels = (
        ("rewards", ("reward", "verifiable_reward", "learned_reward")),
        ("KL from the model of the start, nats an answer", ("kl",)),
        ("KL coefficient", ("kl_coefficient",)),
        ("entropy, nats a token", ("entropy",)),
        ("tokens an answer", ("answer_tokens",)),
        ("share of clipped tokens", ("clipped",)),
    )
    figure = Figure(figsize=(12, 6), layout="constrained")
    for axes, (title, names) in zip(figure.subplots(2, 3).flat, panels, strict=True):
        for name in names:
            points = [(line["step"], line[name]) for line in lines if name in line]
            if points:
                label = name.replace("_", " ")
                axes.plot(*zip(*points, strict=True), label=label, linewidth=1.4)
        axes.set(title=title, xlabel="step")
        axes.grid(alpha=0.3)
        if len(names) > 1:
            axes.legend(fontsize="small")
    return as_png(figure)


def draw_curves(
    rows: Mapping[str, Sequence[Sequence[tuple[float, float]]]], title: str, *, across: str = "step"
) -> bytes:
    """A line for each row: the mean of its curves of (step, value), all at the same steps."""
    figure = Figure(figsize=(9, 4.6), layout="constrained")
    axes = figure.subplots()
    colours = matplotlib.colormaps["tab20"].colors  # type: ignore[attr-defined]
    for index, (row, curves) in enumerate(rows.items()):
        shortest = min((len(curve) for curve in curves), default=0)
        if shortest:
            held = np.array([curve[:shortest] for curve in curves]).mean(0)
            axes.plot(
                held[:, 0],
                held[:, 1],
                label=row,
                linewidth=1.5,
                color=colours[2 * index % 20 + index // 10],
            )
    axes.set(xlabel=across, title=title)
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right center", fontsize="small")
    return as_png(figure)


def draw_calibration(rows: Sequence[Sequence[float]]) -> bytes:
    """How often a reward model is right, by how sure it is: rows [chance, share right, pairs]."""
    figure = Figure(figsize=(4.4, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot([0.5, 1], [0.5, 1], "--", color="grey", label="calibrated")
    axes.plot([row[0] for row in rows], [row[1] for row in rows], "o-", label="reward model")
    for chance, right, count in rows:
        axes.annotate(f"{count:.0f}", (chance, right), textcoords="offset points", xytext=(5, -10))
    axes.set(xlabel="chance it gives the better answer", ylabel="share of pairs ranked right")
    axes.legend(fontsize="small")
    axes.grid(alpha=0.3)
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
    """The parts of the loss, each as a line of its own."""
    known = {*FIGURES, "step", "steps", "skipped", "loss_scale", "answered", "answers_right"}
    parts = [n for n in (run.lines[0] if run.lines else {}) if n not in known]
    other = ("_second", "_share", "_mb", "_percent", "_accuracy", "_auroc")
    parts = [n for n in parts if not n.endswith(other)]
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

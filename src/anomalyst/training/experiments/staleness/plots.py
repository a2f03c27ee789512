"""The bench of staleness drawn: curves, shares of time, how stale what was read."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from anomalyst.training.experiments.plots import as_png
from anomalyst.training.experiments.staleness.results import Result

BARS = {"computing": "#4c9a5b", "sending and receiving": "#e0b040", "idle": "#c0504d"}


def draw_staleness_curves(results: Sequence[Result]) -> bytes:
    """Loss against batches (left) and seconds (right), a row for each straggler."""
    stragglers = sorted({one.case.straggler for one in results})
    figure = Figure(figsize=(11, 3.3 * len(stragglers)), layout="constrained")
    panels = figure.subplots(len(stragglers), 2, squeeze=False, sharey="row")
    for row, slow in zip(panels, stragglers, strict=True):
        for index, one in enumerate(r for r in results if r.case.straggler == slow):
            done, seconds, loss = np.array(one.curve).T
            row[0].plot(done, loss, color=f"C{index}", label=label_of(one), linewidth=1.4)
            row[1].plot(seconds, loss, color=f"C{index}", label=label_of(one), linewidth=1.4)
        row[0].set(xlabel="batches by all workers", ylabel="loss of unseen pictures")
        row[0].set_title("no straggler" if slow == 1 else f"one worker {slow:g} times slower")
        row[1].set(xlabel="seconds")
        for axes in row:
            axes.grid(alpha=0.3)
            axes.set_ylim(bottom=0)
        row[1].legend(fontsize="small")
    return as_png(figure)


def draw_shares(results: Sequence[Result]) -> bytes:
    """What workers do with their time, a bar for each run; a panel for each straggler."""
    stragglers = sorted({one.case.straggler for one in results})
    figure = Figure(figsize=(11, 0.9 + 0.24 * len(results)), layout="constrained")
    heights = [sum(one.case.straggler == slow for one in results) for slow in stragglers]
    panels = figure.subplots(len(stragglers), 1, squeeze=False, sharex=True, height_ratios=heights)[
        :, 0
    ]
    for axes, slow in zip(panels, stragglers, strict=True):
        _draw_bars(axes, [one for one in results if one.case.straggler == slow])
        axes.set_title("no straggler" if slow == 1 else f"one worker {slow:g} times slower")
    panels[-1].set_xlabel("% of the workers' time")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper right", ncols=3)
    return as_png(figure)


def draw_lags(results: Sequence[Result]) -> bytes:
    """Iterations ahead of the slowest when a worker went on: a panel for each straggler."""
    stragglers = sorted({one.case.straggler for one in results})
    figure = Figure(figsize=(4 * len(stragglers), 3.4), layout="constrained")
    for axes, slow in zip(figure.subplots(1, len(stragglers), squeeze=False)[0], stragglers,
                          strict=True):  # fmt: skip
        some = [one for one in results if one.case.straggler == slow and one.lag]
        for index, one in enumerate(some):
            lags, counts = np.array(sorted(one.lag.items())).T
            shares = 100 * counts / counts.sum()
            axes.plot(lags, shares, "o-", markersize=3, color=f"C{index}", label=label_of(one))
        axes.set(xscale="symlog", yscale="symlog", xlabel="iterations ahead of the slowest")
        axes.set_ylim(bottom=0, top=110)
        axes.set_title("no straggler" if slow == 1 else f"one worker {slow:g} times slower")
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    figure.supylabel("% of all iterations", fontsize="medium")
    return as_png(figure)


def label_of(one: Result) -> str:
    """Topology but for a single server's, rule."""
    case = one.case
    shards = f" {case.servers} servers" if case.servers > 1 else ""
    return f"{'' if case.topology == 'server' else case.topology + ' '}{case.rule}{shards}"


def _draw_bars(axes: Axes, results: Sequence[Result]) -> None:
    names = [label_of(one) for one in results]
    left = np.zeros(len(results))
    idle = np.array([100 * one.idle_share for one in results])
    moving = np.array([100 * one.exchange_share for one in results])
    for (name, colour), share in zip(
        BARS.items(), (100 - idle - moving, moving, idle), strict=True
    ):
        axes.barh(names, share, left=left, color=colour, label=name)
        left = left + share
    axes.invert_yaxis()
    axes.set_xlim(0, 100)

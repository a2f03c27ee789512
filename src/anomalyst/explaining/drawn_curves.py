"""How fast layers learn, as curves."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from anomalyst.evaluation.reports.plots import save_figure
from anomalyst.explaining.learning_speed import LayerSpeed
from anomalyst.io.pictures import open_picture


def draw_speeds(path: Path, steps: Sequence[int], speeds: Sequence[LayerSpeed]) -> np.ndarray:
    """Write one curve a layer as PNG, from the first (dark) to the last (light)."""
    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    colours = colormaps["viridis"](np.linspace(0, 0.9, len(speeds)))
    for colour, one in zip(colours, speeds, strict=True):
        axes.plot(steps, one.likeness, marker="o", ms=3, color=colour, label=one.layer)
    axes.set(xlabel="step", ylabel="linear CKA with the last checkpoint", ylim=(0, 1.02))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    path.parent.mkdir(parents=True, exist_ok=True)
    save_figure(figure, path)
    return open_picture(path)

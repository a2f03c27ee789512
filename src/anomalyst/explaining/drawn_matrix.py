"""An attention matrix as a picture: tokens on both axes, viridis, every number written in."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from anomalyst.evaluation.reports.plots import save_figure
from anomalyst.io.pictures import open_picture


def draw_matrix(path: Path, weights: np.ndarray, tokens: Sequence[str], title: str) -> np.ndarray:
    """Write weights (T, T) as PNG; the picture, uint8 (H, W, 3)."""
    count = len(tokens)
    figure = Figure(figsize=(2 + 0.6 * count, 1.6 + 0.6 * count), layout="constrained")
    axes = figure.subplots()
    shown = axes.imshow(weights, cmap="viridis")
    axes.set_xticks(range(count), tokens, rotation=45, ha="right")
    axes.set_yticks(range(count), tokens)
    axes.set_xlabel("is looked at")
    axes.set_ylabel("looks")
    axes.set_title(title)
    middle = (float(weights.max()) + float(weights.min())) / 2
    for (row, column), value in np.ndenumerate(weights):
        colour = "black" if value > middle else "white"
        axes.text(column, row, f"{value:.2f}", ha="center", va="center", color=colour, fontsize=8)
    figure.colorbar(shown, shrink=0.8)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_figure(figure, path)
    return open_picture(path)

"""What is written of a finished supervised run: figures, predictions, ROC curves."""

import json
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
from torch import Tensor

from anomalyst.evaluation.classifiers.figures import ClassifierFigures, classifier_figures
from anomalyst.io.files import write_bytes, write_text
from anomalyst.training.experiments.plots import as_png
from anomalyst.training.tasks.supervised.pictures import Part


def write_figures(out: Path, test: Part, shares: Tensor, classes: Sequence[str]) -> None:
    """figures.json (`ClassifierFigures`), predictions.jsonl and roc.png of probabilities (N, K)."""
    figures = keep_figures(out, test.labels, shares, classes)
    lines = [
        json.dumps(
            {
                "picture": name,
                "label": classes[int(label)],
                # Unrounded: a rounded one makes ties of what was apart.
                "probabilities": dict(zip(classes, row, strict=True)),
            }
        )
        for name, label, row in zip(test.names, test.labels, shares.tolist(), strict=True)
    ]
    write_text(out / "predictions.jsonl", "\n".join(lines) + "\n")
    write_bytes(out / "roc.png", draw_roc(figures))


def keep_figures(
    out: Path, labels: Tensor, shares: Tensor, classes: Sequence[str]
) -> ClassifierFigures:
    """figures.json of labels (N,) and probabilities (N, K)."""
    figures = classifier_figures(labels.numpy(), shares.double().numpy(), classes)
    write_text(out / "figures.json", json.dumps(figures.to_dict(), indent=1) + "\n")
    return figures


def read_figures(out: Path) -> ClassifierFigures | None:
    """A finished run's; None where there are none yet."""
    path = out / "figures.json"
    if not path.is_file():
        return None
    return ClassifierFigures.from_dict(json.loads(path.read_text(encoding="utf-8")))


def draw_roc(figures: ClassifierFigures) -> bytes:
    """ROC curves of each class, with their areas and intervals, as PNG."""
    figure = Figure(figsize=(5, 4.6), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], "--", color="grey", linewidth=0.8)
    for name, curve in figures.curves.items():
        axes.plot(curve.false_alarms, curve.recall, label=f"{name}: {figures.areas[name]}")
    axes.set(xlabel="false alarm rate", ylabel="recall", title=f"{figures.count} test pictures")
    axes.legend(fontsize="small", loc="lower right")
    axes.grid(alpha=0.3)
    return as_png(figure)

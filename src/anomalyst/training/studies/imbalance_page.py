"""The study of imbalance as a page: right answers by category for each arm, with intervals."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from anomalyst.report.sections import Section
from anomalyst.training.experiments.plots import as_png
from anomalyst.training.experiments.tables import SPREAD, spread
from anomalyst.training.studies.imbalance import ARMS, PLAIN, TESTED, ArmRun, ImbalanceConfig
from anomalyst.training.studies.page import write_page
from anomalyst.training.tasks.category_balance import (
    Sampling,
    drawing_shares,
    inverse_frequency_weights,
)

Measure = Callable[[Mapping[str, float]], float]
MEASURES: Mapping[str, Measure] = {
    "Right answers, %": lambda row: 100 * row["right"] / row["asked"],
    "Pixel AUROC of the learnt map, %": lambda row: 100 * row.get("learnt_pixel_auroc", np.nan),
}


def write_imbalance_page(
    out: Path, config: ImbalanceConfig, counts: Mapping[str, int], runs: Sequence[ArmRun]
) -> str:
    """OUT/imbalance.html, imbalance.md and its plot; returns the Markdown.

    `counts`: good training pictures by category, the rarest first.
    """
    sections = [_drawn(counts)]
    for title, measure in MEASURES.items():
        sections.append(_table(title, measure, counts, runs))
        if config.seeds > 1:
            sections.append(_differences(title, measure, counts, runs))
    sections.append(
        Section(
            title="Drawn",
            picture=_plot(counts, runs),
            sentences=["Large: the mean; small: each seed."],
            shows="Right answers and pixel AUROC by category for each arm",
        )
    )
    return write_page(out, "imbalance", "Categories of unequal size", _intro(config), sections)


def _intro(config: ImbalanceConfig) -> list[str]:
    said = [
        "How a category is drawn, and two losses: cross-entropy of the words times the category's "
        "weight w = N / (C n), and a focal loss of the map with gamma / w.",
        f"Means over {config.seeds} seeds; {SPREAD}. All arms of a seed see the same "
        "pictures and start from the same weights.",
    ]
    if config.tiny:
        said.append(
            "Tiny: drawn products, other ones and another order of sizes for each seed, and a "
            f"LLaMA of 0.2 M parameters. Every category is asked about {TESTED} good and {TESTED} "
            "defective pictures that were held out. What a tiny model gains or loses in so few "
            "steps says little about a large one."
        )
    return said


def _drawn(counts: Mapping[str, int]) -> Section:
    weights = inverse_frequency_weights(counts)
    ways: tuple[Sampling, ...] = ("by_picture", "uniform", "inverse")
    shares = {way: drawing_shares(counts, way) for way in ways}
    rows = [[f"drawn {way}, %", *(f"{100 * one:.1f}" for one in shares[way])] for way in ways]
    rows.append(["weight w", *(f"{weights[name]:.2f}" for name in counts)])
    rows.append(["gamma 2 / w", *(f"{2 / weights[name]:.2f}" for name in counts)])
    heads = ["", *(f"{name} ({count} good)" for name, count in counts.items())]
    return Section(title="What each does to a category", heads=heads, rows=rows)


def _values(
    arm: str, names: Sequence[str], measure: Measure, runs: Sequence[ArmRun]
) -> list[float]:
    """The mean over these categories, for each seed."""
    mine = [one for one in runs if one.arm == arm]
    return [float(np.mean([measure(one.figures[name]) for name in names])) for one in mine]


def _table(
    title: str, measure: Measure, counts: Mapping[str, int], runs: Sequence[ArmRun]
) -> Section:
    groups = [[name] for name in counts] + [list(counts)]
    rows = [
        [arm, *(spread(_values(arm, names, measure, runs), 1) for names in groups)] for arm in ARMS
    ]
    return Section(title=title, heads=["arm", *counts, "mean"], rows=rows)


def _differences(
    title: str, measure: Measure, counts: Mapping[str, int], runs: Sequence[ArmRun]
) -> Section:
    """Seed by seed: what is common to a seed's products falls out."""
    groups, rows = [[name] for name in counts] + [list(counts)], []
    for arm in (arm for arm in ARMS if arm != PLAIN):
        cells = []
        for names in groups:
            both = (_values(which, names, measure, runs) for which in (arm, PLAIN))
            apart = [mine - plain for mine, plain in zip(*both, strict=True)]
            cells.append(spread(apart, 1, "+"))
        rows.append([arm, *cells])
    return Section(
        title=f"{title}: difference from {PLAIN}",
        sentences=["An interval that holds 0 says nothing for or against an arm."],
        heads=["arm", *counts, "mean"],
        rows=rows,
    )


def _plot(counts: Mapping[str, int], runs: Sequence[ArmRun]) -> bytes:
    """A panel for each measure: categories across, for each arm its mean and each seed."""
    figure = Figure(figsize=(12, 4.6), layout="constrained")
    names = list(counts)
    for axes, (title, measure) in zip(figure.subplots(1, 2), MEASURES.items(), strict=True):
        for index, arm in enumerate(ARMS):
            seeds = np.array([_values(arm, [name], measure, runs) for name in names])  # (C, seeds)
            places = np.arange(len(names)) + 0.12 * (index - (len(ARMS) - 1) / 2)
            axes.plot(places, seeds.mean(1), "o", color=f"C{index}", label=arm)
            axes.plot(places, seeds, ".", color=f"C{index}", markersize=4, alpha=0.6)
        axes.set_xticks(range(len(names)), [f"{name}\n{counts[name]} good" for name in names])
        axes.set_title(title)
        axes.grid(alpha=0.3, axis="y")
    figure.axes[0].legend(fontsize="small")
    return as_png(figure)

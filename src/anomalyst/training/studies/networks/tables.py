"""Tables of the study: rows of cells, for its page and for the paper."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from anomalyst.evaluation.classifiers.delong import Area
from anomalyst.training.experiments.tables import spread
from anomalyst.training.studies.networks.results import Results

# Given to us as figures to beat, without their source; their pictures and protocol are not ours.
PUBLISHED = (("distilled ViT, from outside", 0.8807), ("CvT, from outside", 0.9988))


@dataclass(frozen=True, slots=True)
class Table:
    """Heads, and as many cells in each row."""

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def quality(results: Results, arms: Sequence[str]) -> Table:
    """Accuracy, AUROC, calibration: the mean of the seeds and half of its 95 % interval.

    The interval in brackets is DeLong's, of the first seed on the test pictures: what another draw
    of pictures would change; the one after ± is Student's, over seeds.
    """
    rows = []
    for arm in arms:
        runs = results.of(arm)
        first = runs[0].figures
        cells = [
            arm,
            f"{runs[0].parameters / 1e6:.3f}",
            spread([100 * one.figures.accuracy for one in runs], 1),
            spread(results.aurocs(arm), 4),
            interval_of(first.area, 4),
            spread([one.figures.ece for one in runs], 3),
            spread([one.figures.brier for one in runs], 3),
            f"{np.mean([one.seconds for one in runs]) / 60:.1f}",
        ]
        rows.append(tuple(cells))
    heads = (
        "arm", "parameters, M", "accuracy, %", "AUROC", "DeLong 95 %, seed 0", "ECE", "Brier",
        "minutes",
    )  # fmt: skip
    return Table(heads, tuple(rows))


def differences(results: Results, arms: Sequence[str]) -> Table:
    """Each arm's AUROC less the best arm's on the same pictures, and DeLong's p, by seed."""
    rows = []
    for arm in arms:
        if arm == results.best():
            continue
        found = results.against_best[arm]
        rows.append((arm, *(f"{one.value:+.4f} (p {_p(one.p)})" for one in found)))
    longest = max((len(row) for row in rows), default=1)
    filled = tuple((*row, *[""] * (longest - len(row))) for row in rows)
    return Table(("arm", *(f"seed {seed}" for seed in range(longest - 1))), filled)


def costs(results: Results) -> Table:
    """Parameters, operations, and what a picture takes at float32 and in 8 bit."""
    rows = []
    for one in results.costs:
        formats = []
        for form in one.formats:
            if form.milliseconds is None or form.bytes is None:
                formats.append(f"no: {form.said}")
                continue
            same = "" if form.format == "float32" else f", {100 * (form.agreement or 0):.0f} % same"
            formats.append(f"{form.milliseconds:.2f} ms, {form.bytes / 1e6:.2f} MB{same}")
        rows.append((one.name, f"{one.trainable / 1e6:.3f}", f"{one.flops / 1e6:.0f}", *formats))
    names = [form.format for form in results.costs[0].formats]
    return Table(("network", "parameters, M", "MFLOP a picture", *names), tuple(rows))


def published(results: Results) -> Table:
    """The best of ours beside what is known from outside."""
    best = results.best()
    rows = [(f"{best} (ours)", spread(results.aurocs(best), 4))]
    rows += [(name, f"{value:.4f}") for name, value in PUBLISHED]
    return Table(("network", "AUROC"), tuple(rows))


def data(results: Results) -> Table:
    """Pictures by split and class."""
    classes = list(next(iter(results.counts.values())))
    rows = [(split, *(str(row[name]) for name in classes)) for split, row in results.counts.items()]
    return Table(("split", *classes), tuple(rows))


def interval_of(area: Area, digits: int) -> str:
    """In brackets; what there is to say where too few pictures give none."""
    if np.isnan(area.low):
        return "no interval"
    return f"[{area.low:.{digits}f}, {area.high:.{digits}f}]"


def _p(value: float) -> str:
    if np.isnan(value):
        return "-"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"

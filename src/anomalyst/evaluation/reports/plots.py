"""Curves and sheets of an evaluation as PNG files. No window is opened, no pyplot state kept."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from anomalyst.evaluation.metrics import Ranking, rank
from anomalyst.evaluation.protocols.run_records import Run, folder_name, read_rows
from anomalyst.evaluation.reports.cases import Case
from anomalyst.io.files import written_whole


def draw_curves(runs: Iterable[Run], out: Path) -> list[Path]:
    """OUT/curves/CATEGORY.png each: ROC and precision-recall of the picture scores, a line per run.

    The runs' rows are read back from `out`. A category whose pictures are all of one label has no
    curve and no file. Raises AnomalystError if `out` cannot be read or written.
    """
    rankings: dict[str, list[Ranking]] = {}
    for run in runs:
        rows = read_rows(out, run)
        ranking = rank([int(row.label == "anomalous") for row in rows], [row.score for row in rows])
        if ranking.has_both():
            rankings.setdefault(run.category, []).append(ranking)
    written = []
    for category, lines in rankings.items():
        path = out / "curves" / f"{folder_name(category)}.png"
        save_figure(_curves(category, lines), path)
        written.append(path)
    return written


def draw_sheet(groups: Mapping[str, Sequence[Case]], path: Path, title: str) -> None:
    """One PNG: a row per group (heading -> cases): picture, map over it, mask outline, score.

    All maps of a sheet share one colour scale, up to the highest value among them. Raises
    AnomalystError if the file cannot be written.
    """
    shown = {heading: list(cases) for heading, cases in groups.items() if cases}
    columns = max((len(cases) for cases in shown.values()), default=0)
    if not columns:
        return
    top = max(float(case.map.max()) for cases in shown.values() for case in cases)
    height, width = next(iter(shown.values()))[0].picture.shape[:2]
    inches = 2.6 * min(2.0, max(0.5, height / width)) + 0.75
    figure = Figure(figsize=(2.7 * columns, inches * len(shown) + 0.6), layout="constrained")
    figure.suptitle(f"{title}\ncolour: anomaly map, 0 to {top:.3g}; outline: ground truth")
    for strip, (heading, cases) in zip(
        np.atleast_1d(np.array(figure.subfigures(len(shown), 1))), shown.items(), strict=True
    ):
        strip.suptitle(heading, fontsize="medium")
        for axes, case in zip(strip.subplots(1, columns, squeeze=False)[0], cases, strict=False):
            _draw_case(axes, case, top)
        for axes in strip.axes:
            axes.set_axis_off()
    save_figure(figure, path)


def _draw_case(axes: Axes, case: Case, top: float) -> None:
    share = np.clip(case.map / max(top, 1e-12), 0, 1)
    axes.imshow(case.picture)
    # Opaque where the map is high: where it is low the picture must stay to be seen.
    axes.imshow(share, cmap="inferno", vmin=0, vmax=1, alpha=0.75 * np.sqrt(share))
    if case.mask is not None and case.mask.any():
        # One pixel of margin, so that the outline closes where the defect touches the border.
        height, width = case.mask.shape
        around = np.arange(-1, width + 1), np.arange(-1, height + 1), np.pad(case.mask, 1)
        axes.contour(*around, levels=[0.5], colors="cyan", linewidths=1)
    axes.set_title(f"{case.name}\n{case.score:.4g}: {case.verdict}", fontsize="x-small")


def _curves(category: str, rankings: Sequence[Ranking]) -> Figure:
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    figure.suptitle(f"{category or 'all'}: {len(rankings)} run{'s' if len(rankings) > 1 else ''}")
    for ranking in rankings:
        left.plot(*ranking.roc(), color="C0", alpha=0.6)  # straight through ties, as the area is
        right.step(*ranking.precision_recall(), where="pre", color="C0", alpha=0.6)
    area = np.mean([r.auroc() for r in rankings])
    precision = np.mean([r.average_precision() for r in rankings])
    left.plot([0, 1], [0, 1], color="0.7", linestyle=":")
    left.set(title=f"ROC, mean area {area:.3f}", xlabel="false alarm rate", ylabel="recall")
    right.set(title=f"Mean average precision {precision:.3f}", xlabel="recall", ylabel="precision")
    for axes in (left, right):
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
        axes.grid(alpha=0.3)
    return figure


def save_figure(figure: Figure, path: Path) -> None:
    """The figure as PNG. Raises AnomalystError if the file cannot be written."""
    # A name from the data set is text to show, not mathematics to set: "$" is a plain dollar.
    with matplotlib.rc_context({"text.parse_math": False}), written_whole(path) as part:
        FigureCanvasAgg(figure).print_png(str(part))

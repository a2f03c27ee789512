"""The few-shot study in Markdown, as a page of its own, and drawn."""

import base64
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing

from anomalyst.evaluation.baselines.comparison import Shots
from anomalyst.evaluation.reports.plots import save_figure
from anomalyst.evaluation.reports.tables import markdown_table
from anomalyst.evaluation.studies.few_shot_tables import METHODS, Row, Section
from anomalyst.io.files import write_text
from anomalyst.io.templates import template
from anomalyst.version import __version__

TITLE = "Few-shot: measured beside published"
PANELS = ("image AUROC", "pixel AUROC")


def write_report(sections: Sequence[Section], shots: Sequence[Shots], out: Path) -> None:
    """OUT/few-shot.md, few-shot.png and few-shot.html, which holds the picture.

    Raises AnomalystError if `out` cannot be written.
    """
    write_text(out / "few-shot.md", as_markdown(sections, shots))
    drawn = out / "few-shot.png"
    save_figure(draw(sections, shots), drawn)
    page = template("anomalyst.evaluation.studies", "few_shot.html.j2").render(
        title=TITLE,
        heads=[f"{one}-shot" for one in shots],
        shots=shots,
        sections=sections,
        drawn=base64.b64encode(drawn.read_bytes()).decode(),
    )
    write_text(out / "few-shot.html", page)


def as_markdown(sections: Sequence[Section], shots: Sequence[Shots]) -> str:
    """A table for each section; every cell says where its figures are from."""
    heads = ["method", "features", *(f"{one}-shot: image / pixel AUROC" for one in shots)]
    parts = [f"# {TITLE}"]
    for section in sections:
        rows = [
            [row.method, row.features, *(_marked(row, one) for one in shots)]
            for row in section.rows
        ]
        parts += [f"## {section.title}", section.said, markdown_table(heads, rows, words=2)]
    return "\n\n".join([*parts, f"Made by Anomalyst {__version__}."]) + "\n"


def _marked(row: Row, shots: Shots) -> str:
    known = not isinstance(row.cells[shots], str)
    return f"{row.text(shots)} ({row.origin})" if known else row.text(shots)


def draw(sections: Sequence[Section], shots: Sequence[Shots]) -> Drawing:
    """A row of two panels for each section: lines over the number of good pictures."""
    size = 11, 3.3 * len(sections)
    drawing = Drawing(figsize=size, layout="constrained")
    panels = drawing.subplots(len(sections), 2, squeeze=False)
    for section, pair in zip(sections, panels, strict=True):
        for part, (axes, name) in enumerate(zip(pair, PANELS, strict=True)):
            for row in section.rows:
                _line(axes, row, part, shots)
            axes.set_title(f"{section.title}: {name}", fontsize="medium")
            axes.set_xticks(range(len(shots)), [f"{one}-shot" for one in shots])
            axes.set(ylabel="%", xlim=(-0.15, len(shots) - 0.85))
            axes.grid(alpha=0.3)
        pair[1].legend(fontsize="x-small", loc="center left", bbox_to_anchor=(1.01, 0.5))
    return drawing


def _line(axes: Axes, row: Row, part: int, shots: Sequence[Shots]) -> None:
    """The figures of one row that are known; what was measured is drawn through, quoted dashed."""
    known = []
    for place, one in enumerate(shots):
        cell = row.cells[one]
        if not isinstance(cell, str) and (figure := cell[part]) is not None:
            known.append((place, figure.mean, figure.spread or 0.0))
    if not known:
        return
    places, means, spreads = zip(*known, strict=True)
    axes.errorbar(
        places,
        means,
        yerr=spreads,
        color=f"C{list(METHODS).index(row.method)}",
        linestyle="-" if row.origin == "measured" else "--",
        linewidth=2.5 if row.method == "ours" else 1.3,
        marker="o",
        markersize=4,
        capsize=3,
        label=f"{row.method}, {row.origin}",
    )

"""What methods for recordings reached and cost -> Markdown, JSON and one plot, beside published."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from anomalyst.evaluation.benchmarks.series.costs import Cost
from anomalyst.evaluation.benchmarks.series.nab import PROFILES
from anomalyst.evaluation.benchmarks.series.yardsticks import HALVES, Row
from anomalyst.evaluation.reports.plots import save_figure
from anomalyst.evaluation.reports.tables import markdown_table
from anomalyst.io.files import write_text

PUBLISHED = Path(__file__).with_name("published.yaml")
CHOSEN = (
    "smoothing, threshold, memory and quiet were chosen on the choosing half (names whose SHA-256 "
    "is even); the testing half was judged with them once."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesBench:
    """Everything that was measured."""

    rows: tuple[Row, ...]
    costs: tuple[Cost, ...]

    def of(self, benchmark: str) -> list[Row]:
        """Its rows, in the order of the methods."""
        return [row for row in self.rows if row.benchmark == benchmark]


def write_report(found: SeriesBench, out: Path) -> None:
    """OUT/series.md, .json and .png. Raises AnomalystError if they cannot be written."""
    write_text(out / "series.md", as_markdown(found))
    write_text(out / "series.json", json.dumps(asdict(found), indent=2) + "\n")
    if found.costs:
        _draw(found, out / "series.png")


def published(benchmark: str) -> tuple[str, dict[str, list[Any]]]:
    """(where they stand, method -> figures) as their authors give them."""
    table = yaml.safe_load(PUBLISHED.read_text(encoding="utf-8"))[benchmark]
    return table["source"], table["rows"]


def as_markdown(found: SeriesBench) -> str:
    """A section for each benchmark there are rows of, and what a method costs."""
    sections = {"drawn": _drawn, "SKAB": _skab, "NAB": _nab}
    parts = [write(rows) for name, write in sections.items() if (rows := found.of(name))]
    costs = [_costs(found.costs)] if found.costs else []
    return "\n\n".join([*parts, *costs]) + "\n"


def _skab(rows: Sequence[Row]) -> str:
    source, others = published("SKAB")
    heads = ["method", "dials", *(f"F1 {half}" for half in HALVES), "FAR testing, %",
             "MAR testing, %", "FAR whole, %", "MAR whole, %"]  # fmt: skip
    ours = [
        [row.method, _dials(row), *(row.figures[half]["f1"] for half in HALVES)]
        + [row.figures[half][key] for half in HALVES[1:] for key in ("far", "mar")]
        for row in rows
    ]
    theirs = [[f"{name} (published)", "", "", "", f1, "", "", far, mar]
              for name, (f1, far, mar) in others.items()]  # fmt: skip
    return (
        f"## SKAB\n\n{_counts(rows[0])} Samples after the 400 each file was learnt from; {CHOSEN} "
        f"Published: {source}.\n\n{markdown_table(heads, [*ours, *theirs], words=2)}"
    )


def _nab(rows: Sequence[Row]) -> str:
    source, others = published("NAB")
    heads = ["method", "dials", *(f"standard {half}" for half in HALVES), "testing, kept threshold",
             "low FP testing", "low FN testing", "low FP whole", "low FN whole"]  # fmt: skip
    standard, *rest = PROFILES
    kept = "score at the threshold of the choosing half"
    ours = [
        [row.method, _dials(row), *(row.figures[half][standard]["score"] for half in HALVES)]
        + [row.figures["testing"][standard][kept]]
        + [row.figures[half][name]["score"] for half in HALVES[1:] for name in rest]
        for row in rows
    ]
    theirs = [[f"{name} (published)", "", "", "", a, "", "", "", b, c]
              for name, (a, b, c) in others.items()]  # fmt: skip
    return (
        f"## NAB\n\n{_counts(rows[0])} 0: never says anything, 100: perfect. The detection "
        f"threshold is the best one of the files scored, as NAB has it; {CHOSEN} "
        f"Published: {source}.\n\n{markdown_table(heads, [*ours, *theirs], words=2)}"
    )


def _drawn(rows: Sequence[Row]) -> str:
    names = list(rows[0].figures["whole"])
    table = [[row.method, *(row.figures["whole"][name] for name in names)] for row in rows]
    return (
        f"## Drawn signals\n\n{rows[0].files['whole']} machines, two good recordings each. AUROC "
        "of the samples of a fault against the others of its recording (all, then by fault), and "
        "of faulty recordings against good ones of all machines together.\n\n"
        f"{markdown_table(['method', *names], table, words=1)}"
    )


def _costs(costs: Sequence[Cost]) -> str:
    heads = ["method", "fitting, s", "whole, ms", "stream, ms", "share of a core at 100 Hz, %"]
    rows = [
        [one.method, f"{one.fit_s:.2f}", f"{one.whole_ms:.2f}", f"{one.stream_ms:.1f}"]
        + [f"{100 * one.core_share_at_100_hz:.2f}"]
        for one in costs
    ]
    return (
        "## Cost\n\nProcessor time for 1,000 samples of eight channels, judged as a whole and one "
        "sample at a time; fitted to 2,000 good samples; one thread.\n\n"
        + markdown_table(heads, rows, words=1)
    )


def _counts(row: Row) -> str:
    return ", ".join(f"{count} files {half}" for half, count in row.files.items()) + "."


def _dials(row: Row) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in row.dials.items())


def _draw(found: SeriesBench, path: Path) -> None:
    """Bars: SKAB's F1 and NAB's standard score beside the published, and what a stream costs."""
    panels = [name for name in ("SKAB", "NAB") if found.of(name)]
    figure = Figure(figsize=(4.6 * (len(panels) + 1), 5.4), layout="constrained")
    axes = figure.subplots(1, len(panels) + 1, squeeze=False)[0]
    for name, one in zip(panels, axes, strict=False):
        _beside_published(one, name, found.of(name))
    last = axes[-1]
    bars = last.barh([c.method for c in found.costs], [c.stream_ms for c in found.costs])
    last.bar_label(bars, fmt="%.0f", padding=2, fontsize="small")
    last.set(xscale="log", title="Cost of a stream", xlabel="ms of processor for 1,000 samples")
    last.xaxis.set_major_formatter("{x:g}")  # powers would be set as mathematics, which is off
    last.xaxis.set_minor_formatter("")
    last.margins(x=0.15)
    last.invert_yaxis()
    last.grid(axis="x", alpha=0.3)
    save_figure(figure, path)


def _beside_published(axes: Axes, name: str, rows: Sequence[Row]) -> None:
    def reached(row: Row, half: str) -> float:
        figures = row.figures[half]
        return figures["f1"] if name == "SKAB" else figures["standard"]["score"]

    bars: list[tuple[str, float, float | None]] = [
        (row.method, reached(row, "whole"), reached(row, "testing")) for row in rows
    ]
    bars += [
        (method, float(str(figures[0]).split()[0]), None)  # of a range the lower end
        for method, figures in published(name)[1].items()
    ]
    bars.sort(key=lambda bar: bar[1], reverse=True)
    places = list(range(len(bars)))
    colours = ["C7" if testing is None else "C0" for *_, testing in bars]
    axes.barh(places, [whole for _, whole, _ in bars], color=colours)
    dots = [(testing, place) for place, (*_, testing) in enumerate(bars) if testing is not None]
    axes.plot(*zip(*dots, strict=True), "o", color="C1", label="testing half alone")
    axes.set_yticks(places, [method for method, *_ in bars], fontsize="small")
    axes.invert_yaxis()
    unit = "F1" if name == "SKAB" else "standard score"
    axes.set(title=f"{name}: ours blue, published grey", xlabel=f"{unit}, all files")
    axes.legend(fontsize="small")
    axes.grid(axis="x", alpha=0.3)

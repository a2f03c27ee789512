"""The tables and the bar chart of `bench peers`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from anomalyst.evaluation.protocols.protocol import Results
from anomalyst.evaluation.protocols.run_records import METRICS
from anomalyst.evaluation.reports.plots import save_figure
from anomalyst.evaluation.reports.tables import Line, Spread, markdown_table, summarise
from anomalyst.io.files import write_text

OURS = "pair decoder"
OTHERS = ("pixel_auroc", "pixel_ap", "pixel_aupro_30")  # beside image AUROC, over all sets
PARTS = ("all sets", "first half", "second half")


@dataclass(frozen=True, slots=True)
class Entry:
    """One contender for one number of good pictures."""

    scorer: str
    features: str
    lines: tuple[Line, ...]  # means over all categories, and over those of each half

    @classmethod
    def of(cls, scorer: str, features: str, results: Results, first_half: Sequence[str]) -> "Entry":
        """The means of an evaluation."""
        parts = [results]
        if first_half:
            parts += [_only(results, first_half, inside=inside) for inside in (True, False)]
        return cls(scorer, features, tuple(summarise(part)[1] for part in parts))

    def auroc(self) -> list[float | None]:
        """Image AUROC in percent: over all sets, then over each half."""
        means = [line.metrics["image_auroc"].mean for line in self.lines]
        return [None if mean is None else 100 * mean for mean in means]


@dataclass(frozen=True, slots=True)
class Contest:
    """Everyone on one number of good pictures; the detector under test comes first."""

    shots: int | Literal["all"]
    halves: bool
    entries: list[Entry]

    @property
    def title(self) -> str:
        """As a heading."""
        return f"{self.shots} good picture{'' if self.shots == 1 else 's'}"

    def leads(self) -> Iterator[tuple[str, float, str]]:
        """(part, points of image AUROC ahead of the best other, which that is)."""
        ours, *others = self.entries
        for number, own in enumerate(ours.auroc()):
            rivals = [(v, e) for e in others if (v := e.auroc()[number]) is not None]
            if own is None or not rivals:
                continue
            value, best = max(rivals, key=lambda pair: pair[0])
            yield PARTS[number], own - value, f"{best.scorer} on {best.features}"


def _only(results: Results, categories: Sequence[str], *, inside: bool) -> Results:
    runs = tuple(run for run in results.runs if (run.category in categories) is inside)
    return replace(results, runs=runs)


def write_report(contests: Sequence[Contest], out: Path) -> None:
    """OUT/peers.md and OUT/peers.png. Raises AnomalystError if `out` cannot be written."""
    write_text(out / "peers.md", as_markdown(contests))
    draw(contests, out / "peers.png")


def as_markdown(contests: Sequence[Contest]) -> str:
    """A table per number of good pictures, in percent, and how far the first line is ahead."""
    return "\n\n".join(_section(contest) for contest in contests) + "\n"


def _section(contest: Contest) -> str:
    parts = PARTS if contest.halves else PARTS[:1]
    heads = ["scoring", "features", *(f"image AUROC, {part}" for part in parts)]
    heads += [METRICS[name] for name in OTHERS]
    rows = [
        [entry.scorer, entry.features, *(spread.text(name) for name, spread in _cells(entry))]
        for entry in contest.entries
    ]
    ahead = ", ".join(f"{part} {lead:+.1f} ({rival})" for part, lead, rival in contest.leads())
    said = f"\n\nAhead of the best other in image AUROC: {ahead}." if ahead else ""
    return f"## {contest.title[0].upper()}{contest.title[1:]}\n\n" + (
        markdown_table(heads, rows, words=2) + said
    )


def _cells(entry: Entry) -> Iterator[tuple[str, Spread]]:
    for line in entry.lines:
        yield "image_auroc", line.metrics["image_auroc"]
    for name in OTHERS:
        yield name, entry.lines[0].metrics[name]


def draw(contests: Sequence[Contest], path: Path) -> None:
    """Bars of image AUROC: a panel per number of good pictures, a group per contender."""
    entries = [entry for contest in contests for entry in contest.entries]
    lowest = min((v for entry in entries for v in entry.auroc() if v is not None), default=50.0)
    most = max(len(contest.entries) for contest in contests)
    size = 4.6 * len(contests) + 1.5, 0.55 * most + 1.6
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(1, len(contests), squeeze=False)[0]
    for axes, contest in zip(panels, contests, strict=True):
        _bars(axes, contest)
        axes.set(ylim=(most - 0.5, -0.5), xlim=(max(0.0, min(45.0, lowest - 5)), 107))
    save_figure(figure, path)


def _bars(axes: Axes, contest: Contest) -> None:
    parts = PARTS if contest.halves else PARTS[:1]
    places = np.arange(len(contest.entries))
    high = 0.8 / len(parts)
    for number in range(len(parts)):
        values = [entry.auroc()[number] or 0.0 for entry in contest.entries]
        shades = [f"C{0 if e is contest.entries[0] else 7}" for e in contest.entries]
        middles = places + (number - (len(parts) - 1) / 2) * high
        bars = axes.barh(middles, values, 0.92 * high, color=shades, alpha=1 - 0.3 * number)
        axes.bar_label(bars, fmt="%.1f", padding=2, fontsize="x-small")
    axes.axvline(50, color="0.4", linestyle=":")  # chance
    names = [f"{e.scorer}\n{e.features}" for e in contest.entries]
    axes.set_yticks(places, names, fontsize="x-small")
    axes.set_title(contest.title, fontsize="medium")
    axes.set_xlabel(f"image AUROC, %: {', then '.join(parts)}", fontsize="small")
    axes.grid(axis="x", alpha=0.3)

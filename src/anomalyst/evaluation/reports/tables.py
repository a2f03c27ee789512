"""Runs -> mean and spread per category and over all, as JSON, CSV and Markdown."""

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from anomalyst.config import to_mapping
from anomalyst.evaluation.protocols.protocol import Results
from anomalyst.evaluation.protocols.run_records import METRICS, Run, by_category
from anomalyst.io.files import write_text
from anomalyst.version import __version__


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """A metric over runs; None where no run defines it."""

    mean: float | None
    std: float | None  # sample standard deviation (n - 1); 0 for a single run

    def text(self, metric: str) -> str:
        """As in the tables: shares in percent, seconds as they are; "-" where not defined."""
        if self.mean is None or self.std is None:
            return "-"
        if metric == "seconds_per_picture":
            return f"{self.mean:.3f}"
        mean = f"{100 * self.mean:.1f}"
        return mean if self.std == 0 else f"{mean} ± {100 * self.std:.1f}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of the table: a category, or the mean over categories."""

    title: str
    runs: int
    paired: bool
    pictures: int  # inspected in one run; the most, where broken references made runs differ
    metrics: Mapping[str, Spread]  # the names of METRICS


def summarise(results: Results) -> tuple[list[Line], Line]:
    """(a line per category, the line of the mean over categories).

    Every category weighs the same in the mean. Its spread is that of the seeds: under each seed
    the categories are averaged, one that has a single run (paired, or taught everything) with
    that run; a category that does not define a metric is left out of its mean.
    """
    categories = by_category(results.runs)
    lines = [_line(category or "all", runs) for category, runs in categories.items()]
    seeds = range(max(map(len, categories.values()), default=0))
    under = [[runs[seed if len(runs) > 1 else 0] for runs in categories.values()] for seed in seeds]
    overall = {
        metric: _spread([_mean([run.metrics.get(metric) for run in runs]) for runs in under])
        for metric in METRICS
    }
    mean = Line(
        title="mean",
        runs=len(seeds),
        paired=bool(lines) and all(line.paired for line in lines),
        pictures=sum(line.pictures for line in lines),
        metrics=overall,
    )
    return lines, mean


def as_mapping(results: Results) -> dict[str, Any]:
    """Everything as plain JSON values: the protocol, the lines, each run, what was skipped."""
    lines, mean = summarise(results)
    return {
        "anomalyst": __version__,
        "inspector": results.inspector,
        "config": to_mapping(results.config),
        "categories": [asdict(line) for line in lines],
        "mean": asdict(mean),
        "runs": [to_mapping(run) for run in results.runs],
        "skipped": [asdict(skipped) for skipped in results.skipped],
    }


def write_tables(results: Results, out: Path) -> None:
    """OUT/results.json, results.csv and results.md.

    Raises AnomalystError if `out` cannot be written.
    """
    record = json.dumps(as_mapping(results), indent=2, allow_nan=False)
    write_text(out / "results.json", record + "\n")
    write_text(out / "results.csv", _as_csv(results))
    write_text(out / "results.md", as_markdown(results))


def markdown_table(
    heads: Sequence[str], rows: Iterable[Sequence[object]], *, words: int | None = None
) -> str:
    """A table in Markdown; all columns but the first `words` are aligned as numbers."""
    left = len(heads) if words is None else words
    rule = ["---"] * left + ["---:"] * (len(heads) - left)
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in [heads, rule, *rows])


def as_markdown(results: Results) -> str:
    """A table in percent, and below it what the reader must know to compare it."""
    lines, mean = summarise(results)
    shown = [*lines, mean] if len(lines) > 1 else lines
    heads = ["category", "runs", "pictures", *METRICS.values()]
    rows = []
    for line in shown:
        cells = [line.metrics[metric].text(metric) for metric in METRICS]
        title = line.title.replace("|", "\\|") + (" (paired)" if line.paired else "")
        rows.append([title, line.runs, line.pictures, *cells])
    table = markdown_table(heads, rows, words=1)
    parts = [f"# {results.inspector}, {_shots(results)}", table, _notes(results)]
    notes = dict.fromkeys(note for run in results.runs for note in run.notes)
    if notes:
        parts.append("Said while inspecting:\n\n" + "\n".join(f"- {note}" for note in notes))
    if results.skipped:
        listed = "\n".join(f"- {skipped.path}: {skipped.reason}" for skipped in results.skipped)
        parts.append(f"Skipped:\n\n{listed}")
    return "\n\n".join(parts) + "\n"


def _shots(results: Results) -> str:
    shots = results.config.shots
    return "all references" if shots == "all" else f"{shots} reference{'s' if shots > 1 else ''}"


def _notes(results: Results) -> str:
    config, most = results.config, results.config.max_pictures
    some = "" if most is None else f" At most {most} test pictures per category."
    return (
        "In percent, mean ± standard deviation (n - 1) over draws of the references; paired: each "
        "picture against its own reference, one run.\nPixel metrics over all pixels of all "
        f"pictures whose truth is known, maps at the area of {config.map_side_px}x"
        f"{config.map_side_px} pixels, a mask's pixel counts where more than half of it is "
        f"marked.\nVerdicts were asked to keep {100 * config.false_alarm_rate:g} % false alarms."
        f"{some} Made by Anomalyst {__version__}."
    )


def _as_csv(results: Results) -> str:
    lines, mean = summarise(results)
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    names = [f"{metric}_{part}" for metric in METRICS for part in ("mean", "std")]
    table.writerow(["category", "runs", "paired", "pictures", *names])
    for line in [*lines, mean]:
        spreads = [line.metrics[metric] for metric in METRICS]
        values = [value for spread in spreads for value in (spread.mean, spread.std)]
        table.writerow([line.title, line.runs, line.paired, line.pictures, *values])
    return text.getvalue()


def _line(title: str, runs: Sequence[Run]) -> Line:
    return Line(
        title=title,
        runs=len(runs),
        paired=all(run.paired for run in runs),
        pictures=max(run.pictures for run in runs),
        metrics={metric: _spread([run.metrics.get(metric) for run in runs]) for metric in METRICS},
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None


def _spread(values: Sequence[float | None]) -> Spread:
    known = [value for value in values if value is not None]
    mean = _mean(known)
    if mean is None:
        return Spread(mean=None, std=None)
    squares = math.fsum((value - mean) ** 2 for value in known)
    return Spread(mean=mean, std=math.sqrt(squares / (len(known) - 1)) if len(known) > 1 else 0.0)

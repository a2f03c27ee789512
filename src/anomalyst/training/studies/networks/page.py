"""The study as a page: every arm's figures, curves, calibration, costs."""

from collections.abc import Iterator
from pathlib import Path

from anomalyst.report.sections import Section
from anomalyst.training.experiments.tables import SPREAD
from anomalyst.training.studies.networks import plots, tables
from anomalyst.training.studies.networks.results import Results
from anomalyst.training.studies.networks.tables import Table
from anomalyst.training.studies.page import write_page

GROUPS = {
    "scratch": "From labels alone",
    "distilled": "Taught by a teacher as well",
    "normalised": "How pictures and features are brought to one scale",
    "ablation": "Depth, patch, width (seed 0)",
}


def write_networks_page(out: Path, results: Results) -> str:
    """OUT/networks.html, networks.md and its plots; returns the Markdown."""
    return write_page(out, "networks", "Which network, and why", _intro(results), [*_all(results)])


def _intro(results: Results) -> list[str]:
    return [
        f"All networks on the same pictures ({results.study['data']}), scaled to about the same "
        f"number of trainable parameters, {results.seeds} seeds each. No test picture was trained "
        "on; which arm is called best is chosen by them, so its figure is a little too good, and "
        f"p-values are not corrected for their number. {SPREAD}, brackets hold DeLong's "
        "95 % interval over pictures.",
        f"Machine: {results.machine}. Times compare these networks with each other only.",
    ]


def _all(results: Results) -> Iterator[Section]:
    yield _section("Pictures", tables.data(results))
    for group, title in GROUPS.items():
        arms = results.arms(group)
        if arms:
            yield _section(title, tables.quality(results, arms))
    if results.stopped:
        stopped = [f"{run}: {why}" for run, why in results.stopped.items()]
        yield Section(title="Runs without figures", sentences=stopped)
    scratch = results.arms("scratch")
    shown = [*scratch, results.best()] if results.best() not in scratch else scratch
    yield _drawn("Loss and accuracy", plots.curves(results, shown))
    yield _drawn("ROC, first seed", plots.roc(results, shown))
    yield _drawn("Every run's AUROC", plots.areas(results, results.arms(*GROUPS)))
    yield _drawn("Calibration, first seed", plots.reliability(results, shown))
    title = f"Against the best, {results.best()}: DeLong's paired test"
    yield _section(title, tables.differences(results, results.arms(*GROUPS)))
    yield _section("What a picture costs", tables.costs(results))
    yield _drawn("AUROC against time", plots.cost(results))
    said = (
        "Named without a source, on other pictures and by another protocol: they say where others "
        "stand, not who is better."
    )
    yield _section("Beside figures from outside", tables.published(results), said)


def _section(title: str, table: Table, *sentences: str) -> Section:
    return Section(title=title, sentences=sentences, heads=table.heads, rows=table.rows)


def _drawn(title: str, picture: bytes) -> Section:
    return Section(title=title, picture=picture, shows=title)

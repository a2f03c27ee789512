"""One page for a run or for several: curves, configuration, figures, warnings."""

import base64
import json
from collections.abc import Sequence
from pathlib import Path

from anomalyst.io.files import write_bytes, write_text
from anomalyst.io.templates import template
from anomalyst.training.experiments.plots import draw_runs
from anomalyst.training.experiments.runs import RunRecord, read_run
from anomalyst.training.experiments.tables import run_tables, runs_as_markdown


def write_summary(folder: Path) -> None:
    """summary.html and curves.png in a run's folder."""
    run = read_run(folder)
    said = [json.loads(line).get("stopped") for line in _lines(folder / "watch.jsonl")]
    _write(folder, [run], folder.name, [text for text in said if text], "summary.html")


def compare_runs(folders: Sequence[Path], out: Path) -> str:
    """Write compare.md, compare.html and curves.png for these runs; returns the tables as Markdown.

    Raises AnomalystError for a folder without a run.
    """
    runs = [read_run(folder) for folder in folders]
    text = runs_as_markdown(runs)
    write_text(out / "compare.md", text)
    _write(out, runs, "Runs compared", [], "compare.html")
    return text


def _write(out: Path, runs: list[RunRecord], title: str, said: list[str], name: str) -> None:
    curves = draw_runs(runs)
    page = template("anomalyst.training.experiments", "summary.html.j2").render(
        title=title,
        said=said,
        curves=base64.b64encode(curves).decode(),
        tables=run_tables(runs, accuracy="right answers, %", always="always “Yes”"),
    )
    write_bytes(out / "curves.png", curves)
    write_text(out / name, page)


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []

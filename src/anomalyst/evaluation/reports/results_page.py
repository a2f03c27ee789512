"""An evaluation as one self-contained page: the figures, and the worst pictures with reasons."""

import json
from pathlib import Path
from typing import Any

from anomalyst.evaluation.protocols.protocol import Results
from anomalyst.evaluation.protocols.run_records import METRICS, folder_name
from anomalyst.evaluation.reports.tables import summarise
from anomalyst.io.files import write_text
from anomalyst.io.templates import template

SHOWN = (
    "image_auroc",
    "pixel_auroc",
    "pixel_ap",
    "pixel_aupro_30",
    "false_alarm_rate",
    "miss_rate",
)


def write_results_page(results: Results, out: Path) -> None:
    """OUT/results.html. A category without kept pictures shows its figures only."""
    lines, mean = summarise(results)
    page = template("anomalyst.evaluation.reports", "results.html.j2").render(
        inspector=results.inspector,
        shots=results.config.shots,
        seeds=results.config.seeds,
        heads=[METRICS[name] for name in SHOWN],
        rows=[
            (line.title, [line.metrics[name].text(name) for name in SHOWN])
            for line in ([*lines, mean] if len(lines) > 1 else lines)
        ],
        categories=[(line.title, _kept(out, line.title)) for line in lines],
    )
    write_text(out / "results.html", page)


def _kept(out: Path, title: str) -> list[dict[str, Any]]:
    file = out / "worst" / f"{folder_name(title)}.json"
    return list(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else []

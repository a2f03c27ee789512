"""What an evaluation leaves on disk run by run, so that an interrupted one can go on.

OUT/protocol.json              what the runs have in common; another protocol is refused
OUT/runs/CATEGORY/seed-0.csv   one row per picture
OUT/runs/CATEGORY/seed-0.json  the run's metrics; written last, so it marks the run finished
"""

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from anomalyst.config import from_mapping, to_mapping
from anomalyst.errors import AnomalystError
from anomalyst.io.files import write_text
from anomalyst.types import Label, Sample, Verdict

C = TypeVar("C", Sample, "Run")
METRICS = {  # name -> heading of the tables
    "image_auroc": "image AUROC",
    "image_ap": "image AP",
    "image_f1_max": "image F1-max",
    "pixel_auroc": "pixel AUROC",
    "pixel_ap": "pixel AP",
    "pixel_f1_max": "pixel F1-max",
    "pixel_aupro_30": "AUPRO 0.3",
    "pixel_aupro_05": "AUPRO 0.05",
    "false_alarm_rate": "false alarms",
    "miss_rate": "missed",
    "unsure_rate": "unsure",
    "seconds_per_picture": "s/picture",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What was said about one picture."""

    path: str
    label: Label
    defect: str  # "" for a normal picture
    score: float
    p_value: float
    verdict: Verdict
    seconds: float
    words: str = ""  # the answer to `language.QUESTION`, if it was asked
    place_right: str = ""  # "yes" or "no": the place said is one of the defect's; "" unknown
    box_iou: str = ""  # of the best stated box with a defect's, [0, 1]; "" unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """A picture or mask that could not be used, and why."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One category taught once with one draw of references (or, paired, every picture's own)."""

    category: str
    seed: int
    paired: bool
    references: tuple[str, ...]
    pictures: int
    pixel_pictures: int  # of those, the ones whose pixel truth is known
    metrics: Mapping[str, float | None]  # the names of METRICS; None where not defined
    teach_seconds: float
    digest: str  # of the sample list, see `RunFolder.finished`
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()  # what the inspector said about its fallbacks, each once


class RunFolder:
    """The finished runs of one protocol in one folder."""

    def __init__(self, out: Path, protocol: Mapping[str, Any]):
        """Start the folder, or go on with it.

        Raises AnomalystError if it holds runs of another protocol, or cannot be written.
        """
        self.out = out
        file = out / "protocol.json"
        if file.exists():
            _refuse_another(out, _read_json(file), protocol)
        else:
            write_text(file, json.dumps(protocol, indent=2) + "\n")

    def finished(self, category: str, seed: int, digest: str) -> Run | None:
        """The run if it was finished before, None if it is still to be done.

        Raises AnomalystError if it was made on other pictures (`digest`), or its file is damaged.
        """
        file = _run_file(self.out, category, seed, "json")
        if not file.exists():
            return None
        run = from_mapping(Run, _read_json(file), where=str(file))
        if run.digest != digest:
            raise AnomalystError(
                f"{file}: was made on other pictures of {category!r} than the data set has now; "
                "choose another folder with --out, or delete this one."
            )
        return run

    def save(self, run: Run, rows: Iterable[Row]) -> None:
        """Keep a finished run: rows first, so that metrics without rows cannot be left behind."""
        text = io.StringIO()
        table = csv.DictWriter(text, [f.name for f in fields(Row)], lineterminator="\n")
        table.writeheader()
        table.writerows(asdict(row) for row in rows)
        write_text(_run_file(self.out, run.category, run.seed, "csv"), text.getvalue())
        record = json.dumps(to_mapping(run), indent=2, allow_nan=False)
        write_text(_run_file(self.out, run.category, run.seed, "json"), record + "\n")


def read_rows(out: Path, run: Run) -> list[Row]:
    """The pictures of a run that was finished in `out`, in the order they were saved.

    Raises AnomalystError if its table is missing or damaged.
    """
    file = _run_file(out, run.category, run.seed, "csv")
    try:
        with file.open(encoding="utf-8", newline="") as text:
            return [from_mapping(Row, row, where=str(file)) for row in csv.DictReader(text)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise AnomalystError(f"{file}: cannot be read ({error}); delete this run.") from error


def by_category(items: Iterable[C]) -> dict[str, list[C]]:
    """Samples or runs of each category, in the order they come."""
    found: dict[str, list[C]] = {}
    for item in items:
        found.setdefault(item.category, []).append(item)
    return found


def folder_name(category: str) -> str:
    """The category as a name any file system takes; "" (a set without categories) is "all"."""
    return re.sub(r"[^\w-]+", "_", category) or "all"


def _run_file(out: Path, category: str, seed: int, suffix: str) -> Path:
    return out / "runs" / folder_name(category) / f"seed-{seed}.{suffix}"


def _read_json(file: Path) -> dict[str, Any]:
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AnomalystError(f"{file}: cannot be read ({error}); delete it.") from error
    if not isinstance(values, dict):
        raise AnomalystError(f"{file}: holds no JSON object; delete it.")
    return values


def _refuse_another(out: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    for key in [*now, *(k for k in before if k not in now)]:
        if before.get(key) != now.get(key):
            raise AnomalystError(
                f"{out}: holds an evaluation with {key} = {before.get(key)!r}, this one has "
                f"{now.get(key)!r}; choose another folder with --out, or delete that one."
            )

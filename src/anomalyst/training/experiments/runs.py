"""A run's folder read back: recipe, figures, how it ended."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anomalyst.errors import AnomalystError
from anomalyst.training.monitor.log import read_log
from anomalyst.training.recipe import with_task

PATCH_NAMES = {
    "dropout": "dropout", "layer_norm": "LayerNorm", "batch_norm": "BatchNorm",
    "residual": "residual layer",
}  # fmt: skip
ALWAYS = ("optimizer", "learning_rate", "schedule", "batch", "micro_batch", "steps", "precision")
HIDDEN = ("task", "log_every", "checkpoint_every", "keep_checkpoints", "workers", "watch.every")


@dataclass(frozen=True, slots=True)
class RunRecord:
    """What a finished or unfinished run left."""

    folder: Path
    recipe: dict[str, Any]
    lines: list[dict[str, float]]
    end: dict[str, Any]
    accuracy: dict[str, dict[str, int]]  # category -> asked, right, neither, defective

    @property
    def name(self) -> str:
        """The folder's."""
        return self.folder.name

    def last(self, figure: str) -> float | None:
        """The newest value of a figure."""
        return next((line[figure] for line in reversed(self.lines) if figure in line), None)

    def results(self) -> dict[str, str]:
        """Figures of the run, as a table shows them."""
        rates = [line["learning_rate"] for line in self.lines if "learning_rate" in line]
        right = {name: row["right"] / row["asked"] for name, row in self.accuracy.items()}
        shown = {
            "effective peak learning rate": f"{max(rates):.3g}" if rates else "",
            "loss": _text(self.last("loss"), ".4f"),
            "validation loss": _text(self.last("validation_loss"), ".4f"),
            "accuracy %": f"{100 * sum(right.values()) / len(right):.2f}" if right else "",
            "seconds per step": _text(self.last("seconds_per_step"), ".4f"),
            "samples per second": _text(self.last("samples_per_second"), ".1f"),
            "waiting for data %": _percent(self.last("waiting_share")),
            "communication %": _percent(self.last("communication_share")),
            "memory MB": _text(self.last("memory_mb"), ".0f"),
            "processes": str(self.end.get("world", "")),
            "ended": f"{self.end.get('how', 'unfinished')} {self.end.get('why', '')}".strip(),
        }
        return {name: text for name, text in shown.items() if text}


def read_run(folder: Path) -> RunRecord:
    """The record of a run's folder. Raises AnomalystError for a folder without a run."""
    if not (folder / "recipe.json").is_file():
        raise AnomalystError(
            f"{folder}: holds no recipe.json; give folders that `anomalyst train` wrote."
        )
    return RunRecord(
        folder,
        with_task(_json(folder / "recipe.json")),
        read_log(folder / "log.jsonl"),
        _json(folder / "end.json"),
        _json(folder / "accuracy.json"),
    )


def configuration(runs: list[RunRecord]) -> list[tuple[str, list[str]]]:
    """Rows (key, a value per run): the usual keys, and all in which the runs differ."""
    flat = [_flat(run.recipe) for run in runs]
    keys = list(dict.fromkeys(key for one in flat for key in one))
    rows = []
    for key in keys:
        values = [one.get(key, "") for one in flat]
        if key not in HIDDEN and (key in ALWAYS or len(set(values)) > 1):
            rows.append((key, values))
    return sorted(rows, key=lambda row: (row[0] not in ALWAYS, keys.index(row[0])))


def results(runs: list[RunRecord]) -> list[tuple[str, list[str]]]:
    """Rows (figure, a value per run)."""
    each = [run.results() for run in runs]
    names = list(dict.fromkeys(name for one in each for name in one))
    return [(name, [one.get(name, "") for one in each]) for name in names]


def accuracies(runs: list[RunRecord]) -> list[tuple[str, list[str]]]:
    """Rows (category, right answers in percent per run, and of always saying yes)."""
    names = sorted({name for run in runs for name in run.accuracy})
    rows = []
    for name in names:
        found = [run.accuracy.get(name) for run in runs]
        known = next(row for row in found if row)
        cells = [f"{100 * row['right'] / row['asked']:.1f}" if row else "" for row in found]
        rows.append((name, [*cells, f"{100 * known['spoiled'] / known['asked']:.1f}"]))
    return rows


def _flat(recipe: dict[str, Any], before: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in recipe.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{before}{key}.")
        elif key == "patches":
            found[key] = "; ".join(_patch(patch) for patch in value) or "none"
        else:
            found[before + key] = f"{value:g}" if isinstance(value, float) else str(value)
    return found


def _patch(patch: dict[str, Any]) -> str:
    name = PATCH_NAMES[patch["layer"]]
    share = f" {patch['dropout']:g}" if patch["layer"] == "dropout" else ""
    return f"{name}{share} {patch['at'].replace('_', ' ')}"


def _json(path: Path) -> dict[str, Any]:
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise AnomalystError(f"{path}: is broken ({error}); delete it.") from error
    return dict(read)


def _text(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f}"

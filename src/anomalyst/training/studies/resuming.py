"""A study's folder: one study only, and no run of it twice."""

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from anomalyst.config import from_mapping
from anomalyst.errors import AnomalystError
from anomalyst.io.files import write_text
from anomalyst.training.experiments.runs import RunRecord, read_run
from anomalyst.training.loop import train
from anomalyst.training.monitor.log import LogCallback
from anomalyst.training.monitor.training_monitor import TrainingStopped
from anomalyst.training.recipe import Recipe


def refuse_other_study(out: Path, settings: Mapping[str, Any]) -> None:
    """Raises AnomalystError where another study was begun."""
    path = out / "study.json"
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else dict(settings)
    for key in settings.keys() | before.keys():
        if before.get(key) != settings.get(key):
            raise AnomalystError(
                f"{out}: holds a study with {key} {before.get(key)!r}, not "
                f"{settings.get(key)!r}; choose another folder with --out."
            )


def begin_study(out: Path, settings: Mapping[str, Any]) -> None:
    """Note what is studied here, once its recipes can be run."""
    refuse_other_study(out, settings)
    write_text(out / "study.json", json.dumps(dict(settings), indent=2) + "\n")


def has_ended(recipe: Recipe, folder: Path) -> bool:
    """Whether this recipe came to its end there, or was stopped by the training monitor.

    Raises AnomalystError where another recipe did.
    """
    if not (folder / "end.json").exists():
        return False
    run = read_run(folder)
    # A key that was added since has its default there.
    if from_mapping(type(recipe), run.recipe, where=str(folder)) != recipe:
        raise AnomalystError(
            f"{folder}: holds a run of another recipe; delete it, or choose another folder with "
            "--out."
        )
    return run.end.get("how") in ("finished", "stopped")


def run_once(recipe: Recipe, folder: Path, on_log: LogCallback) -> RunRecord:
    """The run of a resolved recipe in its folder, trained unless it is.

    The training monitor may have ended it: `end` says why. Raises as `has_ended` and `train`.
    """
    if not has_ended(recipe, folder):
        with suppress(TrainingStopped):
            train(recipe, folder, on_log=on_log)
    return read_run(folder)

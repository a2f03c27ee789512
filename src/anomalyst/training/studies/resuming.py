"""A study's folder: no run of it twice."""

from contextlib import suppress
from pathlib import Path

from anomalyst.config import from_mapping
from anomalyst.errors import AnomalystError
from anomalyst.training.experiments.runs import RunRecord, read_run
from anomalyst.training.loop import train
from anomalyst.training.monitor.log import LogCallback
from anomalyst.training.monitor.training_monitor import TrainingStopped
from anomalyst.training.recipe import Recipe
from anomalyst.training.studies.folder import begin_study as begin_study
from anomalyst.training.studies.folder import refuse_other_study as refuse_other_study


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

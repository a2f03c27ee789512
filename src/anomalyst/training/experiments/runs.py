"""A run's folder read back: recipe, figures, how it ended."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anomalyst.errors import AnomalystError
from anomalyst.training.monitor.log import read_log
from anomalyst.training.recipe import with_task


@dataclass(frozen=True, slots=True)
class RunRecord:
    """What a finished or unfinished run left."""

    folder: Path
    recipe: dict[str, Any]
    lines: list[dict[str, float]]
    end: dict[str, Any]
    accuracy: dict[str, dict[str, float]]  # by category: tasks/category_figures.py, `as_values`

    @property
    def name(self) -> str:
        """The folder's."""
        return self.folder.name

    def last(self, figure: str) -> float | None:
        """The newest value of a figure."""
        return next((line[figure] for line in reversed(self.lines) if figure in line), None)


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


def _json(path: Path) -> dict[str, Any]:
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise AnomalystError(f"{path}: is broken ({error}); delete it.") from error
    return dict(read)

"""The surprise of every file of a benchmark by every method, kept file by file so it goes on."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from anomalyst.config import to_mapping
from anomalyst.detection.series.config import SeriesConfig
from anomalyst.io.files import written_whole
from anomalyst.teaching.series import fit_series
from anomalyst.version import __version__


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A file, and how much of its beginning is good."""

    name: str
    values: np.ndarray  # float32 (T, C)
    good: int  # first samples that are learnt from


def surprises(
    tasks: Sequence[Task],
    config: SeriesConfig,
    out: Path,
    on_file: Callable[[str], None] = lambda _: None,
) -> list[np.ndarray]:
    """float32 (T_i, C) of each file, by the method fitted to its beginning and run from there.

    Kept in `out`; what is there of the same values and configuration is read. Raises
    AnomalystError if a beginning is too short, or `out` cannot be written.
    """
    found = []
    for task in tasks:
        path = out / config.method / f"{task.name.replace('/', '-')}.npz"
        made_by = _made_by(task, config)
        kept = _kept(path, made_by)
        if kept is None:
            method = fit_series([task.values[: task.good]], config)
            kept = method.surprise(task.values)
            with written_whole(path) as part, part.open("wb") as file:
                np.savez_compressed(file, surprise=kept, made_by=np.array(made_by))
        found.append(kept)
        on_file(f"{config.method}: {task.name}")
    return found


def _made_by(task: Task, config: SeriesConfig) -> str:
    data = hashlib.sha256(np.ascontiguousarray(task.values).tobytes()).hexdigest()
    asked = {"config": to_mapping(config), "good": task.good, "data": data}
    return json.dumps({**asked, "version": __version__}, sort_keys=True)


def _kept(path: Path, made_by: str) -> np.ndarray | None:
    try:
        with np.load(path, allow_pickle=False) as kept:
            return kept["surprise"] if str(kept["made_by"]) == made_by else None
    except (OSError, ValueError, KeyError):
        return None  # not there yet, or not whole


def for_choosing(name: str) -> bool:
    """Whether a file is of the half that dials are chosen on: its name's SHA-256 is even."""
    return int(hashlib.sha256(name.encode()).hexdigest(), 16) % 2 == 0

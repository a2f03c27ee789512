"""Training runs: read from their folders, started as `anomalyst train` in a process of its own."""

import json
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from anomalyst.errors import AnomalystError
from anomalyst.server.config import ServingConfig
from anomalyst.server.errors import Conflict, NotFound
from anomalyst.server.jobs import processes
from anomalyst.server.jobs.processes import is_running, read_json, tail

LAST_BYTES = 16_000  # of a log, in which its last line is
LINES_MOST = 2000  # of a run's log; of longer ones every n-th
NAME = r"[\w][\w.+-]{0,79}"


class Runs:
    """The runs in one folder."""

    def __init__(self, config: ServingConfig):
        self.folder, self.recipes_folder = config.runs, config.recipes

    def all(self) -> list[dict[str, Any]]:
        """Every run, the newest first."""
        found = [p for p in self.folder.glob("*") if _is_run(p)]
        return [self._summary(p) for p in sorted(found, key=_changed, reverse=True)]

    def recipes(self) -> list[str]:
        """What may be trained, by name."""
        return sorted(
            path.relative_to(self.recipes_folder).with_suffix("").as_posix()
            for path in self.recipes_folder.rglob("*.yaml")
            if re.search(r"\b(task|stage):", path.read_text(encoding="utf-8", errors="replace"))
        )

    def run(self, name: str) -> dict[str, Any]:
        """One run: its figures so far, what its training monitor said, its last words."""
        folder = self._existing(name)
        lines = list(_json_lines(folder / "log.jsonl"))
        step = max(1, -(-len(lines) // LINES_MOST))
        warnings = _json_lines(folder / "watch.jsonl")
        return self._summary(folder) | {
            "recipe": read_json(folder / "recipe.json"),
            "lines": lines[::-step][::-1],
            "watchdog": [str(one["stopped"]) for one in warnings if "stopped" in one],
            "console": processes.last_words(folder),
        }

    def start(self, recipe: str, name: str, changes: Iterable[str] = ()) -> dict[str, Any]:
        """Train by a recipe, in a process that outlives the server. Raises Conflict, NotFound."""
        if not re.fullmatch(NAME, name):
            raise AnomalystError(
                f"run name {name[:80]!r}: letters, digits, . + - _ only, up to 80."
            )
        if recipe not in self.recipes():
            known = ", ".join(self.recipes()) or "none"
            raise NotFound(f"there is no recipe {recipe[:80]!r}; known: {known}.")
        keys = list(changes)
        for one in keys:
            if not re.fullmatch(r"[A-Za-z_][\w.]*=.*", one):
                raise AnomalystError(f"{one[:80]!r} is not of the form key=value.")
        folder = self.folder / name
        if is_running(folder):
            raise Conflict(f"run {name!r} is going on; stop it first, or take another name.")
        path = self.recipes_folder / f"{recipe}.yaml"
        processes.start_child(["train", str(path), *keys, "--out", str(folder)], folder)
        return self._summary(folder)

    def stop(self, name: str) -> dict[str, Any]:
        """Ask a run to save itself and end; the same start goes on with it."""
        folder = self._existing(name)
        if not is_running(folder):
            raise Conflict(f"run {name!r} is not running.")
        processes.stop_child(folder)
        return self._summary(folder)

    def _existing(self, name: str) -> Path:
        folder = self.folder / name
        if not re.fullmatch(NAME, name) or not _is_run(folder):
            raise NotFound(f"there is no run {name[:80]!r}.")
        return folder

    def _summary(self, folder: Path) -> dict[str, Any]:
        # The end of a log that may be long: this is asked for every run, every few seconds.
        last = next(iter([*_json_lines(folder / "log.jsonl", LAST_BYTES)][::-1]), {})
        recipe = read_json(folder / "recipe.json")
        end = read_json(folder / "end.json")
        return {
            "name": folder.name,
            "stage": recipe.get("task", recipe.get("stage")),  # its name in old recipes
            "state": "running" if is_running(folder) else str(end.get("how", "unfinished")),
            **{key: last.get(key) for key in ("step", "steps", "loss")},
            "why": end.get("why"),
        }


def _is_run(folder: Path) -> bool:
    return (folder / "recipe.json").is_file() or (folder / processes.JOB).is_file()


def _changed(folder: Path) -> float:
    log = folder / "log.jsonl"
    return (log if log.exists() else folder).stat().st_mtime


def _json_lines(path: Path, most: int = sys.maxsize) -> Iterator[dict[str, Any]]:
    """Whole lines of a log, or of its last bytes; the last may still be being written."""
    for line in tail(path, most).splitlines():
        with suppress(ValueError):
            yield json.loads(line)

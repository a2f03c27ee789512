"""Runs of one recipe that differ in a row of words and in their seed."""

import json
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from anomalyst.config import to_mapping
from anomalyst.io.files import make_folder, write_text
from anomalyst.training.recipe import Recipe
from anomalyst.training.studies.resuming import run_once
from anomalyst.training.tasks.supervised.figures import read_figures

Told = Callable[[str, int, int], None]  # what runs now, how many steps of all are done, of how many


@dataclass(frozen=True, slots=True, kw_only=True)
class RowRun:
    """What a run came to."""

    row: str
    seed: int
    loss: float  # in training, of the last line of its log
    validation_loss: float | None
    test_accuracy: float | None  # of tasks that classify
    seconds_per_step: float  # median over the lines of its log
    curve: tuple[tuple[int, float], ...]  # (step, loss in training)
    stopped: str = ""  # the training monitor's sentence, where it ended the run


def run_rows(
    recipes: Mapping[str, Sequence[Recipe]], out: Path, told: Told = lambda *_: None
) -> list[RowRun]:
    """Train every recipe of every row unless it was; OUT/runs/ROW-SEED.

    Raises AnomalystError where a folder holds a run of another recipe.
    """
    whole = sum(recipe.steps for row in recipes.values() for recipe in row)
    found, before = [], 0
    for row, some in recipes.items():
        for recipe in some:
            name = f"{row}, seed {recipe.seed}"
            told(name, before, whole)
            folder = folder_of(out, row, recipe.seed)
            stepping = _stepping(told, name, before, whole)
            found.append(_trained(row, recipe.resolved(), folder, stepping))
            before += recipe.steps
            told(name, before, whole)
    return found


def write_figures(out: Path, name: str, settings: Any, **figures: Sequence[Any]) -> None:
    """OUT/NAME.json: what was asked for, and everything that was measured, lists of dataclasses."""
    make_folder(out)
    held = {"settings": to_mapping(settings)} | {
        key: [asdict(one) for one in measured] for key, measured in figures.items()
    }
    write_text(out / f"{name}.json", json.dumps(held, indent=1) + "\n")


def curves_of(
    runs: Sequence[RowRun], rows: Iterable[str]
) -> dict[str, list[tuple[tuple[int, float], ...]]]:
    """The curves of each row's runs."""
    return {row: [run.curve for run in runs if run.row == row] for row in rows}


def folder_of(out: Path, row: str, seed: int) -> Path:
    """Where the run of a row and a seed is."""
    kept = "".join(letter if letter.isalnum() else "-" for letter in row.lower())
    return out / "runs" / f"{'-'.join(filter(None, kept.split('-')))}-{seed}"


def _stepping(told: Told, name: str, before: int, whole: int) -> Callable[[dict[str, Any]], None]:
    def heard(line: dict[str, Any]) -> None:
        if "step" in line:
            told(name, before + int(line["step"]), whole)

    return heard


def _trained(
    row: str, recipe: Recipe, folder: Path, on_log: Callable[[dict[str, Any]], None]
) -> RowRun:
    run = run_once(recipe, folder, on_log)
    losses = tuple((int(line["step"]), line["loss"]) for line in run.lines if "loss" in line)
    judged = read_figures(folder)
    return RowRun(
        row=row, seed=recipe.seed, loss=losses[-1][1] if losses else float("nan"),
        validation_loss=run.last("validation_loss"),
        test_accuracy=judged.accuracy if judged else None,
        seconds_per_step=statistics.median(
            [line["seconds_per_step"] for line in run.lines] or [float("nan")]
        ),
        curve=losses, stopped=run.end.get("why", ""),
    )  # fmt: skip

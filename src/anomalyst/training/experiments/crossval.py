"""Cross-validation: every good picture, or every category, is held out once."""

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np

from anomalyst.errors import AnomalystError
from anomalyst.io.files import write_text
from anomalyst.training.experiments.runs import read_run
from anomalyst.training.experiments.tables import fold_table
from anomalyst.training.loop import train
from anomalyst.training.recipe import Recipe
from anomalyst.training.tasks.inspection_data import AnomalyGPTRecipe

T = TypeVar("T")
R = TypeVar("R")


def fold_recipes(recipe: Recipe, folds: int) -> list[AnomalyGPTRecipe]:
    """The recipe once for each part that is held out, with a look at it in the end at least.

    Raises AnomalystError for a task without pictures of its own.
    """
    if not isinstance(recipe, AnomalyGPTRecipe):
        raise AnomalystError(
            f"folds: task {recipe.task!r} draws its pictures anew and has none to hold out; set "
            "validate_every instead, which looks at episodes never trained on."
        )
    every = recipe.validate_every or recipe.resolved().steps
    return [replace(recipe, folds=folds, fold=fold, validate_every=every) for fold in range(folds)]


def cross_validate(
    recipe: Recipe,
    folds: int,
    out: Path,
    *,
    by: Literal["pictures", "categories"] = "pictures",
    jobs: int = 1,
    on_fold: Callable[[str], None] = lambda _: None,
) -> str:
    """Train once per fold (in `out`/fold-0 and so on; goes on where it stopped); Markdown.

    Writes crossval.md: validation loss and accuracy of each fold, their means and 95 % intervals.
    """
    recipes = [replace(one, fold_by=by) for one in fold_recipes(recipe, folds)]
    for one in recipes:
        one.resolved()
    rows = []
    for row in side_by_side(partial(_run, out), recipes, jobs):
        rows.append(row)
        on_fold(_said(row))
    text = fold_table(rows)
    write_text(out / "crossval.md", text)
    return text


def side_by_side(run: Callable[[T], R], items: Sequence[T], jobs: int) -> Iterator[R]:
    """`run` of each item, in order; with several jobs in processes of their own."""
    if jobs == 1:
        yield from map(run, items)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        yield from pool.map(run, items)


def _run(out: Path, recipe: AnomalyGPTRecipe) -> tuple[int, float, float | None]:
    """Fold, validation loss, right answers in percent."""
    folder = out / f"fold-{recipe.fold}"
    train(recipe.resolved(), folder)
    run = read_run(folder)
    loss = run.last("validation_loss")
    assert loss is not None  # fold_recipes asks for one look at least
    right = [row["right"] / row["asked"] for row in run.accuracy.values()]
    return recipe.fold, loss, 100 * float(np.mean(right)) if right else None


def _said(row: tuple[int, float, float | None]) -> str:
    fold, loss, right = row
    return f"fold {fold}: validation loss {loss:.4f}" + (
        f", {right:.1f} % right" if right is not None else ""
    )

"""`anomalyst search` and `anomalyst crossval`: many runs of one recipe."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import typer
from typer import Argument, Option

from anomalyst.cli import options as opt
from anomalyst.cli.screen import Bar, needs, progress, say

Jobs = Annotated[int, Option(min=1, help="Runs at a time, each in a process of its own.")]


def _heard(bar: Bar) -> Callable[[str], None]:
    """Says each sentence, and counts it."""

    def show(sentence: str) -> None:
        bar.advance()
        say(sentence)

    return show


def search(
    recipe: opt.RecipeFile,
    key: Annotated[
        list[str],
        Argument(
            metavar="key=LOW..HIGH[:POINTS]|key=A,B|key=value...",
            help="What is searched: a range, so many points of one, or values. One value changes "
            "the recipe.",
        ),
    ],
    method: Annotated[
        str, Option(metavar="grid|random|tpe|gp", help="How the next trial is chosen.")
    ] = "tpe",
    trials: Annotated[
        int | None,
        Option(
            min=1,
            help="Runs in all, those before included.",
            show_default="20, or the whole grid",
        ),
    ] = None,
    folds: Annotated[int, Option(help="Mean of so many folds for each; 0: one run.")] = 0,
    jobs: Jobs = 1,
    out: Annotated[Path | None, Option(metavar="DIR", show_default="out/search/RECIPE")] = None,
) -> None:
    """Search the keys of a recipe for the lowest (validation) loss; goes on where it stopped.

    By Optuna: TPE, a Gaussian process or at random, with median pruning; or every cell of a grid
    once, where each range needs its points, as in learning_rate=1e-4..1e-2:5. Ranges over two
    powers of ten are searched by factors. Writes search.md, search.png, best.yaml and search.db.

    Example: anomalyst search recipes/text_aligned.yaml learning_rate=1e-4..1e-1 width=32,64,128
    steps=60 validate_every=20 --trials 12 --jobs 2

    A grid of six: anomalyst search recipes/text_aligned.yaml learning_rate=1e-4..1e-1:3
    width=32,64 steps=60 --method grid
    """
    needs("train", "matplotlib", "psutil")
    from anomalyst.training.experiments.search import SearchConfig
    from anomalyst.training.experiments.search import search as run_search
    from anomalyst.training.experiments.search_space import read_space

    space, overrides = read_space(key)
    config = SearchConfig(
        recipe=recipe, overrides=overrides, space=space, method=method, trials=trials, folds=folds
    )
    target = out or Path("out/search") / recipe.stem
    with progress("Searching", config.total) as bar:
        text = run_search(config, target, jobs=jobs, on_trial=_heard(bar))
    typer.echo(text)
    typer.echo(f"Written to {target}; the best recipe is {target / 'best.yaml'}")


def crossval(
    recipe: opt.RecipeFile,
    override: opt.Overrides = None,
    folds: Annotated[int, Option(min=2, help="Parts; each is held out once.")] = 5,
    by: Annotated[
        Literal["pictures", "categories"], Option(help="What is dealt into parts.")
    ] = "pictures",
    jobs: Jobs = 1,
    out: Annotated[Path | None, Option(metavar="DIR", show_default="out/crossval/RECIPE")] = None,
) -> None:
    """Train a recipe once for every part of its good pictures that is held out.

    Writes crossval.md: validation loss and right answers of each fold, means, 95 % intervals.

    Example: anomalyst crossval recipes/anomalygpt.yaml --folds 5 --jobs 2
    """
    needs("train", "matplotlib", "psutil")
    from anomalyst.training.experiments.crossval import cross_validate
    from anomalyst.training.tasks import load_recipe

    read = load_recipe(recipe, override or [])
    target = out or Path("out/crossval") / recipe.stem
    with progress("Folds", folds) as bar:
        text = cross_validate(read, folds, target, by=by, jobs=jobs, on_fold=_heard(bar))
    typer.echo(text)
    typer.echo(f"Written to {target}")

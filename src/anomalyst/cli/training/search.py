"""`anomalyst search` and `anomalyst crossval`: many runs of one recipe."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from anomalyst.cli.screen import needs, progress, say
from anomalyst.cli.training.train import Overrides, RecipeFile

Jobs = Annotated[int, typer.Option(min=1, help="Runs at a time, each in a process of its own.")]


def search(
    recipe: RecipeFile,
    key: Annotated[
        list[str],
        typer.Argument(
            metavar="key=LOW..HIGH|key=A,B|key=value...",
            help="What is searched: a range or values. One value changes the recipe.",
        ),
    ],
    trials: Annotated[int, typer.Option(min=1, help="Runs in all, those before included.")] = 20,
    folds: Annotated[int, typer.Option(help="Mean of so many folds for each; 0: one run.")] = 0,
    jobs: Jobs = 1,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", show_default="out/search/RECIPE")
    ] = None,
) -> None:
    """Search the keys of a recipe for the lowest (validation) loss; goes on where it stopped.

    TPE with median pruning by Optuna; ranges over two powers of ten are searched by factors. Writes
    search.md, search.png, best.yaml and search.db.

    Example: anomalyst search recipes/text_aligned.yaml learning_rate=1e-4..1e-1 width=32,64,128
    steps=60 validate_every=20 --trials 12 --jobs 2
    """
    needs("train", "matplotlib", "psutil")
    from anomalyst.training.experiments.search import SearchConfig, read_space
    from anomalyst.training.experiments.search import search as run_search

    space, overrides = read_space(key)
    config = SearchConfig(
        recipe=recipe, overrides=overrides, space=space, trials=trials, folds=folds
    )
    target = out or Path("out/search") / recipe.stem
    with progress("Searching", trials) as (bar, task):

        def hear(sentence: str) -> None:
            bar.advance(task)  # type: ignore[arg-type]
            say(sentence)

        text = run_search(config, target, jobs=jobs, on_trial=hear)
    typer.echo(text)
    typer.echo(f"Written to {target}; the best recipe is {target / 'best.yaml'}")


def crossval(
    recipe: RecipeFile,
    override: Overrides = None,
    folds: Annotated[int, typer.Option(min=2, help="Parts; each is held out once.")] = 5,
    by: Annotated[
        Literal["pictures", "categories"], typer.Option(help="What is dealt into parts.")
    ] = "pictures",
    jobs: Jobs = 1,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", show_default="out/crossval/RECIPE")
    ] = None,
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
    with progress("Folds", folds) as (bar, task):

        def hear(sentence: str) -> None:
            bar.advance(task)  # type: ignore[arg-type]
            say(sentence)

        text = cross_validate(read, folds, target, by=by, jobs=jobs, on_fold=hear)
    typer.echo(text)
    typer.echo(f"Written to {target}")

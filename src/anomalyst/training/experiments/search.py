"""Hyper-parameters of any recipe, searched: by grid, at random, by TPE or by a Gaussian process.

Resumable, and parallel over processes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from anomalyst.config import to_mapping
from anomalyst.errors import AnomalystError
from anomalyst.hardware.processor import checked_choice
from anomalyst.io.files import write_bytes, write_text
from anomalyst.training.experiments.crossval import fold_recipes, side_by_side
from anomalyst.training.experiments.plots import draw_search
from anomalyst.training.experiments.runs import read_run
from anomalyst.training.experiments.search_space import Choice, cells_of
from anomalyst.training.experiments.tables import Interval, interval, search_table, short_value
from anomalyst.training.loop import train
from anomalyst.training.monitor.training_monitor import TrainingStopped
from anomalyst.training.recipe import Recipe, with_task
from anomalyst.training.tasks import load_recipe
from anomalyst.training.tasks.supervised.recipe import SupervisedRecipe

STORAGE = "search.db"
STARTUP = 5  # trials at random before TPE or a Gaussian process has something to learn from
METHODS: dict[str, Callable[[int], Any]] = {  # name -> Optuna's sampler of a seed
    # Its own sampler may give two processes the same cell: ours are queued, it only says the rest.
    "grid": lambda seed: _optuna().samplers.RandomSampler(seed=seed),
    "random": lambda seed: _optuna().samplers.RandomSampler(seed=seed),
    "tpe": lambda seed: _optuna().samplers.TPESampler(seed=seed, n_startup_trials=STARTUP),
    "gp": lambda seed: _optuna().samplers.GPSampler(seed=seed, n_startup_trials=STARTUP),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchConfig:
    """What is searched, and how long."""

    recipe: Path
    overrides: tuple[str, ...] = ()
    space: tuple[Choice, ...]
    method: str = "tpe"  # of METHODS
    trials: int | None = None  # None: every cell of a grid, 20 of any other method
    folds: int = 0  # each trial is the mean of so many; 0: one run

    @property
    def total(self) -> int:
        """Trials in all: of a grid, its cells.

        Raises AnomalystError for an unknown method, and for fewer trials than cells.
        """
        checked_choice("--method", self.method, tuple(METHODS))
        if self.method != "grid":
            return self.trials or 20
        cells = len(cells_of(self.space))
        if self.trials is not None and self.trials < cells:
            raise AnomalystError(
                f"--trials {self.trials}: the grid has {cells} cells, and is only a grid if every "
                "one is tried; leave --trials out, give fewer values, or take --method random."
            )
        return cells


def search(
    config: SearchConfig,
    out: Path,
    *,
    jobs: int = 1,
    on_trial: Callable[[str], None] = lambda _: None,
) -> str:
    """Go on with the search in `out` until it has its trials; the table as Markdown.

    Writes search.db, search.md, search.png, best.yaml and a run's folder for each trial. Raises
    AnomalystError when Optuna is missing, a key or the method is unknown, or the search was another
    one.
    """
    optuna = _optuna()
    total = config.total
    _check_keys(config)
    out.mkdir(parents=True, exist_ok=True)
    study = _study(config, out)
    _refuse_another(study, config, out)
    for trial in study.get_trials(states=[optuna.trial.TrialState.RUNNING]):
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)  # a process that was killed
    done = _queue_cells(study, config) if config.method == "grid" else _done(study)
    for said in side_by_side(partial(_one, config, out), range(done, total), jobs):
        on_trial(said)
    return _written(study, config, out)


def _queue_cells(study: Any, config: SearchConfig) -> int:
    """Queue the cells that nobody has looked at; how many have been. Each is then asked for once,
    by whichever process comes first.

    A run that was stopped by the training monitor is a look; one whose process was killed is none.
    """
    states = _optuna().trial.TrialState
    waiting = study.get_trials(states=[states.WAITING])  # of a search that was interrupted
    queued = [trial.system_attrs["fixed_params"] for trial in waiting]
    ended = study.get_trials(states=[states.COMPLETE, states.PRUNED, states.FAIL])
    looked = [t.params for t in ended if t.state != states.FAIL or "stopped" in t.user_attrs]
    for cell in cells_of(config.space):
        if cell not in looked and cell not in queued:
            study.enqueue_trial(cell)
    return len(looked)


def _one(config: SearchConfig, out: Path, index: int) -> str:
    """One more trial, the `index`-th; a sentence about it."""
    optuna = _optuna()
    study = _study(config, out, index)
    trial = study.ask()
    chosen = {choice.key: choice.suggest(trial) for choice in config.space}
    folder = out / "trials" / f"{trial.number:04d}"
    states = optuna.trial.TrialState
    try:
        found = _value(config, chosen, folder, trial)
    except optuna.TrialPruned:
        study.tell(trial, state=states.PRUNED)
        return f"trial {trial.number}: pruned  {_short(chosen)}"
    except TrainingStopped as error:
        trial.set_user_attr("stopped", str(error))
        study.tell(trial, state=states.FAIL)
        return f"trial {trial.number}: stopped  {_short(chosen)}  {error}"
    except AnomalystError:
        study.tell(trial, state=states.FAIL)
        raise
    trial.set_user_attr("half_width", found.half_width)
    study.tell(trial, found.mean)
    return f"trial {trial.number}: {found.mean:.5f}  {_short(chosen)}"


def _value(config: SearchConfig, chosen: dict[str, Any], folder: Path, trial: Any) -> Interval:
    optuna = _optuna()
    words = [f"{key}={value}" for key, value in chosen.items()]
    recipe = load_recipe(config.recipe, [*config.overrides, *words])
    recipes = fold_recipes(recipe, config.folds) if config.folds else [recipe]
    values = []
    for index, one in enumerate(recipes):
        out = folder / f"fold-{index}" if config.folds else folder
        goal = "validation_loss" if one.validate_every else "loss"

        def report(line: dict[str, Any], goal: str = goal, first: bool = index == 0) -> None:
            if first and goal in line:
                trial.report(line[goal], int(line["step"]))
                if trial.should_prune():
                    raise optuna.TrialPruned

        train(one.resolved(), out, on_log=report)
        value = read_run(out).last(goal)
        assert value is not None  # a run ends with a line, and looks aside before it
        values.append(value)
    return interval(values)


def _study(config: SearchConfig, out: Path, index: int = 0) -> Any:
    """The folder's study, its sampler seeded by the recipe and by which trial is drawn next."""
    optuna = _optuna()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    seed = load_recipe(config.recipe, list(config.overrides)).seed
    # The table of a grid is to be read whole, so nothing of it is pruned.
    pruners = optuna.pruners
    whole = config.method == "grid"
    return optuna.create_study(
        study_name="search",
        storage=f"sqlite:///{(out / STORAGE).resolve()}",
        sampler=METHODS[config.method](int(np.random.default_rng((seed, index)).integers(1 << 31))),
        pruner=pruners.NopPruner() if whole else pruners.MedianPruner(n_startup_trials=4),
        load_if_exists=True,
    )


def _refuse_another(study: Any, config: SearchConfig, out: Path) -> None:
    """The same folder goes on with the same question only."""
    asked = {"recipe": to_mapping(load_recipe(config.recipe, list(config.overrides))),
             "space": [str(choice) for choice in config.space], "folds": config.folds,
             "method": config.method}  # fmt: skip
    before = study.user_attrs.get("asked")
    if before is not None:  # once there was no other method than TPE
        before = {"method": "tpe"} | before | {"recipe": with_task(before["recipe"])}
    if before is not None and before != asked:
        different = ", ".join(key for key in asked if before.get(key) != asked[key])
        raise AnomalystError(
            f"{out}: holds a search with another {different}; take that, or another --out."
        )
    study.set_user_attr("asked", asked)


def _check_keys(config: SearchConfig) -> None:
    """A misspelt key is told before the first trial, and a goal that must not choose."""
    for choice in config.space:
        for value in choice.values or (choice.low, choice.high):
            word = f"{choice.key}={int(value) if choice.whole else value}"
            _refuse_test_part(load_recipe(config.recipe, [*config.overrides, word]))
    if config.folds:
        fold_recipes(load_recipe(config.recipe, list(config.overrides)), config.folds)


def _refuse_test_part(recipe: Recipe) -> None:
    """What is chosen by test pictures is flattered by them."""
    if isinstance(recipe, SupervisedRecipe) and recipe.validate_every:
        raise AnomalystError(
            f"validate_every is {recipe.validate_every}: a search would choose by the validation "
            "loss, which task 'supervised' takes of its test pictures, so that its figures would "
            "be too good; leave validate_every at 0, then the training loss chooses."
        )


def _done(study: Any) -> int:
    states = _optuna().trial.TrialState
    return len(study.get_trials(states=[states.COMPLETE, states.PRUNED, states.FAIL]))


def _written(study: Any, config: SearchConfig, out: Path) -> str:
    states = _optuna().trial.TrialState
    complete = study.get_trials(states=[states.COMPLETE])
    if not complete:
        raise AnomalystError(f"{out}: no trial came to its end; see {out / 'trials'}.")
    ranked = sorted(complete, key=lambda trial: trial.value)
    keys = [choice.key for choice in config.space]
    counts = [f"{len(study.get_trials(states=[s]))} {s.name.lower()}"
              for s in (states.COMPLETE, states.PRUNED, states.FAIL)]  # fmt: skip
    said = f"Method {config.method}: {', '.join(counts)}. ± is half of the 95 % interval over the "
    said += "folds.\n"
    text = search_table(ranked, keys) + "\n\n" + said
    words = [f"{key}={value}" for key, value in ranked[0].params.items()]
    recipe = to_mapping(load_recipe(config.recipe, [*config.overrides, *words]))
    write_text(out / "best.yaml", yaml.safe_dump(recipe, sort_keys=False))
    write_text(out / "search.md", text)
    write_bytes(out / "search.png", draw_search(ranked, keys, config.method))
    return text


def _short(chosen: dict[str, Any]) -> str:
    return "  ".join(f"{key}={short_value(value)}" for key, value in chosen.items())


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise AnomalystError(
            "Optuna is not installed; `pip install 'anomalyst[search]'`."
        ) from None
    return optuna

"""Hyper-parameters of any recipe, searched: TPE, pruning, resumable, parallel over processes."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from anomalyst.config import to_mapping
from anomalyst.errors import AnomalystError
from anomalyst.io.files import write_bytes, write_text
from anomalyst.training.experiments.crossval import fold_recipes, side_by_side
from anomalyst.training.experiments.plots import LOG_FROM, draw_search
from anomalyst.training.experiments.runs import read_run
from anomalyst.training.experiments.tables import Interval, interval, search_table, short_value
from anomalyst.training.loop import train
from anomalyst.training.monitor.training_monitor import TrainingStopped
from anomalyst.training.recipe import with_task
from anomalyst.training.tasks import load_recipe

STORAGE = "search.db"


@dataclass(frozen=True, slots=True)
class Choice:
    """What a key may be: a range, or a few values."""

    key: str
    low: float = 0.0
    high: float = 0.0
    values: tuple[Any, ...] = ()
    whole: bool = False  # only integers

    def suggest(self, trial: Any) -> Any:
        """A value of this trial."""
        if self.values:
            return trial.suggest_categorical(self.key, list(self.values))
        log = self.low > 0 and self.high / self.low >= LOG_FROM
        if self.whole:
            return trial.suggest_int(self.key, int(self.low), int(self.high), log=log)
        return trial.suggest_float(self.key, self.low, self.high, log=log)


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchConfig:
    """What is searched, and how long."""

    recipe: Path
    overrides: tuple[str, ...] = ()
    space: tuple[Choice, ...]
    trials: int = 20
    folds: int = 0  # each trial is the mean of so many; 0: one run


def read_space(texts: Sequence[str]) -> tuple[tuple[Choice, ...], tuple[str, ...]]:
    """`key=1e-4..1e-2` and `key=a,b` as choices; all else as overrides of the recipe.

    Raises AnomalystError for a range that is none, or when nothing is to be chosen.
    """
    space, rest = [], []
    for text in texts:
        key, _, right = text.partition("=")
        low, dots, high = right.partition("..")
        if dots:
            space.append(_range(text, key, low, high))
        elif "," in right and not right.startswith(("[", "{")):
            space.append(Choice(key, values=tuple(yaml.safe_load(f"[{right}]"))))
        else:
            rest.append(text)
    if not space:
        raise AnomalystError(
            "nothing is to be searched; give ranges or values, as in learning_rate=1e-4..1e-2 or "
            "optimizer=adamw,sgd."
        )
    return tuple(space), tuple(rest)


def search(
    config: SearchConfig,
    out: Path,
    *,
    jobs: int = 1,
    on_trial: Callable[[str], None] = lambda _: None,
) -> str:
    """Go on with the search in `out` until it has its trials; the table as Markdown.

    Writes search.db, search.md, search.png, best.yaml and a run's folder for each trial. Raises
    AnomalystError when Optuna is missing, a key is unknown, or the search was another one.
    """
    optuna = _optuna()
    out.mkdir(parents=True, exist_ok=True)
    _check_keys(config)
    study = _study(out)
    _refuse_another(study, config, out)
    for trial in study.get_trials(states=[optuna.trial.TrialState.RUNNING]):
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)  # a process that was killed
    left = range(max(0, config.trials - _done(study)))
    for said in side_by_side(partial(_one, config, out), left, jobs):
        on_trial(said)
    return _written(study, config, out)


def _one(config: SearchConfig, out: Path, _: int) -> str:
    """One more trial; a sentence about it."""
    optuna = _optuna()
    study = _study(out)
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


def _study(out: Path) -> Any:
    optuna = _optuna()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna.create_study(
        study_name="search",
        storage=f"sqlite:///{(out / STORAGE).resolve()}",
        sampler=optuna.samplers.TPESampler(n_startup_trials=5),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4),
        load_if_exists=True,
    )


def _refuse_another(study: Any, config: SearchConfig, out: Path) -> None:
    """The same folder goes on with the same question only."""
    asked = {"recipe": to_mapping(load_recipe(config.recipe, list(config.overrides))),
             "space": [str(choice) for choice in config.space], "folds": config.folds}  # fmt: skip
    before = study.user_attrs.get("asked")
    if before is not None:
        before = before | {"recipe": with_task(before["recipe"])}
    if before is not None and before != asked:
        different = ", ".join(key for key in asked if before.get(key) != asked[key])
        raise AnomalystError(
            f"{out}: holds a search with another {different}; take that, or another --out."
        )
    study.set_user_attr("asked", asked)


def _check_keys(config: SearchConfig) -> None:
    """A misspelt key is told before the first trial."""
    for choice in config.space:
        value = choice.values[0] if choice.values else choice.low
        value = int(value) if choice.whole else value
        load_recipe(config.recipe, [*config.overrides, f"{choice.key}={value}"])
    if config.folds:
        fold_recipes(load_recipe(config.recipe, list(config.overrides)), config.folds)


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
    said = ", ".join(counts) + ". ± is half of the 95 % interval over the folds.\n"
    text = search_table(ranked, keys) + "\n\n" + said
    words = [f"{key}={value}" for key, value in ranked[0].params.items()]
    recipe = to_mapping(load_recipe(config.recipe, [*config.overrides, *words]))
    write_text(out / "best.yaml", yaml.safe_dump(recipe, sort_keys=False))
    write_text(out / "search.md", text)
    write_bytes(out / "search.png", draw_search(ranked, keys))
    return text


def _range(text: str, key: str, low: str, high: str) -> Choice:
    try:
        ends = float(low), float(high)
    except ValueError:
        raise AnomalystError(
            f"{text!r}: both ends of a range are numbers, as in 1e-4..1e-2."
        ) from None
    if not (math.isfinite(sum(ends)) and ends[0] < ends[1]):
        raise AnomalystError(f"{text!r}: a range goes from the lower to the higher end.")
    return Choice(key, *ends, whole=low.lstrip("-").isdigit() and high.lstrip("-").isdigit())


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

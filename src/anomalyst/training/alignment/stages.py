"""Step 1 to 3 as recipes that follow from one another: what `anomalyst align` runs."""

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

from anomalyst.config import to_mapping
from anomalyst.errors import AnomalystError
from anomalyst.io.files import write_text
from anomalyst.training.alignment.preferences import HELD_OUT, load_preferences
from anomalyst.training.checkpoint import FREE_TO_CHANGE
from anomalyst.training.experiments.runs import read_run
from anomalyst.training.recipe import Recipe
from anomalyst.training.tasks import load_recipe
from anomalyst.training.tasks.alignment.dpo import DPORecipe
from anomalyst.training.tasks.alignment.policy_recipe import PolicyRecipe
from anomalyst.training.tasks.alignment.reward_model import LEAST_PAIRS, RewardRecipe
from anomalyst.training.tasks.alignment.sft import SFTRecipe
from anomalyst.vlm.version import model_version

Method = Literal["ppo", "grpo", "dpo"]
Judge = Literal["auto", "verifiable", "learned", "both"]
_REMEDY = "Rank more answers, or use --method ppo --reward verifiable, which needs nobody."
METHODS = ("ppo", "grpo", "dpo")
STAGES = ("sft", "reward", *METHODS)
STATE = "step.json"  # in the folder of a step: what it is made of, and whether it is finished


@dataclass(frozen=True, slots=True, kw_only=True)
class AlignConfig:
    """What is aligned, how, and by whose liking."""

    method: Method = "ppo"
    reward: Judge = "auto"  # both where there are pairs enough; without people, the verifiable one
    initial: str = ""  # model to begin with; empty: the shipped one
    recipes: Path = Path("recipes")
    overrides: tuple[str, ...] = ()  # stage.key=value


@dataclass(frozen=True, slots=True)
class Stage:
    """One step: its recipe and the folder of its run."""

    name: str
    recipe: Recipe
    folder: Path

    @property
    def model(self) -> Path:
        """Where its weights will be."""
        return self.folder / "model"


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps, and what must be said of them."""

    stages: Sequence[Stage]
    notes: Sequence[str]

    def named(self, name: str) -> Stage | None:
        """A step, if it is among them."""
        return next((one for one in self.stages if one.name == name), None)


def plan_stages(config: AlignConfig, preferences: Path | None, out: Path) -> Plan:
    """Which steps there are, with the recipes that connect them; `preferences`: a rankings file.

    Fewer pairs than a reward model needs: step 1 alone. No preferences: the verifiable reward,
    which needs nobody. Raises AnomalystError where there is nothing to learn from.
    """
    _refuse_unknown(config)
    pairs, corrected, notes = _counted(preferences)
    enough, learned = pairs >= LEAST_PAIRS, config.reward in ("learned", "both")
    by_pairs = config.method == "dpo" and (preferences is None or config.reward != "auto")
    if not enough and (learned or by_pairs):
        what = f"--reward {config.reward}" if learned else "--method dpo"
        where = f"{preferences}: holds {pairs} pairs of answers" if preferences else "no STORE"
        raise AnomalystError(f"{where}; {what} needs {LEAST_PAIRS} pairs. {_REMEDY}")
    stages: list[Stage] = []
    if corrected:
        made = _recipe("sft", config, out, initial=config.initial, preferences=str(preferences))
        stages.append(Stage("sft", made, out / "sft"))
    else:
        notes.append("No corrected answers: step 1 (SFT) is left out.")
    start = str(stages[-1].model) if stages else config.initial
    if preferences is not None and not enough and config.reward == "auto":
        said = f"{pairs} pairs of answers where {LEAST_PAIRS} are needed for a reward model"
        if not corrected:
            raise AnomalystError(f"{preferences}: no answer to learn from, and {said}. {_REMEDY}")
        notes.append(f"{said}: this is SFT alone. {_REMEDY}")
        return Plan(stages, notes)
    by_people = learned or (config.reward == "auto" and enough)
    if by_people and config.method != "dpo":
        made = _recipe("reward", config, out, initial=start, preferences=str(preferences))
        stages.append(Stage("reward", made, out / "reward"))
    stages.append(_last(config, start, preferences, stages, out))
    return Plan(stages, notes)


def _last(
    config: AlignConfig, start: str, preferences: Path | None, stages: Sequence[Stage], out: Path
) -> Stage:
    """Step 3."""
    changes: dict[str, Any] = {"initial": start}
    if preferences is not None:
        changes["preferences"] = str(preferences)
    made = _recipe(config.method, config, out, **changes)
    if isinstance(made, PolicyRecipe) and stages and stages[-1].name == "reward":
        reward = replace(made.reward, model=str(stages[-1].model))
        if config.reward == "learned":
            reward = replace(reward, verifiable=0.0, floor=None)
        made = replace(made, reward=reward)
    return Stage(config.method, made, out / config.method)


def to_be_run(stages: Sequence[Stage], *, fresh: bool = False) -> Iterator[tuple[Stage, bool]]:
    """The steps that have not come to their end, each with whether it begins anew.

    A step counts as finished once the next one is asked for. What follows from a new step begins
    anew, though the process may be killed in between; so does a step whose files hold other things
    than when it was begun.
    """
    for index, stage in enumerate(stages):
        if not fresh and has_finished(stage):
            continue
        anew = fresh or _state(stage).get("of") != made_of(stage)
        for later in stages[index + 1 :]:
            (later.folder / STATE).unlink(missing_ok=True)
        if anew:
            shutil.rmtree(stage.folder / "checkpoints", ignore_errors=True)
        _note(stage, finished=False)
        yield stage, anew
        _note(stage, finished=True)
        fresh = True


def has_finished(stage: Stage) -> bool:
    """Whether a run of this recipe on what its files hold now has come to its end.

    Keys that change nothing of what is learnt do not count.
    """
    if not (stage.folder / "recipe.json").is_file():
        return False
    run, wanted = read_run(stage.folder).recipe, to_mapping(stage.recipe)
    same = all(run.get(key) == wanted[key] for key in wanted.keys() - set(FREE_TO_CHANGE))
    return same and _state(stage) == {"of": made_of(stage), "finished": True}


def _state(stage: Stage) -> dict[str, Any]:
    path = stage.folder / STATE
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def _note(stage: Stage, *, finished: bool) -> None:
    state = {"of": made_of(stage), "finished": finished}
    write_text(stage.folder / STATE, json.dumps(state, indent=1) + "\n")


def made_of(stage: Stage) -> dict[str, str]:
    """The fingerprints of what a step reads: rankings, the model it begins with, a reward model."""
    recipe = stage.recipe
    found = {}
    if preferences := getattr(recipe, "preferences", ""):
        found["preferences"] = hashlib.sha256(Path(preferences).read_bytes()).hexdigest()[:12]
    folders = {"initial": recipe.initial}
    if isinstance(recipe, PolicyRecipe):
        folders["reward"] = recipe.reward.model
    return found | {name: model_version(Path(path)) for name, path in folders.items() if path}


def _recipe(name: str, config: AlignConfig, out: Path, **changes: Any) -> Recipe:
    """The recipe of a step with what the steps before and the command line say."""
    wanted = [one.removeprefix(f"{name}.") for one in config.overrides if _stage_of(one) == name]
    recipe = load_recipe(config.recipes / f"{name}.yaml", wanted)
    if isinstance(recipe, SFTRecipe | PolicyRecipe) and not recipe.looks:
        changes["looks"] = str(out / "looks")
    if not isinstance(recipe, SFTRecipe | RewardRecipe | PolicyRecipe | DPORecipe):
        raise AnomalystError(
            f"{config.recipes / name}.yaml: is a recipe of task {recipe.task!r}; give --recipes "
            "the folder with sft.yaml, reward.yaml and the others."
        )
    return cast(Recipe, replace(recipe, **changes))


def _stage_of(override: str) -> str:
    """The step that `stage.key=value` is about. Raises AnomalystError for none."""
    name = override.partition("=")[0].partition(".")[0]
    if name not in STAGES or "." not in override.partition("=")[0]:
        raise AnomalystError(
            f"{override!r}: write STAGE.key=value with one of {', '.join(STAGES)}, as in "
            "ppo.steps=40."
        )
    return name


def _refuse_unknown(config: AlignConfig) -> None:
    """Changes to a step that there is none of, or that is not among those to be done."""
    for one in config.overrides:
        name = _stage_of(one)
        if name in METHODS and name != config.method:
            raise AnomalystError(
                f"{one!r}: --method is {config.method}, so there is no such step; add --method "
                f"{name}."
            )
    if config.method == "dpo" and config.reward in ("learned", "both"):
        raise AnomalystError(
            f"--method dpo learns from the pairs themselves, so --reward {config.reward} has no "
            "effect; leave it out."
        )


def _counted(preferences: Path | None) -> tuple[int, int, list[str]]:
    """How many pairs and answers there are to learn from, and what is passed over."""
    if preferences is None:
        return 0, 0, []
    found = load_preferences(preferences, HELD_OUT)
    return len(found.pairs()), len(found.corrections()), list(found.notes)

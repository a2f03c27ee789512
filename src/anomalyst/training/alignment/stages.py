"""Step 1 to 3 as recipes that follow from one another: what `anomalyst align` runs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

from anomalyst.config import to_mapping
from anomalyst.errors import AnomalystError
from anomalyst.training.experiments.runs import read_run
from anomalyst.training.recipe import Recipe
from anomalyst.training.tasks import load_recipe
from anomalyst.training.tasks.alignment.dpo import DPORecipe
from anomalyst.training.tasks.alignment.policy import PolicyRecipe
from anomalyst.training.tasks.alignment.reward_model import LEAST_PAIRS, RewardRecipe
from anomalyst.training.tasks.alignment.sft import SFTRecipe
from anomalyst.vlm.preferences import read_rankings

Method = Literal["ppo", "grpo", "dpo"]
Judge = Literal["auto", "verifiable", "learned", "both"]
_REMEDY = "Rank more answers, or use --method ppo --reward verifiable, which needs nobody."
STAGES = ("sft", "reward", "ppo", "grpo", "dpo")


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
    pairs, corrected = _counted(preferences)
    enough, learned = pairs >= LEAST_PAIRS, config.reward in ("learned", "both")
    if not enough and (learned or (config.method == "dpo" and preferences is None)):
        what = f"--reward {config.reward}" if learned else "--method dpo"
        where = f"{preferences}: holds {pairs} pairs of answers" if preferences else "no STORE"
        raise AnomalystError(f"{where}; {what} needs {LEAST_PAIRS} pairs. {_REMEDY}")
    stages: list[Stage] = []
    notes = []
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


def has_finished(stage: Stage) -> bool:
    """Whether a run of just this recipe has come to its end."""
    if not (stage.folder / "recipe.json").is_file():
        return False
    run = read_run(stage.folder)
    return run.end.get("how") == "finished" and run.recipe == to_mapping(stage.recipe)


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


def _counted(preferences: Path | None) -> tuple[int, int]:
    """How many pairs, and how many answers to learn from."""
    if preferences is None:
        return 0, 0
    rankings = read_rankings(preferences)
    pairs = sum(len(list(one.pairs())) for one in rankings)
    return pairs, sum(one.best() is not None for one in rankings)

"""What can be trained: each task brings its recipe."""

import difflib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from anomalyst.config import from_mapping, read_mapping, with_overrides
from anomalyst.errors import AnomalystError
from anomalyst.training.recipe import DetectorRecipe, Recipe, with_task
from anomalyst.training.task import Task
from anomalyst.training.tasks.alignment.dpo import DPORecipe, DPOTask
from anomalyst.training.tasks.alignment.policy import PolicyTask
from anomalyst.training.tasks.alignment.policy_recipe import PolicyRecipe
from anomalyst.training.tasks.alignment.reward_model import RewardRecipe, RewardTask
from anomalyst.training.tasks.alignment.sft import SFTRecipe, SFTTask
from anomalyst.training.tasks.anomalygpt import AnomalyGPTTask
from anomalyst.training.tasks.composition import CompositionRecipe, CompositionTask
from anomalyst.training.tasks.contrastive.classifier import ClassifierRecipe, ClassifierTask
from anomalyst.training.tasks.contrastive.contrastive import ContrastiveRecipe, ContrastiveTask
from anomalyst.training.tasks.defect_types import KindsRecipe, KindsTask
from anomalyst.training.tasks.detector import DetectorTask
from anomalyst.training.tasks.inspection_data import AnomalyGPTRecipe
from anomalyst.training.tasks.instructions import InstructionRecipe, InstructionTask
from anomalyst.training.tasks.language import LanguageRecipe, LanguageTask
from anomalyst.training.tasks.layers import LayersRecipe, LayersTask
from anomalyst.training.tasks.mae import MaeRecipe, MaeTask
from anomalyst.training.tasks.segment import SegmentRecipe, SegmentTask
from anomalyst.training.tasks.supervised.recipe import SupervisedRecipe
from anomalyst.training.tasks.supervised.task import SupervisedTask
from anomalyst.training.tasks.text_aligned import TextAlignedRecipe, TextAlignedTask
from anomalyst.training.tasks.texts import TextsRecipe, TextsTask
from anomalyst.training.tasks.voice import VoiceRecipe, VoiceTask

TASKS: dict[str, tuple[type[Recipe], Any]] = {  # name -> recipe, and task made of (recipe, folder)
    "detector": (DetectorRecipe, DetectorTask),
    "kinds": (KindsRecipe, KindsTask),
    "composition": (CompositionRecipe, CompositionTask),
    "contrastive": (ContrastiveRecipe, ContrastiveTask),
    "classifier": (ClassifierRecipe, ClassifierTask),
    "text_aligned": (TextAlignedRecipe, TextAlignedTask),
    "language": (LanguageRecipe, LanguageTask),
    "instructions": (InstructionRecipe, InstructionTask),
    "anomalygpt": (AnomalyGPTRecipe, AnomalyGPTTask),
    "sft": (SFTRecipe, SFTTask),
    "reward": (RewardRecipe, RewardTask),
    "ppo": (PolicyRecipe, PolicyTask),
    "dpo": (DPORecipe, DPOTask),
    "voice": (VoiceRecipe, VoiceTask),
    "segment": (SegmentRecipe, SegmentTask),
    "mae": (MaeRecipe, MaeTask),
    "supervised": (SupervisedRecipe, SupervisedTask),
    "layers": (LayersRecipe, LayersTask),
    "texts": (TextsRecipe, TextsTask),
}

R = TypeVar("R", bound=Recipe)

# Keys of old recipes -> what took their place, which is no other name for the same.
GONE = {"yes_weight": "language_loss: weighted", "adaptive_gamma": "map_loss: adaptive_focal"}


def task_of(recipe: Recipe, out: Path) -> Task:
    """The task that a recipe asks for."""
    return next(make(recipe, out) for kind, make in TASKS.values() if type(recipe) is kind)


def is_finite(recipe: Recipe) -> bool:
    """Whether the task that a recipe asks for trains on a set that has an end."""
    return next(bool(make.finite) for kind, make in TASKS.values() if type(recipe) is kind)


def load_recipe(path: Path, overrides: list[str] | None = None) -> Recipe:
    """The recipe of a YAML file with `key=value` overrides; AnomalystError names what is wrong."""
    values = with_overrides(read_recipe(path), overrides or [])
    for old in GONE.keys() & values:
        raise AnomalystError(
            f"{path}: there is no key {old!r} any more; {GONE[old]} weighs by how rare a category "
            "is (docs/research/variants.md)."
        )
    task = str(values.get("task", "detector"))
    if task not in TASKS:
        near = difflib.get_close_matches(task, TASKS, n=1, cutoff=0.0)[0]
        raise AnomalystError(
            f"{path}: task is {task!r}; one of {', '.join(TASKS)} is needed, perhaps {near!r}."
        )
    return from_mapping(TASKS[task][0], values, where=str(path))


def load_as(kind: type[R], path: Path, words: Sequence[str]) -> R:
    """A file's recipe with `key=value` words; AnomalystError where it is of another task."""
    wanted = next(name for name, (one, _) in TASKS.items() if one is kind)
    task = with_overrides(read_recipe(path), [w for w in words if w.startswith("task=")])["task"]
    if task != wanted:
        raise AnomalystError(f"{path}: task is {task!r}; {wanted} is needed.")
    recipe = load_recipe(path, list(words))
    assert isinstance(recipe, kind)
    return recipe


def read_recipe(path: Path) -> dict[str, Any]:
    """The plain values of a recipe's file, by today's keys."""
    values = read_mapping(path)
    if "stage" in values:
        logging.getLogger(__name__).warning("%s: stage is now called task.", path)
    return with_task(values)

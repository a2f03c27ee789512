"""What can be trained: each stage brings its recipe and its task."""

import difflib
from pathlib import Path

import yaml

from anomalyst.config import load
from anomalyst.errors import AnomalystError
from anomalyst.training.recipe import DetectorRecipe, Recipe
from anomalyst.training.task import Task
from anomalyst.training.tasks.anomalygpt import AnomalyGPTTask
from anomalyst.training.tasks.defect_types import KindsRecipe, KindsTask
from anomalyst.training.tasks.detector import DetectorTask
from anomalyst.training.tasks.inspection_data import AnomalyGPTRecipe
from anomalyst.training.tasks.language import LanguageRecipe, LanguageTask
from anomalyst.training.tasks.text_aligned import TextAlignedRecipe, TextAlignedTask

RECIPES: dict[str, type[Recipe]] = {
    "detector": DetectorRecipe,
    "kinds": KindsRecipe,
    "text_aligned": TextAlignedRecipe,
    "language": LanguageRecipe,
    "anomalygpt": AnomalyGPTRecipe,
}


def task_of(recipe: Recipe, out: Path) -> Task:
    """The task that a recipe asks for."""
    match recipe:
        case DetectorRecipe():
            return DetectorTask(recipe, out)
        case KindsRecipe():
            return KindsTask(recipe, out)
        case TextAlignedRecipe():
            return TextAlignedTask(recipe, out)
        case LanguageRecipe():
            return LanguageTask(recipe, out)
        case AnomalyGPTRecipe():
            return AnomalyGPTTask(recipe, out)
    raise AssertionError(type(recipe))


def load_recipe(path: Path, overrides: list[str] | None = None) -> Recipe:
    """The recipe of a YAML file with `key=value` overrides; AnomalystError names what is wrong."""
    stage = _stage(path)
    if stage not in RECIPES:
        near = difflib.get_close_matches(stage, RECIPES, n=1, cutoff=0.0)[0]
        raise AnomalystError(
            f"{path}: stage is {stage!r}; one of {', '.join(RECIPES)} is needed, perhaps {near!r}."
        )
    return load(RECIPES[stage], path, overrides or [])


def _stage(path: Path) -> str:
    """The stage that a file names; what else is wrong with it is told by `load`."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return "detector"
    return str(values.get("stage", "detector")) if isinstance(values, dict) else "detector"

"""Categories of unequal size: what each way of drawing and each loss does to right answers."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from anomalyst.config import to_mapping
from anomalyst.errors import AnomalystError
from anomalyst.training.experiments.runs import read_run
from anomalyst.training.loop import train
from anomalyst.training.monitor.log import LogCallback
from anomalyst.training.studies.resuming import begin_study, has_ended, refuse_other_study
from anomalyst.training.studies.tiny_sets import draw_set, write_language_model, write_reader
from anomalyst.training.tasks import load_recipe
from anomalyst.training.tasks.good_pictures import training_counts
from anomalyst.training.tasks.inspection_data import AnomalyGPTRecipe

PLAIN = "by_picture"
ARMS: Mapping[str, tuple[str, ...]] = {
    PLAIN: ("sampling=by_picture",),
    "uniform": ("sampling=uniform",),
    "inverse": ("sampling=inverse",),
    "by_picture, weighted cross-entropy": ("sampling=by_picture", "language_loss=weighted"),
    "by_picture, adaptive focal": ("sampling=by_picture", "map_loss=adaptive_focal"),
    "by_picture, both losses": (
        "sampling=by_picture", "language_loss=weighted", "map_loss=adaptive_focal",
    ),
}  # fmt: skip
# Tiny: as many good pictures as MVTec-AD's smallest and largest category have, and two between.
COUNTS = (60, 120, 220, 391)
FAMILIES = ("pill", "bottle", "seal", "screw")  # turned by one from seed to seed
TESTED = 20  # good and as many defective held-out pictures of each category


@dataclass(frozen=True, slots=True, kw_only=True)
class ImbalanceConfig:
    """What is run."""

    recipe: Path = Path("recipes/anomalygpt.yaml")
    overrides: tuple[str, ...] = ()
    tiny: bool = False
    seeds: int = 3


@dataclass(frozen=True, slots=True)
class ArmRun:
    """One arm with one seed."""

    arm: str
    seed: int
    figures: Mapping[str, Mapping[str, float]]  # by category, as `CategoryFigures.as_values`


def run_imbalance(
    config: ImbalanceConfig,
    out: Path,
    *,
    on_plan: Callable[[int], None] = lambda _: None,
    on_log: Callable[[str, int], LogCallback] = lambda *_: lambda _: None,
) -> tuple[dict[str, int], list[ArmRun]]:
    """Every arm with every seed, trained unless it is; good pictures by category, and the runs.

    `on_plan` gets the number of runs, `on_log` an arm and a seed. Raises AnomalystError where
    another study was begun in `out`, and for sets of one category.
    """
    settings = to_mapping(config)
    settings.pop("seeds")  # more of them may follow
    refuse_other_study(out, settings)
    _recipe(config, config.overrides)  # of the right task, and whole
    on_plan(len(ARMS) * config.seeds)
    found, counts = [], dict[str, int]()
    for seed in range(config.seeds):
        words = _tiny_words(config, out, seed) if config.tiny else []
        for arm, own in ARMS.items():
            recipe = _recipe(config, [*words, f"seed={seed}", *config.overrides, *own])
            counts = training_counts(recipe)
            if len(counts) < 2:
                raise AnomalystError(
                    f"{', '.join(recipe.data)}: has one category; imbalance needs two or more."
                )
            begin_study(out, settings)
            folder = out / "runs" / f"{arm.replace(', ', '-').replace(' ', '-')}-{seed}"
            found.append(ArmRun(arm, seed, _judged(recipe, folder, on_log(arm, seed))))
    return dict(sorted(counts.items(), key=lambda item: item[1])), found


def _tiny_words(config: ImbalanceConfig, out: Path, seed: int) -> list[str]:
    """Drawn sets, other products and another order of sizes for each seed, and a model."""
    turned = [FAMILIES[(place + seed) % len(FAMILIES)] for place in range(len(COUNTS))]
    categories = {
        f"{count}-good": (family, count) for count, family in zip(COUNTS, turned, strict=True)
    }
    data = draw_set(out / "sets" / str(seed), categories, test=TESTED, seed=seed)
    model = write_language_model(out / "language-model")
    words = [
        f"data={json.dumps([str(data)])}", f"language_model={model}", "side_px=96", "steps=60",
        "batch=8", "micro_batch=4", "learning_rate=0.002", "warmup_steps=6", "defects=mixed",
        "lora_from=0", "lora_rank=4", "precision=float32", "log_every=10", "checkpoint_every=10000",
        "watch.every=0", "watch.probe_every=0",
    ]  # fmt: skip
    recipe = _recipe(config, words)
    return [*words, f"initial={write_reader(out / 'reader', recipe)}"]


def _recipe(config: ImbalanceConfig, words: Sequence[str]) -> AnomalyGPTRecipe:
    recipe = load_recipe(config.recipe, list(words))
    if not isinstance(recipe, AnomalyGPTRecipe):
        raise AnomalystError(f"{config.recipe}: task is {recipe.task!r}; anomalygpt is needed.")
    return recipe


def _judged(
    recipe: AnomalyGPTRecipe, folder: Path, on_log: LogCallback
) -> Mapping[str, Mapping[str, float]]:
    """Right answers and AUROCs of the run in `folder`, trained first if it is not there."""
    resolved = recipe.resolved()
    if not has_ended(resolved, folder):
        train(resolved, folder, on_log=on_log)
    run = read_run(folder)
    if not run.accuracy:
        raise AnomalystError(
            f"{folder}: ended without answers ({run.end.get('why') or 'accuracy is false'}); "
            "change the recipe, and take another --out."
        )
    return run.accuracy

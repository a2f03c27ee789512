"""The six variants of the reports, trained one after the other and judged alike."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import nn

from anomalyst.config import to_mapping
from anomalyst.errors import AnomalystError
from anomalyst.io.files import write_text
from anomalyst.training.distributed.launching import Launch, checked_recipe, run_processes
from anomalyst.training.experiments.runs import RunRecord, read_run
from anomalyst.training.monitor.log import LogCallback
from anomalyst.training.studies.resuming import (
    begin_study,
    has_ended,
    refuse_other_study,
    run_once,
)
from anomalyst.training.studies.tiny_sets import (
    augment_set,
    draw_set,
    write_language_model,
    write_reader,
)
from anomalyst.training.studies.variant_table import Variant, VariantTable, read_table
from anomalyst.training.tasks import load_recipe
from anomalyst.training.tasks.anomalygpt import AnomalyGPTTask
from anomalyst.training.tasks.inspection_data import AnomalyGPTRecipe
from anomalyst.vlm.huggingface.loading import load_model

BASELINE = "baseline"  # V2 without a layer put in
FORGETFUL = "accuracy-without-statistics.json"
# Tiny: a twentieth of the pictures (60, 120, 220, 391 good ones; 364 of each blade), a tenth of the
# epochs, and rates that teach something in so few steps.
SMALLER, FEWER_EPOCHS, FASTER = 20, 10, 20
MVTEC_LIKE = {"pill": 3, "bottle": 6, "seal": 11, "screw": 20}
AEBAD_LIKE = {"lens": 18, "casting": 18}
TESTED = 8  # good and as many defective test pictures of each


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantStudyConfig:
    """What is run."""

    recipes: Path = Path("recipes/variants")  # table.yaml, v1.yaml to v6.yaml
    reading: Literal["written", "scheduler"] = "written"  # of the learning rate
    tiny: bool = False  # drawn pictures and a tiny language model
    overrides: tuple[str, ...] = ()  # of every recipe


@dataclass(frozen=True, slots=True)
class VariantRun:
    """One of them, trained."""

    name: str
    column: Variant | None  # None: the baseline
    run: RunRecord
    notes: Sequence[str]  # what the training monitor said before the first step
    look: Mapping[str, Any]  # and saw at its first look: `BlockStatistics`; empty: it never looked
    stopped: str  # and what it stopped for; empty: it did not
    forgetful: Mapping[str, Mapping[str, float]]  # accuracy with BatchNorm's statistics lost


def run_variants(
    config: VariantStudyConfig,
    out: Path,
    *,
    on_plan: Callable[[Mapping[str, int]], None] = lambda _: None,
    on_log: Callable[[str], LogCallback] = lambda _: lambda _: None,
) -> tuple[VariantTable, list[VariantRun]]:
    """Train what is not trained yet, in `out`/runs; the table, and a run for each column.

    `on_plan` gets the steps of each run, `on_log` a run's name. Raises AnomalystError for a missing
    recipe or set, and for an `out` in which another study was begun.
    """
    table = read_table(config.recipes / "table.yaml")
    refuse_other_study(out, to_mapping(config))  # two readings, or two sizes, are never mixed
    changes: Mapping[str, Sequence[str]] = dict.fromkeys((BASELINE, *table.variants), ())
    if config.tiny:
        changes = _tiny_changes(config, table, out)
    recipes = {name: _recipe(config, name, own) for name, own in changes.items()}
    begin_study(out, to_mapping(config))
    on_plan({name: recipe.steps for name, recipe in recipes.items()})
    found = []
    for name, recipe in recipes.items():
        column = table.variants.get(name)
        gpus = column.gpus if column else 1
        _train(recipe, out / "runs" / name, gpus, on_log(name))
        found.append(_read(name, column, recipe, out / "runs" / name))
    return table, found


def _recipe(config: VariantStudyConfig, name: str, changes: Sequence[str]) -> AnomalyGPTRecipe:
    own = ["patches=[]"] if name == BASELINE else []
    path = config.recipes / f"{'v2' if name == BASELINE else name}.yaml"
    words = [f"reading={config.reading}", *changes, *own, *config.overrides]
    return _recipe_of(path, words).resolved()


def _recipe_of(path: Path, words: Sequence[str]) -> AnomalyGPTRecipe:
    recipe = load_recipe(path, list(words))
    if not isinstance(recipe, AnomalyGPTRecipe):
        raise AnomalystError(f"{path}: task is {recipe.task!r}; the variants train anomalygpt.")
    return recipe


def _tiny_changes(
    config: VariantStudyConfig, table: VariantTable, out: Path
) -> dict[str, list[str]]:
    """The sets and the language model, made, and what they change in each recipe."""
    sets = out / "sets"
    drawn = [{name: (name, count) for name, count in one.items()}
             for one in (MVTEC_LIKE, AEBAD_LIKE)]  # fmt: skip
    plain = draw_set(sets / "mvtec-like", drawn[0], test=TESTED)
    blades = draw_set(sets / "aebad-like", drawn[1], test=TESTED)
    language_model = write_language_model(out / "language-model")
    common = [
        f"language_model={language_model}", "instructions=''", "images=''", "side_px=96",
        "lora_rank=4", "precision=float32", "engine.name=single", "log_every=1",
        "checkpoint_every=10000", "watch.every=5", "watch.probe_every=20",
        f"scheduler_learning_rate={table.same.scheduler_maximum * FASTER}",
    ]  # fmt: skip
    words = [*common, f"data=[{plain}]", "patches=[]", "epochs=0", "steps=1"]
    reader = write_reader(out / "reader", _recipe_of(config.recipes / "v2.yaml", words))
    common.append(f"initial={reader}")
    changes = {}
    for name, column in {BASELINE: table.variants["v2"], **table.variants}.items():
        data = [plain]
        if column.augmented_to:
            target = column.augmented_to // SMALLER
            data = [augment_set(plain, sets / f"mvtec-like-{target}", target)]
        data += [blades] if column.aebad else []
        changes[name] = [
            *common,
            f"data={json.dumps([str(folder) for folder in data])}",
            f"epochs={column.epochs / FEWER_EPOCHS}",
            f"learning_rate={column.learning_rate * FASTER}",
            f"micro_batch={column.batch // 2}",  # a step in two parts: fewer passes
        ]
    return changes


def _train(recipe: AnomalyGPTRecipe, folder: Path, gpus: int, on_log: LogCallback) -> None:
    """Train to the end, or to where the training monitor ends it; nothing if that is done."""
    if recipe.engine.name == "single":
        run_once(recipe, folder, on_log)
    elif not has_ended(recipe, folder):
        _launch(recipe, folder, gpus)


def _launch(recipe: AnomalyGPTRecipe, folder: Path, gpus: int) -> None:
    """As `anomalyst train` does, with a process for each GPU of the table."""
    launch = Launch(nproc=gpus)
    checked_recipe(recipe, folder, world=gpus, here=gpus, resume=True)
    path = folder / "recipe.yaml"
    write_text(path, json.dumps(to_mapping(recipe), indent=2))  # JSON is YAML
    words = ["train", str(path), "--out", str(folder)]
    status = run_processes(launch, recipe.engine.name, words)
    end = folder / "end.json"
    if status and not (end.exists() and read_run(folder).end.get("how") == "stopped"):
        raise AnomalystError(f"{folder.name}: training ended with status {status}; see above.")


def _read(name: str, column: Variant | None, recipe: AnomalyGPTRecipe, folder: Path) -> VariantRun:
    run = read_run(folder)
    forgetful = {}
    if run.end["how"] == "finished" and any(p.layer == "batch_norm" for p in recipe.patches):
        forgetful = _without_statistics(recipe, folder)
    stopped = run.end["why"] if run.end["how"] == "stopped" else ""
    watched = folder / "watch.jsonl"  # there once something was noted
    lines = watched.read_text(encoding="utf-8").splitlines() if watched.exists() else []
    looks = (json.loads(line) for line in lines)
    first: Mapping[str, Any] = next((look for look in looks if "flowing" in look), {})
    return VariantRun(name, column, run, _json(folder / "notes.json"), first, stopped, forgetful)


def _without_statistics(recipe: AnomalyGPTRecipe, folder: Path) -> dict[str, dict[str, float]]:
    """Right answers when BatchNorm's running statistics are 0 and 1, as if never saved.

    So they were in the predecessor's checkpoints, which kept only what is trained (our reading).
    """
    path = folder / FORGETFUL
    if not path.exists():
        model = load_model(folder / "model")[0]
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.reset_running_stats()
        figures = AnomalyGPTTask(recipe, folder).figures_by_category(model)
        write_text(path, json.dumps(figures, indent=2) + "\n")
    return dict(_json(path))


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else []

"""The language model's blocks, one changed at a time: norm, its place, positions, activation."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from anomalyst.config import to_mapping
from anomalyst.report.sections import Section
from anomalyst.training.experiments.plots import draw_curves
from anomalyst.training.experiments.tables import SPREAD, spread
from anomalyst.training.studies.blocks.runs import (
    RowRun,
    Told,
    curves_of,
    folder_of,
    run_rows,
    write_figures,
)
from anomalyst.training.studies.page import write_page
from anomalyst.training.studies.resuming import begin_study, refuse_other_study
from anomalyst.training.tasks import load_as
from anomalyst.training.tasks.language import LanguageRecipe
from anomalyst.vlm.huggingface import AnomalystModel
from anomalyst.vlm.huggingface.configuration import AnomalystConfig

OWN = "LLaMA's own: RMSNorm before, rotary, SiLU"
ROWS: Mapping[str, tuple[str, ...]] = {
    OWN: (),
    "LayerNorm": ("model.norm=layer",),
    "norm after the sum": ("model.norm_place=post",),
    "LayerNorm after the sum": ("model.norm=layer", "model.norm_place=post"),
    "no positions": ("model.positions=none",),
    "sinusoidal positions": ("model.positions=sinusoidal",),
    "relative positions": ("model.positions=relative",),
    "ReLU": ("model.activation=relu",),
    "GELU": ("model.activation=gelu",),
}
# What a core learns in a quarter of a minute; --full leaves the recipe as it is.
SMALL = (
    "model.width=96", "model.layers=3", "model.heads=4", "model.kv_heads=4", "model.hidden=256",
    "turns=2", "steps=150", "batch=6", "learning_rate=0.003", "warmup_steps=20", "ema_decay=0",
    "compiled=false", "precision=float32", "episodes=200", "workers=0", "validation_batches=16",
    "log_every=10", "checkpoint_every=100000", "watch.every=0", "watch.probe_every=0",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageStudy:
    """What is run."""

    recipe: Path = Path("recipes/language.yaml")
    overrides: tuple[str, ...] = ()
    full: bool = False  # the recipe's own sizes
    seeds: int = 2


def study_language(study: LanguageStudy, out: Path, told: Told = lambda *_: None) -> list[RowRun]:
    """Every row with every seed, trained unless it was; OUT/language.json.

    All rows read the same drawn parts, looked at once. Raises AnomalystError where OUT holds
    another study, and for a recipe of another task.
    """
    settings = to_mapping(study)
    settings.pop("seeds")  # more of them may follow
    refuse_other_study(out, settings)
    recipes = {row: _recipes(study, out, own) for row, own in ROWS.items()}
    begin_study(out, settings)
    runs = run_rows(recipes, out, told)
    write_figures(out, "language", study, runs=runs)
    return runs


def write_language_page(study: LanguageStudy, runs: Sequence[RowRun], out: Path) -> str:
    """OUT/language.html and language.md; returns the Markdown."""
    shape = _recipes(study, out, ())[0].model
    steps = _recipes(study, out, ())[0].steps
    intro = [
        f"The embedded language model at width {shape.width} with {shape.layers} layers, from "
        f"scratch for {steps} steps on dialogues about drawn parts, with one thing changed in each "
        "row. Validation loss is the cross-entropy of held-out dialogues' answers in nats a token.",
        "All rows have one learning rate, which was set for the first: a row may do better with "
        "its own.",
    ]
    rows = []
    for row, words in ROWS.items():
        some = [run for run in runs if run.row == row]
        losses = [run.validation_loss for run in some if run.validation_loss is not None]
        seconds = [1000 * run.seconds_per_step for run in some]
        rows.append([
            row, " ".join(words).replace("model.", "") or "-",
            spread(losses) if losses else "stopped",
            f"{math.exp(sum(losses) / len(losses)):.2f}" if losses else "",
            spread(seconds, 0), f"{_parameters(out, some[0]):,}",
        ])  # fmt: skip
    heads = ["blocks", "recipe", "validation loss", "perplexity", "ms a step", "parameters"]
    sections = [
        Section(
            title=f"Ablation, {study.seeds} seed{'s' * (study.seeds > 1)}",
            sentences=[f"{SPREAD}; ms of a step are of this machine."],
            heads=heads,
            rows=rows,
        ),
        Section(
            title="Loss in training",
            picture=draw_curves(curves_of(runs, ROWS), "loss in training, mean of seeds"),
            shows="a curve for each row",
        ),
    ]
    return write_page(out, "language", "The language model's blocks", intro, sections)


def _recipes(study: LanguageStudy, out: Path, own: Sequence[str]) -> list[LanguageRecipe]:
    made = []
    for seed in range(study.seeds):
        words = [] if study.full else list(SMALL)
        words += [f"looks={out / 'looks'}", f"seed={seed}", *study.overrides, *own]
        recipe = load_as(LanguageRecipe, study.recipe, words)
        if not recipe.validate_every:
            recipe = replace(recipe, validate_every=recipe.steps)
        made.append(recipe)
    return made


def _parameters(out: Path, run: RowRun) -> int:
    """Of the language model of a run, by its configuration."""
    config = AnomalystConfig.from_pretrained(folder_of(out, run.row, run.seed) / "model")
    with torch.device("meta"):
        return sum(p.numel() for p in AnomalystModel(config).language_model.parameters())

"""The six variants of the reports: the table against the recipes, and the study end to end."""

from pathlib import Path

import pytest
import torch

from anomalyst.errors import AnomalystError
from anomalyst.training.optimization import learning_rate, make_optimizer
from anomalyst.training.recipe import Recipe
from anomalyst.training.studies.variant_table import read_table
from anomalyst.training.tasks import load_recipe

VARIANTS = Path(__file__).parents[1] / "recipes" / "variants"
TABLE = read_table(VARIANTS / "table.yaml")
NAMES = list(TABLE.variants)


def test_there_is_a_recipe_for_each_column_and_no_other():
    assert [f"v{n}" for n in range(1, 7)] == NAMES
    assert sorted(p.stem for p in VARIANTS.glob("v*.yaml")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_cell_of_the_table_is_in_the_recipe(name):
    recipe, cell, same = load_recipe(VARIANTS / f"{name}.yaml"), TABLE.variants[name], TABLE.same
    assert recipe.epochs == cell.epochs
    assert recipe.learning_rate == cell.learning_rate
    assert recipe.scheduler_learning_rate == same.scheduler_maximum
    assert (recipe.batch, recipe.micro_batch) == (cell.batch, cell.micro_batch)
    # Each GPU takes `accumulation` micro-batches of a step.
    assert recipe.parts(cell.gpus) == same.accumulation * cell.gpus
    assert recipe.limit_samples == (cell.samples or 0)
    layers = {(patch.layer, patch.at) for patch in recipe.patches}
    expected = {("dropout", "inside_mlp")}
    expected |= {("residual", "after_block")} if same.residual_layer else set()
    expected |= {("layer_norm", "inside_mlp")} if cell.layer_norm_in_mlp else set()
    expected |= {("batch_norm", f"after_{place}") for place in cell.batch_norm_after}
    assert layers == expected and len(recipe.patches) == len(expected)
    assert next(p.dropout for p in recipe.patches if p.layer == "dropout") == same.dropout_in_mlp
    unset = Recipe()  # what a recipe has that says nothing
    assert recipe.loss_scale_power == (cell.loss_scale_power or unset.loss_scale_power)
    assert recipe.loss_scale_window == (cell.loss_scale_window or unset.loss_scale_window)
    assert ("sets/aebad" in recipe.data) is cell.aebad
    own = "sets/mvtec" + (f"-{cell.augmented_to}" if cell.augmented_to else "")
    assert recipe.data == ((own, "sets/aebad") if cell.aebad else (own,))
    weights = [{"params": [torch.nn.Parameter(torch.zeros(1))]}]
    made = make_optimizer(recipe, weights).defaults
    assert recipe.optimizer == same.optimizer and made["eps"] == same.epsilon
    assert made["betas"] == recipe.betas == same.betas
    assert made["weight_decay"] == same.weight_decay and recipe.clip_norm == same.clip_norm
    assert recipe.precision == same.precision
    engine = recipe.engine
    assert (engine.name, engine.zero_stage) == ("deepspeed", same.zero_stage)
    assert engine.offload_optimizer is same.optimizer_on_cpu


def test_a_reading_of_the_learning_rate_is_one_or_the_other(refused):
    path = VARIANTS / "v2.yaml"
    for reading, peak in (("written", 1e-4), ("scheduler", 1e-3)):
        recipe = load_recipe(path, [f"reading={reading}", "steps=100", "warmup_steps=10"])
        weights = [{"params": [torch.nn.Parameter(torch.zeros(1))]}]
        assert make_optimizer(recipe, weights).param_groups[0]["lr"] == peak
        assert max(learning_rate(recipe, step) for step in range(100)) == pytest.approx(peak)
    said = refused("train", path, "reading=scheduler", "scheduler_learning_rate=0")
    assert "scheduler_learning_rate says no maximum" in said
    with pytest.raises(AnomalystError, match="perhaps 'scheduler'"):
        load_recipe(path, ["reading=sheduler"])

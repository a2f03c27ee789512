"""The six variants of the reports: the table against the recipes, and the study end to end."""

from pathlib import Path

import pytest
import torch

from anomalyst.config import to_mapping
from anomalyst.errors import AnomalystError
from anomalyst.training.loop import train
from anomalyst.training.optimization import learning_rate, make_optimizer
from anomalyst.training.recipe import Recipe
from anomalyst.training.studies import variants
from anomalyst.training.studies.resuming import begin_study, has_ended
from anomalyst.training.studies.variant_page import write_variant_page
from anomalyst.training.studies.variant_table import read_table
from anomalyst.training.studies.variants import VariantStudyConfig, run_variants
from anomalyst.training.tasks import load_recipe

pytestmark = pytest.mark.usefixtures("one_thread")
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


def test_a_study_is_not_mixed_with_another_reading(tmp_path, refused):
    begin_study(tmp_path, to_mapping(VariantStudyConfig(recipes=VARIANTS)))
    words = ("study", "variants", "--recipes", VARIANTS, "--out", tmp_path)
    said = refused(*words, "--reading", "scheduler")
    assert "holds a study with reading 'written', not 'scheduler'" in said
    said = refused(*words)  # the same study; but its sets are not here
    assert "vicuna-7b: no language model is there" in said


def test_a_run_of_another_recipe_is_not_taken_for_this_one(tiny, tmp_path):
    recipe = load_recipe(tiny / "tiny.yaml", ["steps=1", "warmup_steps=1"])
    assert not has_ended(recipe, tmp_path)
    train(recipe, tmp_path)
    assert has_ended(recipe, tmp_path)
    with pytest.raises(AnomalystError, match="holds a run of another recipe"):
        has_ended(load_recipe(tiny / "tiny.yaml", ["steps=1"]), tmp_path)


@pytest.mark.slow
def test_all_six_run_end_to_end_and_are_set_beside_the_reports(tmp_path, monkeypatch):
    monkeypatch.setattr(variants, "TESTED", 1)
    small = ("epochs=0", "steps=2", "batch=4", "micro_batch=2")
    config = VariantStudyConfig(recipes=VARIANTS, tiny=True, overrides=small)
    planned: dict[str, int] = {}
    table, runs = run_variants(config, tmp_path, on_plan=planned.update)
    assert planned == dict.fromkeys(["baseline", *NAMES], 2)
    assert all(one.run.end["how"] == "finished" for one in runs)
    categories = {one.name: sorted(one.run.accuracy) for one in runs}
    assert len(categories["v3"]) == 4 and len(categories["v4"]) == 6
    assert [one.name for one in runs if one.forgetful] == ["v3", "v4", "v5", "v6"]
    for name, target in (("v5", 50), ("v6", 20)):
        recipe = next(one.run.recipe for one in runs if one.name == name)
        counts = {
            path.name: len(list((path / "train" / "good").iterdir()))
            for path in Path(recipe["data"][0]).iterdir()
            if path.is_dir()
        }
        assert set(counts.values()) == {target}
    text = write_variant_page(tmp_path, config, table, runs)
    # The 1-shot map is no training's: the same of all runs on the same pictures.
    first = {x.name: [row["pixel_auroc"] for row in x.run.accuracy.values()] for x in runs}
    assert first["baseline"] == first["v1"] == first["v2"] == first["v3"]
    for told in ("94.23 / 95.46", "91.66", "89.56", "85.87", "86.22", "87.87", "17 %"):
        assert told in text
    assert "a LayerNorm put into a frozen block cannot learn" in text

"""The tasks that teach words: tiny runs of the real thing."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from anomalyst.detection.classifiers.defect_types import load_kinds
from anomalyst.detection.classifiers.kinds import KIND_OF, KINDS
from anomalyst.errors import AnomalystError
from anomalyst.synthetic.procedural import WorldConfig, make_episode
from anomalyst.synthetic.procedural.defects import DEFECTS
from anomalyst.synthetic.procedural.families import FAMILIES
from anomalyst.training.checkpoint import find_checkpoint
from anomalyst.training.data import feature_cache
from anomalyst.training.data.dialogues.patterns import expand
from anomalyst.training.data.dialogues.scenes import LOOK_OF
from anomalyst.training.data.feature_cache import fill_cache, read_crops, read_features, true_kind
from anomalyst.training.experiments.runs import read_run
from anomalyst.training.loop import train
from anomalyst.training.task import Share
from anomalyst.training.tasks import load_recipe
from anomalyst.training.tasks.defect_types import KindsRecipe
from anomalyst.training.tasks.language import LanguageModelConfig, LanguageRecipe, LanguageTask
from anomalyst.training.tasks.text_aligned import TextAlignedRecipe
from anomalyst.vlm.huggingface.loading import load_model

pytestmark = pytest.mark.usefixtures("one_thread")
WORLD = WorldConfig(size_px=96, references=(1, 1), anomalous_share=0.9)
SHORT = {"steps": 2, "batch": 2, "warmup_steps": 1, "checkpoint_every": 1, "log_every": 1}
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def looks(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("looks")
    fill_cache(folder, WORLD, 8)
    return folder


def test_what_was_seen_is_kept_and_not_looked_at_again(looks: Path, monkeypatch):
    seen = read_features(looks)
    assert len(seen) == 8 and seen[0].map.shape == (1, 64, 64)
    assert all(look.regions and look.patches.shape == (128, 4, 4) for look in seen)
    before = {p: p.stat().st_mtime_ns for p in looks.iterdir()}
    monkeypatch.setattr(feature_cache, "FeatureExtractor", lambda: pytest.fail("it looked again"))
    fill_cache(looks, WORLD, 8)
    assert before == {p: p.stat().st_mtime_ns for p in looks.iterdir()}
    crops = read_crops(looks)
    assert crops["pixels"].shape[1:] == (3, 64, 64) and crops["details"].shape[1:] == (97, 16, 16)
    assert len(crops["kinds"]) == len(crops["figures"]) > 0


def test_every_defect_of_the_world_has_a_kind_and_every_family_a_look():
    assert set(DEFECTS) <= set(KIND_OF) and set(KIND_OF.values()) == set(KINDS)
    assert sorted(f for families in LOOK_OF.values() for f in families) == sorted(FAMILIES)


def test_a_region_beside_every_defect_has_no_kind():
    from test_grounding import region

    episode = make_episode(3, replace(WORLD, anomalous_share=0.0))
    assert true_kind(region(), episode) is None


def test_kinds_are_learnt_and_shipped(looks: Path, tmp_path: Path):
    recipe = KindsRecipe(**SHORT, looks=str(looks), episodes=8, world=WORLD)
    classifier = load_kinds(train(recipe, tmp_path))
    crops = read_crops(looks)
    logits = classifier(
        crops["pixels"].float(), crops["maps"].float(), crops["details"].float(), crops["figures"]
    )
    assert logits.shape == (len(crops["kinds"]), len(KINDS))


def test_a_task_that_holds_nothing_out_says_so(looks: Path, tmp_path: Path):
    recipe = KindsRecipe(**SHORT, looks=str(looks), episodes=8, world=WORLD, validate_every=1)
    with pytest.raises(AnomalystError, match="task 'kinds' holds nothing out"):
        train(recipe, tmp_path)


def test_the_text_aligned_decoder_is_learnt_and_what_is_held_out_is_looked_at(tmp_path: Path):
    recipe = TextAlignedRecipe(
        **SHORT, workers=0, world=replace(WORLD, size_px=48), validate_every=1, validation_batches=1
    )
    logged: list[dict] = []
    weights = train(recipe, tmp_path, on_log=logged.append)
    lines = [line for line in logged if "note" not in line]
    assert weights.name == "text_aligned.safetensors" and {"focal", "dice"} <= set(lines[0])
    assert all(line["validation_loss"] > 0 for line in lines)
    train(replace(recipe, validate_every=9), tmp_path / "seldom", on_log=logged.append)
    assert logged[-1]["step"] == 2 and logged[-1]["validation_loss"] > 0  # the end is always seen


def test_words_are_learnt_shipped_and_written_anew_for_every_step(looks: Path, tmp_path: Path):
    model = LanguageModelConfig(width=32, layers=1, heads=2, kv_heads=1, hidden=48, vocabulary=512)
    recipe = LanguageRecipe(**SHORT, looks=str(looks), episodes=8, world=WORLD, model=model)
    folder = train(recipe, tmp_path / "run")
    _, processor = load_model(folder)
    assert len(processor.tokenizer) == 512
    task = LanguageTask(recipe, tmp_path)
    first, second = task.batches(0, Share())
    again = next(task.batches(1, Share()))
    assert torch.equal(second["input_ids"], again["input_ids"])
    assert first["input_ids"].shape != second["input_ids"].shape or not torch.equal(
        first["input_ids"], second["input_ids"]
    )


@pytest.mark.parametrize("name", ["kinds", "language", "text_aligned", "embedded", "anomalygpt"])
def test_every_recipe_that_ships_can_be_read(name: str):
    assert load_recipe(ROOT / "recipes" / f"{name}.yaml").steps > 0


def test_an_unknown_task_names_the_nearest(tmp_path: Path):
    (tmp_path / "r.yaml").write_text("task: languag\n")
    with pytest.raises(AnomalystError, match="perhaps 'language'"):
        load_recipe(tmp_path / "r.yaml")


def test_an_old_recipe_and_its_checkpoint_open_and_its_key_is_named(tmp_path: Path, caplog):
    old = tmp_path / "old.yaml"
    old.write_text("{stage: text_aligned, steps: 2, batch: 2, workers: 0, world: {size_px: 48}}")
    recipe = load_recipe(old)
    assert isinstance(recipe, TextAlignedRecipe) and recipe.task == "text_aligned"
    assert caplog.text.count("old.yaml: stage is now called task") == 1
    train(recipe, tmp_path / "run")
    state = tmp_path / "run" / "checkpoints" / "step-00000002" / "state.json"
    for path in (state, tmp_path / "run" / "recipe.json"):
        path.write_text(path.read_text().replace('"task":', '"stage":'))
    assert find_checkpoint(tmp_path / "run", recipe, engine="single", world=1).step == 2
    assert read_run(tmp_path / "run").recipe["task"] == "text_aligned"


def test_patterns_are_expanded_in_every_way():
    rng = np.random.default_rng(0)
    ways = {expand("(A|B) [really [very]] {x}?", rng, {"x": ("(c|d)",)}) for _ in range(200)}
    assert ways == {
        f"{a}{m} {x}?" for a in "AB" for m in ("", " really", " really very") for x in "cd"
    }

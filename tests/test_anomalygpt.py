"""The predecessor's recipe, end to end, on real pictures and a tiny language model."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from anomalyst.detection.classifiers.text_aligned import TextAlignedDecoder
from anomalyst.errors import AnomalystError
from anomalyst.teaching.losses import dice_loss, focal_loss
from anomalyst.training.experiments.tiny import write_tiny_llama
from anomalyst.training.loop import train
from anomalyst.training.task import Share
from anomalyst.training.tasks.anomalygpt import AnomalyGPTTask
from anomalyst.training.tasks.inspection_data import AnomalyGPTRecipe, as_tokens
from anomalyst.vlm.huggingface.loading import load_model
from anomalyst.vlm.text_tower import States

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def language_model(tmp_path_factory) -> Path:
    """A tiny language model in the real format."""
    folder = tmp_path_factory.mktemp("words") / "tiny"
    write_tiny_llama(folder, 0, 32)
    return folder


@pytest.fixture
def recipe(cookie: Path, language_model: Path, tmp_path: Path) -> AnomalyGPTRecipe:
    """Two pictures a step of real biscuits, and instructions as LLaVA and PandaGPT write them."""
    data = tmp_path / "set" / "cookie"
    (data / "train" / "good").mkdir(parents=True)
    (data / "test" / "good").mkdir(parents=True)
    for index, path in enumerate(sorted((cookie / "train" / "good").iterdir())[:4]):
        (data / "train" / "good" / path.name).symlink_to(path)
        if index == 0:
            (data / "test" / "good" / path.name).symlink_to(path)
    Image.fromarray(np.full((64, 80, 3), 99, np.uint8)).save(tmp_path / "grey.png")
    (tmp_path / "instructions.json").write_text(
        json.dumps(
            [
                {
                    "id": "1",
                    "image": "grey.png",
                    "conversations": [
                        {"from": "human", "value": "<image>\nWhat is it?"},
                        {"from": "gpt", "value": "A grey field."},
                    ],
                },
                {
                    "image_name": "grey.png",
                    "conversations": [
                        {"from": "human", "value": "Colour?"},
                        {"from": "gpt", "value": "Grey."},
                    ],
                },
            ]
        )  # fmt: skip
    )
    return AnomalyGPTRecipe(
        data=(str(data),),
        instructions=str(tmp_path / "instructions.json"),
        images=str(tmp_path),
        language_model=str(language_model),
        steps=6, batch=2, warmup_steps=1, learning_rate=5e-3, side_px=96, lora_rank=4,
        lora_from=4, precision="float32", checkpoint_every=3, log_every=1,
        language_loss="weighted", map_loss="adaptive_focal", sampling="by_picture",
    )  # fmt: skip


def test_it_runs_on_real_pictures_resumes_and_ships_a_model(recipe, tmp_path: Path):
    logged: list[dict] = []
    folder = train(recipe, tmp_path / "run", on_log=logged.append)
    logged = [line for line in logged if "note" not in line]
    assert [("focal" in line) for line in logged] == [True, False] * 3  # instructions have no map
    assert all(np.isfinite(line["loss"]) for line in logged)
    model, processor = load_model(folder)
    assert model.config.level_widths == [48, 96, 128, 112] and not model.config.facts
    assert not [n for n, _ in model.named_parameters() if "lora" in n]
    assert train(recipe, tmp_path / "run") == folder  # nothing left to do
    said = json.loads((tmp_path / "run" / "accuracy.json").read_text())
    assert said["cookie"]["asked"] == 1 and said["cookie"]["spoiled"] == 0
    assert "image_auroc" not in said["cookie"]  # one good picture: nothing to rank


def test_first_the_language_model_is_frozen_then_lora_is_tuned(recipe, tmp_path: Path):
    task = AnomalyGPTTask(recipe, tmp_path)
    trained = {n for n, p in task.module.named_parameters() if p.requires_grad}
    assert all("lora_" in n or not n.startswith("language_model") for n in trained)
    batches = list(task.batches(0, Share()))
    for batch, tuned in ((batches[0], False), (batches[4], True)):
        task.module.zero_grad()
        task.loss(dict(batch), torch.device("cpu"))[0].backward()
        grown = {n for n, p in task.module.named_parameters() if p.grad is not None}
        assert any("lora_" in n for n in grown) is tuned
        assert any("text_aligned" in n for n in grown)
        assert any("prompt_learner" in n for n in grown)


def test_a_spoiled_picture_is_asked_about_with_its_own_places(recipe, tmp_path: Path):
    task = AnomalyGPTTask(replace(recipe, instructions="", few_shot_share=1.0), tmp_path)
    rng = np.random.default_rng(0)
    for _ in range(12):
        sample = as_tokens(
            task.inspections.sample(rng, defective=True), task.processor, "llama", 999
        )
        said = task.processor.tokenizer.decode(sample["labels"][sample["labels"] >= 0])
        # What has an empty mask is never called a defect (6 to 12 % of the predecessor's were).
        assert sample["mask"].any() or "no defect" in said.lower()
        assert sample["given"].all() and sample["anomaly_map"].max() > 0


def test_bad_recipes_are_refused(recipe, tmp_path: Path):
    with pytest.raises(ValueError, match="data and language_model are needed"):
        AnomalyGPTRecipe()
    with pytest.raises(AnomalystError, match="no language model can be read"):
        AnomalyGPTTask(replace(recipe, language_model=str(tmp_path / "none")), tmp_path)
    (tmp_path / "bad.json").write_text('{"a": 1}')
    with pytest.raises(AnomalystError, match="no list of conversations"):
        AnomalyGPTTask(replace(recipe, instructions=str(tmp_path / "bad.json")), tmp_path)


def test_the_text_aligned_map_is_the_mean_of_softmaxes_over_two_states():
    torch.manual_seed(0)
    decoder = TextAlignedDecoder((5, 7), 6)
    levels = [torch.randn(2, 5, 8, 8), torch.randn(2, 7, 4, 4)]
    states = torch.randn(2, 6)
    found = decoder(levels, (16, 16), states).sigmoid()
    maps = []
    for layer, level in zip(decoder.layers, levels, strict=True):
        x = torch.nn.functional.normalize(layer(level), dim=1)
        unit = torch.nn.functional.normalize(states, dim=1)
        both = torch.einsum("bdhw,sd->bshw", x, unit) * decoder.log_scale.exp()
        both = torch.nn.functional.interpolate(both, (16, 16), mode="bilinear")
        maps.append(both.softmax(1)[:, 1:])
    assert torch.allclose(found, torch.stack(maps).mean(0), atol=1e-5)
    mask = torch.ones(2, 1, 16, 16)
    assert float(focal_loss(torch.full((2, 1, 16, 16), 20.0), mask)) < 1e-6
    assert float(dice_loss(torch.full((2, 1, 16, 16), 20.0), mask)) < 1e-3


def test_states_are_an_ensemble_of_sentences_about_the_product():
    normal, abnormal = States().sentences("screw")
    assert len(normal) == 36 and len(abnormal) == 32
    assert all("screw" in s for s in normal + abnormal) and not set(normal) & set(abnormal)

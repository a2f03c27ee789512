"""The training loop: losses by hand, a run that resumes exactly, refusals."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from anomalyst.backbones.embedded import EmbeddedConfig, load_embedded
from anomalyst.calibration.conformal import Calibration
from anomalyst.detection.pair_decoder import DecoderConfig, load_decoder
from anomalyst.errors import AnomalystError
from anomalyst.synthetic.procedural import WorldConfig
from anomalyst.teaching.losses import dice_loss, focal_loss, image_loss, rank_loss
from anomalyst.training.data.episodes import Batch, batches
from anomalyst.training.loop import train
from anomalyst.training.recipe import DetectorRecipe
from anomalyst.training.tasks import load_recipe
from anomalyst.training.tasks.detector import DetectorModel

TINY = DetectorRecipe(
    steps=6,
    batch=4,
    sizes_px=(48, 64),
    warmup_steps=2,
    learning_rate=2e-3,
    alone_share=0.3,
    both_share=0.3,
    precision="float32",
    workers=0,
    log_every=2,
    checkpoint_every=2,
    calibration_episodes=3,
    buffer_episodes=8,
    world=WorldConfig(size_px=48, references=(2, 2), families=("pill", "surface")),
    encoder=EmbeddedConfig(detail=(8, 8), levels=(8, 8, 8)),
    decoder=DecoderConfig(levels=(8, 8, 8), width=16, fine_width=8),
)


pytestmark = pytest.mark.usefixtures("one_thread")


def test_losses_by_hand():
    logits = torch.tensor([[[[0.0, 2.0]]]])
    mask = torch.tensor([[[[0.0, 1.0]]]])
    p = torch.sigmoid(torch.tensor(2.0))
    focal = (0.25 * torch.log(torch.tensor(2.0)) + (1 - p) ** 2 * -torch.log(p)) / 2
    assert focal_loss(logits, mask) == pytest.approx(float(focal), rel=1e-5)
    dice = 1 - (2 * p + 1) / (0.25 + p**2 + 1 + 1)
    assert dice_loss(logits, mask) == pytest.approx(float(dice), rel=1e-5)
    assert image_loss(logits, mask) == pytest.approx(float(-torch.log(p)), rel=1e-5)


def test_a_batch_loss_is_the_mean_of_its_singles_and_perfection_costs_nothing():
    torch.manual_seed(0)
    logits, mask = torch.randn(3, 1, 8, 8), (torch.rand(3, 1, 8, 8) > 0.7).float()
    for loss in (focal_loss, dice_loss, image_loss):
        singles = [loss(logits[i : i + 1], mask[i : i + 1]) for i in range(3)]
        assert loss(logits, mask) == pytest.approx(float(torch.stack(singles).mean()), rel=1e-5)
        assert float(loss((mask - 0.5) * 40, mask)) < 1e-3


def test_ranking_costs_what_a_wrong_order_costs_by_hand():
    mask = torch.zeros(2, 1, 2, 2)
    mask[0, 0, 0, 0] = 1  # only the first query is defective
    scores = torch.tensor([3.0, -9.0, 1.0, 5.0])  # two queries, then a normal picture of each
    assert rank_loss(scores, mask) == pytest.approx(math.log(1 + math.exp(1 - 3)), rel=1e-5)
    assert rank_loss(scores, torch.zeros_like(mask)) == 0


def test_batches_are_a_function_of_the_step_and_their_sizes_take_turns():
    whole = list(batches(TINY))
    assert [b.query.shape[-1] for b in whole] == [48, 64] * 3
    assert [len(b.query) for b in whole[:2]] == [4, 2]  # the larger, the fewer
    assert {b.shown for b in batches(replace(TINY, steps=40))} == {0, 1, 2}
    assert {v for b in whole for v in b.mask.unique().tolist()} == {0, 1}
    resumed = list(batches(TINY, 3))
    assert all(torch.equal(a.query, b.query) for a, b in zip(whole[3:], resumed, strict=True))


@pytest.mark.parametrize(("shown", "queries"), [(0, 4), (1, 4), (2, 2)])
def test_a_good_picture_that_is_not_shown_is_a_second_query(shown: int, queries: int):
    model = DetectorModel(TINY)
    batch = Batch(
        torch.rand(2, 2, 3, 48, 48), torch.rand(2, 3, 48, 48), torch.ones(2, 1, 48, 48), shown
    )
    logits, _ = model.predict(batch)
    assert logits.shape == (queries, 1, 12, 12)
    _, parts = model(batch)
    assert ("rank" in parts) == (queries == 4)


def test_a_run_starts_from_weights_that_fit_and_refuses_others(tmp_path: Path):
    weights = train(replace(TINY, steps=2), tmp_path / "first")
    again = replace(TINY, steps=2, seed=9, initial=str(weights), learning_rate=1e-9)
    fresh = train(replace(again, initial=""), tmp_path / "fresh")
    one, other, third = (load_decoder(w) for w in (weights, train(again, tmp_path / "on"), fresh))
    assert torch.allclose(one.out.weight, other.out.weight, atol=2e-3)
    assert not torch.allclose(one.out.weight, third.out.weight, atol=2e-3)
    wide = replace(again, decoder=DecoderConfig(levels=(8, 8, 8), width=24, fine_width=8))
    with pytest.raises(AnomalystError, match="decoder does not fit"):
        train(wide, tmp_path / "third")


def test_an_interrupted_run_ends_where_the_uninterrupted_one_does(tmp_path: Path):
    weights = train(TINY, tmp_path / "whole")
    logged = []

    class Interrupt(Exception):
        pass

    def stop(line: dict) -> None:
        logged.append(line)
        if line["step"] == 4:
            raise Interrupt

    with pytest.raises(Interrupt):
        train(TINY, tmp_path / "cut", on_log=stop)
    resumed = train(TINY, tmp_path / "cut")
    one, other = load_embedded(weights), load_embedded(resumed)
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-5)
    assert load_decoder(resumed).config == TINY.decoder
    lines = [json.loads(x) for x in (tmp_path / "whole" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4, 6] and all(line["loss"] > 0 for line in lines)
    for name in ("calibration.json", "calibration-alone.json"):
        scores = json.loads((tmp_path / "whole" / name).read_text())
        assert len(Calibration.from_dict(scores).scores) == 3


def test_a_checkpoint_of_another_recipe_is_refused_with_what_differs(tmp_path: Path):
    train(replace(TINY, steps=2), tmp_path)
    with pytest.raises(AnomalystError, match="learning_rate was 0.002, is 0.1"):
        train(replace(TINY, steps=2, learning_rate=0.1), tmp_path)
    checkpoint = tmp_path / "checkpoints" / "step-00000002" / "trained.safetensors"
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.raises(AnomalystError, match="no whole checkpoint"):
        train(replace(TINY, steps=2), tmp_path)


def test_the_shipped_recipe_reads_and_a_misspelt_key_names_the_nearest():
    path = Path(__file__).parents[1] / "recipes" / "embedded.yaml"
    read = load_recipe(path, ["steps=10", "world.size_px=96"])
    assert read.world.size_px == 96 and not read.initial
    with pytest.raises(AnomalystError, match="nearest is 'learning_rate'"):
        load_recipe(path, ["learnin_rate=1"])
    with pytest.raises(AnomalystError, match="steps"):
        load_recipe(path, ["steps=many"])

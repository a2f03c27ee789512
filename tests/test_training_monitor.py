"""The predecessor's two failures, made again small, and what else cannot come to anything."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from transformers import LlamaForCausalLM

from anomalyst.training.distributed.ranks import RankContext
from anomalyst.training.engines import open_engine
from anomalyst.training.loop import train
from anomalyst.training.monitor.training_monitor import (
    BlockStatistics,
    TrainingMonitor,
    TrainingStopped,
)
from anomalyst.training.recipe import EngineConfig
from anomalyst.training.setup import prepare_run
from anomalyst.training.tasks import load_recipe

pytestmark = pytest.mark.usefixtures("one_thread")

EVERYWHERE = "lora_targets=[q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj,down_proj]"
# As the predecessor served it: of its BatchNorm only what is trained was saved, no statistics.
V3 = "patches=[{layer: batch_norm, at: after_attention, momentum: 0},{layer: batch_norm, at: after_mlp, momentum: 0}]"  # noqa: E501


def run(tiny: Path, out: Path, *overrides: str) -> list[dict]:
    """Train the tiny recipe; what it said, the remarks included."""
    logged: list[dict] = []
    recipe = load_recipe(tiny / "tiny.yaml", ["watch.every=5", *overrides])
    train(recipe, out, on_log=logged.append)
    return logged


@pytest.fixture(scope="module")
def like_large(tiny: Path, tmp_path_factory) -> Path:
    """The same function with gated activations a hundred times as small, as large models have."""
    folder = tmp_path_factory.mktemp("like") / "large"
    shutil.copytree(next(tiny.glob("llama-*")), folder)
    model = LlamaForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        for block in model.model.layers:
            block.mlp.up_proj.weight /= 100
            block.mlp.down_proj.weight *= 100
    model.save_pretrained(folder)
    return folder


def test_v1_a_layernorm_in_a_frozen_mlp_is_named_when_gradients_vanish(tiny, like_large, tmp_path):
    patched = "patches=[{layer: layer_norm, at: inside_mlp}]"
    with pytest.raises(TrainingStopped, match=r"layers\.1 has vanished.*LayerNorm put into"):
        run(tiny, tmp_path / "v1", "steps=30", f"language_model={like_large}", patched)
    end = json.loads((tmp_path / "v1" / "end.json").read_text())
    assert end["how"] == "stopped" and "Step 15" in end["why"]
    run(tiny, tmp_path / "sound", "steps=20", f"language_model={like_large}")  # goes to its end


@pytest.mark.slow
def test_v3_fluent_words_that_answer_nothing_are_stopped_and_the_batchnorm_named(tiny, tmp_path):
    asked = ("learning_rate=0.012", "lora_rank=16", EVERYWHERE, "watch.probe_every=20")
    with pytest.raises(TrainingStopped, match=r"none is answered with yes or no.*BatchNorm"):
        run(tiny, tmp_path / "v3", "steps=80", *asked, V3)
    logged = run(tiny, tmp_path / "sound", "steps=60", *asked)
    rounds = [line["answered"] for line in logged if "answered" in line]
    # How well so short a training ends is this processor's rounding; that it answers is not.
    assert len(rounds) == 3 and all(share > 0 for share in rounds)


def test_settings_that_cannot_matter_are_said_before_the_first_step(tiny, tmp_path):
    patches = "patches=[{layer: dropout, at: inside_mlp},{layer: batch_norm, at: after_mlp}]"
    logged = run(tiny, tmp_path, "steps=2", "lora_from=9", patches)
    notes = " ".join(line["note"] for line in logged if "note" in line)
    for said in (
        "dropout 0.1 where nothing is trained only adds noise (and so in 3 more)",
        "a BatchNorm put into a frozen block cannot learn",
        "the 1-shot map (image and pixel AUROC) does not depend on anything that is trained",
        "warmup_steps 5: the run ends after 2",
        "lora_from 9: the run ends before it",
    ):
        assert said in notes
    assert "lora_dropout" not in notes and "the answers" not in notes


@pytest.mark.parametrize(
    ("break_it", "told"),
    [
        (lambda block: block.mlp.down_proj.weight.fill_(float("nan")), "output of language_model"),
        (lambda block: block.register_full_backward_hook(
            lambda _m, given, _g: (given[0] * float("inf"), *given[1:])), "on its way back"),
    ],
)  # fmt: skip
def test_what_breaks_first_is_named(tiny, tmp_path, monkeypatch, break_it, told):
    from anomalyst.training import setup

    made = setup.task_of

    def broken(recipe, out):
        task = made(recipe, out)
        with torch.no_grad():
            break_it(task.blocks()["language_model.model.layers.2"])
        return task

    monkeypatch.setattr(setup, "task_of", broken)
    with pytest.raises(TrainingStopped, match=rf"{told}.*layers\.2"):
        run(tiny, tmp_path, "steps=4")
    assert not list((tmp_path / "checkpoints").glob("*"))  # no broken weights are kept


def test_blocks_that_die_or_explode_are_named_after_some_looks(tiny, tmp_path):
    recipe = load_recipe(tiny / "tiny.yaml", [])
    engine = open_engine(EngineConfig(), RankContext())
    found, _ = prepare_run(recipe, tmp_path, engine, resume=False, on_log=lambda _: None)
    monitor = TrainingMonitor(recipe, found.task, engine, tmp_path)
    first, *_, last = monitor.blocks
    calm = BlockStatistics(1, {first: 1.0, last: 1.0}, {first: 0.0, last: 0.5}, {}, {})
    dead = BlockStatistics(2, {first: 1.0, last: 0.1}, {first: 0.0, last: 0.995}, {}, {})
    wild = BlockStatistics(3, {first: 2e4, last: 1.0}, {first: 0.0, last: 0.5}, {}, {})
    monitor.history = [calm]
    assert "layers.3 is dead: 100 %" in monitor._trouble([dead] * 3)
    assert "layers.0 is 20000 times as large" in monitor._trouble([wild] * 3)
    assert not monitor._trouble([calm, dead, wild])


def test_a_float16_scale_that_falls_to_its_floor_stops_the_run(tiny, tmp_path, monkeypatch):
    from anomalyst.training import setup

    made = setup.task_of

    def overflowing(recipe, out):
        task = made(recipe, out)
        block = task.blocks()["language_model.model.layers.3"]
        block.register_full_backward_hook(lambda _m, given, _g: (given[0] * 1e30, *given[1:]))
        return task

    monkeypatch.setattr(setup, "task_of", overflowing)
    with pytest.raises(TrainingStopped, match="loss scale has fallen to its floor"):
        run(tiny, tmp_path, "steps=30", "precision=float16", "loss_scale_power=3")
    lines = [json.loads(x) for x in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["loss_scale"] for line in lines] == [8, 4, 2]

"""Two starts of one recipe begin alike, or say in what they differ."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from anomalyst.errors import AnomalystError
from anomalyst.hardware import processor
from anomalyst.training.distributed.ranks import RankContext
from anomalyst.training.engines.base import Engine
from anomalyst.training.loop import train
from anomalyst.training.start import fingerprint, same_start
from anomalyst.training.task import Share
from anomalyst.training.tasks import load_recipe

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.usefixtures("one_thread")
RMSPROP = ["optimizer=rmsprop", "steps=2", "log_every=1"]
SMALL = ["episodes=2", "batch=4", "compiled=false", "watch.every=0", "watch.probe_every=0",
         "workers=0", "model.width=32", "model.layers=1", "model.heads=2", "model.kv_heads=1",
         "model.hidden=32", "model.vocabulary=300"]  # fmt: skip


def losses(out: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (out / "log.jsonl").read_text().splitlines()]


def start(out: Path) -> dict:
    return json.loads((out / "start.json").read_text())


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_rmsprop_starts_equal_to_the_last_bit(precision, tiny, tmp_path):
    """Whatever happened before in the process: other random numbers drawn, another run."""
    for index in range(3):
        torch.manual_seed(index)
        words = [*RMSPROP, f"precision={precision}", f"workers={index % 2}"]
        train(load_recipe(tiny / "tiny.yaml", words), tmp_path / str(index))
    assert losses(tmp_path / "0") == losses(tmp_path / "1") == losses(tmp_path / "2")
    assert start(tmp_path / "0") == start(tmp_path / "1") == start(tmp_path / "2")


@pytest.mark.slow
def test_a_run_that_had_to_look_begins_like_one_that_found_the_looks_there(tmp_path):
    """It used to begin with other weights: loading the networks that look draws random numbers."""
    recipe = load_recipe(ROOT / "recipes" / "language.yaml", [*RMSPROP, *SMALL])
    for _ in range(2):
        before = losses(tmp_path) if (tmp_path / "log.jsonl").exists() else None
        train(recipe, tmp_path, resume=False)
        assert before in (None, losses(tmp_path))
    assert before and list((tmp_path / "looks").iterdir())


def test_float32_begins_alike_on_a_processor_without_bfloat16(tiny, tmp_path, monkeypatch):
    """The frozen encoder used to compute in bfloat16 where there was one, whatever was asked."""
    recipe = load_recipe(tiny / "tiny.yaml", [*RMSPROP, "precision=float32", "few_shot_share=1"])
    train(recipe, tmp_path / "with")
    without = replace(processor.processor(), bfloat16=not processor.processor().bfloat16)
    monkeypatch.setattr(processor, "processor", lambda: without)
    train(recipe, tmp_path / "without")
    assert losses(tmp_path / "with") == losses(tmp_path / "without")


def test_what_can_differ_between_two_starts_is_told(tiny, tmp_path):
    found = {}
    for name, word in (("plain", "seed=0"), ("other", "seed=1"), ("half", "precision=bfloat16"),
                       ("whole", "micro_batch=0")):  # fmt: skip
        train(load_recipe(tiny / "tiny.yaml", [*RMSPROP, "steps=1", word]), tmp_path / name)
        found[name] = start(tmp_path / name)
    differ = {name: {key for key in one if one[key] != found["plain"][key]}
              for name, one in found.items()}  # fmt: skip
    assert differ == {"plain": set(), "other": {"weights"}, "half": {"precision"},
                      "whole": {"micro_batches"}}  # fmt: skip
    assert losses(tmp_path / "whole") != losses(tmp_path / "plain")


class TwoMachines(Engine):
    """This process beside one that began otherwise."""

    def __init__(self, other: tuple[str, str]):
        super().__init__(RankContext())
        self.other = other

    def gather(self, what):
        return [what, self.other]


def test_processes_that_begin_otherwise_are_refused():
    module = torch.nn.Linear(3, 2)
    mine = fingerprint(module)
    assert mine == fingerprint(module.double().float()) != fingerprint(torch.nn.Linear(3, 2))
    same_start(TwoMachines((mine, "float32")), module, "float32", Share(), 0)
    with pytest.raises(AnomalystError, match="auto comes to bfloat16 on some of these machines"):
        same_start(TwoMachines((mine, "bfloat16")), module, "float32", Share(), 0)
    with pytest.raises(AssertionError, match="begin with different weights"):
        same_start(TwoMachines(("0", "float32")), module, "float32", Share(), 0)


@pytest.mark.slow
def test_two_processes_begin_like_one_with_one_thread_or_two(tiny, tmp_path):
    """Rounding alone is left, and only after a step; without `micro_batch` a note says why not."""
    run = [sys.executable, "-m", "anomalyst", "train", str(tiny / "tiny.yaml"), *RMSPROP]
    for name, more in (
        ("one", []), ("again", []), ("ddp-1", ["--engine", "ddp"]),
        ("ddp-2", ["--engine", "ddp", "--nproc", "2"]),
        ("fsdp-2", ["--engine", "fsdp", "--nproc", "2"]),
        ("parts", ["--engine", "ddp", "--nproc", "2", "micro_batch=0"]),
    ):  # fmt: skip
        words = [*run, *more, "--out", str(tmp_path / name)]
        done = subprocess.run(words, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
        assert ("2 processes take micro-batches of 2 and one would" in done.stderr + done.stdout
                ) is (name == "parts")  # fmt: skip
    one = losses(tmp_path / "one")
    assert one == losses(tmp_path / "again") and one == losses(tmp_path / "ddp-1")
    for name in ("ddp-2", "fsdp-2"):
        assert losses(tmp_path / name) == pytest.approx(one, abs=2e-6)
        assert start(tmp_path / name)["weights"] == start(tmp_path / "one")["weights"]

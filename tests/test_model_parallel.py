"""Tensor and pipeline parallel engines: one curve, whole checkpoints, refused before they start."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from anomalyst.errors import AnomalystError
from anomalyst.training.engines.division import check_division
from anomalyst.training.experiments.pipeline_bench import bubble
from anomalyst.training.experiments.tiny import make_tiny_language
from anomalyst.training.tasks import load_recipe
from spreading import finish, start, train_spread, workers_of

RECIPES = Path(__file__).parents[1] / "recipes"
TOLERANCE = 1e-5  # of the loss, float32
SIZES = ["model.layers=2", "model.width=32", "model.hidden=48", "model.vocabulary=300"]
WORDS = ["steps=4", "batch=4", "micro_batch=1", "checkpoint_every=2", "watch.every=2",
         "validate_every=4", "validation_batches=1"]  # fmt: skip


@pytest.fixture(scope="module")
def recipe(tmp_path_factory) -> Path:
    torch.set_num_threads(1)
    return make_tiny_language(tmp_path_factory.mktemp("language"), episodes=2)


@pytest.fixture(scope="module")
def curve(recipe, tmp_path_factory) -> list[float]:
    """Losses of one process; in a process of its own, for autograd's threads do not fork."""
    out = tmp_path_factory.mktemp("single") / "run"
    assert finish(start(1, train_spread, recipe, out, WORDS)) == [0]
    return losses(out)


def losses(out: Path) -> list[float]:
    """Of every step, and of what is held out."""
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines] + [lines[-1]["validation_loss"]]


def check(out: Path, curve: list[float]) -> None:
    found = losses(out)
    assert len(found) == len(curve)
    assert max(abs(a - b) for a, b in zip(found, curve, strict=True)) <= TOLERANCE


ENGINES = [
    ("tensor", 2, []),
    ("pipeline", 2, ["engine.order=gpipe"]),
    ("pipeline", 2, ["engine.order=1f1b"]),
    ("pipeline", 2, ["engine.order=interleaved"]),
    ("tensor_pipeline", 4, []),
]


# Without the loop around them the engines are in test_dealt_engines.py.
@pytest.mark.slow
@pytest.mark.parametrize(("engine", "world", "more"), ENGINES)
def test_an_engine_goes_down_the_curve_of_one_process(engine, world, more, recipe, curve, tmp_path):
    words = [*WORDS, f"engine.name={engine}", *more]
    assert finish(start(world, train_spread, recipe, tmp_path, words)) == [0] * world
    check(tmp_path, curve)
    line = json.loads((tmp_path / "log.jsonl").read_text().splitlines()[-1])
    assert ("bubble_share" in line) == ("pipeline" in engine)
    looks = (tmp_path / "watch.jsonl").read_text().splitlines()
    assert len(json.loads(looks[0])["activations"]) == 4  # every block, wherever it is


@pytest.mark.slow
@pytest.mark.parametrize(
    ("engine", "world"), [("tensor", 2), ("pipeline", 2), ("tensor_pipeline", 4)]
)
def test_a_killed_run_goes_on_and_ends_where_the_others_end(engine, world, recipe, curve, tmp_path):
    words = [*WORDS, f"engine.name={engine}"]
    processes = start(world, train_spread, recipe, tmp_path, words)
    kept = tmp_path / "checkpoints" / "step-00000002"
    while not kept.exists():
        assert all(p.is_alive() for p in processes)
        time.sleep(0.02)
    os.kill(processes[-1].pid, signal.SIGKILL)
    assert finish(processes, 60)[-1] == -signal.SIGKILL
    shutil.rmtree(tmp_path / "checkpoints" / "step-00000004", ignore_errors=True)
    assert finish(start(world, train_spread, recipe, tmp_path, words)) == [0] * world
    check(tmp_path, curve)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("engine", "world"), [("tensor", 2), ("pipeline", 2), ("tensor_pipeline", 4)]
)
def test_the_command_starts_again_and_saves_at_sigterm(engine, world, recipe, tmp_path):
    words = [sys.executable, "-m", "anomalyst", "train", str(recipe), *WORDS, "steps=20"]
    spread = ["--engine", engine, "--nproc", str(world), "--max-restarts", "1"]
    alone, out = tmp_path / "alone", tmp_path / "spread"
    subprocess.run([*words, "--out", str(alone)], check=True, capture_output=True)
    process = subprocess.Popen(
        [*words, "--out", str(out), *spread], stderr=subprocess.PIPE, text=True
    )
    saved = out / "checkpoints"

    def until(step: int) -> None:
        while max([0, *(int(p.name[5:]) for p in saved.glob("step-*"))]) < step:
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.02)

    until(2)
    os.kill(workers_of(process.pid)[-1], signal.SIGKILL)
    until(6)  # started again
    process.terminate()
    _, said = process.communicate(timeout=120)
    assert "Started again (1)." in said and "the same command goes on from there" in said
    assert process.returncode == 128 + signal.SIGTERM
    done = subprocess.run([*words, "--out", str(out), *spread], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    check(out, losses(alone))


@pytest.mark.slow
def test_a_pipelines_checkpoint_goes_on_as_tensor_parallel(recipe, curve, tmp_path):
    first = [*WORDS, "engine.name=pipeline"]
    assert finish(start(2, train_spread, recipe, tmp_path, first)) == [0, 0]
    shutil.rmtree(tmp_path / "checkpoints" / "step-00000004")
    second = [*WORDS, "engine.name=tensor"]
    assert finish(start(2, train_spread, recipe, tmp_path, second)) == [0, 0]
    check(tmp_path, curve)


# (the model's blocks, the engine that deals them out)
DEALT = [
    (["model.experts=4", "initial=''"], "expert"),
    (["model.window=16", "initial=''"], "sequence"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("blocks", "engine"), DEALT)
def test_experts_and_tokens_dealt_out_go_down_the_curve_of_one(blocks, engine, recipe, tmp_path):
    alone, spread = tmp_path / "alone", tmp_path / "spread"
    words = [*WORDS, *SIZES, *blocks]
    assert finish(start(1, train_spread, recipe, alone, words)) == [0]
    words = [*words, f"engine.name={engine}"]
    assert finish(start(2, train_spread, recipe, spread, words)) == [0, 0]
    check(spread, losses(alone))
    shutil.rmtree(spread / "checkpoints" / "step-00000004")  # and from the one before, once more
    assert finish(start(2, train_spread, recipe, spread, words)) == [0, 0]
    check(spread, losses(alone))


@pytest.mark.parametrize(
    ("world", "words", "said"),
    [
        (2, ["engine.name=expert"], "no experts to deal out; say model.experts=4"),
        (3, ["engine.name=expert", "model.experts=4", "batch=12"], "the model's 4 experts"),
        (2, ["engine.name=tensor", "model.experts=4"], "by --engine expert only"),
        (3, ["engine.name=sequence"], "3 processes do not divide the model's 4 heads"),
        (3, ["engine.name=tensor"], "3 processes do not divide the model's 4 heads; take 1, 2, 4"),
        (2, ["engine.name=tensor", "model.kv_heads=1"], "divide the model's 1 kv_heads"),
        (2, ["engine.name=tensor", "model.hidden=191"], "divide the model's 191 hidden"),
        (3, ["engine.name=pipeline"], "3 parts do not divide the model's 4 layers; take 1, 2, 4"),
        (4, ["engine.name=pipeline", "engine.order=interleaved"], "8 parts do not divide"),
        (3, ["engine.name=tensor_pipeline"], "3 processes are no multiple of engine.tensor_size 2"),
        (2, ["engine.name=pipeline", "micro_batch=0"], "1 micro-batch for 2 stages"),
        (2, ["engine.name=pipeline", "compiled=true"], "say compiled=false"),
        (2, ["engine.name=pipeline", "watch.probe_every=5"], "say watch.probe_every=0"),
        (2, ["engine.name=tensor", "precision=float16"], "say precision=bfloat16"),
        (2, ["engine.name=tensor", "model.positions=relative"], "take model.positions=rotary"),
    ],
)
def test_what_cannot_be_dealt_out_is_refused_with_what_could(world, words, said):
    recipe = load_recipe(RECIPES / "parallel" / "language.yaml", words)
    with pytest.raises(AnomalystError, match=said):
        check_division(recipe, world)


def test_another_task_is_refused():
    recipe = load_recipe(RECIPES / "layers.yaml", ["engine.name=pipeline"])
    with pytest.raises(AnomalystError, match="task 'layers' cannot be dealt out"):
        check_division(recipe, 2)


def test_the_command_refuses_before_it_starts_anything(refused, tmp_path):
    said = refused("train", RECIPES / "parallel" / "language.yaml", "--engine", "tensor",
                   "--nproc", 3, "--out", tmp_path / "run")  # fmt: skip
    assert "do not divide the model's 4 heads" in said and not (tmp_path / "run").exists()


def test_the_bubble_of_four_stages_and_eight_micro_batches():
    """Worked by hand: 3 of 11 turns; with two parts of the layers in each process 3 of 19."""
    assert bubble(4, 8) == pytest.approx(3 / 11)
    assert bubble(4, 8, 2) == pytest.approx(3 / 19)
    assert bubble(1, 8) == 0


def test_the_bench_of_contexts_refuses_what_does_not_divide(refused, tmp_path):
    said = refused("bench", "context", "--tokens", 128, "--nproc", 3, "--out", tmp_path)
    assert "--nproc 3: does not divide 4 heads and all of 128 tokens; take 1, 2 or 4" in said


@pytest.mark.slow
def test_the_benches_print_their_tables(tmp_path):
    from typer.testing import CliRunner

    from anomalyst.cli.main import app

    words = ["bench", "pipeline", "--nproc", "2", "--block-ms", "5", "--out", str(tmp_path / "p")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    rows = json.loads((tmp_path / "p" / "pipeline.json").read_text())
    assert len(rows) == 12 and all(row["formula"] <= row["measured"] + 0.02 < 1 for row in rows)
    assert (tmp_path / "p" / "pipeline.png").read_bytes().startswith(b"\x89PNG")
    words = ["bench", "context", "--tokens", "256", "--window", "32", "--out", str(tmp_path / "c")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    rows = json.loads((tmp_path / "c" / "context.json").read_text())
    alone, shared = (next(r for r in rows if r["processes"] == n and r["window"]) for n in (1, 2))
    assert shared["kept_mb"] < 0.8 * alone["kept_mb"]


@pytest.mark.parametrize(
    ("name", "engine", "world"),
    [
        ("language", "tensor", 4),
        ("language", "pipeline", 4),
        ("language", "tensor_pipeline", 4),
        ("experts", "expert", 2),
        ("long", "sequence", 2),
    ],
)
def test_the_recipes_fit_the_engines_that_their_heads_name(name, engine, world):
    recipe = load_recipe(RECIPES / "parallel" / f"{name}.yaml", [f"engine.name={engine}"])
    check_division(recipe, world)

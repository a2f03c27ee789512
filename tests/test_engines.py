"""Every engine reproduces the single process's curve; runs survive what happens to them."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from anomalyst.errors import AnomalystError
from anomalyst.training.engines import check_engine
from anomalyst.training.loop import train
from anomalyst.training.recipe import EngineConfig
from anomalyst.training.tasks import load_recipe
from spreading import workers_of

pytestmark = pytest.mark.usefixtures("one_thread")

TOLERANCE = 1e-4  # of the loss, float32, over 50 steps


def command(tiny: Path, out: Path, *arguments: str) -> list[str]:
    recipe = str(tiny / "tiny.yaml")
    return [sys.executable, "-m", "anomalyst", "train", recipe, "--out", str(out), *arguments]


def losses(out: Path) -> list[float]:
    return [json.loads(x)["loss"] for x in (out / "log.jsonl").read_text().splitlines()]


def check(done: subprocess.CompletedProcess) -> None:
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def curve(tiny: Path, tmp_path_factory) -> list[float]:
    """Losses of 50 steps of one process."""
    out = tmp_path_factory.mktemp("single") / "run"
    train(load_recipe(tiny / "tiny.yaml", []), out)
    return losses(out)


def apart(curve: list[float], out: Path) -> float:
    found = losses(out)
    assert len(found) == len(curve) == 50
    return max(abs(a - b) for a, b in zip(curve, found, strict=True))


def run_engine(engine: str, world: int, tiny: Path, curve, out: Path, *more: str) -> None:
    try:
        check_engine(EngineConfig(name=engine), "float32", here=world, world=world)
    except AnomalystError as error:
        pytest.skip(str(error))
    arguments = ["--engine", engine, "--nproc", str(world), *more]
    check(subprocess.run(command(tiny, out, *arguments), capture_output=True, text=True))
    assert apart(curve, out) <= TOLERANCE
    assert json.loads((out / "end.json").read_text()) == {
        "how": "finished", "why": "", "engine": engine, "world": world,
    }  # fmt: skip


# DDP and FSDP2 go down it below, killed and interrupted on their way.
@pytest.mark.parametrize("engine", [pytest.param("deepspeed", marks=pytest.mark.slow), "horovod"])
def test_two_processes_go_down_the_same_curve_as_one(engine, tiny, curve, tmp_path):
    run_engine(engine, 2, tiny, curve, tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["ddp", "fsdp", "deepspeed", "horovod"])
def test_one_process_of_every_engine_goes_down_the_same_curve(engine, tiny, curve, tmp_path):
    run_engine(engine, 1, tiny, curve, tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize("stage", [0, 1, 3])
def test_every_stage_of_zero_goes_down_the_same_curve(stage, tiny, curve, tmp_path):
    run_engine("deepspeed", 2, tiny, curve, tmp_path / "run", f"engine.zero_stage={stage}")


@pytest.mark.slow
def test_a_killed_worker_is_started_again_and_ends_where_the_others_end(tiny, curve, tmp_path):
    out = tmp_path / "run"
    arguments = ["--engine", "ddp", "--nproc", "2", "--max-restarts", "2", "checkpoint_every=10"]
    process = subprocess.Popen(command(tiny, out, *arguments), stderr=subprocess.PIPE, text=True)
    try:
        while not (out / "checkpoints" / "step-00000020").exists():
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.1)
        os.kill(workers_of(process.pid)[-1], signal.SIGKILL)
        _, said = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 0, said
    assert "Started again (1)." in said
    assert apart(curve, out) <= TOLERANCE
    kept = sorted(p.name for p in (out / "checkpoints").iterdir())
    assert kept == ["step-00000040", "step-00000050"]


def test_sigterm_saves_first_and_another_engine_goes_on(tiny, curve, tmp_path):
    out = tmp_path / "run"
    process = subprocess.Popen(
        command(tiny, out, "--engine", "fsdp", "--nproc", "2"), stderr=subprocess.PIPE, text=True
    )
    while not (out / "log.jsonl").exists() or len(losses(out)) < 8:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.1)
    process.terminate()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM, said
    assert "the same command goes on from there" in said
    assert json.loads((out / "end.json").read_text())["how"] == "interrupted"
    train(load_recipe(tiny / "tiny.yaml", []), out)  # one process, where two had been
    assert apart(curve, out) <= TOLERANCE


def test_sigterm_to_the_whole_group_saves_too(tmp_path):
    """As a scheduler sends it: the processes that draw the pictures hear it as well."""
    out, recipe = tmp_path / "run", Path(__file__).parent.parent / "recipes" / "embedded.yaml"
    small = ["steps=2000", "batch=2", "sizes_px=[64]", "workers=2", "log_every=1"]
    words = [sys.executable, "-m", "anomalyst", "train", str(recipe), "--out", str(out), *small]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        while not (out / "log.jsonl").exists() or len(losses(out)) < 2:
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGTERM)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert "the same command goes on from there" in said, said[-2000:]
    assert list((out / "checkpoints").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("engine", "more"),
    [
        ("deepspeed", ()),
        ("deepspeed", ("engine.zero_stage=3", "engine.offload_optimizer=true")),
        ("horovod", ()),
        ("fsdp", ("activation_checkpointing=true",)),
    ],
)
def test_a_run_goes_on_from_its_checkpoint_down_the_same_curve(engine, more, tiny, curve, tmp_path):
    out = tmp_path / "run"
    words = ["checkpoint_every=25", *more]
    run_engine(engine, 2, tiny, curve, out, *words)
    shutil.rmtree(out / "checkpoints" / "step-00000050")
    run_engine(engine, 2, tiny, curve, out, *words)
    if engine == "deepspeed":
        with pytest.raises(AnomalystError, match="goes on with just as many"):
            train(load_recipe(tiny / "tiny.yaml", []), out)

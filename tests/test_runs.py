"""Runs beside each other, searched and cross-validated; what a run leaves behind."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
import yaml
from typer.testing import CliRunner

from anomalyst.backbones.embedded import load_embedded
from anomalyst.cli.main import app
from anomalyst.detection.detector import Detector
from anomalyst.detection.pair_decoder import load_decoder
from anomalyst.errors import AnomalystError
from anomalyst.training import checkpoint
from anomalyst.training.experiments.runs import read_run
from anomalyst.training.experiments.search_space import read_space
from anomalyst.training.experiments.summary import compare_runs
from anomalyst.training.experiments.tables import interval
from anomalyst.training.loop import train
from anomalyst.training.optimization import LossScale, learning_rate, make_optimizer
from anomalyst.training.recipe import Recipe
from anomalyst.training.tasks import load_recipe
from anomalyst.training.tasks.inspection_data import InspectionSamples

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.usefixtures("one_thread")


def invoke(*words: str) -> str:
    done = CliRunner().invoke(app, list(words))
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize("number", range(1, 7))
def test_every_variant_reads_and_puts_its_layers_into_any_llama(number, tiny, tmp_path):
    path = ROOT / "recipes" / "variants" / f"v{number}.yaml"
    values = yaml.safe_load((tiny / "tiny.yaml").read_text())
    keep = ("data", "language_model", "side_px", "batch", "micro_batch", "warmup_steps", "workers")
    own = [f"{key}={json.dumps(values[key])}" for key in keep]
    small = ['instructions=""', 'images=""', "epochs=0", "steps=2", "accuracy=false", "log_every=1",
             "engine.name=single"]  # fmt: skip
    recipe = load_recipe(path, [*own, *small])
    train(recipe, tmp_path / "run")
    weights = json.loads((tmp_path / "run" / "model" / "config.json").read_text())
    assert {p["layer"] for p in weights["patches"]} == {p.layer for p in recipe.patches}
    run = read_run(tmp_path / "run")
    assert run.end["how"] == "finished" and len(run.lines) == 2
    assert run.lines[0]["loss_scale"] == (2**16 if number == 1 else 2**12)  # unset in V1
    shutil.rmtree(tmp_path / "run" / "checkpoints")


def test_compare_shows_what_differs_and_right_answers_by_class(tiny, tmp_path):
    for name, rate in (("v1", 1e-4), ("v2", 1e-3)):
        words = ["steps=3", "accuracy=true", f"learning_rate={rate}", "warmup_steps=1"]
        train(load_recipe(tiny / "tiny.yaml", words), tmp_path / name)
    (tmp_path / "stray").mkdir()
    folders = [str(tmp_path / name) for name in ("stray", "v1", "v2")]
    text = invoke("compare", *folders, "--out", str(tmp_path / "out"))
    assert "| configuration | v1 | v2 |" in text and "| learning_rate | 0.0001 | 0.001 |" in text
    assert "| effective peak learning rate | 0.0001 | 0.001 |" in text
    assert '| accuracy % | v1 | v2 | always "Yes" |' in text and "| pills |" in text
    assert "| 50.0 |" in text  # three of the six test pictures are defective
    assert "lora_rank" not in text  # what is alike is left out
    assert (tmp_path / "out" / "curves.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(AnomalystError, match=r"holds no recipe\.json"):
        compare_runs([tmp_path], tmp_path / "out")


def test_the_effective_learning_rate_is_what_the_optimizer_had(tiny, tmp_path):
    recipe = load_recipe(tiny / "tiny.yaml", ["steps=6", "warmup_steps=2", "schedule=linear"])
    logged: list[dict] = []
    train(recipe, tmp_path, on_log=logged.append)
    rates = [line["learning_rate"] for line in logged if "note" not in line]
    assert rates == [learning_rate(recipe, step) for step in range(6)]


def test_schedules_by_hand():
    cosine = Recipe(steps=1000, warmup_steps=100, learning_rate=1.0)
    assert [learning_rate(cosine, s) for s in (0, 99, 550)] == pytest.approx([0.01, 1.0, 0.505])
    assert learning_rate(cosine, 999) == pytest.approx(0.01, abs=1e-3)
    line = Recipe(steps=110, warmup_steps=10, learning_rate=2.0, schedule="linear", final_share=0.1)
    assert [learning_rate(line, s) for s in (0, 9, 10, 60, 110)] == pytest.approx(
        [0.2, 2.0, 2.0, 1.1, 0.2]
    )
    assert learning_rate(Recipe(warmup_steps=0, schedule="constant"), 7999) == 2e-3


@pytest.mark.parametrize(
    ("name", "kind"),
    [("adamw", "AdamW"), ("adam", "Adam"), ("sgd", "SGD"), ("momentum", "SGD"),
     ("adagrad", "Adagrad"), ("rmsprop", "RMSprop")],
)  # fmt: skip
def test_optimizers_lower_a_parabola_by_name(name, kind):
    x = torch.nn.Parameter(torch.tensor([3.0]))
    optimizer = make_optimizer(
        Recipe(optimizer=name, learning_rate=0.1, weight_decay=0.0), [{"params": [x]}]
    )
    for _ in range(50):
        optimizer.zero_grad()
        (x**2).sum().backward()
        optimizer.step()
    assert abs(x.item()) < 2.5 and type(optimizer).__name__ == kind
    assert optimizer.param_groups[0].get("momentum", 0) == (0.9 if name == "momentum" else 0)


def test_a_loss_scale_halves_at_overflow_and_doubles_after_its_window():
    scale = LossScale(2, 3)
    seen = []
    for overflow in (True, True, True, False, False, False, False):
        scale.after(overflow=overflow)
        seen.append(scale.scale)
    assert seen == [2, 1, 1, 1, 1, 2, 2]


def test_activation_checkpointing_and_accumulation_change_no_loss(tiny, tmp_path):
    curves = []
    for name, words in (
        ("plain", ["micro_batch=1"]),
        ("again", ["micro_batch=1", "activation_checkpointing=true", "workers=1"]),
    ):
        recipe = load_recipe(tiny / "tiny.yaml", ["steps=4", *words])
        train(recipe, tmp_path / name)
        curves.append([line["loss"] for line in read_run(tmp_path / name).lines])
    assert curves[0] == pytest.approx(curves[1], abs=2e-6)


def test_a_full_disk_leaves_the_last_good_checkpoint(tiny, tmp_path, monkeypatch):
    recipe = load_recipe(tiny / "tiny.yaml", ["steps=4", "checkpoint_every=2"])
    real = shutil.disk_usage
    full = lambda path: real(path)._replace(free=1000)  # noqa: E731

    def fill_up(line: dict) -> None:
        if line.get("step") == 3:
            monkeypatch.setattr(checkpoint.shutil, "disk_usage", full)

    with pytest.raises(AnomalystError, match="the last one is untouched"):
        train(recipe, tmp_path, on_log=fill_up)
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["step-00000002"]
    monkeypatch.setattr(checkpoint.shutil, "disk_usage", real)
    train(recipe, tmp_path)
    assert [line["step"] for line in read_run(tmp_path).lines] == [1, 2, 3, 4]


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_disk_that_is_really_full_is_told_and_the_run_goes_on_elsewhere(tiny, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=9m", "none", str(disk)])
    if mounted.returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        recipe = load_recipe(tiny / "tiny.yaml", ["steps=4", "checkpoint_every=1"])
        with pytest.raises(AnomalystError, match=r"MB are free|disk is full|could not be written"):
            train(recipe, disk / "run")
        for folder in (disk / "run" / "checkpoints").glob("*"):
            assert (folder / "state.json").exists()  # whole, or not there
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_trace_and_trackers_are_written_on_request(tiny, tmp_path):
    words = ["steps=4", "profile_steps=2", "trackers=[tensorboard]"]  # it ends while looked at
    invoke("train", str(tiny / "tiny.yaml"), *words, "--out", str(tmp_path / "run"))
    assert (tmp_path / "run" / "traces" / "rank0.json.gz").stat().st_size > 1000
    assert list((tmp_path / "run" / "tensorboard").glob("events*"))
    assert "data:image/png" in (tmp_path / "run" / "summary.html").read_text()
    last = read_run(tmp_path / "run").lines[-1]
    for figure in ("seconds_per_step", "samples_per_second", "tokens_per_second", "memory_mb",
                   "waiting_share"):  # fmt: skip
        assert last[figure] >= 0


def test_folds_hold_out_every_picture_once(tiny):
    recipe = load_recipe(tiny / "tiny.yaml", ["folds=4"])
    detector = Detector(load_embedded(), load_decoder())
    seen = []
    for fold in range(4):
        one = load_recipe(tiny / "tiny.yaml", ["folds=4", f"fold={fold}"])
        out, kept = (
            InspectionSamples(one, detector, held_out=h).good["pills"].pictures
            for h in (True, False)
        )
        assert len(out) == 2 and len(kept) == 6
        assert not {p.tobytes() for p in out} & {p.tobytes() for p in kept}
        seen += [p.tobytes() for p in out]
    assert len(set(seen)) == 8 and recipe.folds == 4


def test_the_interval_of_a_mean_is_students():
    from scipy import stats

    values = [1.0, 2.0, 4.0, 4.5]
    low, high = stats.t.interval(0.95, 3, loc=2.875, scale=stats.sem(values))
    found = interval(values)
    assert (found.mean - found.half_width, found.mean + found.half_width) == pytest.approx(
        (low, high)
    )


def test_crossval_trains_each_fold_and_shows_means(tiny, tmp_path):
    words = ["steps=3", "validation_batches=1"]
    said = invoke(
        "crossval", str(tiny / "tiny.yaml"), *words, "--folds", "2", "--out", str(tmp_path)
    )
    assert "| 0 |" in said and "| mean ± 95 % |" in said
    with pytest.raises(AnomalystError, match="draws its pictures anew"):
        invoke("crossval", str(ROOT / "recipes" / "text_aligned.yaml"))


def test_a_search_goes_on_where_it_stopped_and_refuses_another(tiny, tmp_path):
    words = [str(tiny / "tiny.yaml"), "steps=3", "learning_rate=1e-4..1e-1", "optimizer=adamw,sgd"]
    said = invoke("search", *words, "--trials", "2", "--out", str(tmp_path))
    assert said.count("adamw") + said.count("sgd") >= 2
    said = invoke("search", *words, "--trials", "3", "--out", str(tmp_path))
    assert len(list((tmp_path / "trials").iterdir())) == 3
    best = load_recipe(tmp_path / "best.yaml", [])
    assert 1e-4 <= best.learning_rate <= 1e-1 and best.steps == 3
    with pytest.raises(AnomalystError, match="another space"):
        invoke("search", *words[:-1], "--trials", "4", "--out", str(tmp_path))
    with pytest.raises(AnomalystError, match="nearest is 'learning_rate'"):
        invoke("search", words[0], "learnin_rate=1e-4..1e-1", "--out", str(tmp_path / "new"))


def test_ranges_and_values_of_a_space_are_read():
    space, rest = read_space(["a=1e-4..1e-2", "b=2..9", "c=x,y", "d=3"])
    assert [(c.key, c.low, c.high, c.values, c.whole) for c in space] == [
        ("a", 1e-4, 1e-2, (), False), ("b", 2, 9, (), True), ("c", 0, 0, ("x", "y"), False),
    ]  # fmt: skip
    assert rest == ("d=3",)
    for wrong, said in (
        ("a=3..1", "lower to the higher"),
        ("a=x..2", "both ends"),
        ("a=1", "noth"),
    ):
        with pytest.raises(AnomalystError, match=said):
            read_space([wrong])

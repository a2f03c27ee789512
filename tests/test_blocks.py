"""Blocks in training: optimizers by name, the layers task, the language model's blocks, studies."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from anomalyst.cli.main import app
from anomalyst.errors import AnomalystError
from anomalyst.training.checkpoint import find_checkpoint
from anomalyst.training.loop import train
from anomalyst.training.optimization import make_optimizer
from anomalyst.training.recipe import WatchConfig
from anomalyst.training.setup import whole_set_recipe
from anomalyst.training.studies.blocks.optimizers import walk
from anomalyst.training.studies.sft.study import new_model
from anomalyst.training.task import Share
from anomalyst.training.tasks import load_recipe
from anomalyst.training.tasks.language import LanguageModelConfig, LanguageRecipe, LanguageTask
from anomalyst.training.tasks.layers import LayersRecipe, LayersTask
from anomalyst.training.tasks.supervised.figures import read_figures
from anomalyst.vlm.huggingface.loading import load_model

pytestmark = pytest.mark.usefixtures("one_thread")
RECIPES = Path(__file__).parents[1] / "recipes"
SMALL = LanguageModelConfig(width=32, layers=2, heads=4, kv_heads=2, hidden=64)
TINY = LayersRecipe(
    pictures=60, test_pictures=40, batch=20, steps=4, warmup_steps=0, schedule="constant",
    weight_decay=0, clip_norm=0, ema_decay=0, precision="float32", log_every=1,
    checkpoint_every=2, watch=WatchConfig(every=0),
)  # fmt: skip


def by_hand(name: str, rate: float, steps: int) -> torch.Tensor:
    """The rule of each optimizer on x^2 + 10 y^2, written out."""
    x, first, second = torch.tensor([3.0, -2.0], dtype=torch.float64), 0.0, 0.0
    for step in range(1, steps + 1):
        g = x * torch.tensor([2.0, 20.0])
        match name:
            case "sgd" | "gradient_descent":
                x = x - rate * g
            case "momentum":
                first = 0.9 * first + g
                x = x - rate * first
            case "adagrad":
                second = second + g**2
                x = x - rate * g / (second**0.5 + 1e-10)
            case "rmsprop":
                second = 0.99 * second + 0.01 * g**2
                x = x - rate * g / (second**0.5 + 1e-8)
            case "adam":
                first, second = 0.9 * first + 0.1 * g, 0.999 * second + 0.001 * g**2
                mean, square = first / (1 - 0.9**step), second / (1 - 0.999**step)
                x = x - rate * mean / (square**0.5 + 1e-8)
    return x


@pytest.mark.parametrize(
    "name", ["gradient_descent", "sgd", "momentum", "adagrad", "rmsprop", "adam"]
)
def test_optimizers_follow_their_rules_at_the_rates_of_the_source(name):
    recipe = LayersRecipe(optimizer=name)
    rate = 0.001 if name in ("rmsprop", "adam") else 0.01
    assert recipe.peak_learning_rate == rate
    x = torch.tensor([3.0, -2.0], dtype=torch.float64, requires_grad=True)
    optimizer = make_optimizer(replace(recipe, weight_decay=0), [{"params": [x]}])
    for _ in range(20):
        optimizer.zero_grad()
        (x[0] ** 2 + 10 * x[1] ** 2).backward()
        optimizer.step()
    torch.testing.assert_close(x.detach(), by_hand(name, rate, 20), atol=1e-7, rtol=0)


def test_a_pass_sees_every_picture_once(tmp_path):
    task = LayersTask(TINY, tmp_path)
    seen = torch.cat([b["seen"] for b in task.batches(0, Share())][:3]).flatten(1)
    assert len(seen.unique(dim=0)) == 60


@pytest.mark.parametrize("batch", [25, 60])
def test_gradient_descent_is_one_step_on_the_whole_set(batch, tmp_path):
    """However the set is shared: two steps of the loop are two of the gradient of all pictures."""
    recipe = replace(TINY, optimizer="gradient_descent", batch=batch, steps=2, learning_rate=0.1)
    notes: list[dict] = []
    train(recipe, tmp_path, on_log=notes.append)
    size = 20 if batch == 25 else 60  # the largest share of 60 that is no larger than asked for
    assert f"all 60 samples, in {60 // size} micro-batches of {size}" in notes[0]["note"]
    torch.manual_seed(recipe.seed)
    task = LayersTask(recipe, tmp_path)
    for _ in range(2):
        loss = torch.nn.functional.cross_entropy(task.module(task.seen), task.labels)
        grads = torch.autograd.grad(loss, list(task.module.parameters()))
        with torch.no_grad():
            for weight, grad in zip(task.module.parameters(), grads, strict=True):
                weight -= 0.1 * grad
    found = find_checkpoint(tmp_path, replace(recipe, batch=60, micro_batch=size), engine="single",
                            world=1)  # fmt: skip
    for name, value in found.tensors("model").items():
        torch.testing.assert_close(value, task.module.state_dict()[name], atol=1e-6, rtol=0)


def test_a_set_without_a_good_divisor_is_refused_unless_it_is_meant(tmp_path):
    recipe = replace(TINY, optimizer="gradient_descent", batch=25, pictures=59)
    with pytest.raises(AnomalystError, match="59 .* micro-batches of 1; .* micro_batch=59"):
        whole_set_recipe(recipe, tmp_path, 1, lambda _: None)
    for size in (1, 59):
        meant = replace(recipe, micro_batch=size)
        assert whole_set_recipe(meant, tmp_path, 1, lambda _: None).micro_batch == size


def test_gradient_descent_of_endless_data_is_refused(refused, tmp_path):
    said = refused("train", RECIPES / "mae.yaml", "optimizer=gradient_descent", "--out", tmp_path)
    assert "task 'mae' draws its data without end" in said
    near = refused("train", RECIPES / "layers.yaml", "optimizer=gradient_decent", "--out", tmp_path)
    assert "perhaps 'gradient_descent'" in near


def test_bad_networks_are_refused_in_one_sentence(refused, tmp_path):
    layers = RECIPES / "layers.yaml"
    said = refused("train", layers, "network=[{layer: dens}]", "--out", tmp_path)
    assert "perhaps 'dense'" in said
    said = refused(
        "train", layers, "network=[{layer: dense, activation: rellu}]", "--out", tmp_path
    )
    assert "perhaps 'relu'" in said
    pooled = "network=[{layer: pooling, kernel: 3, stride: 3, exact: true}, {layer: dense}]"
    said = refused("train", layers, pooled, "size_px=16", "--out", tmp_path)
    assert "layer 1, pooling: side 16, kernel 3" in said
    assert "batch is 5000" in refused("train", layers, "batch=5000", "--out", tmp_path)


def test_the_recipe_of_layers_learns_digits(tmp_path):
    words = ["network=[{layer: dense, width: 32}]", "pictures=500", "steps=150", "watch.every=0"]
    train(load_recipe(RECIPES / "layers.yaml", words), tmp_path)
    figures = read_figures(tmp_path)
    assert figures.accuracy > 0.4 and figures.count == 1000  # chance: 0.1


def test_llamas_own_blocks_are_untouched():
    torch.manual_seed(0)
    model, _ = new_model(SMALL)
    assert model.config.blocks == {}
    torch.manual_seed(0)
    from transformers import AutoModelForCausalLM

    plain = AutoModelForCausalLM.from_config(model.config.text_config)
    ids = torch.randint(100, 200, (2, 9), generator=torch.Generator().manual_seed(1))
    assert torch.equal(model.eval()(input_ids=ids).logits, plain.eval()(input_ids=ids).logits)


@pytest.mark.parametrize(
    "values",
    [
        {"norm": "layer"}, {"norm_place": "post"}, {"norm": "layer", "norm_place": "post"},
        {"positions": "none"}, {"positions": "sinusoidal"}, {"positions": "relative"},
        {"activation": "relu"}, {"activation": "elu"},
    ],
)  # fmt: skip
@torch.no_grad()
def test_varied_blocks_answer_alike_token_by_token_padded_and_after_saving(values, tmp_path):
    torch.manual_seed(0)
    model, processor = new_model(replace(SMALL, **values))
    model.eval().requires_grad_(False)
    for name, weight in model.language_model.named_parameters():
        if "relative" in name:
            torch.nn.init.normal_(weight)
    ids = torch.randint(100, 200, (2, 12), generator=torch.Generator().manual_seed(1))
    whole = model(input_ids=ids).logits
    torch.manual_seed(0)
    assert not torch.allclose(whole, new_model(SMALL)[0].eval()(input_ids=ids).logits, atol=1e-5)
    out = model(input_ids=ids[:, :7], use_cache=True)
    said = [out.logits]
    for place in range(7, 12):
        out = model(input_ids=ids[:, place : place + 1], past_key_values=out.past_key_values)
        said.append(out.logits)
    torch.testing.assert_close(torch.cat(said, 1), whole, atol=1e-5, rtol=0)
    filling = torch.nn.functional.pad(ids, (3, 0))
    mask = torch.nn.functional.pad(torch.ones_like(ids), (3, 0))
    places = (mask.cumsum(1) - 1).clamp(min=0)
    padded = model(input_ids=filling, attention_mask=mask, position_ids=places).logits[:, 3:]
    torch.testing.assert_close(padded, whole, atol=1e-5, rtol=0)
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    loaded, _ = load_model(tmp_path)
    assert loaded.config.blocks == values
    torch.testing.assert_close(loaded(input_ids=ids).logits, whole, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("layers", "known"), [(1, False), (2, True)])
@torch.no_grad()
def test_a_causal_model_without_positions_knows_order_from_its_second_layer_on(layers, known):
    torch.manual_seed(0)
    model = new_model(replace(SMALL, layers=layers, positions="none"))[0].eval()
    ids = torch.tensor([[105, 109, 113, 117, 121, 125]])
    swapped = ids[:, [0, 3, 2, 1, 4, 5]]
    apart = (model(input_ids=ids).logits - model(input_ids=swapped).logits)[:, -1].abs().max()
    assert (float(apart) > 1e-4) == known


def test_other_blocks_than_those_of_the_start_are_refused(tmp_path):
    model, processor = new_model(replace(SMALL, norm="layer"))
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)

    def started(**blocks):
        task = LanguageTask.__new__(LanguageTask)  # without its looks, which take minutes
        task.recipe = LanguageRecipe(initial=str(tmp_path), model=replace(SMALL, **blocks))
        return task._start()[0].config.blocks

    assert started() == started(norm="layer") == {"norm": "layer"}
    with pytest.raises(AnomalystError, match="model.norm_place is 'post', and initial"):
        started(norm="layer", norm_place="post")


def test_a_run_begun_before_the_blocks_had_names_goes_on(tmp_path):
    train(TINY, tmp_path)
    state = sorted((tmp_path / "checkpoints").glob("*/state.json"))[-1]
    held = json.loads(state.read_text())
    del held["recipe"]["noise"]  # as if the key had come since
    state.write_text(json.dumps(held))
    assert find_checkpoint(tmp_path, TINY, engine="single", world=1).step == 4
    with pytest.raises(AnomalystError, match="noise was 0.15, is 0.2"):
        find_checkpoint(tmp_path, replace(TINY, noise=0.2), engine="single", world=1)


def test_full_batch_descent_walks_straighter_than_sgd():
    """On one surface at one rate: torch's own result, and a way that is shorter."""
    whole, some = (walk(n, 0.03, 100, of_source=False) for n in ("gradient_descent", "sgd"))

    def length(way):
        return torch.tensor(way.places).diff(dim=0).norm(dim=1).sum()

    assert length(whole) < length(some) and whole.places[0] == some.places[0]


@pytest.mark.slow
def test_the_studies_write_their_pages_and_go_on(tmp_path):
    words = {
        "activations": ["--seeds", "1", "--steps", "4", "--depth", "4"],
        "optimizers": ["--seeds", "1", "--path-steps", "5", "steps=4", "batch=50", "pictures=100"],
        "language": ["--seeds", "1", "steps=2", "episodes=12", "model.width=32", "batch=2"],
    }
    for name, own in words.items():
        out = tmp_path / name
        command = ["study", name, *own, "--out", str(out)]
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 0, done.output
        page = (out / f"{name}.html").read_text()
        assert "<table>" in page and "data:image/" in page
        before = {p: p.stat().st_mtime_ns for p in out.glob("runs/*/log.jsonl")}
        assert before and CliRunner().invoke(app, command).exit_code == 0
        assert before == {p: p.stat().st_mtime_ns for p in out.glob("runs/*/log.jsonl")}
    assert "image/svg+xml" in (tmp_path / "optimizers" / "optimizers.html").read_text()


def test_a_study_of_another_task_is_refused(refused, tmp_path):
    recipe = RECIPES / "kinds.yaml"
    assert "layers is needed" in refused(
        "study", "optimizers", "--recipe", recipe, "--out", tmp_path
    )

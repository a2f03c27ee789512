"""Networks with labels: their sizes, their teachers, one run from drawing to predicting."""

import csv
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from anomalyst.cli.main import app
from anomalyst.datasets.builders.parts import PartsConfig, write_parts
from anomalyst.errors import AnomalystError
from anomalyst.training.data.order import rows_of
from anomalyst.training.networks.built import (
    NETWORKS,
    build_network,
    number_of,
    parameters_of,
    sized,
)
from anomalyst.training.networks.classifier import Classifier
from anomalyst.training.networks.inputs import Inputs
from anomalyst.training.networks.network import Answers, laid
from anomalyst.training.networks.shape import NetworkShape, Picture
from anomalyst.training.task import Share
from anomalyst.training.tasks import load_recipe
from anomalyst.training.tasks.supervised.distillation import feature_loss, hard_loss, soft_loss
from anomalyst.training.tasks.supervised.figures import read_figures
from anomalyst.training.tasks.supervised.moves import MovesConfig, draw_moves, moved
from anomalyst.training.tasks.supervised.task import SupervisedTask

ROOT = Path(__file__).parents[1]
RECIPES = ROOT / "recipes" / "supervised"
pytestmark = pytest.mark.usefixtures("one_thread")
# Of torchvision's and timm's documentation, and of the papers; LeNet-5 summed by hand.
PUBLISHED = {
    "alexnet": ({}, 61_100_840), "vgg": ({}, 138_357_544), "resnet": ({}, 25_557_032),
    "vit": ({}, 5_717_416), "deit": ({}, 5_910_800), "cvt": ({}, 19_997_480),
    "resnet 18": ({"depth": 18}, 11_689_512), "vgg 11": ({"depth": 11}, 132_863_336),
    "vit base": ({"width": 768, "heads": 12}, 86_567_656),
}  # fmt: skip


def seen(classes: int, size: int, channels: int = 1) -> Picture:
    return Picture(classes=classes, size=size, channels=channels)


@pytest.mark.parametrize("name", PUBLISHED)
def test_networks_have_as_many_parameters_as_published(name):
    shape, count = PUBLISHED[name]
    with torch.device("meta"):
        network = build_network(NetworkShape(name=name.split()[0], **shape), seen(1000, 224, 3))
    assert parameters_of(network) == count


def test_lenet_has_61706_parameters_on_digits():
    for size in (28, 32):
        network = build_network(NetworkShape(name="lenet"), seen(10, size))
        assert parameters_of(network) == 61_706
        assert network(torch.zeros(2, 1, size, size)).shape == (2, 10)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(("asked", "size"), [("0.1M", 28), ("300k", 64), (2_000_000, 64)])
def test_every_network_comes_within_five_percent_of_what_is_asked(name, asked, size):
    shape = sized(NetworkShape(name=name), seen(3, size), asked)
    network = build_network(shape, seen(3, size))
    assert abs(parameters_of(network) / number_of(asked) - 1) < 0.05
    said = network.eval().answers(torch.randn(2, 1, size, size))
    assert said.logits.shape == (2, 3) and said.features.shape[0] == 2
    assert (said.distilled is not None) == (name == "deit") and network.blocks()


def test_given_depth_or_width_stays():
    deep = sized(NetworkShape(depth=3, patch=16), seen(2, 64, 3), "0.3M")
    assert (deep.depth, deep.patch) == (3, 16)
    wide = sized(NetworkShape(width=64), seen(2, 64, 3), "0.3M")
    assert wide.width == 64 and wide.depth == 6


@pytest.mark.parametrize("norm", ["batch", "layer", "group"])
@pytest.mark.parametrize("name", ["resnet", "vgg", "lenet"])
def test_normalisation_is_chosen_by_name(name, norm):
    kind = torch.nn.BatchNorm2d if norm == "batch" else torch.nn.GroupNorm
    small = {"resnet": {"depth": 10, "width": 8}, "vgg": {"depth": 11, "width": 8}, "lenet": {}}
    network = build_network(NetworkShape(name=name, norm=norm, **small[name]), seen(2, 32))
    norms = [m for m in network.modules() if "Norm" in type(m).__name__]
    assert norms and all(isinstance(m, kind) for m in norms)
    assert network(torch.randn(2, 1, 32, 32)).isfinite().all()


@pytest.mark.parametrize("width", [16, 64, 256])
def test_a_narrow_transformer_hears_its_patches_from_the_first_step(width):
    torch.manual_seed(0)
    network = build_network(NetworkShape(width=width, depth=4), seen(4, 32)).eval()
    features = network.answers(torch.randn(32, 1, 32, 32)).features  # (B, D)
    differs = features.var(0).sum() / features.square().sum(1).mean()
    assert differs > 0.05  # of their energy; 0.002 to 0.01 with weights of 0.02, up to 32 wide
    assert 0.2 < network(torch.randn(64, 1, 32, 32)).std() < 4


@pytest.mark.parametrize("name", NETWORKS)
def test_a_step_of_a_small_network_stays_within_its_memory(name):
    # Strided 1 x 1 convolutions of few channels, laid with channels last, end the process.
    picture = seen(2, 32, 3)
    network = build_network(sized(NetworkShape(name=name), picture, "20k"), picture)
    for _ in range(6):
        network(laid(torch.randn(8, 3, 32, 32), network)).square().sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize(
    ("name", "shape", "sentence"),
    [("vit", {"patch": 5}, "must divide the side of 64 px, as 8 does"),
     ("vgg", {"depth": 12}, "VGG has 11, 13, 16, 19"), ("lenet", {"depth": 3}, "lenet has 5"),
     ("resnet", {"norm": "none"}, "grows without one"), ("cvt", {"depth": 4}, "6 blocks or more"),
     ("vit", {"norm": "batch"}, "leave it at own"), ("mlp", {}, "There is no network 'mlp'")],
)  # fmt: skip
def test_shapes_that_a_network_cannot_have_are_refused(name, shape, sentence):
    with pytest.raises(AnomalystError, match=sentence):
        build_network(NetworkShape(name=name, **shape), seen(2, 64))


@pytest.mark.parametrize("text", ["2,0X", "", "-3", "nan", "M"])
def test_counts_that_are_none_are_refused(text):
    with pytest.raises(AnomalystError, match="as in 300k"):
        number_of(text)


def test_distillation_is_as_deit_writes_it():
    rng = np.random.default_rng(0)
    z, d, t = (rng.normal(0, 2, (5, 3)) for _ in range(3))
    labels, tau, share = np.array([0, 2, 1, 1, 0]), 3.0, 0.3

    def logs(x):
        return x - x.max(1, keepdims=True) - np.log(
            np.exp(x - x.max(1, keepdims=True)).sum(1, keepdims=True))  # fmt: skip

    rows = np.arange(5)
    label = -logs(z)[rows, labels].mean()
    hard = 0.5 * label - 0.5 * logs(d)[rows, t.argmax(1)].mean()
    p, q = logs(t / tau), logs(d / tau)
    soft = (1 - share) * label + share * tau**2 * (np.exp(p) * (p - q)).sum(1).mean()
    said = Answers(torch.tensor(z), torch.tensor(d), torch.tensor(z))
    args = (said, torch.tensor(labels), torch.tensor(t))
    assert float(hard_loss(*args)) == pytest.approx(hard, abs=1e-12)
    assert float(soft_loss(*args, temperature=tau, share=share)) == pytest.approx(soft, abs=1e-12)
    cos = (z * t).sum(1) / np.linalg.norm(z, axis=1) / np.linalg.norm(t, axis=1)
    found = feature_loss(torch.tensor(z), torch.tensor(t))
    assert float(found) == pytest.approx((1 - cos).mean(), abs=1e-12)


def test_quarter_turns_flips_and_whole_shifts_move_pixels_exactly():
    numbers = torch.Generator().manual_seed(0)
    pixels = torch.rand(64, 1, 16, 16, generator=numbers)
    still = MovesConfig(shift=0, turns="quarter", flip=True)
    turned = moved(pixels, draw_moves(64, 16, still, numbers))
    seen = set()
    for one, two in zip(pixels, turned, strict=True):
        ways = {(k, f): (one.rot90(k, (1, 2)).flip(2) if f else one.rot90(k, (1, 2)))
                for k in range(4) for f in (0, 1)}  # fmt: skip
        [way] = [way for way, x in ways.items() if torch.equal(x, two)]
        seen.add(way)
    assert len(seen) == 8
    shifts = MovesConfig(shift=0.25, turns="none", flip=False)
    shifted = moved(pixels, draw_moves(64, 16, shifts, numbers))
    places = [(y, x) for y in range(9) for x in range(9)]
    seen = set()
    free = draw_moves(64, 16, MovesConfig(turns="free"), numbers)
    assert moved(pixels, free, "free").isfinite().all()
    for one, two in zip(pixels, shifted, strict=True):
        middle = two[:, 4:12, 4:12]
        [place] = [(y, x) for y, x in places
                   if torch.equal(middle, one[:, y : y + 8, x : x + 8])]  # fmt: skip
        seen.add(place)
    assert len(seen) > 20


def test_an_epoch_sees_every_picture_once():
    seen = torch.cat([rows_of(step, 7, 20, 3) for step in range(20)])  # 140 = 7 epochs
    for epoch in seen.split(20):
        assert epoch.sort().values.tolist() == list(range(20))
    assert seen[:20].tolist() != seen[20:40].tolist()


def test_pixels_are_normalised_by_the_set_or_by_the_picture():
    pixels = torch.randint(0, 255, (40, 3, 16, 16), dtype=torch.uint8)
    by_set = Inputs.measured(pixels, "set").normalised(pixels)
    assert by_set.mean((0, 2, 3)).abs().max() < 1e-4
    assert (by_set.std((0, 2, 3)) - 1).abs().max() < 1e-4
    each = Inputs.measured(pixels, "picture").normalised(pixels)
    assert each.mean((1, 2, 3)).abs().max() < 1e-4 and (each.std((1, 2, 3)) - 1).abs().max() < 1e-4
    assert Inputs.measured(pixels, "none").normalised(pixels).max() <= 1


def invoke(*words: object) -> str:
    done = CliRunner().invoke(app, [str(word) for word in words])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


SMALL = ("size=32", "params=20k", "batch=16", "epochs=2", "warmup_steps=2", "log_every=4")


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """A drawn set with large stains, and a LeNet-5 trained on it for seconds."""
    root = tmp_path_factory.mktemp("runs")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in the tests: another number rounds otherwise
    config = PartsConfig(count=160, kinds=("stain",), family="biscuit", size_px=48)
    write_parts(root / "set", config, workers=1)
    told = invoke("train", RECIPES / "lenet.yaml", f"data={root / 'set'}", *SMALL, "--out",
                  root / "lenet")  # fmt: skip
    assert "trained parameters (20k asked for)" in told and "128 pictures to learn" in told
    torch.set_num_threads(threads)
    return root


def test_a_run_keeps_its_network_figures_predictions_and_curves(runs):
    out = runs / "lenet"
    assert {"model", "figures.json", "predictions.jsonl", "roc.png", "curves.png"} <= {
        p.name for p in out.iterdir()
    }
    classifier = Classifier.load(out)
    assert classifier.classes == ("good", "defective") and classifier.size == 32
    lines = [json.loads(x) for x in (out / "predictions.jsonl").read_text().splitlines()]
    assert len(lines) == 32
    shares = classifier.probabilities([Path(x["picture"]) for x in lines])
    said = [[x["probabilities"][c] for c in classifier.classes] for x in lines]
    assert np.allclose(shares, said, atol=1e-5)  # from files as from memory
    right = np.mean([max(x["probabilities"], key=x["probabilities"].get) == x["label"]
                     for x in lines])  # fmt: skip
    figures = read_figures(out)
    assert figures.accuracy == pytest.approx(right) and figures.count == 32
    last = json.loads((out / "log.jsonl").read_text().splitlines()[-1])
    assert last["test_accuracy"] == pytest.approx(right, abs=1e-6)
    assert last["test_auroc"] == pytest.approx(figures.area.value, abs=1e-6)


def test_a_look_aside_sees_all_classes_and_every_test_picture_once(runs, tmp_path):
    words = [word for word in SMALL if "warmup" not in word]
    recipe = load_recipe(RECIPES / "lenet.yaml", [f"data={runs / 'set'}", *words]).resolved()
    task = SupervisedTask(recipe, tmp_path)
    first, second = list(task.held_out(Share(), 2))  # 16 of 32 each
    assert set(first["labels"].tolist()) == {0, 1}
    seen = torch.cat([first["pixels"], second["pixels"]]).flatten(1)
    assert len(seen.unique(dim=0)) == len(task.pictures.test) == 32
    halves = [next(task.held_out(Share(part, 1, 2), 1))["pixels"] for part in (0, 1)]
    assert torch.equal(torch.cat(halves), first["pixels"])  # on any number of processes


def test_an_epoch_of_gradient_descent_is_one_step(runs, tmp_path):
    words = (f"data={runs / 'set'}", *SMALL, "epochs=3", "log_every=1",
             "optimizer=gradient_descent")  # fmt: skip
    told = invoke("train", RECIPES / "lenet.yaml", *words, "--out", tmp_path / "run")
    assert "every step sees all 128 samples, in 8 micro-batches of 16" in told
    lines = [json.loads(x) for x in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert max(x.get("step", 0) for x in lines) == 3
    assert sum("validation_loss" in x for x in lines) == 3  # after each epoch


@pytest.mark.parametrize("distil", ["hard", "soft", "features"])
def test_a_student_learns_from_a_teacher(runs, tmp_path, distil):
    words = (f"data={runs / 'set'}", f"teacher={runs / 'lenet'}", f"distil={distil}", *SMALL)
    told = invoke("train", RECIPES / "deit.yaml", *words, "epochs=1", "--out", tmp_path / "deit")
    assert f"Teacher: lenet of {Classifier.load(runs / 'lenet').card.parameters:,}" in told
    line = json.loads((tmp_path / "deit" / "log.jsonl").read_text().splitlines()[-1])
    assert 0 <= line["agreement"] <= 1 and math.isfinite(line["loss"])
    student = Classifier.load(tmp_path / "deit")
    assert student.card.teacher == str(runs / "lenet") and student.card.distil == distil
    picture = torch.zeros(1, student.card.inputs.channels, 32, 32)
    said = student.network.answers(picture)
    both = (said.logits + said.distilled) / 2  # DeiT, section 4: both heads at test
    assert torch.equal(student.network(picture), both)


def test_a_run_goes_on_where_it_stopped(runs, tmp_path):
    words = (RECIPES / "lenet.yaml", f"data={runs / 'set'}", *SMALL, "checkpoint_every=10")
    shutil.copytree(runs / "lenet", tmp_path / "whole")
    invoke("train", *words, "--out", tmp_path / "half")
    shutil.rmtree(tmp_path / "half" / "checkpoints" / "step-00000016")  # as if it had ended before
    invoke("train", *words, "--out", tmp_path / "half")
    one, two = (Classifier.load(tmp_path / n).network.state_dict() for n in ("whole", "half"))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_run_begins_as_another_of_its_shape(runs, refused, tmp_path):
    words = ("train", RECIPES / "lenet.yaml", f"data={runs / 'set'}", *SMALL, "epochs=1",
             f"initial={runs / 'lenet'}", "learning_rate=0", "--out", tmp_path / "run")  # fmt: skip
    invoke(*words)
    one, two = (Classifier.load(x).network.state_dict() for x in (runs / "lenet", tmp_path / "run"))
    assert all(torch.equal(one[name], two[name]) for name in one)
    told = refused(*words[:-2], "params=30k", "--out", tmp_path / "other")
    assert "the same network and classes are needed" in told


def test_pictures_kept_in_a_file_are_the_same(runs, tmp_path):
    words = (RECIPES / "lenet.yaml", f"data={runs / 'set'}", *SMALL, f"kept={tmp_path / 'kept'}")
    for name in ("first", "again"):
        invoke("train", *words, "--out", tmp_path / name)
    for name in ("first", "again"):
        one, two = (
            Classifier.load(x).network.state_dict() for x in (tmp_path / name, runs / "lenet")
        )
        assert all(torch.equal(one[key], two[key]) for key in one)


def test_predict_names_a_broken_picture_and_goes_on(runs, tmp_path, refused):
    good = sorted((runs / "set" / "test" / "good").glob("*.png"))[:2]
    (tmp_path / "broken.png").write_bytes(b"no picture")
    Image.new("LA", (200, 50), 7).save(tmp_path / "wide.png")
    files = [*good, tmp_path / "broken.png", tmp_path / "wide.png"]
    told = invoke("predict", runs / "lenet", *files, "--out", tmp_path / "out.csv")
    assert "Left out" in told and "broken.png" in told
    rows = list(csv.DictReader((tmp_path / "out.csv").open()))
    assert len(rows) == 3 and set(rows[0]) == {"picture", "class", "good", "defective"}
    assert float(rows[0]["good"]) + float(rows[0]["defective"]) == pytest.approx(1, abs=1e-5)
    invoke("predict", runs / "lenet", good[0], "--out", tmp_path / "out.json")
    [row] = json.loads((tmp_path / "out.json").read_text())
    assert row["class"] in row["probabilities"]
    assert "None of 1 pictures" in refused("predict", runs / "lenet", tmp_path / "broken.png")
    assert "holds no model/config.json" in refused("predict", tmp_path, good[0])
    assert ".csv or .json" in refused("predict", runs / "lenet", good[0], "--out", "x.txt")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [(["data=nowhere"], "no such folder"), (["data=''"], "data: is empty"),
     (["steps=5"], "give one of them"), (["params=3"], "the nearest that lenet can have"),
     (["model.name=lenett"], "'lenet'"), (["size=8"], "16 px or more")],
)  # fmt: skip
def test_recipes_that_cannot_be_meant_are_refused(runs, refused, tmp_path, changes, sentence):
    words = [RECIPES / "lenet.yaml", f"data={runs / 'set'}", *SMALL, *changes]
    assert sentence in refused("train", *words, "--out", tmp_path / "run")


def test_a_teacher_of_other_classes_or_pictures_is_refused(runs, refused, tmp_path):
    words = [RECIPES / "deit.yaml", *SMALL, f"teacher={runs / 'lenet'}", "--out", tmp_path / "run"]
    told = refused("train", *words, f"data={runs / 'set'}", "size=48")
    assert "sees 32 px in 1 channels, this run 48 px" in told
    for part in ("train", "test"):
        shutil.copytree(runs / "set" / part / "good", tmp_path / "set" / part / "sound")
        shutil.copytree(runs / "set" / part / "defective", tmp_path / "set" / part / "bad")
    told = refused("train", *words, f"data={tmp_path / 'set'}")
    assert "knows the classes good, defective" in told and "has bad, sound" in told


@pytest.mark.parametrize("name", NETWORKS)
def test_every_recipe_is_read(name):
    recipe = load_recipe(RECIPES / f"{name}.yaml")
    assert recipe.model.name == name and recipe.epochs and not recipe.steps

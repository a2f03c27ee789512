"""Contrastive objectives against plain loops, and tiny runs of the tasks that use them."""

import math
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn

from anomalyst.backbones.drawn_senses import (
    TOWERS,
    VOCABULARY,
    WEIGHTS,
    Words,
    depth_input,
    imu_values,
    load_drawn_senses,
    sound_input,
)
from anomalyst.errors import AnomalystError
from anomalyst.synthetic.procedural.families import HELD_OUT
from anomalyst.synthetic.senses import SensesConfig, make_sensed_part
from anomalyst.training.checkpoint import find_checkpoint
from anomalyst.training.loop import train
from anomalyst.training.studies.senses.retrieval import ranks
from anomalyst.training.task import Share
from anomalyst.training.tasks import load_recipe
from anomalyst.training.tasks.contrastive.classifier import ClassifierRecipe, labelled
from anomalyst.training.tasks.contrastive.contrastive import (
    ContrastiveRecipe,
    ContrastiveTask,
    rows_of,
)
from anomalyst.training.tasks.contrastive.objectives import Contrast, info_nce, sigmoid_loss
from anomalyst.training.tasks.contrastive.pairs import PairsConfig, read_pairs

pytestmark = pytest.mark.usefixtures("one_thread")
ROOT = Path(__file__).parents[1]
SHORT = {"steps": 2, "batch": 6, "warmup_steps": 1, "checkpoint_every": 1, "log_every": 1}
PAIRS = PairsConfig(parts=12, held_out=6, world=SensesConfig(size_px=64, captions=2))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("drawn")
    for which in ("train", "seen"):
        read_pairs(folder, PAIRS, which, 0)
    return str(folder)


def units(count: int, width: int, seed: int) -> torch.Tensor:
    numbers = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(count, width, generator=numbers, dtype=torch.float64), dim=1)


def plain_info_nce(logits: list[list[float]], *, rows: bool) -> float:
    count, total = len(logits), 0.0
    for i in range(count):
        line = logits[i] if rows else [logits[j][i] for j in range(count)]
        total -= math.log(math.exp(line[i]) / sum(math.exp(value) for value in line))
    return total / count


@pytest.mark.parametrize("direction", ["both", "from_image", "to_image"])
def test_info_nce_is_what_a_loop_over_the_batch_gives(direction):
    image, other = units(7, 5, 0), units(7, 5, 1)
    logits = 3 * image @ other.T
    loss = float(info_nce(logits, logits.T, torch.arange(7), direction))
    ways = [plain_info_nce(logits.tolist(), rows=rows) for rows in (True, False)]
    wanted = {"both": sum(ways) / 2, "from_image": ways[0], "to_image": ways[1]}[direction]
    assert loss == pytest.approx(wanted, rel=1e-9)


def test_the_sigmoid_is_what_a_loop_over_all_pairs_gives():
    image, other = units(6, 5, 2), units(6, 5, 3)
    logits = 10 * image @ other.T - 10
    total = 0.0
    for i in range(6):
        for j in range(6):
            z = 1 if i == j else -1
            total += math.log(1 + math.exp(-z * float(logits[i, j])))
    assert float(sigmoid_loss(logits, torch.arange(6))) == pytest.approx(total / 6, rel=1e-9)


def test_temperatures_start_as_published_and_are_cut_at_a_hundred():
    clip, siglip = Contrast("infonce"), Contrast("sigmoid")
    assert clip.log_scale.exp().item() == pytest.approx(1 / 0.07)
    assert siglip.log_scale.item() == pytest.approx(math.log(10))
    assert siglip.bias.item() == -10
    image, other = units(5, 4, 4).float(), units(5, 4, 5).float()
    losses = []
    for scale in (math.log(100.0), math.log(900.0)):
        nn.init.constant_(clip.log_scale, scale)
        losses.append(clip(image, other)[0].item())
    assert losses[0] == pytest.approx(losses[1])


def test_pairs_that_lie_together_cost_less_and_are_found():
    image = units(8, 6, 6).float()
    for objective in ("infonce", "sigmoid"):
        contrast = Contrast(objective)
        near, found = contrast(image, image)
        far, lost = contrast(image, image.roll(1, 0))
        assert near.item() < far.item() and float(found) == 1 and float(lost) == 0


def _one_of_two(rank: int, folder: str, objective: str) -> None:
    """A process of two: its rows, its loss, its share of the gradient."""
    torch.set_num_threads(1)
    store = f"file://{folder}/{objective}"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=2)
    layer, contrast, x, y = _small_model(objective)
    mine = slice(rank * 4, rank * 4 + 4)
    loss, _ = contrast(F.normalize(layer(x[mine]), dim=1), y[mine])
    loss.backward()
    for value in (loss.detach(), layer.weight.grad, contrast.log_scale.grad):
        dist.all_reduce(value)
        value /= 2
    if rank == 0:
        found = {"loss": loss.detach(), "weight": layer.weight.grad}
        torch.save(found | {"scale": contrast.log_scale.grad}, f"{folder}/{objective}.pt")
    dist.destroy_process_group()


def _small_model(objective: str) -> tuple[nn.Linear, Contrast, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return nn.Linear(5, 3), Contrast(objective), torch.randn(8, 5), units(8, 3, 9).float()


@pytest.mark.parametrize("objective", ["infonce", "sigmoid"])
def test_two_processes_have_the_loss_and_the_gradients_of_one(objective, tmp_path):
    layer, contrast, x, y = _small_model(objective)
    loss, _ = contrast(F.normalize(layer(x), dim=1), y)
    loss.backward()
    os.environ.setdefault("MASTER_ADDR", "localhost")
    torch.multiprocessing.start_processes(
        _one_of_two, (str(tmp_path), objective), nprocs=2, start_method="fork"
    )
    found = torch.load(tmp_path / f"{objective}.pt")
    torch.testing.assert_close(found["loss"], loss.detach())
    torch.testing.assert_close(found["weight"], layer.weight.grad)
    torch.testing.assert_close(found["scale"], contrast.log_scale.grad)


def small_towers():
    """TOWERS with a block each."""
    return replace(
        TOWERS,
        **{name: replace(TOWERS.tower(name), depth=1, width=32) for name in TOWERS.modalities},
    )


def recipe_of(drawn: str, **more) -> ContrastiveRecipe:
    given = {"workers": 0, "drawn": drawn, "pairs": PAIRS, "model": small_towers()}
    return ContrastiveRecipe(**(SHORT | given | more))


ALL = ("text", "audio", "depth", "thermal", "imu")


@pytest.mark.parametrize("more", [{"loss": "sigmoid"}, {"senses": ALL, "direction": "from_image"}])
def test_towers_are_trained_and_read_back(more, drawn, tmp_path):
    recipe = recipe_of(drawn, **more, validate_every=2, validation_batches=1)
    weights = train(recipe, tmp_path / "run")
    senses = load_drawn_senses(weights)
    part = make_sensed_part(5, PAIRS.world)
    raw = {"text": part.sentences, "audio": [part.sound], "depth": [part.depth_mm],
           "thermal": [part.heat_c], "imu": [part.imu], "image": [part.picture]}  # fmt: skip
    for name in ("image", *recipe.senses):
        vectors = senses.embed(name, raw[name])
        assert vectors.shape[1] == 128
        torch.testing.assert_close(vectors.norm(dim=1), torch.ones(len(vectors)))
    assert find_checkpoint(tmp_path / "run", recipe, engine="single", world=1).step == 2


def test_a_run_that_was_cut_off_ends_where_the_whole_one_does(drawn, tmp_path):
    recipe = recipe_of(drawn, senses=("imu",), steps=3, ema_decay=0.0)
    whole = load_drawn_senses(train(recipe, tmp_path / "whole")).state_dict()

    class Cut(Exception):
        pass

    def cut(line):
        if line.get("step") == 2:
            raise Cut

    with pytest.raises(Cut):
        train(recipe, tmp_path / "cut", on_log=cut)
    resumed = load_drawn_senses(train(recipe, tmp_path / "cut")).state_dict()
    for name, value in whole.items():
        torch.testing.assert_close(resumed[name], value)


def test_frozen_towers_stay_as_the_first_run_left_them(drawn, tmp_path):
    first = train(recipe_of(drawn), tmp_path / "clip")
    recipe = recipe_of(
        drawn, senses=("text", "depth"), frozen=("image", "text"), initial=str(first)
    )
    before, after = (
        load_drawn_senses(path).model.state_dict()
        for path in (first, train(recipe, tmp_path / "bound"))
    )
    for name, value in before.items():
        torch.testing.assert_close(after[name], value, msg=name)
    assert any(name.startswith("towers.depth.") for name in after)


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"senses": ("image",)}, "paired with images"),
        ({"senses": ("sonar",)}, "nearest"),
        ({"loss": "sigmoid", "direction": "to_image"}, "has none"),
        ({"frozen": ("text",)}, "name `initial`"),
        ({"frozen": ("image", "text"), "initial": "x"}, "leave one to train"),
    ],
)
def test_what_makes_no_sense_is_refused(more, sentence, drawn):
    with pytest.raises(AnomalystError, match=sentence):
        recipe_of(drawn, **more)


def test_pairs_of_another_world_are_refused(drawn):
    other = replace(PAIRS, world=SensesConfig(size_px=96, captions=2))
    with pytest.raises(AnomalystError, match="choose another folder"):
        read_pairs(Path(drawn), other, "train", 0)


def test_no_part_is_drawn_twice_and_every_row_is_one_part(drawn):
    pairs = read_pairs(Path(drawn), PAIRS, "train", 0)
    assert len(pairs) == 12 and len({str(t) for t in pairs.texts}) == 12
    part = make_sensed_part(7, replace(PAIRS.world, without=HELD_OUT))
    read = {"depth": depth_input(part.depth_mm), "audio": sound_input(part.sound)}
    for name, values in (read | {"imu": imu_values(part.imu)}).items():
        torch.testing.assert_close(pairs.senses[name][7].float(), values, atol=4e-3, rtol=1e-3)
    assert pairs.texts[7] == list(part.sentences)


def test_the_shipped_recipes_are_read():
    for name in ("clip", "imagebind", "classifier"):
        load_recipe(ROOT / "recipes" / f"{name}.yaml")


def test_a_text_ends_with_the_highest_number_even_when_it_is_cut():
    words = Words.of(["A bolt is sound.", "It rubs!"])
    assert words.known == ("a", "bolt", "is", "it", "rubs", "sound")
    rows = words.tokens(["a cracked bolt", "sound " * 60])
    assert rows[0, :5].tolist() == [2, 1, 3, VOCABULARY - 1, 0]
    assert (rows.argmax(1) == torch.tensor([3, 31])).all() and rows.shape == (2, 32)


def test_parts_that_are_alike_come_first_and_none_twice(drawn, tmp_path):
    among = torch.tensor([False, True] * 10)
    for seed in range(5):
        numbers = torch.Generator().manual_seed(seed)
        rows = rows_of(20, 12, numbers, among)
        assert len(rows.unique()) == 12 and among[rows[:10]].all() and not among[rows[10:]].any()
    task = ContrastiveTask(recipe_of(drawn, alike=1, steps=4, batch=2), tmp_path)
    seen, family = task.pairs.senses["image"].float(), task.pairs.labels["family"]
    shared = 0
    for step, batch in enumerate(task.batches(0, Share())):
        at = [int((seen == one).flatten(1).all(1).nonzero()[0]) for one in batch["image"]]
        counted = family.bincount()[family[at]]
        shared += step % 2 == 1 and (len(family[at].unique()) == 1 or int(counted.min()) == 1)
    assert shared == 2  # both odd steps: one family, unless it has one part only


def test_labels_are_as_many_of_each_class_as_asked():
    labels = torch.tensor([0, 1, 1, 1, 2, 2, 0, 1])
    rows = labelled(labels, 2, seed=3)
    assert labels[rows].bincount().tolist() == [2, 2, 2]
    assert len(labelled(labels, 0, seed=3)) == 8


@pytest.mark.parametrize("network", ["cnn", "tower"])
def test_the_classifier_learns_from_labels_with_and_without_a_tower(network, drawn, tmp_path):
    more = {}
    if network == "tower":
        more["initial"] = str(train(recipe_of(drawn), tmp_path / "clip"))
    recipe = ClassifierRecipe(
        **SHORT, workers=0, drawn=drawn, pairs=PAIRS, model=small_towers(), network=network,
        labels_per_class=2, target="family", **more,
    )  # fmt: skip
    assert train(recipe, tmp_path / "run").name == "classifier.safetensors"
    assert train(recipe, tmp_path / "run").is_file()  # and goes on where it ended


def test_sounds_and_vibrations_begin_anywhere_and_pictures_do_not(drawn, tmp_path):
    task = ContrastiveTask(recipe_of(drawn, senses=("audio", "depth")), tmp_path)
    batch = next(task.batches(0, Share()))
    rows = torch.randperm(12, generator=torch.Generator().manual_seed(0))[:6]
    kept = task.pairs.senses
    torch.testing.assert_close(batch["depth"], kept["depth"][rows].float())
    assert not torch.equal(batch["audio"], kept["audio"][rows].float())
    torch.testing.assert_close(
        batch["audio"].sort(-1).values, kept["audio"][rows].float().sort(-1).values
    )


def test_the_shipped_towers_are_small_and_find_parts_by_senses_that_never_met():
    assert WEIGHTS.stat().st_size <= 15_000_000
    senses = load_drawn_senses()
    config = SensesConfig(without=HELD_OUT)
    parts = [make_sensed_part((1 << 44) + number, config) for number in range(40)]
    depth = senses.embed("depth", [part.depth_mm for part in parts])
    for name, raw in (
        ("image", [p.picture for p in parts]),
        ("thermal", [p.heat_c for p in parts]),
    ):
        nearer = ranks(senses.embed(name, raw), depth)
        assert (nearer < 5).float().mean() > 0.3, name  # by chance an eighth

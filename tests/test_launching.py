"""Places, hostfiles, and what is refused before any process starts."""

import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomalyst.errors import AnomalystError
from anomalyst.training.distributed.launching import Launch, checked_recipe, read_launch, run_module
from anomalyst.training.distributed.ranks import RankContext, hosts_of, read_context
from anomalyst.training.engines import EngineSetup
from anomalyst.training.engines.deepspeed import deepspeed_config
from anomalyst.training.recipe import EngineConfig, Recipe
from anomalyst.training.task import Share
from anomalyst.training.tasks import load_recipe


def test_the_place_of_a_process_is_read_from_its_launcher():
    assert read_context({}) is None
    torchrun = {
        "RANK": "3",
        "WORLD_SIZE": "4",
        "LOCAL_RANK": "1",
        "TORCHELASTIC_RESTART_COUNT": "2",
    }
    assert read_context(torchrun) == RankContext(rank=3, world=4, local_rank=1, restart=2)
    horovod = {"HOROVOD_RANK": "1", "HOROVOD_SIZE": "2", "HOROVOD_LOCAL_RANK": "1"}
    assert read_context(horovod) == RankContext(rank=1, world=2, local_rank=1)
    slurm = {"SLURM_PROCID": "5", "SLURM_NTASKS": "8", "SLURM_LOCALID": "1", "SLURM_STEP_ID": "0",
             "SLURM_JOB_NODELIST": "gpu[03-06]", "SLURM_JOB_ID": "77"}  # fmt: skip
    assert read_context(slurm) == RankContext(rank=5, world=8, local_rank=1, master="gpu03:20077")
    assert read_context({k: v for k, v in slurm.items() if k != "SLURM_STEP_ID"}) is None
    with pytest.raises(AnomalystError, match="LOCAL_RANK is None"):
        read_context({"RANK": "0", "WORLD_SIZE": "2"})


@given(
    st.lists(
        st.tuples(
            st.from_regex(r"[a-z]{1,4}-?", fullmatch=True),
            st.lists(st.integers(0, 99), max_size=3, unique=True),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_slurms_short_list_of_nodes_is_written_out(groups):
    short, whole = [], []
    for name, numbers in groups:
        short.append(f"{name}[{','.join(f'{n:03d}' for n in numbers)}]" if numbers else name)
        whole += [f"{name}{n:03d}" for n in numbers] or [name]
    assert hosts_of(",".join(short)) == whole
    assert hosts_of("a[01-03,7],b") == ["a01", "a02", "a03", "a7", "b"]


def test_a_hostfile_says_machines_slots_and_where_to_meet(tmp_path: Path):
    here = socket.gethostname()
    (tmp_path / "hosts").write_text(f"first slots=2  # the master\n\n{here} slots=2\n")
    read = read_launch(Launch(hostfile=str(tmp_path / "hosts")))
    assert (read.nproc, read.nnodes, read.node_rank, read.master) == (2, "2", 1, "first:29500")
    assert read.world == 4
    for text, said in (("a slots=1\nb slots=2\n", "equally many"), ("a\n", "host slots=N")):
        (tmp_path / "hosts").write_text(text)
        with pytest.raises(AnomalystError, match=said):
            read_launch(Launch(hostfile=str(tmp_path / "hosts")))


@pytest.mark.parametrize(
    ("launch", "said"),
    [
        (Launch(nnodes="2"), "must meet; give all of them"),
        (Launch(nnodes="two"), "a number, or two as in 1:4"),
        (Launch(nnodes="2", master="a:1", node_rank=2), "of 2 machines, 0 to 1"),
    ],
)
def test_what_cannot_be_meant_is_refused(launch: Launch, said: str):
    with pytest.raises(AnomalystError, match=said):
        read_launch(launch)


def test_a_port_in_use_is_told_before_anything_starts():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(AnomalystError, match=f"port {port} is in use"):
            run_module(Launch(master=f"127.0.0.1:{port}"), ["anomalyst"])
    with pytest.raises(AnomalystError, match="a host and a port are needed"):
        run_module(Launch(master="somewhere"), ["anomalyst"])


def test_a_recipe_is_checked_before_it_is_begun(tiny: Path, tmp_path: Path, monkeypatch):
    recipe = load_recipe(tiny / "tiny.yaml", [])

    def check(world: int = 1, here: int = 1, **changes) -> None:
        one = replace(recipe, **changes)
        checked_recipe(one, tmp_path / "run", world=world, here=here, resume=True)

    check()
    check(language_model="somebody/llama-7b")  # a hub's name is looked up when it is loaded
    ddp = EngineConfig(name="ddp")
    for said, changes in (
        ("batch 4 cannot be shared by 3 processes", {"world": 3, "engine": ddp}),
        ("must be a multiple of 6", {"world": 2, "micro_batch": 3, "engine": ddp}),
        ("2 processes need an engine that spreads", {"world": 2}),
        ("is no folder|there is no", {"data": ("nowhere",)}),
        ("no language model is there", {"language_model": "nowhere"}),
        ("must be held out; say folds=5", {"validate_every": 5}),
        ("mlflow is not installed", {"trackers": ("mlflow",)}),
        ("ask for 2 or fewer", {"folds": 2, "fold_by": "categories"}),
    ):
        if said.startswith("ask for"):
            said = "ask for 1 or fewer"
        with pytest.raises(AnomalystError, match=said):
            check(**changes)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    for name in ("deepspeed", "horovod"):
        with pytest.raises(AnomalystError, match=f"--engine {name}: .*not installed"):
            check(engine=EngineConfig(name=name))
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    with pytest.raises(AnomalystError, match="this machine has 1 GPU; ask for 1 or fewer"):
        check(world=2, here=2, engine=ddp)


def setup_of(config: EngineConfig, precision: str = "bfloat16") -> EngineSetup:
    recipe = Recipe(batch=16, engine=config, loss_scale_power=12, loss_scale_window=1000)
    share = Share(count=4, of=8)
    return EngineSetup(recipe=recipe, share=share, precision=precision, blocks={}, leaves_out=False)


def test_deepspeeds_configuration_is_the_recipe_over_the_users_own(tmp_path: Path):
    made = deepspeed_config(setup_of(EngineConfig(zero_stage=3, offload_optimizer=True)))
    assert made["train_batch_size"] == 16 and made["gradient_accumulation_steps"] == 4
    assert made["train_micro_batch_size_per_gpu"] == 2 and made["gradient_clipping"] == 1
    assert made["zero_optimization"] == {"stage": 3, "offload_optimizer": {"device": "cpu"}}
    assert made["bf16"] == {"enabled": True}
    half = deepspeed_config(setup_of(EngineConfig(), precision="float16"))
    assert half["fp16"] == {"enabled": True, "initial_scale_power": 12, "loss_scale_window": 1000}
    own = tmp_path / "ds.json"
    config = EngineConfig(deepspeed_json=str(own))
    own.write_text('{"zero_optimization": {"stage": 1}, "train_batch_size": "auto"}')
    made = deepspeed_config(setup_of(config))
    assert made["zero_optimization"]["stage"] == 1 and made["train_batch_size"] == 16
    for text, said in (
        ('{"train_batch_size": 8}', "train_batch_size is 8, the recipe makes it 16"),
        ('{"scheduler": {}}', "would overrule the recipe's learning rate"),
        ("[]", "holds no object"),
        ("{", "cannot be read as JSON"),
    ):
        own.write_text(text)
        with pytest.raises(AnomalystError, match=said):
            deepspeed_config(setup_of(config))


@given(st.integers(1, 64), st.integers(0, 16), st.integers(1, 8))
def test_a_batch_is_shared_out_whole_or_refused(batch: int, micro: int, world: int):
    recipe = Recipe(batch=batch, micro_batch=micro)
    try:
        parts = recipe.parts(world)
    except AnomalystError:
        assert batch % ((micro or 1) * world)
        return
    assert parts % world == 0 and batch % parts == 0
    assert not micro or batch // parts == micro


def test_bad_input_is_one_sentence_on_the_command_line(tiny: Path, tmp_path: Path):
    words = [sys.executable, "-m", "anomalyst", "train", str(tiny / "tiny.yaml")]
    done = subprocess.run(
        [*words, "--engine", "ddp", "--nproc", "3", "--out", str(tmp_path / "run")],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2
    (line,) = [x for x in done.stderr.splitlines() if "WARNING" not in x]
    assert line.startswith("Error: batch 4 cannot be shared by 3 processes")
    assert not (tmp_path / "run").exists()

"""Two machines, played by two network namespaces: needs root and iproute2."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from anomalyst.training.loop import train
from anomalyst.training.tasks import load_recipe
from test_engines import TOLERANCE, apart, losses

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif(
        os.geteuid() != 0 or not shutil.which("ip"), reason="namespaces need root and iproute2"
    ),
]
NODES = ("anode1", "anode2")
ADDRESSES = ("10.201.7.1", "10.201.7.2")


def ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"namespaces cannot be made here: {done.stderr.strip()}")


@pytest.fixture
def two_nodes():
    """Two hosts with a cable between them."""
    try:
        for node in NODES:
            ip("netns", "add", node)
        ip("link", "add", "acable1", "netns", NODES[0], "type", "veth",
           "peer", "name", "acable2", "netns", NODES[1])  # fmt: skip
        for index, (node, address) in enumerate(zip(NODES, ADDRESSES, strict=True), 1):
            ip("-n", node, "link", "set", "lo", "up")
            ip("-n", node, "addr", "add", f"{address}/24", "dev", f"acable{index}")
            ip("-n", node, "link", "set", f"acable{index}", "up")
            hosts = Path("/etc/netns") / node
            hosts.mkdir(parents=True, exist_ok=True)
            names = "".join(f"{a} {n}\n" for a, n in zip(ADDRESSES, NODES, strict=True))
            (hosts / "hosts").write_text(f"127.0.0.1 localhost\n{names}")
        yield
    finally:
        for node in NODES:
            subprocess.run(["ip", "netns", "del", node], capture_output=True)
            shutil.rmtree(Path("/etc/netns") / node, ignore_errors=True)


def on_node(index: int, recipe: Path, out: Path, *more: str) -> subprocess.Popen:
    """Start a training on one of the nodes."""
    inside = ["ip", "netns", "exec", NODES[index], "unshare", "--uts", "sh", "-c",
              f'hostname {NODES[index]}; exec "$@"', "sh", "env",
              f"GLOO_SOCKET_IFNAME=acable{index + 1}"]  # fmt: skip
    words = [sys.executable, "-m", "anomalyst", "train", str(recipe), "--out", str(out),
             "--node-rank", str(index), "--master", f"{ADDRESSES[0]}:29511", *more]  # fmt: skip
    return subprocess.Popen([*inside, *words], stderr=subprocess.PIPE, text=True)


@pytest.mark.usefixtures("two_nodes")
@pytest.mark.parametrize("engine", ["ddp", "fsdp"])
def test_two_nodes_go_down_the_same_curve_as_one_process(engine, tiny, tmp_path):
    recipe = tiny / "tiny.yaml"
    train(load_recipe(recipe, []), tmp_path / "single")
    more = ("--engine", engine, "--nnodes", "2")
    for process in [on_node(i, recipe, tmp_path / "run", *more) for i in (0, 1)]:
        _, said = process.communicate(timeout=180)
        assert process.returncode == 0, said[-3000:]
    assert apart(losses(tmp_path / "single"), tmp_path / "run") <= TOLERANCE


@pytest.mark.usefixtures("two_nodes")
def test_an_elastic_run_goes_on_when_a_node_dies(tiny, tmp_path):
    out = tmp_path / "run"
    more = ("--engine", "ddp", "--nnodes", "1:2", "--max-restarts", "3", "steps=300",
            "checkpoint_every=20")  # fmt: skip
    first, second = (on_node(i, tiny / "tiny.yaml", out, *more) for i in (0, 1))
    while not (out / "checkpoints" / "step-00000040").exists():
        assert first.poll() is None and second.poll() is None
        time.sleep(0.2)
    pids = subprocess.run(["ip", "netns", "pids", NODES[1]], capture_output=True, text=True)
    for pid in pids.stdout.split():
        os.kill(int(pid), signal.SIGKILL)
    second.communicate()
    _, said = first.communicate(timeout=240)
    assert first.returncode == 0, said[-3000:]
    assert json.loads((out / "end.json").read_text())["world"] == 1
    assert len(losses(out)) == 300

"""`anomalyst cluster`: machines played by shells of this one, each with a fault of its own."""

import os
import shutil
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

import anomalyst
from anomalyst.cli.main import app
from anomalyst.errors import AnomalystError
from anomalyst.training.distributed.cluster_check import CheckConfig, check_cluster
from anomalyst.training.distributed.cluster_start import start_on_all
from anomalyst.training.distributed.hosts import RemoteShell, read_hosts
from anomalyst.training.distributed.launching import Launch, read_launch

SOURCE = Path(anomalyst.__file__).parents[1]
# Read by every Python of that machine before anything else.
SKEWED = "import time\n_true = time.time\ntime.time = lambda: _true() + 7\n"
HALF_BUILT = "import sys\nsys.modules['cv2'] = None\n"


def own_packages(folder, lines="", torch=""):
    """A folder that a machine's Python looks into first."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(lines)
    if torch:
        info = folder / f"torch-{torch}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: torch\nVersion: {torch}\n")
    return folder


@pytest.fixture
def shell(tmp_path):
    """Stands for ssh: takes a host and a command."""
    skewed = own_packages(tmp_path / "skewed", SKEWED)
    other = own_packages(tmp_path / "other", torch="2.11.0")
    half = own_packages(tmp_path / "half", HALF_BUILT)
    script = tmp_path / "shell.sh"
    script.write_text(f"""#!/bin/sh
export PYTHONPATH={SOURCE} OMP_NUM_THREADS=1
case $1 in
  skewed) PYTHONPATH={skewed}:$PYTHONPATH ;;
  other) PYTHONPATH={other}:$PYTHONPATH ;;
  half) PYTHONPATH={half}:$PYTHONPATH ;;
  bare) exec {sys.executable} -S -m anomalyst.nothing ;;
  gone) echo "ssh: connect to host gone port 22: No route to host" >&2; exit 255 ;;
  lonely) alone='mount -t tmpfs none "$0" && exec sh -c "$1"'
    exec unshare --mount sh -c "$alone" {tmp_path}/shared "$2" ;;
esac
exec sh -c "$2"
""")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    (tmp_path / "shared").mkdir()
    return RemoteShell(template=str(script))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def config(tmp_path, **more):
    shared = tmp_path / "shared"
    shared.mkdir(exist_ok=True)
    return CheckConfig(shared=shared, **{"port": free_port(), **more})


def test_each_fault_of_a_machine_is_named_and_nothing_else(tmp_path, shell):
    hosts = dict.fromkeys(("first", "skewed", "other", "half", "bare", "gone"), 1)
    with socket.socket() as busy:
        busy.bind(("", 0))
        busy.listen()
        port = busy.getsockname()[1]
        checked = check_cluster(hosts, shell, config(tmp_path, port=port))
    for host, words in {
        "first": f"first: port {port} is in use",
        "skewed": "clocks: skewed is 7.0 s ahead of",
        "other": "torch: first has",
        "half": "half: its installation is not complete: cv2",
        "bare": "bare: its installation is not complete (",
        "gone": "gone: not reachable",
    }.items():
        assert [one for one in checked.problems if words in one], (host, checked.problems)
    assert len(checked.problems) == 6
    assert "other has 2.11.0" in " ".join(checked.problems)
    assert not checked.bandwidth
    assert not list((tmp_path / "shared").iterdir())  # nothing is left there


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="needs root, unshare")
def test_a_machine_without_the_shared_folder_is_named(tmp_path, shell):
    tried = subprocess.run(["unshare", "--mount", "true"], capture_output=True)
    if tried.returncode:
        pytest.skip("mounts of one's own cannot be made here")
    checked = check_cluster({"first": 1, "lonely": 1}, shell, config(tmp_path))
    assert len(checked.problems) == 1
    assert f"lonely: {tmp_path}/shared is another folder here; recipes" in checked.problems[0]


def test_two_machines_without_a_fault_are_ready_and_measured(tmp_path, shell):
    hosts = tmp_path / "hosts"
    hosts.write_text("one slots=1\ntwo slots=1\n")
    words = ["cluster", "check", str(hosts), "--shell", shell.template, "--master", "127.0.0.1"]
    words += ["--port", str(free_port()), "--shared", str(tmp_path / "shared")]
    shown = CliRunner().invoke(app, words)
    assert shown.exit_code == 0, shown.output
    assert "Ready." in shown.output
    assert "4 MiB" in shown.output


def test_machines_that_do_not_meet_are_told(tmp_path, shell):
    nowhere = config(tmp_path, master="127.0.0.1", port=free_port(), patience=90.0)
    hosts = {"one": 1, "bare": 1}
    checked = check_cluster(hosts, shell, nowhere)
    assert checked.problems and not checked.bandwidth


def test_when_one_machine_ends_badly_the_others_are_ended(tmp_path, shell):
    """The first one sleeps; the other one's recipe is not there."""
    script = tmp_path / "anomalyst_like.py"
    script.write_text("import sys, time\nrank = sys.argv[sys.argv.index('--node-rank') + 1]\n"
                      "print('here is', rank, flush=True)\n"
                      "time.sleep(600) if rank == '0' else sys.exit(2)\n")  # fmt: skip
    python = tmp_path / "python"
    python.write_text(
        f'#!/bin/sh\ncase "$2" in anomalyst) shift 2; exec {sys.executable} {script} "$@";; esac\n'
        f'exec {sys.executable} "$@"\n'
    )
    python.chmod(0o755)
    said, begun = [], time.monotonic()
    status = start_on_all({"one": 1, "two": 1}, shell, ["train"], folder=tmp_path,
                          python=str(python), master="127.0.0.1:1", say=said.append)  # fmt: skip
    assert status == 128 + 15 or status == 2
    assert time.monotonic() - begun < 120
    assert {"one: here is 0", "two: here is 1"} <= set(said)


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_a_training_on_two_machines_from_one_terminal(tiny, tmp_path, shell):
    hosts = tmp_path / "hosts"
    hosts.write_text("one slots=1\ntwo slots=1\n")
    words = ["cluster", "start", str(hosts), str(tiny / "tiny.yaml"), "steps=4"]
    words += ["--shell", shell.template, "--master", "127.0.0.1", "--port", str(free_port())]
    words += ["--out", str(tmp_path / "run"), "--shared", str(tmp_path / "shared")]
    shown = CliRunner().invoke(app, words)
    assert shown.exit_code == 0, shown.output
    assert '"world": 2' in (tmp_path / "run" / "end.json").read_text()


def test_commands_reach_a_machine_by_ssh_or_by_a_template():
    assert RemoteShell(template="ssh -p 2222").words("a", "b c") == [
        "ssh",
        "-p",
        "2222",
        "a",
        "b c",
    ]
    pods = RemoteShell(template="kubectl exec {host} -- sh -c {command}")
    assert pods.words("p-0", "x 'y z'") == ["kubectl", "exec", "p-0", "--", "sh", "-c", "x 'y z'"]
    with pytest.raises(AnomalystError, match="needed both, or neither"):
        RemoteShell(template="kubectl exec {host}")


def test_a_shell_that_is_not_there_is_told(tmp_path):
    checked = check_cluster({"a": 1}, RemoteShell(template="no-such-shell"), config(tmp_path))
    assert "cannot be started" in checked.problems[0]


def test_hostfiles_are_read_as_before(tmp_path):
    path = tmp_path / "hosts"
    path.write_text("a slots=2\nb slots=2  # the slow one\n")
    assert read_hosts(path) == {"a": 2, "b": 2}
    launch = read_launch(Launch(hostfile=str(path), node_rank=1))
    assert (launch.nnodes, launch.nproc, launch.master) == ("2", 2, "a:29500")
    path.write_text("a slots=2\nb slots=1\n")
    with pytest.raises(AnomalystError, match="equally many slots"):
        read_hosts(path)

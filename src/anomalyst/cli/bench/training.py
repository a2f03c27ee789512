"""`anomalyst bench engines|pipeline|context|loop|allreduce`: what spreading a run costs here."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Literal

import typer
from typer import Option

from anomalyst.cli import options as opt
from anomalyst.cli.screen import needs, say


def engines(
    engine: Annotated[
        list[str] | None,
        Option(
            metavar="NAME[:ORDER]",
            help="ddp, fsdp, deepspeed, horovod; tensor, pipeline, ...; may be repeated.",
            show_default="all that are installed",
        ),
    ] = None,
    task: Annotated[
        Literal["anomalygpt", "language"],
        Option(help="What is trained; tensor and pipeline parallel engines need language."),
    ] = "anomalygpt",
    nproc: Annotated[
        list[int] | None,
        Option(metavar="N", help="Processes; may be repeated.", show_default="1 2 4"),
    ] = None,
    steps: Annotated[int, Option(min=20, help="Of each run.")] = 50,
    out: opt.Results = Path("out/engines"),
) -> None:
    """Run one tiny recipe on every engine: same loss curve, time, memory, bytes sent.

    Example: anomalyst bench engines --engine ddp --engine fsdp --nproc 2

    With those that deal out the model: anomalyst bench engines --task language --nproc 2 --nproc 4
    """
    needs("train", "matplotlib", "psutil")
    from anomalyst.training.experiments.engine_bench import bench_engines
    from anomalyst.training.experiments.tables import engine_table

    names = engine or ["ddp", "fsdp", "deepspeed", "horovod"]
    if task == "language" and not engine:
        names += ["tensor", "pipeline:gpipe", "pipeline:1f1b", "pipeline:interleaved",
                  "tensor_pipeline"]  # fmt: skip
    worlds = nproc or [1, 2, 4]
    rows, left_out = bench_engines(out, names, worlds, task=task, steps=steps, say=say)
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


def pipeline(
    nproc: Annotated[
        list[int] | None,
        Option(metavar="N", min=2, help="Stages; may be repeated.", show_default="2 4"),
    ] = None,
    block_ms: Annotated[
        float, Option(min=1, help="What a stage takes forward; backward takes twice as long.")
    ] = 200,
    out: opt.Results = Path("out/pipeline"),
) -> None:
    """Measure the bubble of pipelines (GPipe, 1F1B, interleaved) beside its formula.

    Blocks take a fixed time, so that few cores do not matter. DeepSpeed's own pipeline stands
    beside them where it is installed.

    Example: anomalyst bench pipeline --nproc 4
    """
    needs("train", "matplotlib", "psutil")
    from anomalyst.training.experiments.pipeline_bench import bench_pipeline, bubble_table

    found = bench_pipeline(out, nproc or [2, 4], block_ms / 1000, say)
    typer.echo(bubble_table(found))
    typer.echo(f"Written to {out}")


def context(
    tokens: Annotated[
        list[int] | None,
        Option(metavar="N", min=64, help="May be repeated.", show_default="512 1024 2048 4096"),
    ] = None,
    window: Annotated[int, Option(min=1, help="Tokens that each looks back to.")] = 128,
    nproc: Annotated[
        list[int] | None,
        Option(metavar="N", help="Processes; may be repeated.", show_default="1 2"),
    ] = None,
    out: opt.Results = Path("out/context"),
) -> None:
    """Measure long texts: a window beside full attention, tokens shared by processes.

    Example: anomalyst bench context --tokens 1024 --tokens 4096 --window 128
    """
    needs("train", "matplotlib", "psutil")
    from anomalyst.errors import AnomalystError
    from anomalyst.training.experiments.context_bench import HEADS, bench_context, context_table

    lengths, worlds = tokens or [512, 1024, 2048, 4096], nproc or [1, 2]
    for world in worlds:
        if HEADS % world or any(length % world for length in lengths):
            raise AnomalystError(
                f"--nproc {world}: does not divide {HEADS} heads and all of "
                f"{', '.join(map(str, lengths))} tokens; take 1, 2 or 4."
            )
    typer.echo(context_table(bench_context(out, lengths, window, worlds, say)))
    typer.echo(f"Written to {out}")


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

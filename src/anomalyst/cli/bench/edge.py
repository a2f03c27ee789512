"""`anomalyst bench edge|offload`: what small computers can do."""

import json
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from anomalyst.cli import options as opt
from anomalyst.cli.bench.inspection import GOOD, TEST
from anomalyst.cli.screen import needs, pictures_in, progress, say

Cores = Annotated[int, Option(min=1, help="Processors it may use.")]
MemoryMb = Annotated[int, Option("--memory-mb", help="Most memory, MiB.")]


def edge(
    image: Annotated[
        list[Path] | None,
        Argument(metavar="IMAGE...", help="Pictures or folders; the bundled ones if none."),
    ] = None,
    *,
    reference: opt.References = None,
    cores: Cores = 1,
    memory_mb: MemoryMb = 512,
    quality: Annotated[
        list[str] | None,
        Option(metavar="fast|default|high", help="May be repeated.", show_default="all three"),
    ] = None,
    engine: Annotated[
        list[str] | None,
        Option(
            metavar="torch|onnx|openvino|runner",
            help="May be repeated; runner: an exported folder by itself.",
            show_default="torch, and those that are installed",
        ),
    ] = None,
    pictures: Annotated[int, Option(min=2, help="How many to inspect.")] = 6,
    rounds: Annotated[int, Option(min=1, help="Runs within the limits, and as many without.")] = 2,
    out: opt.Results = Path("out/edge"),
) -> None:
    """Inspect within the limits of a single-board computer: does it fit, and how long does it take?

    Each run is a process of its own, held by a control group where one may be made, else by
    RLIMIT_DATA, and by affinity. The cores stay this machine's: read ratios. Writes edge.md and
    edge.json.

    Example: anomalyst bench edge --cores 1 --memory-mb 512
    Example: anomalyst bench edge --memory-mb 256 --engine runner --quality fast
    """
    from anomalyst.evaluation.benchmarks.edge import (
        EdgeWay,
        bench_edge,
        edge_line,
        edge_table,
        rows_as_dicts,
    )
    from anomalyst.hardware.limits import Limits
    from anomalyst.inspection.quality import QUALITIES, checked_quality
    from anomalyst.io.files import make_folder, write_text
    from anomalyst.runtime.engines import BUILT, checked_engine, installed

    limits = Limits(cores=cores, memory_mb=memory_mb)
    here = [name for name in BUILT if installed(name)]
    engines = engine or ["torch", *here, *(["runner"] if "onnx" in here else [])]
    for name in engines:
        checked_engine("onnx" if name == "runner" else name)
    ways = [
        EdgeWay(quality=checked_quality(q) or "default", engine=name)
        for q in quality or QUALITIES
        for name in engines
    ]
    good, some = pictures_in(reference or [GOOD])[:1], pictures_in(image or [TEST])
    asked = [some[i % len(some)] for i in range(pictures)]
    make_folder(out)
    with progress("Running", 2 * rounds * len(ways)) as bar:
        rows, held = bench_edge(
            good, asked, ways, limits, out, rounds=rounds, on_run=bar.advance,
            on_row=lambda row: say(edge_line(row)),
        )  # fmt: skip
    write_text(out / "edge.json", json.dumps(rows_as_dicts(rows), indent=1) + "\n")
    write_text(out / "edge.md", edge_table(rows))
    typer.echo(edge_table(rows))
    typer.echo(f"{cores} of the cores, {memory_mb} MiB, held by {held}. Written to {out}")


def offload(
    megabytes: Annotated[int, Option(min=8, help="Of the model that is made, MiB.")] = 600,
    memory_mb: MemoryMb = 480,
    tokens: Annotated[int, Option(min=1, help="To write.")] = 4,
    way: Annotated[
        list[str] | None,
        Option(
            metavar="memory|mapped|layers|accelerate", help="May be repeated.", show_default="all"
        ),
    ] = None,
    out: opt.Results = Path("out/offload"),
) -> None:
    """Let a language model write that is larger than the memory it is given, four ways.

    memory: all weights are read first. mapped: the file is mapped into memory, and the kernel
    drops pages. layers: one layer at a time is read from the file, used and forgotten, as
    ZeRO-Inference does. accelerate: the same by accelerate's disk offload. The model is new, so
    what it writes means nothing; that all ways write the same tokens is checked.

    Example: anomalyst bench offload --megabytes 600 --memory-mb 480
    """  # fmt: skip
    needs("train", "accelerate")
    from anomalyst.evaluation.benchmarks.offload import bench_offload, offload_table
    from anomalyst.hardware.limits import Limits
    from anomalyst.io.files import write_text

    rows = bench_offload(
        out, megabytes=megabytes, limits=Limits(cores=1, memory_mb=memory_mb), tokens=tokens,
        ways=way, say=say,
    )  # fmt: skip
    write_text(out / "offload.md", offload_table(rows))
    typer.echo(offload_table(rows))
    typer.echo(f"Written to {out}")

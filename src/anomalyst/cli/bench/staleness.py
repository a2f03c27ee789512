"""`anomalyst bench staleness`: workers wait for each other (BSP), a little (SSP), not (ASP)."""

from pathlib import Path
from typing import Annotated

import typer
from typer import Option

from anomalyst.cli import options as opt
from anomalyst.cli.screen import needs, progress


def staleness(
    topology: Annotated[
        list[str] | None,
        Option(
            metavar="server|ring|random|local|diloco",
            help="Who talks to whom; may be repeated.",
            show_default="all",
        ),
    ] = None,
    workers: Annotated[
        list[int] | None,
        Option(metavar="N", help="Worker processes; may be repeated.", show_default="2 4"),
    ] = None,
    straggler: Annotated[
        list[float] | None,
        Option(
            metavar="X",
            help="How many times slower one worker is; may be repeated.",
            show_default="1 2 4",
        ),
    ] = None,
    bound: Annotated[
        list[str] | None,
        Option(
            metavar="S|inf",
            help="Iterations a worker may be ahead: 0 is BSP, inf ASP; may be repeated.",
            show_default="0 1 3 10 inf",
        ),
    ] = None,
    every: Annotated[
        list[int] | None,
        Option(
            metavar="H",
            help="Steps between two averages of local and diloco; may be repeated.",
            show_default="5 15",
        ),
    ] = None,
    servers: Annotated[
        int, Option(min=1, help="Shards of an extra server at most workers; 1: no extra run.")
    ] = 2,
    batches: Annotated[int, Option(min=1, help="Of a run, by all workers together.")] = 480,
    step_ms: Annotated[
        float,
        Option(min=0, help="How long a step lasts.", show_default="twice what it takes here"),
    ] = 0.0,
    patience_s: Annotated[
        float, Option(help="Silence after which a process counts as gone, seconds.")
    ] = 10.0,
    failures: Annotated[
        bool, Option("--failures/--no-failures", help="Kill a worker and a server, too.")
    ] = True,
    ray: Annotated[
        bool, Option("--ray", help="Run Ray's parameter-server pattern beside it.")
    ] = False,
    port: Annotated[int, Option(help="Where processes meet; 0: any that is free.")] = 0,
    out: opt.Results = Path("out/staleness"),
) -> None:
    """Workers that wait for each other (BSP), up to a bound (SSP), or not at all (ASP).

    Real processes over gloo train a small network, with a parameter server, in a ring, with random
    partners, or with an average every H steps (local SGD, DiLoCo-like), one of them slowed down.
    Writes staleness.html, staleness.md and staleness.json; goes on where it stopped.

    Example: anomalyst bench staleness

    Example: anomalyst bench staleness --topology server --workers 4 --straggler 4 --no-failures

    Beside Ray: anomalyst bench staleness --topology server --bound 0 --bound inf --ray
    """
    needs("train", "matplotlib", "psutil")
    if ray:
        needs("scale", "ray")
    from anomalyst.config import from_mapping
    from anomalyst.training.experiments.staleness.bench import bench_staleness
    from anomalyst.training.experiments.staleness.config import StalenessBench, read_bound

    lists = {
        "topologies": topology, "workers": workers, "stragglers": straggler, "every": every,
        "bounds": [read_bound(text) for text in bound or ()],
    }  # fmt: skip
    given = {name: values for name, values in lists.items() if values}
    work = {"batches": batches, "step_ms": step_ms, "patience_s": patience_s}
    rest = {"servers": servers, "failures": failures, "ray": ray, "work": work}
    bench = from_mapping(StalenessBench, given | rest, where="bench staleness")
    with progress("Training") as bar:

        def told(name: str, done: int, total: int) -> None:
            bar.describe(name)
            bar.show(done, total)

        found = bench_staleness(bench, out, port=port, told=told)
    from anomalyst.training.experiments.staleness.page import write_staleness_page  # imports much

    typer.echo(write_staleness_page(found, out))
    typer.echo(f"Written to {out}: staleness.html, staleness.md, staleness.json")

"""`anomalyst cluster check|start`: machines by a hostfile."""

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from anomalyst.cli import options as opt
from anomalyst.cli.screen import print_table, say
from anomalyst.errors import AnomalystError
from anomalyst.training.distributed.hosts import DEFAULT_PORT, SSH

if TYPE_CHECKING:
    from anomalyst.training.distributed.cluster_check import CheckConfig, Checked
    from anomalyst.training.distributed.hosts import RemoteShell

app = typer.Typer(no_args_is_help=True, help="Several machines: look at them, then start on all.")
HostFile = Annotated[
    Path, Argument(metavar="HOSTFILE", help="Machines, as `host slots=N` lines; the first leads.")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Machines:
    """How the machines are reached."""

    shell: Annotated[
        str,
        Option(metavar="COMMAND", help="Reaches a machine; {host} and {command} say where."),
    ] = SSH
    master: Annotated[
        str, Option(metavar="HOST", help="The first one's address.", show_default="its name")
    ] = ""
    port: Annotated[int, Option(help="Of the first machine: where all meet.")] = DEFAULT_PORT
    interface: Annotated[
        str,
        Option(metavar="CARD", help="Network card of each, as eth0.", show_default="its name's"),
    ] = ""
    shared: Annotated[
        Path | None,
        Option(metavar="DIR", help="One folder on all machines.", show_default="this one"),
    ] = None
    python: Annotated[
        str, Option(metavar="FILE", help="Python of each machine.", show_default="this one's path")
    ] = ""
    clock_seconds: Annotated[float, Option(help="Clocks may differ by so much.")] = 1.0
    patience: Annotated[float, Option(metavar="S", help="A machine may take so long.")] = 90.0


@app.command()
@opt.grouped
def check(
    hostfile: HostFile,
    *,
    machines: Machines,
    bandwidth: Annotated[
        bool, Option("--bandwidth/--no-bandwidth", help="Measure the network between them, too.")
    ] = True,
    as_json: opt.JsonObject = False,
) -> None:
    """Look at all machines before a start: exit code 0, or 2 and a sentence for each problem.

    Reachable; complete and equal software (anomalyst, torch, Python); clocks; one shared folder;
    a free port; the network between them by all-reduce. Nothing is changed on them.

    Example: anomalyst cluster check hosts --shared /mnt/anomalyst

    In Kubernetes: anomalyst cluster check pods --shell 'kubectl exec {host} -- sh -c {command}'
    """
    checked = _check(hostfile, machines, bandwidth=bandwidth)
    if as_json:
        typer.echo(json.dumps(asdict(checked)))
    else:
        _show(checked)
    if checked.problems:
        raise typer.Exit(2)


@app.command()
@opt.grouped
def start(
    hostfile: HostFile,
    recipe: opt.RecipeFile,
    override: opt.Overrides = None,
    *,
    out: Annotated[
        Path | None, Option(metavar="DIR", help="The run's folder.", show_default="runs/RECIPE")
    ] = None,
    engine: Annotated[str, Option(metavar="ddp|fsdp|deepspeed", help="How it is spread.")] = "ddp",
    machines: Machines,
    unchecked: Annotated[bool, Option("--unchecked", help="Do not look at them first.")] = False,
) -> None:
    """Train on all machines from one terminal; they are looked at first, and end together.

    Each runs `anomalyst train` in the shared folder. Ctrl-C lets them save; the same command goes
    on from there.

    Example: anomalyst cluster start hosts recipes/anomalygpt.yaml --shared /mnt/anomalyst
    """
    from anomalyst.training.distributed.cluster_start import start_on_all
    from anomalyst.training.distributed.hosts import read_hosts

    config = _config(machines, bandwidth=False)
    if not unchecked:
        checked = _check(hostfile, machines, bandwidth=False)
        if checked.problems:
            raise AnomalystError(" ".join(checked.problems))
    hosts = read_hosts(hostfile)
    words = ["train", str(recipe), *(override or []), "--engine", engine]
    status = start_on_all(
        hosts,
        _shell(machines),
        [*words, "--out", str(out or Path("runs") / recipe.stem)],
        folder=config.shared,
        python=config.python,
        master=f"{machines.master or next(iter(hosts))}:{machines.port}",
        say=say,
    )
    if status:
        raise typer.Exit(status if status < 126 else 2)


def _config(machines: Machines, *, bandwidth: bool) -> "CheckConfig":
    from anomalyst.training.distributed.cluster_check import CheckConfig

    return CheckConfig(
        shared=(machines.shared or Path.cwd()).absolute(),
        port=machines.port,
        master=machines.master,
        python=machines.python or sys.executable,
        clock_seconds=machines.clock_seconds,
        patience=machines.patience,
        bandwidth=bandwidth,
    )


def _check(hostfile: Path, machines: Machines, *, bandwidth: bool) -> "Checked":
    from anomalyst.training.distributed.cluster_check import check_cluster
    from anomalyst.training.distributed.hosts import read_hosts

    config = _config(machines, bandwidth=bandwidth)
    return check_cluster(read_hosts(hostfile), _shell(machines), config, say)


def _shell(machines: Machines) -> "RemoteShell":
    from anomalyst.training.distributed.hosts import RemoteShell

    return RemoteShell(template=machines.shell, interface=machines.interface)


def _show(checked: "Checked") -> None:
    rows = [
        (
            node.host,
            str(node.slots),
            *(str(node.report.get(name, "-")) for name in ("anomalyst", "torch", "python")),
            f"{1000 * node.clock:+.1f} ± {1000 * node.doubt:.1f}" if node.report else "-",
            str(node.report.get("cores", "-")),
            str(len(node.report.get("gpus", []))),
        )
        for node in checked.nodes
    ]
    heads = ("machine", "slots", "anomalyst", "torch", "python", "clock, ms", "cores", "GPUs")
    print_table("Machines", heads, rows)
    if checked.bandwidth:
        measured = [
            (_size(one["bytes"]), f"{1000 * one['seconds']:.2f}", f"{one['gb_per_second']:.3f}")
            for one in checked.bandwidth
        ]
        print_table("All-reduce over gloo", ("size", "ms", "GB/s on each link"), measured)
    for problem in checked.problems:
        typer.echo(f"Problem: {problem}")
    if not checked.problems:
        typer.echo("Ready.")


def _size(count: float) -> str:
    return f"{count / 1024:.0f} KiB" if count < 1 << 20 else f"{count / (1 << 20):.0f} MiB"

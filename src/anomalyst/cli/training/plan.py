"""`anomalyst plan`: a training, or cameras and their replicas, on machines that are not here."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from typer import Option

from anomalyst.cli import options as opt
from anomalyst.cli.screen import print_table, progress, say
from anomalyst.errors import AnomalystError

if TYPE_CHECKING:
    from anomalyst.server.cluster.simulation import ReplicaSpeed, Serving, Site, Waits
    from anomalyst.training.planning.plan import Plan

ENGINES = "ddp|zero1|zero2|fsdp|zero3|zero2-offload|zero3-offload"


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """A model, and how it is trained."""

    parameters: Annotated[str, Option(metavar="7B|350M", help="Of the model.")] = ""
    gpus: Annotated[
        str, Option(metavar="[NODESx]NxGPU", help="As 8xA100-80, or 2x8xH100-80 on two machines.")
    ] = "8xA100-80"
    engine: Annotated[str, Option(metavar=ENGINES, help="How it is spread.")] = "zero3"
    trained: Annotated[
        str, Option(metavar="40M", help="Parameters that change.", show_default="all")
    ] = ""
    micro_batch: Annotated[int, Option(help="Sequences at once on a GPU.")] = 1
    accumulation: Annotated[int, Option(help="Micro-batches before the weights change.")] = 1
    context: Annotated[int, Option(help="Tokens of a sequence.")] = 2048
    recompute: Annotated[bool, Option("--recompute", help="Activations are computed again.")] = (
        False
    )
    layers: Annotated[
        int | None, Option(min=1, help="Of the model.", show_default="by its size")
    ] = None
    width: Annotated[int | None, Option(min=1, help="Of a layer.", show_default="by its size")] = (
        None
    )
    vocabulary: Annotated[int, Option(min=1, help="Words that it knows.")] = 32_000
    between: Annotated[
        float | None,
        Option(metavar="GB/S", help="Of a GPU to another machine; see `cluster check`.",
               show_default="25"),
    ] = None  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Cameras:
    """Pictures that come, and what inspects them."""

    cameras: Annotated[int | None, Option(min=1, help="Plan replicas for so many.")] = None
    rate: Annotated[float, Option(help="Pictures a second of each camera.")] = 10.0
    within: Annotated[float, Option(metavar="S", help="95 % must be back in so long.")] = 1.0
    replicas: Annotated[
        int | None, Option(min=1, help="Of the model.", show_default="the fewest that do it")
    ] = None
    arrivals: Annotated[
        Literal["periodic", "random"], Option(help="Cameras by their own clocks, or Poisson.")
    ] = "periodic"
    replica: Annotated[
        Path | None,
        Option(metavar="FILE", help="A replica's speed: written if it is not there, else read.",
               show_default="measured here, now"),
    ] = None  # fmt: skip
    together: Annotated[int, Option(min=1, help="Pictures a replica inspects at once.")] = 16
    check: Annotated[
        bool, Option("--check", help="Also send 20 s of pictures to one real replica here.")
    ] = False


@opt.grouped
def plan(*, training: Training, serving: Cameras, as_json: opt.JsonObject = False) -> None:
    """Tell, before there is a machine, what fits on it and how long it takes.

    Of a training: memory of each GPU by part, seconds a step, and which engine to take. The rates
    are published ones (their source is told), for no GPU can be measured here.

    Example: anomalyst plan --parameters 7B --gpus 8xA100-80 --engine zero3 --micro-batch 4

    Of cameras: how many replicas of `serve --ray` keep up, and how long a picture waits, simulated
    from the speed of one replica that is measured on this machine.

    Example: anomalyst plan --cameras 1000 --rate 10 --within 1
    """
    if bool(training.parameters) == (serving.cameras is not None):
        raise AnomalystError(
            "say what is planned: --parameters 7B for a training, or --cameras 1000 for replicas."
        )
    if serving.cameras is None:
        _plan_training(training, as_json)
    else:
        _plan_cameras(serving, serving.cameras, as_json)


def _plan_training(asked: Training, as_json: bool) -> None:
    from anomalyst.training.planning.cluster import read_cluster
    from anomalyst.training.planning.model import Work, read_count, shape_of
    from anomalyst.training.planning.plan import plan as planned

    shape = shape_of(
        read_count(asked.parameters),
        trained=read_count(asked.trained, "--trained") if asked.trained else None,
        layers=asked.layers,
        width=asked.width,
        vocabulary=asked.vocabulary,
    )
    work = Work(micro_batch=asked.micro_batch, context=asked.context,
                accumulation=asked.accumulation, recompute=asked.recompute)  # fmt: skip
    cluster = read_cluster(asked.gpus, between_gb=asked.between)
    found = planned(shape, cluster, asked.engine, work)
    if as_json:
        typer.echo(json.dumps(found.as_dict()))
    else:
        _show_training(found)


def _show_training(plan: "Plan") -> None:
    from anomalyst.training.planning.plan import gib

    shape, work, cluster, asked = plan.shape, plan.work, plan.cluster, plan.asked
    typer.echo(
        f"{shape.parameters:.3g} parameters ({shape.layers} layers, {shape.width} wide), "
        f"{shape.trained:.3g} trained, on {cluster}; {work.tokens:,} tokens a GPU and step"
    )
    parts = [(name.replace("_", " "), gib(count)) for name, count in asked.memory.parts().items()
             if name != "host"]  # fmt: skip
    print_table(
        f"{asked.spread.name}: one GPU", ("part", "GiB"), parts,
        ("in all", f"{gib(asked.memory.gpu)} of {gib(cluster.gpu.usable_bytes)} usable"),
    )  # fmt: skip
    rows = [
        (
            one.spread.name,
            gib(one.memory.gpu),
            "yes" if one.fits else "no",
            gib(one.memory.host),
            f"{one.speed.best:.2f} to {one.speed.worst:.2f}",
            f"{work.tokens * cluster.gpus / one.speed.worst:,.0f}",
        )
        for one in plan.options
    ]
    heads = ("engine", "GiB", "fits", "host GiB", "s a step", "tokens/s")
    print_table("Every engine", heads, rows)
    most = plan.largest_micro_batch
    typer.echo(f"Largest micro-batch of {asked.spread.name}: {most or 'none fits'}.")
    best = plan.best
    typer.echo(
        f"Take {best.spread.name}: anomalyst train RECIPE {best.spread.command}"
        if best
        else "Nothing fits: take more or larger GPUs, --recompute, or train fewer (--trained)."
    )
    typer.echo(f"Rate: {100 * asked.speed.used:.0f} % of the peak ({asked.speed.source}).")


def _plan_cameras(asked: Cameras, cameras: int, as_json: bool) -> None:
    from anomalyst.server.cluster.replica_timing import replica_speed
    from anomalyst.server.cluster.simulation import Serving, Site, fewest_replicas, simulate

    if as_json and asked.check:
        raise AnomalystError("--check: cannot be told as --json; leave one of the two out.")
    site = Site(cameras=cameras, rate=asked.rate, arrivals=asked.arrivals)
    speed = replica_speed(asked.replica, asked.together, say)
    if asked.replicas is None:
        with progress("Trying numbers of replicas") as bar:

            def told(serving: "Serving", waits: "Waits") -> None:
                bar.advance()
                bar.describe(f"{serving.replicas} replicas: p95 {waits.p95:.2f} s")

            serving, waits = fewest_replicas(
                site, speed, within=asked.within, together=asked.together, told=told
            )
    else:
        together = asked.together
        serving = Serving(replicas=asked.replicas, together=together, ongoing=2 * together)
        waits = simulate(site, speed, serving)
    if as_json:
        typer.echo(json.dumps({"site": asdict(site), "replica": asdict(speed),
                               "serving": asdict(serving), "waits": asdict(waits)}))  # fmt: skip
    else:
        _show_cameras(site, speed, serving, waits, asked.within)
    if asked.check:
        _check_replica(speed, asked.together)


def _show_cameras(
    site: "Site", speed: "ReplicaSpeed", serving: "Serving", waits: "Waits", within: float
) -> None:
    factor, unit = waits.unit
    together = serving.together
    rows = [
        ("pictures a second", f"{waits.offered:,.0f}"),
        ("one replica alone, at most", f"{speed.most_per_second(together):.1f} a second"),
        ("replicas", f"{serving.replicas:,}"),
        ("busy", f"{100 * waits.load:.0f} %"),
        ("pictures inspected together", f"{waits.together:.1f}"),
        *((f"{name}, {unit}", f"{factor * value:.0f}" if factor > 1 else f"{value:.1f}")
          for name, value in (("median", waits.p50), ("p95", waits.p95), ("p99", waits.p99))),
        ("most waiting at the front", f"{waits.most_waiting:,}"),
    ]  # fmt: skip
    title = f"{site.cameras:,} cameras at {site.rate:g}/s, {site.seconds:g} s simulated"
    print_table(title, ("", ""), rows)
    if not waits.keeps_up:
        typer.echo("The queue grows without end: more replicas are needed.")
    elif waits.p95 > within:
        typer.echo(f"It keeps up, but p95 is above {within:g} s.")
    typer.echo(f"anomalyst serve --ray --replicas {serving.replicas}")


def _check_replica(speed: "ReplicaSpeed", together: int) -> None:
    """The simulation beside a real replica, at 60 % of what it can do at most."""
    from anomalyst.server.cluster.replica_timing import run_one
    from anomalyst.server.cluster.simulation import Serving, Site, arrivals_of, run_events

    rate = 0.6 * speed.most_per_second(together)
    site = replace(Site(arrivals="random"), cameras=1, rate=rate)
    times = arrivals_of(site)
    serving = Serving(replicas=1, together=together, ongoing=max(len(times), 1))
    simulated = run_events(times, speed, serving, seed=0, site=site)
    with progress("Sending pictures to one replica", len(times)) as bar:
        real = run_one(times, serving, bar.advance)
    rows = [
        (name, f"{1000 * a:.0f}", f"{1000 * b:.0f}")
        for name, a, b in zip(("median", "p95"), real, (simulated.p50, simulated.p95), strict=True)
    ]
    print_table(f"One replica, {rate:.1f} a second, ms", ("", "measured", "simulated"), rows)

"""All engines beside each other for one model on one cluster, and which of them to take."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from anomalyst.training.planning.cluster import GIB, Cluster
from anomalyst.training.planning.memory import ENGINES, Memory, Spread, memory_of, spread_of
from anomalyst.training.planning.model import ModelShape, Work
from anomalyst.training.planning.speed import Speed, speed_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """A run by one engine."""

    spread: Spread
    memory: Memory
    speed: Speed
    fits: bool  # on the GPU; the machine's own memory is told and not known


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is known of a run before it begins."""

    shape: ModelShape
    cluster: Cluster
    work: Work
    asked: Option
    options: Sequence[Option]  # of every engine, in the order of what they send

    @property
    def best(self) -> Option | None:
        """The fastest that fits, the one that sends least among equals; None: none fits."""
        fitting = [one for one in self.options if one.fits]
        return min(fitting, key=lambda one: one.speed.worst) if fitting else None

    @property
    def largest_micro_batch(self) -> int:
        """Sequences at once that still fit with the engine asked for; 0: not one."""
        return largest_micro_batch(self.shape, self.cluster, self.asked.spread, self.work)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values; bytes and seconds."""
        best = self.best
        return {
            "cluster": str(self.cluster),
            "usable_bytes_per_gpu": self.cluster.gpu.usable_bytes,
            "model": asdict(self.shape),
            "work": asdict(self.work),
            "asked": _as_dict(self.asked),
            "options": [_as_dict(one) for one in self.options],
            "take": best.spread.name if best else None,
            "largest_micro_batch": self.largest_micro_batch,
        }


def plan(shape: ModelShape, cluster: Cluster, engine: str, work: Work) -> Plan:
    """Raises AnomalystError for an engine that cannot be planned."""
    asked = spread_of(engine)
    options = [_option(shape, cluster, one, work) for one in ENGINES.values()]
    mine = next(one for one in options if one.spread is asked)
    return Plan(shape=shape, cluster=cluster, work=work, asked=mine, options=options)


def largest_micro_batch(shape: ModelShape, cluster: Cluster, spread: Spread, work: Work) -> int:
    """Activations grow with it and nothing else does, so it can be divided out."""
    memory = memory_of(shape, cluster, spread, work)
    room = cluster.gpu.usable_bytes - memory.states
    return max(0, int(room // (memory.activations / work.micro_batch)))


def _option(shape: ModelShape, cluster: Cluster, spread: Spread, work: Work) -> Option:
    memory = memory_of(shape, cluster, spread, work)
    return Option(
        spread=spread,
        memory=memory,
        speed=speed_of(shape, cluster, spread, work),
        fits=memory.gpu <= cluster.gpu.usable_bytes,
    )


def _as_dict(one: Option) -> dict[str, Any]:
    return {
        "engine": one.spread.name,
        "command": one.spread.command,
        "fits": one.fits,
        "bytes_per_gpu": one.memory.gpu,
        "parts": one.memory.parts(),
        "seconds": [one.speed.best, one.speed.worst],
        "compute_seconds": one.speed.compute,
        "travel_seconds": one.speed.travel,
        "offload_seconds": one.speed.offload,
        "share_of_peak": one.speed.used,
        "source": one.speed.source,
    }


def gib(count: float) -> str:
    """Bytes for a person."""
    return f"{count / GIB:.1f}"

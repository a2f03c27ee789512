"""Seconds of a step: arithmetic at the rate that others have measured, and what travels.

FLOPs of a token (Narayanan et al. 2021, arXiv 2104.04473, section 5.1, counted by parameters): 2 N
forward, 2 N back through the activations, 2 for each trained parameter, 2 N again with
recomputation; attention 4 layers width tokens a pass. What travels (Rajbhandari et al. 2020,
section 7), in parts of (G - 1) / G: gradients twice a step where weights are whole; where they are
split, gradients once and all weights twice a micro-batch.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import exp, log
from pathlib import Path
from typing import Any

import yaml

from anomalyst.config import from_mapping
from anomalyst.training.planning.cluster import HOST_GB, Cluster
from anomalyst.training.planning.memory import Spread
from anomalyst.training.planning.model import ModelShape, Work

SENT = 2  # bytes of a number that travels
ADAM_BYTES = 28  # read and written for a parameter by Adam on the host: 4 read and 3 written
HOST_MEMORY = 1e11  # bytes a second that a machine's memory gives to it; a guess, and told as one


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A training that others have timed."""

    model: str
    parameters: float
    gpus: int
    gpu: str
    model_flops: float  # share of the peak, without what recomputation adds
    micro_batch: int
    accumulation: int
    recompute: bool
    tokens_per_gpu: float  # a second

    @property
    def used(self) -> float:
        """Share of the peak, with what recomputation adds."""
        return self.model_flops * (4 / 3 if self.recompute else 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """Seconds of one step."""

    compute: float
    travel: float  # between GPUs, beside the arithmetic as far as there is room
    offload: float  # to and from the host, and Adam there
    used: float  # share of the peak that was taken
    source: str

    @property
    def best(self) -> float:
        """All that travels is hidden behind arithmetic."""
        return max(self.compute, self.travel) + self.offload

    @property
    def worst(self) -> float:
        """Nothing is hidden."""
        return self.compute + self.travel + self.offload


def speed_of(shape: ModelShape, cluster: Cluster, spread: Spread, work: Work) -> Speed:
    """Of a step of every GPU's micro-batches."""
    used, source = utilisation(cluster.gpu.name, shape.parameters)
    peak = cluster.gpu.tflops * 1e12
    return Speed(
        compute=flops(shape, work) / (peak * used),
        travel=_travelled(shape, cluster, spread, work) / cluster.link_bytes,
        offload=_offloaded(shape, cluster) if spread.host else 0.0,
        used=used,
        source=source,
    )


def flops(shape: ModelShape, work: Work) -> float:
    """Of one GPU in a step."""
    passes = 3 if work.recompute else 2  # through all weights; that of trained gradients is apart
    attention = 4 * shape.layers * shape.width * work.context * (passes + 1)
    return work.tokens * (2 * passes * shape.parameters + 2 * shape.trained + attention)


def utilisation(gpu: str, parameters: float) -> tuple[float, str]:
    """Share of a GPU's peak and where it is from: between the nearest published sizes, by factors.

    For a GPU that nobody published here: the lowest published of any.
    """
    source, runs = published()
    same = sorted((one for one in runs if one.gpu == gpu), key=lambda one: one.parameters)
    if not same:
        lowest = min(runs, key=lambda one: one.used)
        return lowest.used, f"assumed: the lowest of any GPU in {source}"
    below = [one for one in same if one.parameters <= parameters]
    above = [one for one in same if one.parameters >= parameters]
    first, last = (below or above[:1])[-1], (above or below[-1:])[0]
    span = log(last.parameters / first.parameters)
    share = log(parameters / first.parameters) / span if span else 0.0
    used = exp(log(first.used) + share * log(last.used / first.used))
    return used, f"{source}, {first.model} to {last.model} on {gpu}"


@lru_cache(maxsize=1)
def published() -> tuple[str, tuple[Published, ...]]:
    """Where from, and the runs."""
    text = (Path(__file__).parent / "published.yaml").read_text(encoding="utf-8")
    read: dict[str, Any] = yaml.safe_load(text)
    return read["source"], tuple(from_mapping(Published, one) for one in read["runs"])


def _travelled(shape: ModelShape, cluster: Cluster, spread: Spread, work: Work) -> float:
    """Bytes that each GPU sends in a step."""
    ring = (cluster.gpus - 1) / cluster.gpus
    if "weights" not in spread.split:
        return ring * SENT * 2 * shape.trained
    return ring * SENT * (shape.trained + 2 * work.accumulation * shape.parameters)


def _offloaded(shape: ModelShape, cluster: Cluster) -> float:
    """Gradients to the host and weights back, and Adam on the machine's own processors."""
    crossing = 2 * SENT * shape.trained / cluster.gpus / (HOST_GB * 1e9)
    adam = ADAM_BYTES * shape.trained / cluster.nodes / HOST_MEMORY
    return crossing + adam

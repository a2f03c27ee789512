"""GPUs as their data sheets tell, and so many of them: `8xA100-80`, `2x8xH100`."""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from anomalyst.errors import AnomalystError

GIB = 2**30
BETWEEN_GB = 25.0  # GB/s a GPU between machines: one 200 Gb/s adapter a GPU, as in a DGX A100
HOST_GB = 25.0  # GB/s between a GPU and its host: PCIe 4.0 x16, less its overhead
USABLE = 0.9  # of a GPU's memory; the rest is CUDA's own, and what lies between tensors


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One kind, by its data sheet."""

    name: str
    memory_gib: int
    tflops: float  # peak of dense bfloat16 (V100: float16) products, 10^12 a second
    link_gb: float  # GB/s to its neighbours in the same machine, one direction

    @property
    def usable_bytes(self) -> float:
        """What a run may take."""
        return USABLE * self.memory_gib * GIB


GPUS: Mapping[str, Gpu] = {
    one.name: one
    for one in (
        Gpu(name="V100-16", memory_gib=16, tflops=125, link_gb=150),
        Gpu(name="V100-32", memory_gib=32, tflops=125, link_gb=150),
        Gpu(name="A100-40", memory_gib=40, tflops=312, link_gb=300),
        Gpu(name="A100-80", memory_gib=80, tflops=312, link_gb=300),
        Gpu(name="H100-80", memory_gib=80, tflops=989, link_gb=450),
        Gpu(name="H200-141", memory_gib=141, tflops=989, link_gb=450),
        Gpu(name="RTX3090-24", memory_gib=24, tflops=71, link_gb=HOST_GB),
        Gpu(name="RTX4090-24", memory_gib=24, tflops=165, link_gb=HOST_GB),
        Gpu(name="L40S-48", memory_gib=48, tflops=362, link_gb=HOST_GB),
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Equal machines with equally many GPUs each."""

    gpu: Gpu
    nodes: int = 1
    gpus_per_node: int = 1
    between_gb: float = BETWEEN_GB  # GB/s a GPU between machines; `cluster check` measures it

    @property
    def gpus(self) -> int:
        """Of all machines."""
        return self.nodes * self.gpus_per_node

    @property
    def link_bytes(self) -> float:
        """Bytes a second that each GPU of a ring sends; between machines over all adapters."""
        within = self.gpu.link_gb * 1e9
        between = self.gpus_per_node * self.between_gb * 1e9  # a ring for each adapter
        return min(within, between) if self.nodes > 1 else within

    def __str__(self) -> str:
        machines = f"{self.nodes} x " if self.nodes > 1 else ""
        return f"{machines}{self.gpus_per_node} x {self.gpu.name}"


def read_cluster(text: str, *, between_gb: float | None = None) -> Cluster:
    """`8xA100-80`: one machine's GPUs; `2x8xA100-80`: those of two; `H100`: one.

    Raises AnomalystError for an unknown GPU, naming the nearest, for less than one, and for a speed
    between machines that is none.
    """
    found = re.fullmatch(r"(?:(\d+)x)?(?:(\d+)x)?([A-Za-z][\w-]*)", text.replace(" ", ""))
    if not found:
        raise AnomalystError(f"--gpus {text}: a number and a GPU are needed, as in 8xA100-80.")
    first, second, name = found.groups()
    nodes, each = (int(first), int(second)) if second else (1, int(first or 1))
    if nodes < 1 or each < 1:
        raise AnomalystError(f"--gpus {text}: at least one GPU is needed.")
    if between_gb is not None and between_gb <= 0:
        raise AnomalystError(f"--between {between_gb:g}: GB/s above 0 are needed.")
    cluster = Cluster(gpu=_gpu(name), nodes=nodes, gpus_per_node=each)
    return cluster if between_gb is None else replace(cluster, between_gb=between_gb)


def _gpu(name: str) -> Gpu:
    """By its whole name, or without its memory where only one has that name."""
    same = [one for key, one in GPUS.items() if name.upper() in (key, key.rpartition("-")[0])]
    if len(same) == 1:
        return same[0]
    if same:
        raise AnomalystError(
            f"--gpus: {name} is made in two sizes; say {' or '.join(one.name for one in same)}."
        )
    near = difflib.get_close_matches(name.upper(), GPUS, 1, 0.3)
    meant = f"; is {near[0]} meant" if near else ""
    raise AnomalystError(f"--gpus: {name} is none of {', '.join(GPUS)}{meant}.")

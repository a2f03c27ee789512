"""Bytes that a run takes on each GPU and each machine, by part and engine.

States (Rajbhandari et al. 2020, arXiv 1910.02054, section 3.1): a trained parameter in mixed
precision with Adam has 2 bytes of weight, 2 of gradient, 12 of optimizer (float32 weight, mean,
variance). DeepSpeed keeps a float32 copy of the gradient, too, 4 bytes: its own estimators count 18
bytes that are split (`estimate_zero2_model_states_mem_needs`, `estimate_zero3_...`). Our DDP and
FSDP run autocast over float32 weights: 4, 4 and 8 bytes.

Activations (Korthikanti et al. 2022, arXiv 2205.05198, equation 1 without the term of the attention
matrix, which flash attention does not keep; s tokens, b sequences, h width, v words): 34 s b h a
block, 4 s b v of the logits; with recomputation 2 s b h a block, and one block as a whole.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields

from anomalyst.errors import AnomalystError
from anomalyst.training.planning.cluster import Cluster
from anomalyst.training.planning.model import ModelShape, Work

HOST_FACTOR = 1.5  # DeepSpeed's for buffers on the host


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """What an engine splits over the GPUs, and in how many bytes a parameter it keeps it."""

    name: str
    weights: float = 2
    gradients: float = 2
    float32_gradients: float = 4
    optimizer: float = 12
    split: frozenset[str] = frozenset()  # of the four above
    host: frozenset[str] = frozenset()  # which of them are in the machine's memory
    gathered: float = 0  # bytes of each parameter of what is put together for a moment
    blocks: bool = False  # a block is put together, and the next one; else the largest matrix
    command: str  # how Anomalyst is told


_ALL = frozenset({"weights", "gradients", "float32_gradients", "optimizer"})
_STATES = frozenset({"float32_gradients", "optimizer"})
# From the fewest bytes that travel to the most.
ENGINES: Mapping[str, Spread] = {
    one.name: one
    for one in (
        Spread(name="ddp", weights=4, gradients=4, float32_gradients=0, optimizer=8,
               command="--engine ddp"),
        Spread(name="zero1", split=_STATES, command="--engine deepspeed engine.zero_stage=1"),
        Spread(name="zero2", split=_STATES | {"gradients"},
               command="--engine deepspeed engine.zero_stage=2"),
        Spread(name="fsdp", weights=4, gradients=4, float32_gradients=0, optimizer=8, split=_ALL,
               gathered=4, blocks=True, command="--engine fsdp"),
        # Its estimator has no float16 gradient beside the float32 one: 18 bytes again.
        Spread(name="zero3", gradients=0, split=_ALL, gathered=4,
               command="--engine deepspeed engine.zero_stage=3"),
        Spread(name="zero2-offload", gradients=0, split=_STATES, host=_STATES,
               command="--engine deepspeed engine.zero_stage=2 engine.offload_optimizer=true"),
        Spread(name="zero3-offload", gradients=0, split=_ALL, host=_STATES, gathered=4,
               command="--engine deepspeed engine.zero_stage=3 engine.offload_optimizer=true"),
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes of one GPU by part, and of one machine's own memory."""

    weights: float  # frozen ones included
    gradients: float
    float32_gradients: float
    optimizer: float
    gathered: float  # what is put together for a moment
    activations: float
    host: float

    @property
    def states(self) -> float:
        """Of one GPU, before activations: what DeepSpeed's estimators tell."""
        return (
            self.weights
            + self.gradients
            + self.float32_gradients
            + self.optimizer
            + (self.gathered)
        )

    @property
    def gpu(self) -> float:
        """Of one GPU in all."""
        return self.states + self.activations

    def parts(self) -> dict[str, float]:
        """By name, for a table."""
        return {one.name: getattr(self, one.name) for one in fields(self)}


def spread_of(name: str) -> Spread:
    """The engine of that name. Raises AnomalystError for one that cannot be planned."""
    if name not in ENGINES:
        raise AnomalystError(f"--engine {name}: is none of {', '.join(ENGINES)}.")
    return ENGINES[name]


def memory_of(shape: ModelShape, cluster: Cluster, spread: Spread, work: Work) -> Memory:
    """Of a run."""
    parts = {name: _on_gpu(name, shape, cluster, spread) for name in sorted(_ALL)}
    whole = 2 * shape.block if spread.blocks else shape.largest_layer
    return Memory(
        **parts,
        gathered=spread.gathered * min(whole, shape.parameters),
        activations=activations(shape, work),
        host=_on_host(shape, cluster, spread),
    )


def activations(shape: ModelShape, work: Work) -> float:
    """Bytes that the backward pass needs of the forward pass, of one GPU."""
    numbers = work.context * work.micro_batch * shape.width
    logits = 4.0 * work.context * work.micro_batch * shape.vocabulary
    if work.recompute:
        return 2.0 * numbers * shape.layers + 34.0 * numbers + logits
    return 34.0 * numbers * shape.layers + logits


def _on_gpu(part: str, shape: ModelShape, cluster: Cluster, spread: Spread) -> float:
    if part in spread.host:
        return 0.0
    count = shape.parameters if part == "weights" else shape.trained
    share = cluster.gpus if part in spread.split else 1
    return float(getattr(spread, part)) * count / share


def _on_host(shape: ModelShape, cluster: Cluster, spread: Spread) -> float:
    """Of one machine: what is offloaded, or what loading takes (DeepSpeed's formulas)."""
    each, trained = cluster.gpus_per_node, shape.trained
    if spread.name == "zero2-offload":
        return HOST_FACTOR * trained * max(4 * cluster.gpus, 16)
    if spread.host:
        return HOST_FACTOR * trained * 16 / cluster.nodes
    if spread.name == "zero3":
        return HOST_FACTOR * 4 * shape.largest_layer * each  # made in parts: zero.Init
    return HOST_FACTOR * 4 * shape.parameters * each

"""Hours, price and memory of RLHF's third step for actors that are not here; and what was claimed.

The arithmetic of one answer, N parameters of the actor, C of critic and of reward model, P tokens
of a prompt and A of an answer (Kaplan et al. 2020: 2 N a token forward, 6 N forward and backward;
attention over the past is left out, at 512 tokens a few percent):

    reading the prompt   2 N P
    saying the answer    2 N A          one token at a time
    scoring              (2 * 2 N + 2 * 2 C) (P + A)      actor, reference; critic, reward model
    training             6 (N + C) (P + A)

Seconds = arithmetic / (GPUs * peak * utilisation). What is called generation is all but training.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

PEAK_FLOPS = 312e12  # of an A100 in bfloat16, by its data sheet
USABLE = 0.9  # of a GPU's memory; the rest is for activations and what is in passing
Fit = Literal["yes", "optimizer on the host", "no"]


@dataclass(frozen=True, slots=True)
class ActorSize:
    """OPT's sizes (Zhang et al. 2022, table 1)."""

    parameters: float
    layers: int
    width: int


SIZES: Mapping[str, ActorSize] = {
    "1.3B": ActorSize(1.3e9, 24, 2048),
    "2.7B": ActorSize(2.7e9, 32, 2560),
    "6.7B": ActorSize(6.7e9, 32, 4096),
    "13B": ActorSize(13e9, 40, 5120),
    "30B": ActorSize(30e9, 48, 7168),
    "66B": ActorSize(66e9, 64, 9216),
    "175B": ActorSize(175e9, 96, 12288),
}


@dataclass(frozen=True, slots=True)
class Cluster:
    """So many A100."""

    gpus: int
    memory_gb: int  # of each

    @property
    def name(self) -> str:
        """As the claims call it."""
        return f"{self.gpus} x A100-{self.memory_gb}"


CLUSTERS = (Cluster(8, 40), Cluster(8, 80), Cluster(64, 40), Cluster(64, 80))


@dataclass(frozen=True, slots=True)
class Claim:
    """What DeepSpeed-Chat's report says of step 3."""

    hours: float
    dollars: float | None = None


CLAIMS: Mapping[tuple[Cluster, str], Claim] = {
    (Cluster(8, 40), "6.7B"): Claim(5.7),
    (Cluster(8, 40), "13B"): Claim(10.8),
    (Cluster(8, 40), "30B"): Claim(1.85 * 24),
    (Cluster(8, 80), "6.7B"): Claim(4.1, 132),
    (Cluster(8, 80), "13B"): Claim(9, 290),
    (Cluster(8, 80), "30B"): Claim(18, 580),
    (Cluster(8, 80), "66B"): Claim(2.1 * 24, 1620),
    (Cluster(64, 80), "13B"): Claim(1.25, 320),
    (Cluster(64, 80), "30B"): Claim(4, 1024),
    (Cluster(64, 80), "66B"): Claim(7.5, 1920),
    (Cluster(64, 80), "175B"): Claim(20, 5120),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectionConfig:
    """DeepSpeed-Chat's setting, and what is assumed."""

    queries: int = 131_900  # one epoch
    prompt_tokens: int = 256
    answer_tokens: int = 256
    critic: float = 350e6  # parameters, and as many of the reward model
    answers_at_once: int = 16  # of each GPU in generation; their keys and values take memory
    # Narayanan et al. 2021 (arXiv 2104.04473): 44 to 52 % of an A100's peak in training.
    training_utilisation: float = 0.45
    # Bound by memory: a weight of 2 bytes is read for 2 FLOPs of each of 16 answers, and an A100-80
    # reads 2.0e12 bytes a second: 16 * 2.0e12 / 312e12. This is the most, not the usual.
    generation_utilisation: float = 0.10
    dollars_per_gpu_hour: float = 290 / (9 * 8)  # as the claim for 13B implies

    def __post_init__(self) -> None:
        for name in ("training_utilisation", "generation_utilisation"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}; above 0 and at most 1 is right")


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """FLOPs of one answer."""

    reading: float
    saying: float
    scoring: float
    training: float

    @property
    def generation(self) -> float:
        """All that comes before training."""
        return self.reading + self.saying + self.scoring


@dataclass(frozen=True, slots=True)
class Projected:
    """What is foretold of one actor on one cluster."""

    hours: float
    generation_share: float  # of the time
    dollars: float


def arithmetic(actor: float, config: ProjectionConfig) -> Arithmetic:
    """FLOPs of one answer of an actor of so many parameters."""
    tokens = config.prompt_tokens + config.answer_tokens
    return Arithmetic(
        reading=2 * actor * config.prompt_tokens,
        saying=2 * actor * config.answer_tokens,
        scoring=4 * (actor + config.critic) * tokens,
        training=6 * (actor + config.critic) * tokens,
    )


def by_assumption(actor: float, cluster: Cluster, config: ProjectionConfig) -> Projected:
    """What is said is slow, as assumed; reading, scoring and training use the GPU alike."""
    work = arithmetic(actor, config)
    together = (work.reading + work.scoring) / config.training_utilisation
    generation = together + work.saying / config.generation_utilisation
    return _projected(generation, work.training / config.training_utilisation, cluster, config)


def by_measurement(
    actor: float, cluster: Cluster, config: ProjectionConfig, efficiency: float
) -> Projected:
    """Generation as fast against training as measured.

    `efficiency`: FLOP/s of generation, scoring included, over FLOP/s of training.
    """
    work = arithmetic(actor, config)
    generation = work.generation / (efficiency * config.training_utilisation)
    return _projected(generation, work.training / config.training_utilisation, cluster, config)


def _projected(
    generation: float, training: float, cluster: Cluster, config: ProjectionConfig
) -> Projected:
    """Of FLOPs of one answer, divided by the utilisation."""
    seconds = config.queries * (generation + training) / (cluster.gpus * PEAK_FLOPS)
    hours = seconds / 3600
    dollars = hours * cluster.gpus * config.dollars_per_gpu_hour
    return Projected(hours, generation / (generation + training), dollars)


def implied_utilisation(
    claim: Claim, actor: float, cluster: Cluster, config: ProjectionConfig
) -> float:
    """Share of the peak that the whole step has used, if the claim and our arithmetic hold."""
    work = arithmetic(actor, config)
    done = config.queries * (work.generation + work.training)
    return done / (claim.hours * 3600 * cluster.gpus * PEAK_FLOPS)


def memory_gb(
    size: ActorSize, cluster: Cluster, config: ProjectionConfig, *, offloaded: bool = False
) -> float:
    """Of each GPU, everything split among all (ZeRO-3), before activations.

    16 bytes a trained parameter (weight 2, gradient 2, AdamW in single precision 12; Rajbhandari et
    al. 2020), 2 a frozen one; `offloaded`: the 12 are on the host. And keys and values of the
    answers that are generated at once, 4 bytes for each layer, number and token.
    """
    trained = 4 if offloaded else 16
    states = (trained + 2) * (size.parameters + config.critic) / cluster.gpus
    tokens = config.answers_at_once * (config.prompt_tokens + config.answer_tokens)
    return (states + 4 * size.layers * size.width * tokens) / 1e9


def fits(size: ActorSize, cluster: Cluster, config: ProjectionConfig) -> Fit:
    """Whether a GPU's memory holds its part."""
    ways: Sequence[tuple[bool, Fit]] = ((False, "yes"), (True, "optimizer on the host"))
    for offloaded, answer in ways:
        if memory_gb(size, cluster, config, offloaded=offloaded) <= USABLE * cluster.memory_gb:
            return answer
    return "no"

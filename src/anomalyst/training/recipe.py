"""A training run, written down: everything that decides its outcome."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from anomalyst.backbones.embedded import EmbeddedConfig
from anomalyst.detection.pair_decoder import DecoderConfig
from anomalyst.errors import AnomalystError
from anomalyst.synthetic.procedural import WorldConfig
from anomalyst.training.engine_names import ONE_COPY, EngineName

OptimizerName = Literal[
    "adamw", "adam", "sgd", "momentum", "adagrad", "rmsprop", "gradient_descent"
]
Schedule = Literal["cosine", "linear", "constant"]
PipelineOrder = Literal["gpipe", "1f1b", "interleaved"]
Tracker = Literal["tensorboard", "mlflow", "wandb"]
TrainingPrecision = Literal["auto", "bfloat16", "float32", "float16"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """How a run is spread; nothing here changes what is learnt."""

    name: EngineName = "single"
    zero_stage: Literal[0, 1, 2, 3] = 2  # DeepSpeed: what is split; optimizer, gradients, weights
    offload_optimizer: bool = False  # DeepSpeed: its state lives in the host's memory
    deepspeed_json: str = ""  # DeepSpeed: your own configuration; what it lacks is filled in
    order: PipelineOrder = "1f1b"  # pipelines: of a step's forward and backward passes
    chunks: int = 2  # `interleaved`: stages that each process has
    tensor_size: int = 2  # `tensor_pipeline`: processes that share every layer

    def __post_init__(self) -> None:
        if self.chunks < 2 or self.tensor_size < 1:
            raise ValueError("chunks is 2 or more, tensor_size 1 or more")

    def copies(self, world: int) -> int:
        """How many copies of the model `world` processes train; each sees its own share."""
        return 1 if self.name in ONE_COPY else world

    def tensor_processes(self, world: int) -> int:
        """How many processes share every layer."""
        return {"tensor": world, "tensor_pipeline": self.tensor_size}.get(self.name, 1)

    def stages(self, world: int) -> int:
        """How many processes the layers are dealt to, in order."""
        pipeline = self.name in ("pipeline", "tensor_pipeline")
        return world // self.tensor_processes(world) if pipeline else 1

    def parts_of_layers(self, world: int) -> int:
        """Into how many parts the layers are cut; `interleaved` deals several to each process."""
        several = self.chunks if self.order == "interleaved" else 1
        return self.stages(world) * several if self.stages(world) > 1 else 1


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchConfig:
    """When to look, and what is too much."""

    every: int = 50  # steps between looks at gradients and activations; 0: never
    probe_every: int = 0  # steps between rounds of questions with known answers; 0: never
    patience: int = 3  # looks or rounds in a row before a run is stopped
    vanishing: float = 5e-3  # a block's gradient, as a share of the largest block's
    exploding: float = 1e4  # a block's output, against its first look
    dead: float = 0.99  # share of a block's output that is exactly zero


@dataclass(frozen=True, slots=True, kw_only=True)
class Divisible:
    """How often a model has what processes can share out."""

    layers: int
    heads: int
    kv_heads: int
    hidden: int  # of the MLPs
    experts: int = 0  # of each mixture of experts; 0: there is none
    obstacles: tuple[str, ...] = ()  # settings that need the whole model in one process


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What every run has: how long, how fast, how often it is written down."""

    task: str = ""  # what is trained: training/tasks/
    seed: int = 0
    steps: int = 8000
    batch: int = 16  # of whatever the task trains on; of a step, over all processes
    micro_batch: int = 0  # what goes through the model at once; 0: a process's whole share
    initial: str = ""  # weights to start from, as the task writes them; empty: from scratch
    optimizer: OptimizerName = "adamw"  # gradient_descent: every step sees the whole finite set
    betas: tuple[float, float] = (0.9, 0.999)  # of Adam and AdamW
    momentum: float = 0.9  # of the optimizer `momentum`
    learning_rate: float = 2e-3  # peak; reached after `warmup_steps`, then as `schedule` says
    warmup_steps: int = 200
    schedule: Schedule = "cosine"
    final_share: float = 0.01  # of the peak, at the last step
    weight_decay: float = 0.02
    clip_norm: float = 1.0  # of the gradient of the whole step; 0: not clipped
    ema_decay: float = 0.998  # of the averaged weights, which are the ones that ship; 0: the last
    precision: TrainingPrecision = "auto"  # auto: bfloat16 where there are instructions for it
    loss_scale_power: int = 16  # float16: the first loss scale is 2 to this
    loss_scale_window: int = 2000  # float16: steps without overflow after which it doubles
    activation_checkpointing: bool = False  # blocks are computed twice instead of remembered
    workers: int = 1  # processes that draw episodes
    log_every: int = 50
    checkpoint_every: int = 500
    keep_checkpoints: int = 2
    validate_every: int = 0  # steps between looks at what is never trained on; 0: none
    validation_batches: int = 4  # of such a look
    profile_steps: int = 0  # so many early steps are written as a trace for chrome://tracing
    trackers: tuple[Tracker, ...] = ()  # beside log.jsonl and summary.html
    engine: EngineConfig = field(default_factory=EngineConfig)
    watch: WatchConfig = field(default_factory=WatchConfig)

    @property
    def peak_learning_rate(self) -> float:
        """The largest that a step has."""
        return self.learning_rate

    def parts(self, world: int) -> int:
        """How many micro-batches a step has over `world` processes; each trains as many of them.

        Raises AnomalystError when the batch cannot be shared out.
        """
        micro = self.micro_batch or self.batch // world
        if not micro or self.batch % micro or (self.batch // micro) % world:
            raise AnomalystError(
                f"batch {self.batch} cannot be shared by {world} process{'es' * (world > 1)} in "
                f"micro-batches of {self.micro_batch or 'equal size'}; it must be a multiple of "
                f"{world * max(1, self.micro_batch)}."
            )
        return self.batch // micro

    def divisible(self) -> "Divisible | None":
        """What of the model can be dealt to processes; None: nothing, so each needs all of it."""
        return None

    def resolved(self) -> "Recipe":
        """The recipe with what its data decides filled in; AnomalystError when data are missing."""
        return self


def with_task(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe's plain values by today's keys: `task` was once called `stage`."""
    if "task" in recipe or "stage" not in recipe:
        return dict(recipe)
    return {"task" if key == "stage" else key: value for key, value in recipe.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorRecipe(Recipe):
    """Encoder and pair decoder, on episodes of the procedural world; `batch` counts episodes."""

    task: Literal["detector"] = "detector"
    sizes_px: tuple[int, ...] = (160,)  # sides of the pictures, one per step in turn
    rank_weight: float = 0.2  # of the loss that ranks a defective picture above a normal one
    reuse: int = 2  # how often an episode is trained on before it is forgotten
    buffer_episodes: int = 2400  # how many of each size are kept to draw from
    alone_share: float = 0.12  # of the steps in which a query has no good picture but itself
    both_share: float = 0.3  # of the steps in which it has all of the episode's good pictures
    photograph_share: float = 0.0  # of the episodes, on real photographs: synthetic/photographs.py
    calibration_episodes: int = 1000  # normal products whose scores ship as the calibration
    teacher: str = ""  # a detector whose maps are learnt, too: `embedded` or `run:DIR`; none
    teacher_weight: float = 2.0  # of that loss beside the others
    world: WorldConfig = field(default_factory=lambda: WorldConfig(references=(2, 2)))
    encoder: EmbeddedConfig = field(default_factory=EmbeddedConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)

    def __post_init__(self) -> None:
        if self.world.references[0] < 2:
            raise ValueError("world.references must be at least 2: one is a second query")
        for size in self.sizes_px:
            if size % 16:
                raise ValueError(f"sizes_px has {size}; multiples of 16 are needed")

    def size_at(self, step: int) -> int:
        """Side of the pictures of a step."""
        return self.sizes_px[step % len(self.sizes_px)]

    def fresh_at(self, step: int, parts: int) -> int:
        """New episodes of a micro-batch: the fewer the larger the pictures."""
        share = (self.world.size_px / self.size_at(step)) ** 2
        return max(1, round(self.batch / parts * share / self.reuse))

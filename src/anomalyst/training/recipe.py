"""A training run, written down: everything that decides its outcome."""

from dataclasses import dataclass, field
from typing import Literal

from anomalyst.detection.decoder import DecoderConfig
from anomalyst.encoders.embedded import EmbeddedConfig
from anomalyst.synthesis.world import WorldConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What every run has: how long, how fast, how often it is written down."""

    stage: str = ""  # what is trained: training/stages/
    seed: int = 0
    steps: int = 8000
    batch: int = 16  # of whatever the stage trains on
    initial: str = ""  # weights to start from, as the stage writes them; empty: from scratch
    learning_rate: float = 2e-3  # peak; reached after `warmup_steps`, then a cosine to 1 %
    warmup_steps: int = 200
    weight_decay: float = 0.02
    clip_norm: float = 1.0
    ema_decay: float = 0.998  # of the averaged weights, which are the ones that ship
    precision: Literal["bfloat16", "float32"] = "bfloat16"
    workers: int = 1  # processes that draw episodes
    log_every: int = 50
    checkpoint_every: int = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorRecipe(Recipe):
    """Encoder and pair decoder, on episodes of the procedural world; `batch` counts episodes."""

    stage: Literal["detector"] = "detector"
    sizes_px: tuple[int, ...] = (160,)  # sides of the pictures, one per step in turn
    rank_weight: float = 0.2  # of the loss that ranks a spoiled picture above a sound one
    reuse: int = 2  # how often an episode is trained on before it is forgotten
    buffer_episodes: int = 2400  # how many of each size are kept to draw from
    alone_share: float = 0.12  # of the steps in which a query has no good picture but itself
    both_share: float = 0.3  # of the steps in which it has all of the episode's good pictures
    calibration_episodes: int = 1000  # sound products whose scores ship as the calibration
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

    def fresh_at(self, step: int) -> int:
        """New episodes of a step: `batch / reuse`, and the fewer the larger the pictures."""
        share = (self.world.size_px / self.size_at(step)) ** 2
        return max(1, round(self.batch * share / self.reuse))

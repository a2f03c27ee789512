"""A training run, written down: everything that decides its outcome."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from anomalyst.config import load
from anomalyst.detection.decoder import DecoderConfig
from anomalyst.encoders.embedded import EmbeddedConfig
from anomalyst.synthesis.world import WorldConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What is trained, on what, and for how long."""

    stage: Literal["detector"] = "detector"  # what is trained: training/stages/
    seed: int = 0
    steps: int = 8000
    batch: int = 16  # episodes per step at the world's size
    sizes_px: tuple[int, ...] = (160,)  # sides of the pictures, one per step in turn
    initial: str = ""  # weights to start from (a .safetensors file of ours); empty: from scratch
    rank_weight: float = 0.2  # of the loss that ranks a spoiled picture above a sound one
    learning_rate: float = 2e-3  # peak; reached after `warmup_steps`, then a cosine to 1 %
    warmup_steps: int = 200
    weight_decay: float = 0.02
    clip_norm: float = 1.0
    ema_decay: float = 0.998  # of the averaged weights, which are the ones that ship
    reuse: int = 2  # how often an episode is trained on before it is forgotten
    buffer_episodes: int = 2400  # how many of each size are kept to draw from
    alone_share: float = 0.12  # of the steps in which a query has no good picture but itself
    both_share: float = 0.3  # of the steps in which it has all of the episode's good pictures
    precision: Literal["bfloat16", "float32"] = "bfloat16"
    workers: int = 1  # processes that draw episodes
    log_every: int = 50
    checkpoint_every: int = 500
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


def load_recipe(path: Path, overrides: list[str] | None = None) -> Recipe:
    """The recipe of a YAML file with `key=value` overrides; AnomalystError names what is wrong."""
    return load(Recipe, path, overrides or [])

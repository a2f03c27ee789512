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
    batch: int = 24  # episodes per step
    late_batch: int = 12  # the same, once pictures are at `late_size_px`
    learning_rate: float = 2e-3  # peak; reached after `warmup_steps`, then a cosine to 1 %
    warmup_steps: int = 200
    weight_decay: float = 0.02
    clip_norm: float = 1.0
    ema_decay: float = 0.998  # of the averaged weights, which are the ones that ship
    reuse: int = 2  # how often an episode is trained on before it is forgotten
    buffer_episodes: int = 4800  # how many are kept to draw from
    late_share: float = 0.2  # last share of the steps, on larger pictures
    late_size_px: int = 224
    precision: Literal["bfloat16", "float32"] = "bfloat16"
    workers: int = 1  # processes that draw episodes
    log_every: int = 50
    checkpoint_every: int = 500
    calibration_episodes: int = 1000  # sound products whose scores ship as the calibration
    world: WorldConfig = field(default_factory=lambda: WorldConfig(references=(2, 2)))
    encoder: EmbeddedConfig = field(default_factory=EmbeddedConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)

    def __post_init__(self) -> None:
        if self.batch % self.reuse or self.late_batch % self.reuse:
            raise ValueError(
                f"batch {self.batch} and late_batch {self.late_batch} must be multiples of "
                f"reuse {self.reuse}"
            )

    def late(self, step: int) -> bool:
        """Whether this step is in the last part, on larger pictures."""
        return step >= self.steps * (1 - self.late_share)


def load_recipe(path: Path, overrides: list[str] | None = None) -> Recipe:
    """The recipe of a YAML file with `key=value` overrides; AnomalystError names what is wrong."""
    return load(Recipe, path, overrides or [])

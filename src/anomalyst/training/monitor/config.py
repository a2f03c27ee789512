"""When the training monitor looks at a run, and what it stops one for."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchConfig:
    """When to look, and what is too much."""

    every: int = 50  # steps between looks at gradients and activations; 0: never
    probe_every: int = 0  # steps between rounds of questions with known answers; 0: never
    patience: int = 3  # looks or rounds in a row before a run is stopped
    vanishing: float = 5e-3  # a block's gradient, as a share of the largest block's
    exploding: float = 1e4  # a block's output, against its first look
    dead: float = 0.99  # share of a block's output that is exactly zero

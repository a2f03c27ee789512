"""Which engine spreads a run, and what it is told."""

from dataclasses import dataclass
from typing import Literal

EngineName = Literal["single", "ddp", "fsdp", "deepspeed", "horovod"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """How a run is spread; nothing here changes what is learnt."""

    name: EngineName = "single"
    zero_stage: Literal[0, 1, 2, 3] = 2  # DeepSpeed: what is split; optimizer, gradients, weights
    offload_optimizer: bool = False  # DeepSpeed: its state lives in the host's memory
    deepspeed_json: str = ""  # DeepSpeed: your own configuration; what it lacks is filled in

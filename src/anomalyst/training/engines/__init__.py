"""How a run is spread: one adapter per engine, all with the same verbs."""

import torch

from anomalyst.errors import AnomalystError
from anomalyst.training.distributed.ranks import RankContext
from anomalyst.training.engines.base import Engine, EngineSetup, StepResult, trained_state
from anomalyst.training.recipe import EngineConfig

__all__ = ["Engine", "EngineSetup", "StepResult", "check_engine", "open_engine", "trained_state"]


def open_engine(config: EngineConfig, context: RankContext) -> Engine:
    """The engine of that name, joined with the other processes."""
    name = config.name
    assert name != "single" or context.world == 1, "one process cannot be several"
    if name == "ddp":
        from anomalyst.training.engines.ddp import DDPEngine

        return DDPEngine(context)
    if name == "fsdp":
        from anomalyst.training.engines.fsdp import FSDPEngine

        return FSDPEngine(context)
    if name == "deepspeed":
        from anomalyst.training.engines.deepspeed import DeepSpeedEngine

        return DeepSpeedEngine(context)
    if name == "horovod":
        from anomalyst.training.engines.horovod import HorovodEngine

        return HorovodEngine(context)
    if name == "tensor":
        from anomalyst.training.engines.model_parallel import TensorEngine

        return TensorEngine(context, config)
    if name in ("pipeline", "tensor_pipeline"):
        from anomalyst.training.engines.pipeline import PipelineEngine

        return PipelineEngine(context, config)
    if name == "expert":
        from anomalyst.training.engines.expert import ExpertEngine

        return ExpertEngine(context)
    if name == "sequence":
        from anomalyst.training.engines.sequence import SequenceEngine

        return SequenceEngine(context)
    return Engine(context)


def check_engine(config: EngineConfig, precision: str, *, here: int, world: int) -> None:
    """Raises AnomalystError where this machine cannot run the engine.

    `here`: processes on this machine, of `world` in all.
    """
    if config.name == "single" and world > 1:
        raise AnomalystError(
            f"{world} processes need an engine that spreads; add --engine ddp, fsdp, deepspeed, "
            "horovod, tensor or pipeline."
        )
    devices = torch.cuda.device_count()
    if devices and here > devices:
        raise AnomalystError(
            f"--nproc {here}: this machine has {devices} GPU{'s' * (devices > 1)}; ask for "
            f"{devices} or fewer."
        )
    if config.name == "deepspeed":
        from anomalyst.training.engines.deepspeed import check_deepspeed

        check_deepspeed(config, precision)
    if config.name == "horovod":
        from anomalyst.training.engines.horovod import check_horovod

        check_horovod()

"""What a run began on: two starts of one recipe that differ say here in what."""

import zlib
from dataclasses import dataclass

import torch
from torch import nn

from anomalyst.errors import AnomalystError
from anomalyst.hardware.processor import processor
from anomalyst.training.engines import Engine
from anomalyst.training.engines.base import Precision, trained_state
from anomalyst.training.task import Share


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Where all of this is equal, the first loss is equal to the last bit."""

    step: int
    weights: str  # fingerprint of what is trained, before it
    precision: Precision  # what the recipe's `auto` came to
    micro_batches: int  # of a step, over all processes
    threads: int  # of each process; another number rounds otherwise
    device: str
    processor: str
    torch: str


def same_start(
    engine: Engine, module: nn.Module, precision: Precision, share: Share, step: int
) -> Start:
    """What this run begins on; every process calls.

    Raises AnomalystError where the processes' machines would compute in different precisions.
    """
    start = Start(
        step=step,
        weights=fingerprint(module),
        precision=precision,
        micro_batches=share.of,
        threads=torch.get_num_threads(),
        device=engine.device.type,
        processor=processor().name,
        torch=torch.__version__,
    )
    # Some engines split what each process has, and would make one model of parts of two.
    each = engine.gather((start.weights, precision))
    if len({precision for _, precision in each}) > 1:
        raise AnomalystError(
            "precision: auto comes to bfloat16 on some of these machines and to float32 on others, "
            "whose losses differ in the fourth digit; say which, as in precision=float32."
        )
    assert len(set(each)) == 1, "the processes begin with different weights"
    return start


def fingerprint(module: nn.Module) -> str:
    """Eight hexadecimal digits that say which weights a module would train, on any engine."""
    found = 0
    for name, value in sorted(trained_state(module).items()):
        plain = value.detach().cpu().contiguous().flatten().view(torch.uint8)
        found = zlib.crc32(plain.numpy().data, zlib.crc32(name.encode(), found))
    return f"{found:08x}"

"""The bubble of DeepSpeed's own pipeline, its blocks and clock those of `pipeline_bench`.

Run by `bench pipeline` in processes of their own. Its order is 1F1B; a step is `train_batch`.
"""

import os
import statistics
import sys
import time
from pathlib import Path

import torch
from torch import Tensor

from anomalyst.training.experiments.pipeline_bench import (
    COUNTS,
    DEEPSPEED,
    STEPS,
    Block,
    BubbleRow,
    bubble,
)
from anomalyst.training.experiments.spread_rows import leave_rows


def _work(out: Path, seconds: float) -> None:
    """One of the processes that torchrun started."""
    import deepspeed
    from deepspeed.pipe import PipelineModule

    torch.set_num_threads(1)
    deepspeed.init_distributed("gloo")
    world = int(os.environ["WORLD_SIZE"])
    rows = []
    for count in COUNTS:
        net = PipelineModule(
            layers=[Block(seconds) for _ in range(world)], num_stages=world,
            loss_fn=_mean, partition_method="uniform",
        )  # fmt: skip
        engine, *_ = deepspeed.initialize(
            model=net, model_parameters=list(net.parameters()),
            config={
                "train_batch_size": count, "train_micro_batch_size_per_gpu": 1,
                "gradient_accumulation_steps": count, "steps_per_print": 1_000_000,
                "optimizer": {"type": "SGD", "params": {"lr": 0.0}},
            },
        )  # fmt: skip
        pair = (torch.ones(1, 4, 8), torch.zeros(1, 4, 8))
        shares = []
        for _ in range(STEPS + 1):
            begun = time.perf_counter()
            engine.train_batch(iter([pair] * count))
            whole = time.perf_counter() - begun
            shares.append(1 - 3 * seconds * count / whole)  # forward once, backward twice
        measured = statistics.median(shares[1:])
        rows.append(BubbleRow(DEEPSPEED, world, count, measured, bubble(world, count)))
    leave_rows(out, rows)


def _mean(said: Tensor, told: Tensor) -> Tensor:
    return (said - told).mean()


if __name__ == "__main__":
    _work(Path(sys.argv[1]), float(sys.argv[2]))

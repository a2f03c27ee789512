"""Processes for engine tests: forked, so that none of them imports torch anew."""

import multiprocessing
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from anomalyst.training.distributed.ranks import RankContext


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return int(probe.getsockname()[1])


def workers_of(launcher: int) -> list[int]:
    """The training processes that a launcher started."""
    import psutil

    inside = psutil.Process(launcher).children(recursive=True)
    return [p.pid for p in inside if "RANK" in p.environ() and "train" in p.cmdline()]


def start(world: int, work: Callable[..., None], *arguments: Any) -> Sequence[Any]:
    """Begin `work(context, *arguments)` in so many processes."""
    fork, master = multiprocessing.get_context("fork"), f"localhost:{free_port()}"
    processes = [
        fork.Process(
            target=_one, args=(RankContext(rank=r, world=world, master=master), work, *arguments)
        )
        for r in range(world)
    ]
    for process in processes:
        process.start()
    return processes


def finish(processes: Sequence[Any], seconds: float = 300) -> list[int | None]:
    """Their exit codes; those still running after so long are killed."""
    for process in processes:
        process.join(seconds)
        if process.is_alive():
            process.kill()
            process.join()
    return [process.exitcode for process in processes]


def train_spread(context: RankContext, recipe: Path, out: Path, words: Sequence[str]) -> None:
    """A run, as `anomalyst train` has it in one process of several."""
    from anomalyst.training.distributed.launching import checked_recipe
    from anomalyst.training.loop import train
    from anomalyst.training.tasks import load_recipe

    read = load_recipe(recipe, list(words))
    resolved = checked_recipe(read, out, world=context.world, here=1, resume=True)
    train(resolved, out, context=context)


def _one(context: RankContext, work: Callable[..., None], *arguments: Any) -> None:
    import torch

    torch.set_num_threads(1)
    work(context, *arguments)

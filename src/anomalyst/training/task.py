"""What the loop asks of a task, and what most tasks answer alike."""

import signal
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import cv2
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from anomalyst.training.chain import Chain
from anomalyst.training.recipe import Recipe

AHEAD = 4  # micro-batches that each worker makes before they are needed


@dataclass(frozen=True, slots=True)
class Share:
    """Which micro-batches of every step a process trains on: `count` from `first`, `of` in all."""

    first: int = 0
    count: int = 1
    of: int = 1

    @property
    def parts(self) -> range:
        """Their numbers."""
        return range(self.first, self.first + self.count)


class TaskEngine(Protocol):
    """What a task may ask of the engine that spreads it (engines/base.py)."""

    world: int
    task: nn.Module  # a function given to it is called where weights are whole

    def reduce(self, values: Tensor, op: Literal["mean", "sum", "max"] = "mean") -> Tensor:
        """The same over all processes."""


@dataclass(frozen=True, slots=True)
class ProbeAnswer:
    """A question whose answer is known, and what the model in training said to it."""

    question: str
    answer: str
    right: bool | None  # None: it said neither yes nor no


class Task(ABC):
    """What is trained, with which data and loss: made of a recipe and the run's folder."""

    module: nn.Module  # what is trained: the parameters that require a gradient
    leaves_out = False  # whether a step may leave trained parameters without a gradient
    sees_all = False  # whether processes exchange what a step's loss compares: one curve anyway
    finite = False  # whether it trains on a set that has an end: each of it once in a pass
    set_size = 0  # samples of that set, as `batch` counts them
    round_steps = 1  # steps that train on what was made before the first of them
    engine: TaskEngine  # what spreads it, once it does
    low_precision: torch.dtype | None = None  # in which steps are computed; None: float32

    @abstractmethod
    def batches(self, first_step: int, share: Share) -> Iterator[Any]:
        """Step by step from `first_step`, the share's micro-batches; functions of step and part."""

    @abstractmethod
    def loss(self, batch: Any, device: torch.device) -> tuple[Tensor, dict[str, Tensor]]:
        """What is lowered, and its parts by name."""

    @abstractmethod
    def ship(self, average: Mapping[str, Tensor]) -> Path:
        """Write the averaged weights in the form they are used in; called at every checkpoint."""

    def finish(self, weights: Path) -> None:  # noqa: B027
        """What remains to be done after the last step; for most, nothing."""

    def held_out(self, share: Share, count: int) -> Iterator[Any]:
        """`count` rounds of the share's micro-batches that are never trained on."""
        raise NotImplementedError

    def blocks(self) -> dict[str, nn.Module]:
        """Parts that repeat and are only called by forward: split, recomputed and watched."""
        return {}

    def chain(self) -> Chain:
        """How the loss is computed block by block, of tasks whose recipe says `divisible`."""
        raise NotImplementedError

    @abstractmethod
    def amount(self, batch: Any) -> dict[str, int]:
        """How much a micro-batch is: samples, and tokens where there are any."""

    def remarks(self) -> list[str]:
        """What to say before the first step, in whole sentences."""
        return []

    def held_out_figures(self) -> dict[str, float]:
        """Figures beside the loss of what is held out, when it is looked at; every process asks."""
        return {}

    def probe(self) -> list[ProbeAnswer]:
        """Questions with known answers, asked now; empty where nothing can be asked."""
        return []

    def note(self) -> dict[str, Any]:
        """What else a checkpoint must keep, as JSON."""
        return {}

    def restore(self, note: Mapping[str, Any]) -> None:  # noqa: B027
        """Take up what `note` gave."""

    def trouble(self) -> str:
        """Why the run should not go on, in one sentence; alike in every process."""
        return ""

    def outputs(self, device: torch.device) -> dict[str, Tensor]:
        """What an inspection is judged by, of some sample: which depend on what is trained?"""
        del device
        return {}


def frozen_dtype(recipe: Recipe) -> torch.dtype | None:
    """What a frozen encoder computes in: float32 if the recipe says so; None, as is quickest here.

    Else two machines, of which one has bfloat16, would begin a float32 recipe apart.
    """
    return torch.float32 if recipe.precision == "float32" else None


def prefetched(
    make: Callable[[int, int], Any], steps: range, share: Share, workers: int
) -> Iterator[Any]:
    """`make(step, part)` for the share's parts of every step, in order, in worker processes."""
    yield from DataLoader(
        _Numbered(make, steps, share),
        batch_size=None,
        num_workers=workers,
        prefetch_factor=AHEAD if workers else None,
        worker_init_fn=_outlive_termination,
    )


def _outlive_termination(worker: int) -> None:
    """SIGTERM to a whole process group is answered by the training process, which saves first."""
    del worker
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


class _Numbered(Dataset[Any]):
    """Item i: micro-batch i of the steps."""

    def __init__(self, make: Callable[[int, int], Any], steps: range, share: Share):
        self.make, self.steps, self.share = make, steps, share

    def __len__(self) -> int:
        return len(self.steps) * self.share.count

    def __getitem__(self, index: int) -> Any:
        cv2.setNumThreads(0)
        step, part = divmod(index, self.share.count)
        return self.make(self.steps[step], self.share.first + part)

"""What is trained: a small LeNet-5 that names drawn digits, its weights in one flat vector."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from anomalyst.training.data.digits import draw_digits
from anomalyst.training.experiments.staleness.config import Work
from anomalyst.training.networks.convolutional import lenet
from anomalyst.training.networks.shape import NetworkShape, Picture

SIDE_PX, CLASSES = 20, 10
CURVE = 300  # of the unseen pictures, half as many as are seen: those of each point of a curve


@dataclass(frozen=True, slots=True)
class Digits:
    """Pictures (N, 1, SIDE_PX, SIDE_PX) and labels (N,), as arrays that cross between processes."""

    seen: np.ndarray
    labels: np.ndarray
    unseen: np.ndarray
    unseen_labels: np.ndarray


def draw_set(work: Work) -> Digits:
    """The set of a bench, drawn once for all its processes."""
    seen, labels = draw_digits(work.pictures, SIDE_PX, work.seed, noise=0.1)
    unseen, unseen_labels = draw_digits(work.pictures // 2, SIDE_PX, work.seed + 1, noise=0.1)
    return Digits(seen.numpy(), labels.numpy(), unseen.numpy(), unseen_labels.numpy())


class DigitTask:
    """Gradients and losses of weights (D,)."""

    def __init__(self, digits: Digits, work: Work) -> None:
        self.work = work
        self.seen, self.labels = torch.from_numpy(digits.seen), torch.from_numpy(digits.labels)
        self.unseen = torch.from_numpy(digits.unseen)
        self.unseen_labels = torch.from_numpy(digits.unseen_labels)
        picture = Picture(classes=CLASSES, size=SIDE_PX, channels=1)
        self.network: nn.Module = lenet(NetworkShape(name="lenet"), picture)

    def start(self) -> Tensor:
        """Fresh weights (D,), the same in every process."""
        generator = torch.Generator().manual_seed(self.work.seed)
        drawn = []
        for one in self.network.parameters():
            fan_in = one[0].numel() if one.ndim > 1 else 1
            scale = fan_in**-0.5 if one.ndim > 1 else 0.0
            drawn.append(scale * torch.randn(one.shape, generator=generator).flatten())
        return torch.cat(drawn)

    def gradient(self, weights: Tensor, worker: int, workers: int, clock: int) -> Tensor:
        """Of the mean loss of one batch of a worker's own shard: (D,) -> (D,)."""
        rows = self.rows(worker, workers, clock)
        vector_to_parameters(weights, self.network.parameters())
        self.network.zero_grad(set_to_none=True)
        F.cross_entropy(self.network(self.seen[rows]), self.labels[rows]).backward()
        return parameters_to_vector(p.grad for p in self.network.parameters())  # type: ignore[misc]

    def rows(self, worker: int, workers: int, clock: int) -> Tensor:
        """Which pictures a worker sees in an iteration: (batch,), each worker of its own shard."""
        numbers = torch.Generator().manual_seed((self.work.seed * 64 + worker) * (1 << 20) + clock)
        own = len(self.labels) // workers
        return torch.randint(own, (self.work.batch,), generator=numbers) * workers + worker

    @torch.no_grad()
    def judge(self, weights: Tensor, count: int | None = None) -> tuple[float, float]:
        """Loss and share named right, of the first `count` pictures never trained on, or all."""
        vector_to_parameters(weights, self.network.parameters())
        logits = self.network(self.unseen[:count])
        labels = self.unseen_labels[:count]
        right = (logits.argmax(1) == labels).float().mean()
        return float(F.cross_entropy(logits, labels)), float(right)

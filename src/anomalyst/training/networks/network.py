"""What all supervised networks offer."""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn

from anomalyst.training.networks.shape import NetworkShape


class Answers(NamedTuple):
    """What a network says of a batch."""

    logits: Tensor  # (B, K), of the head that learns from labels
    distilled: Tensor | None  # (B, K), of the head that learns from a teacher; DeiT alone has it
    features: Tensor  # (B, D), what the head reads: pooled, or the class token

    @property
    def both(self) -> Tensor:
        """(B, K): the mean of both heads, where there are two (DeiT, section 4)."""
        return self.logits if self.distilled is None else (self.logits + self.distilled) / 2

    @property
    def taught(self) -> Tensor:
        """(B, K), of the head that learns from a teacher: its own, or the only one."""
        return self.logits if self.distilled is None else self.distilled


class SupervisedNetwork(nn.Module, ABC):
    """Pixels, normalised, float (B, C, S, S) -> logits (B, K)."""

    channels_last = False  # whether it is quicker with its pixels laid so in memory

    def __init__(self, shape: NetworkShape):
        super().__init__()
        self.shape = shape  # with every 0 resolved

    @abstractmethod
    def answers(self, pixels: Tensor) -> Answers:
        """Logits, those of a second head if there is one, and features."""

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, C, S, S) -> logits (B, K): the mean of both heads where there are two."""
        return self.answers(pixels).both

    @abstractmethod
    def blocks(self) -> dict[str, nn.Module]:
        """Parts that repeat, by name, in the order they are called."""


def laid(pixels: Tensor, network: SupervisedNetwork) -> Tensor:
    """The same pixels in the order in memory that suits the network."""
    last = torch.channels_last if network.channels_last else torch.contiguous_format
    return pixels.contiguous(memory_format=last)


def lay_weights(network: SupervisedNetwork) -> None:
    """Lay the weights of convolutions as their pixels will lie."""
    for weight in network.parameters() if network.channels_last else ():
        if weight.ndim == 4:
            weight.data = weight.data.contiguous(memory_format=torch.channels_last)

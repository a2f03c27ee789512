"""What all supervised networks offer."""

from typing import NamedTuple

from torch import Tensor, nn

from anomalyst.training.networks.shape import NetworkShape


class Answers(NamedTuple):
    """What a network says of a batch."""

    logits: Tensor  # (B, K), of the head that learns from labels
    distilled: Tensor | None  # (B, K), of the head that learns from a teacher; DeiT alone has it
    features: Tensor  # (B, D), what the head reads: pooled, or the class token


class SupervisedNetwork(nn.Module):
    """Pixels, normalised, float (B, C, S, S) -> logits (B, K)."""

    convolutional = True  # quicker with its channels last in memory

    def __init__(self, shape: NetworkShape):
        super().__init__()
        self.shape = shape  # with every 0 resolved

    def answers(self, pixels: Tensor) -> Answers:
        """Logits, those of a second head if there is one, and features."""
        raise NotImplementedError

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, C, S, S) -> logits (B, K): the mean of both heads where there are two."""
        said = self.answers(pixels)
        return said.logits if said.distilled is None else (said.logits + said.distilled) / 2

    def blocks(self) -> dict[str, nn.Module]:
        """Parts that repeat, by name, in the order they are called."""
        raise NotImplementedError

    def last_maps(self) -> nn.Module | None:
        """The module whose output is the last feature map (B, D, h, w); None where tokens are."""
        return None

"""Activations by name: what they compute, their derivative, and the values that they can take."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from anomalyst.layers.naming import named

ActivationName = Literal[
    "linear", "step", "sigmoid", "tanh", "relu", "softplus", "leaky_relu", "elu", "softmax",
    "gelu", "silu",
]  # fmt: skip
LEAK = 0.01  # slope of leaky ReLU below 0
ALPHA = 1.0  # of ELU


@dataclass(frozen=True, slots=True)
class Activation:
    """An activation: x of any shape -> the same shape."""

    formula: str
    derivative_formula: str
    range: tuple[float, float]  # its values lie between these; an infinite end is never reached
    value: Callable[[Tensor], Tensor]
    derivative: Callable[[Tensor], Tensor]  # softmax's is a matrix: (..., n) -> (..., n, n)


class NamedActivation(nn.Module):
    """An activation as a layer without weights. Raises AnomalystError for an unknown name."""

    def __init__(self, name: str):
        super().__init__()
        self.name, self.value = name, activation(name).value

    def forward(self, x: Tensor) -> Tensor:
        return self.value(x)

    def extra_repr(self) -> str:
        return self.name


def activation(name: str) -> Activation:
    """The activation of a name. Raises AnomalystError that names the nearest."""
    return named(ACTIVATIONS, name, "activation")


def softmax(x: Tensor) -> Tensor:
    """exp(x) / sum(exp(x)) over the last axis, of any finite x.

    The largest of a row is taken off first: it cancels, and no exponential exceeds 1.
    """
    powers = (x - x.amax(-1, keepdim=True)).exp()
    return powers / powers.sum(-1, keepdim=True)


def careless_softmax(x: Tensor) -> Tensor:
    """The formula as it is written, which overflows: float32 from x = 88.8, float16 from 11.1."""
    powers = x.exp()
    return powers / powers.sum(-1, keepdim=True)


def _step(x: Tensor) -> Tensor:
    return (x >= 0).to(x.dtype)


def _softmax_jacobian(x: Tensor) -> Tensor:
    p = softmax(x)
    return torch.diag_embed(p) - p[..., :, None] * p[..., None, :]  # (..., n, n)


def _sigmoid_slope(x: Tensor) -> Tensor:
    # Not s (1 - s): 1 - s is 0 in float32 from x = 17 on, which the slope is not.
    return torch.sigmoid(x) * torch.sigmoid(-x)


def _gelu_slope(x: Tensor) -> Tensor:
    below = 0.5 * (1 + torch.erf(x / math.sqrt(2)))
    return below + x * (-x.square() / 2).exp() / math.sqrt(2 * math.pi)


def _silu_slope(x: Tensor) -> Tensor:
    return torch.sigmoid(x) + x * _sigmoid_slope(x)


def _elu_slope(x: Tensor) -> Tensor:
    return torch.where(x > 0, torch.ones_like(x), ALPHA * x.clamp(max=0).exp())


INF = math.inf
ACTIVATIONS: dict[str, Activation] = {
    "linear": Activation("x", "1", (-INF, INF), lambda x: x, torch.ones_like),
    "step": Activation("1 if x >= 0 else 0", "0, and none at 0", (0, 1), _step, torch.zeros_like),
    "sigmoid": Activation("1 / (1 + e^-x)", "f (1 - f)", (0, 1), torch.sigmoid, _sigmoid_slope),
    "tanh": Activation(
        "(e^x - e^-x) / (e^x + e^-x)", "1 - f^2", (-1, 1), torch.tanh,
        lambda x: 1 - torch.tanh(x).square(),
    ),
    "relu": Activation(
        "max(0, x)", "1 if x > 0 else 0", (0, INF), torch.relu, lambda x: (x > 0).to(x.dtype)
    ),
    "softplus": Activation(
        "ln(1 + e^x)", "1 / (1 + e^-x)", (0, INF), nn.functional.softplus, torch.sigmoid
    ),
    "leaky_relu": Activation(
        f"x if x > 0 else {LEAK} x", f"1 if x > 0 else {LEAK}", (-INF, INF),
        lambda x: nn.functional.leaky_relu(x, LEAK),
        lambda x: torch.where(x > 0, torch.ones_like(x), LEAK * torch.ones_like(x)),
    ),
    "elu": Activation(
        "x if x > 0 else a (e^x - 1), a = 1", "1 if x > 0 else f + a", (-ALPHA, INF),
        lambda x: nn.functional.elu(x, ALPHA), _elu_slope,
    ),
    "softmax": Activation(
        "e^x_i / sum_j e^x_j", "f_i (1[i = j] - f_j)", (0, 1), softmax, _softmax_jacobian
    ),
    "gelu": Activation(
        "x P(X <= x), X normal", "P(X <= x) + x p(x)", (-0.17, INF), nn.functional.gelu, _gelu_slope
    ),
    "silu": Activation(
        "x / (1 + e^-x)", "s + x s (1 - s), s = sigmoid", (-0.2785, INF), nn.functional.silu,
        _silu_slope,
    ),
}  # fmt: skip

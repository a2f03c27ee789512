"""Weights taken away: the smallest one by one, or whole channels inside a block."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from anomalyst.backbones.efficientnet_lite import Inverted
from anomalyst.backbones.embedded import Residual

HEAVY = (nn.Conv2d, nn.Linear)
STEP = 8  # channels are kept in eights, which kernels like


class Masked(nn.Module):
    """A parametrization: a weight of which some stay zero."""

    def __init__(self, kept: Tensor):
        super().__init__()
        self.register_buffer("kept", kept)

    def forward(self, weight: Tensor) -> Tensor:
        """The weight, zero where it was taken away."""
        kept: Tensor = self.kept  # type: ignore[assignment]
        return weight * kept


def heavy_layers(*networks: nn.Module) -> list[nn.Module]:
    """Convolutions and dense layers whose weights are their own, each once."""
    found = {id(layer): layer for one in networks for layer in one.modules()}
    return [layer for layer in found.values() if isinstance(layer, HEAVY)]


def mask_smallest(networks: list[nn.Module], share: float) -> None:
    """Hold this share of all heavy weights at zero: the smallest of each layer (Han et al. 2015).

    They stay so while the rest is trained, until `make_permanent`.
    """
    for layer in heavy_layers(*networks):
        weight: Tensor = layer.weight  # type: ignore[assignment]
        size = weight.detach().abs().flatten()
        limit = size.kthvalue(max(1, int(share * size.numel()))).values
        kept = (weight.detach().abs() > limit).to(weight.dtype)
        parametrize.register_parametrization(layer, "weight", Masked(kept))


def make_permanent(*networks: nn.Module) -> None:
    """Leave the masked weights zero and take the masks off."""
    for layer in heavy_layers(*networks):
        if parametrize.is_parametrized(layer, "weight"):
            parametrize.remove_parametrizations(layer, "weight")


def sparse_bytes(*networks: nn.Module) -> int:
    """Bytes if a weight that is zero took one bit: a bit of each weight, and what is not zero.

    Weights that two parts share count once, as in `kept_bytes`.
    """
    total = 0
    for network in networks:
        for weight in {one.data_ptr(): one for one in network.state_dict().values()}.values():
            filled = int(torch.count_nonzero(weight))
            full = weight.numel() * weight.element_size()
            total += min(full, (weight.numel() + 7) // 8 + filled * weight.element_size())
    return total


def drop_channels(network: nn.Module, share: float) -> None:
    """Take this share of the inner channels of every block of trunk and detail, in place.

    What a block takes and gives stays as it was. Channels go whose weights, in and out, have the
    least L1 norm (Li et al. 2017, arXiv:1608.08710).
    """
    for layers in _inner(network):
        first, last = layers[0], layers[-1]
        strength = first.weight.detach().abs().flatten(1).sum(1)
        strength = strength * last.weight.detach().abs().sum((0, 2, 3))
        kept = strength.topk(_kept(len(strength), share)).indices.sort().values
        for layer in layers[:-1]:
            depthwise = layer.groups > 1
            _slice(layer, rows=kept, columns=None if depthwise or layer is first else kept)
        _slice(last, rows=None, columns=kept)


def drop_hidden(mlp: nn.Module, share: float) -> None:
    """Take this share of the hidden width of a gated MLP (gate, up, down), in place."""
    gate, up, down = (getattr(mlp, f"{name}_proj") for name in ("gate", "up", "down"))
    strength = gate.weight.abs().sum(1) * up.weight.abs().sum(1) * down.weight.abs().sum(0)
    kept = strength.topk(_kept(len(strength), share)).indices.sort().values
    for layer in (gate, up):
        layer.weight = nn.Parameter(layer.weight.detach()[kept], requires_grad=False)
        layer.out_features = len(kept)
    down.weight = nn.Parameter(down.weight.detach()[:, kept].contiguous(), requires_grad=False)
    down.in_features = len(kept)


def _kept(count: int, share: float) -> int:
    return max(STEP, round(count * (1 - share) / STEP) * STEP)


def _inner(network: nn.Module) -> Iterator[list[nn.Conv2d]]:
    """Of each block its convolutions in order; the channels between them are its own."""
    for block in network.modules():
        if isinstance(block, Inverted):
            convs = [m for m in block.layers.modules() if isinstance(m, nn.Conv2d)]
            if len(convs) == 3:  # without the first, the channels are those of the block before
                yield convs
        elif isinstance(block, Residual):
            yield [m for part in (block.first, block.second) for m in part.modules()
                   if isinstance(m, nn.Conv2d)]  # fmt: skip


def _slice(layer: nn.Conv2d, *, rows: Tensor | None, columns: Tensor | None) -> None:
    """Keep some of a convolution's channels out (rows) and in (columns)."""
    weight = layer.weight.detach()
    if rows is not None:
        weight = weight[rows]
        if layer.bias is not None:
            layer.bias = nn.Parameter(layer.bias.detach()[rows], requires_grad=False)
        layer.groups = len(rows) if layer.groups > 1 else 1
        layer.out_channels = len(rows)
        if layer.groups > 1:
            layer.in_channels = len(rows)
    if columns is not None:
        weight = weight[:, columns]
        layer.in_channels = len(columns)
    layer.weight = nn.Parameter(weight.contiguous(), requires_grad=False)

"""Weights kept in 6 or 4 bits, packed without gaps, and unpacked whenever a layer computes.

Weight-only: sums stay as they were. What is kept is small and stays so in memory; each pass pays
for unpacking, since processors have no instruction for such numbers.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

Format = Literal["fp6", "int4"]
BITS: dict[Format, int] = {"fp6": 6, "int4": 4}
GROUP = 32  # weights of a row that share one scale, as GGML and most 4-bit formats have it
_PER_BYTES = {6: (4, 3), 4: (2, 1)}  # so many codes lie in so many bytes


def values_of(format_: Format) -> Tensor:
    """The numbers a format has, by code, float32 (2^bits,).

    fp6: sign, 3 bits of exponent (bias 3), 2 of mantissa, no infinity: OCP Microscaling Formats 1.0
    (2023), section 5.3.2, E3M2; the largest is 28. int4: -8 to 7, of which -8 is not used.
    """
    if format_ == "int4":
        codes = torch.arange(16)
        return torch.where(codes > 7, codes - 16, codes).float()
    codes = torch.arange(64)
    sign = 1 - 2 * (codes >> 5)
    exponent, mantissa = (codes >> 2) & 7, (codes & 3).float() / 4
    normal = (1 + mantissa) * 2.0 ** (exponent - 3)
    return sign * torch.where(exponent > 0, normal, mantissa * 0.25)


def pack(codes: Tensor, bits: int) -> Tensor:
    """uint8 codes (n,), each below 2^bits -> uint8 bytes without gaps; n must fill whole groups."""
    count, size = _PER_BYTES[bits]
    groups = codes.reshape(-1, count).long()
    word = sum(groups[:, i] << (bits * i) for i in range(count))
    assert isinstance(word, Tensor)
    return torch.stack([(word >> (8 * i)) & 255 for i in range(size)], 1).flatten().to(torch.uint8)


def unpack(packed: Tensor, bits: int) -> Tensor:
    """The codes of `pack`, int32 (n,)."""
    count, size = _PER_BYTES[bits]
    groups = packed.reshape(-1, size).int()
    word = sum(groups[:, i] << (8 * i) for i in range(size))
    assert isinstance(word, Tensor)
    return torch.stack([(word >> (bits * i)) & (2**bits - 1) for i in range(count)], 1).flatten()


class Packed(nn.Module):
    """A weight as codes and scales: a parametrization of a layer's `weight`.

    Each row, or group of `GROUP` along it for int4, has a float16 scale that lets its largest
    number be the format's largest.
    """

    def __init__(self, weight: Tensor, format_: Format):
        super().__init__()
        self.format: Format = format_
        self.shape = tuple(weight.shape)
        self.columns = weight[0].numel()
        self.group = GROUP if format_ == "int4" else self.columns
        self.dtype = weight.dtype
        self.register_buffer("table", values_of(format_), persistent=False)

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """A weight -> packed codes, uint8, and scales; each number becomes the nearest there is."""
        table: Tensor = self.table  # type: ignore[assignment]
        rows = _grouped(weight.detach().float().flatten(1), self.group)  # (rows, groups, group)
        usable = 7.0 if self.format == "int4" else float(table.max())
        scale = (rows.abs().amax(2) / usable).clamp_min(1e-7).half()  # (rows, groups)
        ordered, codes = table.sort()
        middles = (ordered[1:] + ordered[:-1]) / 2
        wanted = (rows / scale[..., None].float()).contiguous()
        found = codes[torch.bucketize(wanted, middles)].flatten()
        count = _PER_BYTES[BITS[self.format]][0]
        filled = torch.cat([found, found.new_zeros(-len(found) % count)])
        return pack(filled.to(torch.uint8), BITS[self.format]), scale

    def forward(self, packed: Tensor, scale: Tensor) -> Tensor:
        """Packed codes and scales -> the weight, in the shape and number format it had."""
        table: Tensor = self.table  # type: ignore[assignment]
        codes = unpack(packed, BITS[self.format])[: scale.numel() * self.group]
        rows = table[codes].reshape(*scale.shape, self.group) * scale[..., None].float()
        return rows.flatten(1)[:, : self.columns].reshape(self.shape).to(self.dtype)


def _grouped(rows: Tensor, group: int) -> Tensor:
    """(rows, columns) -> (rows, groups, group), the last group filled up with zeros."""
    short = -rows.shape[1] % group
    return nn.functional.pad(rows, (0, short)).unflatten(1, (-1, group))


@dataclass(frozen=True, slots=True)
class Share:
    """How much of a network was packed: weights, and layers."""

    weights: int
    of_weights: int
    layers: int


def pack_weights(network: nn.Module, format_: Format) -> Share:
    """Pack the weights of a network's convolutions, dense layers and embeddings, in place.

    Biases, norms and single numbers stay. A weight that two layers share is packed once.
    """
    total = sum(p.numel() for p in network.parameters())
    done: dict[int, nn.Module] = {}
    weights = layers = 0
    for layer in list(network.modules()):
        if not isinstance(layer, nn.Conv2d | nn.Linear | nn.Embedding):
            continue
        weight = layer.weight
        layers += 1
        weight.requires_grad_(False)
        known = done.get(id(weight))
        if known is None:
            weights += weight.numel()
            step = Packed(weight, format_)
            parametrize.register_parametrization(layer, "weight", step, unsafe=True)
            done[id(weight)] = layer
        else:
            del layer.weight
            layer.__class__ = _shared(type(layer), known)  # type: ignore[assignment]
    return Share(weights, total, layers)


def _shared(kind: type[nn.Module], owner: nn.Module) -> type[nn.Module]:
    """The class of a layer whose weight is another layer's."""
    return type(f"Shared{kind.__name__}", (kind,), {"weight": property(lambda _: owner.weight)})


def kept_bytes(network: nn.Module) -> int:
    """Bytes of all tensors a network keeps, each once: what its file holds but for names."""
    tensors = {t.data_ptr(): t for t in network.state_dict(keep_vars=True).values()}
    return sum(t.numel() * t.element_size() for t in tensors.values())

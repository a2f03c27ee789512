"""Layers put into every block of a LLaMA-type language model, by declaration."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from anomalyst.errors import AnomalystError

Layer = Literal["dropout", "layer_norm", "batch_norm", "residual", "adapter"]
Where = Literal["inside_mlp", "after_attention", "after_mlp", "after_block"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """One layer in every block."""

    layer: Layer
    at: Where  # inside_mlp: on the gated activation, before it is projected down
    dropout: float = 0.1  # of the layer `dropout`
    momentum: float = 0.1  # of batch_norm's statistics; 0: they stay 0 and 1, as if never saved
    width: int = 16  # of an adapter's bottleneck
    trained: bool = False  # whether its weights are; in a frozen model they else stay as they start


class TokenBatchNorm(nn.BatchNorm1d):
    """BatchNorm over all tokens of a batch: (B, T, C) -> the same."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flatten(0, 1).float()).to(x.dtype).reshape(x.shape)


class Residual(nn.Module):
    """x plus a linear layer of it that starts at zero, so at first nothing changes."""

    def __init__(self, width: int):
        super().__init__()
        self.linear = nn.Linear(width, width)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.linear(x)


class Adapter(nn.Module):
    """x plus a bottleneck of it that starts at zero (Houlsby et al. 2019, figure 2).

    Trained: 2 x width x bottleneck + width + bottleneck.
    """

    def __init__(self, width: int, bottleneck: int):
        super().__init__()
        self.down, self.up = nn.Linear(width, bottleneck), nn.Linear(bottleneck, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.up(nn.functional.gelu(self.down(x)))


def as_patches(values: Any) -> tuple[Patch, ...]:
    """Patches from a configuration's plain values."""
    return tuple(p if isinstance(p, Patch) else Patch(**p) for p in values)


def as_values(patches: tuple[Patch, ...]) -> list[dict[str, Any]]:
    """What `as_patches` reads."""
    return [asdict(patch) for patch in patches]


def insert(language_model: nn.Module, patches: tuple[Patch, ...]) -> dict[str, nn.Module]:
    """Put the layers into every block, in order; returns them by name.

    Raises AnomalystError for a model whose blocks are not LLaMA's (self_attn, mlp.down_proj).
    """
    inserted: dict[str, nn.Module] = {}
    if not patches:
        return inserted
    for name, block in blocks_of(language_model).items():
        for patch in patches:
            host = _host(language_model, block, patch)
            width = host.in_features if patch.at == "inside_mlp" else _width(language_model)
            layer = _made(patch, width).requires_grad_(patch.trained)
            label = f"patched_{patch.layer}_{patch.at}"
            host.add_module(label, layer)
            _hook(host, label, before=patch.at == "inside_mlp")
            inserted[f"{name}: {patch.layer} {patch.at}"] = layer
    return inserted


def blocks_of(language_model: Any) -> dict[str, nn.Module]:
    """The decoder layers of a causal language model by name; empty if they cannot be told."""
    decoder = language_model.get_decoder() if hasattr(language_model, "get_decoder") else None
    layers = getattr(decoder, "layers", None)
    if layers is None:
        layers = getattr(decoder, "h", None)  # GPT-2
    found = set(layers or ())
    return {name: module for name, module in language_model.named_modules() if module in found}


def _host(language_model: nn.Module, block: nn.Module, patch: Patch) -> Any:
    places: Mapping[str, str] = {
        "inside_mlp": "mlp.down_proj",
        "after_attention": "self_attn",
        "after_mlp": "mlp",
        "after_block": "",
    }
    try:
        return block.get_submodule(places[patch.at])
    except AttributeError:
        raise AnomalystError(
            f"patches: {patch.at} of a {type(language_model).__name__} is unknown; a LLaMA-type "
            "model is needed, whose blocks have self_attn and mlp.down_proj."
        ) from None


def _width(language_model: Any) -> int:
    return int(language_model.config.hidden_size)


def _made(patch: Patch, width: int) -> nn.Module:
    match patch.layer:
        case "dropout":
            return nn.Dropout(patch.dropout)
        case "layer_norm":
            return nn.LayerNorm(width)
        case "batch_norm":
            return TokenBatchNorm(width, momentum=patch.momentum)
        case "residual":
            return Residual(width)
        case "adapter":
            return Adapter(width, patch.width)


def _hook(host: nn.Module, label: str, *, before: bool) -> None:
    """The layer is looked up when called, so that copies of the model use their own."""
    if before:
        host.register_forward_pre_hook(
            lambda module, args: (getattr(module, label)(args[0]), *args[1:])
        )
        return

    def after(module: nn.Module, args: Any, output: Any) -> Any:
        del args
        layer = getattr(module, label)
        if isinstance(output, torch.Tensor):
            return layer(output)
        return (layer(output[0]), *output[1:])

    host.register_forward_hook(after)

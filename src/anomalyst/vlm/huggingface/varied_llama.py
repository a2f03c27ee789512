"""A LLaMA with another norm, place of the norms, positions or activation than it came with.

What is not varied is left exactly as transformers made it, to the bit.
"""

from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn
from transformers.models.llama.modeling_llama import LlamaDecoderLayer

from anomalyst.errors import AnomalystError
from anomalyst.layers.activations import ActivationName, NamedActivation
from anomalyst.layers.experts import Experts
from anomalyst.layers.norms import NormName, NormPlace, make_norm
from anomalyst.layers.positions import PositionName, RelativeBias, sinusoids
from anomalyst.vlm.huggingface.windowed_attention import with_window


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockConfig:
    """What every block of the language model is made of; as it starts, LLaMA's own."""

    norm: NormName = "rms"  # RMSNorm, or LayerNorm with mean and bias
    norm_place: NormPlace = "pre"  # x + f(N(x)), or N(x + f(x)) and no norm at the end
    positions: PositionName = "rotary"
    activation: ActivationName = "silu"  # of the gate of the MLP
    window: int = 0  # tokens that each looks back to, itself included; 0: all
    experts: int = 0  # MLPs of which every token uses some; 0: one for all
    experts_per_token: int = 2

    def __post_init__(self) -> None:
        if self.window < 0 or self.window and self.positions == "relative":
            raise ValueError(
                f"window is {self.window}; 0 (all) or more is needed, and with a window positions "
                "other than relative"
            )
        if self.experts and not 1 <= self.experts_per_token <= self.experts:
            raise ValueError(
                f"experts_per_token is {self.experts_per_token}; 1 to experts, {self.experts}, is "
                "needed"
            )
        if self.experts and self.activation != "silu":
            raise ValueError("experts have silu gates; leave activation at silu")

    def blocks(self) -> dict[str, Any]:
        """What `vary` takes: what is not LLaMA's own."""
        named = {field.name: getattr(self, field.name) for field in fields(BlockConfig)}
        own = asdict(BlockConfig())
        return {name: value for name, value in named.items() if value != own[name]}


class PostNormLayer(LlamaDecoderLayer):
    """LLaMA's block with its norms behind the sums: N(x + f(x))."""

    def forward(self, hidden_states: Tensor, **kwargs: Any) -> Tensor:
        """(B, T, E) -> the same."""
        attended, _ = self.self_attn(hidden_states=hidden_states, **kwargs)
        hidden_states = self.input_layernorm(hidden_states + attended)
        normed: Tensor = self.post_attention_layernorm(hidden_states + self.mlp(hidden_states))
        return normed


class NoRotation(nn.Module):
    """In place of LLaMA's rotations: every angle is 0, queries and keys stay as they are."""

    def __init__(self, head_width: int):
        super().__init__()
        self.head_width = head_width

    def forward(self, x: Tensor, position_ids: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, E), (B, T) -> cosines and sines (B, T, head_width)."""
        ones = x.new_ones((*position_ids.shape, self.head_width))
        return ones, torch.zeros_like(ones)


def vary(language_model: Any, values: dict[str, Any]) -> None:
    """Put what differs from LLaMA's own into a causal language model of random weights.

    `values`: as `BlockConfig.blocks`. Raises AnomalystError for a model of another family.
    """
    if not values:
        return
    family = language_model.config.model_type
    if family != "llama":
        raise AnomalystError(
            f"blocks: {', '.join(values)} of a {family} model cannot be varied; a llama is needed."
        )
    blocks, config, decoder = BlockConfig(**values), language_model.config, language_model.model
    if blocks.norm != "rms":
        _replace_norms(decoder, blocks.norm, config)
    if blocks.norm_place == "post":
        decoder.norm = nn.Identity()  # the last block's output is normed already
        for layer in decoder.layers:
            # Another class, the same parts: weights drawn by transformers stay as they are drawn.
            layer.__class__ = PostNormLayer
    if blocks.activation != "silu":
        for layer in decoder.layers:
            layer.mlp.act_fn = NamedActivation(blocks.activation)
    for layer in decoder.layers if blocks.window else ():
        with_window(layer.self_attn, blocks.window)
    for layer in decoder.layers if blocks.experts else ():
        layer.mlp = Experts(
            config.hidden_size, config.intermediate_size, blocks.experts,
            blocks.experts_per_token, config.initializer_range,
        )  # fmt: skip
    if blocks.positions != "rotary":
        _replace_positions(decoder, blocks.positions, config)


def _replace_norms(decoder: Any, name: NormName, config: Any) -> None:
    width, eps = config.hidden_size, config.rms_norm_eps
    for layer in decoder.layers:
        layer.input_layernorm = make_norm(name, width, eps)
        layer.post_attention_layernorm = make_norm(name, width, eps)
    decoder.norm = make_norm(name, width, eps)


def _replace_positions(decoder: Any, positions: PositionName, config: Any) -> None:
    decoder.rotary_emb = NoRotation(decoder.layers[0].self_attn.head_dim)
    if positions == "sinusoidal":
        # The paper's embeddings have a deviation of 1; LLaMA's start with this one.
        decoder.layers[0].sinusoid_scale = config.initializer_range
        decoder.layers[0].register_forward_pre_hook(_add_sinusoids, with_kwargs=True)
    if positions == "relative":
        for layer in decoder.layers:
            layer.self_attn.relative = RelativeBias(config.num_attention_heads, causal=True)
            layer.self_attn.register_forward_pre_hook(_add_bias, with_kwargs=True)


def _add_sinusoids(layer: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    x, *rest = args
    added = sinusoids(kwargs["position_ids"], x.shape[-1])  # (1 or B, T, E)
    return (x + layer.sinusoid_scale * added.to(x.dtype), *rest), kwargs


def _add_bias(attention: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The bias of each distance joins the mask: distances between places need no position ids."""
    x, cache = kwargs["hidden_states"], kwargs.get("past_key_values")
    before = cache.get_seq_length(attention.layer_idx) if cache is not None else 0
    keys = torch.arange(before + x.shape[1], device=x.device)
    queries = keys[before:]
    bias = attention.relative(queries, keys).to(x.dtype)  # (1, heads, Q, K)
    mask = kwargs.get("attention_mask")
    if mask is None:
        mask = (keys <= queries[:, None])[None, None]
    if mask.dim() != 4 or mask.shape[-1] != len(keys):
        raise AnomalystError(
            "relative positions: attention has a mask of shape "
            f"{tuple(mask.shape)}; eager or sdpa attention with a growing cache is needed."
        )
    lowest = torch.finfo(x.dtype).min
    joined = (
        bias.masked_fill(~mask, lowest)  # (1 or B, heads, Q, K)
        if mask.dtype == torch.bool
        else bias + mask
    )
    return args, kwargs | {"attention_mask": joined}

"""LLaMA's attention with a window, and with tokens that lie in several processes.

A window of w: each token sees itself and the w - 1 before it, as Mistral's (Jiang et al. 2023).
Blocks of w queries meet two blocks of keys each, so time and memory grow with T w, not T squared.
"""

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from transformers.models.llama.modeling_llama import LlamaAttention, apply_rotary_pos_emb

from anomalyst.errors import AnomalystError
from anomalyst.layers.experts import AllToAll


class WindowedAttention(LlamaAttention):
    """The same weights; `window` 0: all before. `group`: processes that share the tokens."""

    window: int
    group: Any

    def forward(
        self,
        hidden_states: Tensor,
        position_embeddings: Any = None,
        attention_mask: Tensor | None = None,
        past_key_values: Any = None,
        **kwargs: Any,
    ) -> tuple[Tensor, None]:
        """(B, T, E) -> the same; of T tokens of a longer text where a group shares it."""
        del kwargs
        shape = (*hidden_states.shape[:-1], -1, self.head_dim)
        q, k, v = (
            part(hidden_states).view(shape).transpose(1, 2)  # (B, heads, T, d)
            for part in (self.q_proj, self.k_proj, self.v_proj)
        )
        q, k = apply_rotary_pos_emb(q, k, *position_embeddings)
        if past_key_values is not None:
            k, v = past_key_values.update(k, v, self.layer_idx)
        if self.group is not None:
            q, k, v = (heads_for_tokens(x, self.group) for x in (q, k, v))
        groups = self.num_key_value_groups
        k, v = (x.repeat_interleave(groups, 1) for x in (k, v))
        seen = self._attended(q, k, v, attention_mask)
        if self.group is not None:
            seen = tokens_for_heads(seen, self.group)
        joined = seen.transpose(1, 2).flatten(2)
        return self.o_proj(joined), None

    def _attended(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        if mask is not None and mask.dim() != 4:
            raise AnomalystError(f"window: a mask of shape {tuple(mask.shape)} is not read.")
        if mask is None and q.shape[2] == k.shape[2]:
            if self.window:
                return windowed(q, k, v, self.window)
            return F.scaled_dot_product_attention(q, k, v, is_causal=True)
        # While it writes, a few queries meet all keys that are kept.
        band = band_mask(q.shape[2], k.shape[2], self.window, q.device)
        if mask is not None:
            band = band & (mask if mask.dtype == torch.bool else mask == 0)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=band)


def with_window(attention: LlamaAttention, window: int) -> None:
    """Give LLaMA's attention a window, or with 0 none: another class, the same weights."""
    made: Any = attention
    made.__class__ = WindowedAttention
    made.window, made.group = window, None


def windowed(q: Tensor, k: Tensor, v: Tensor, window: int) -> Tensor:
    """Causal attention over the last `window` tokens: q, k, v (B, heads, T, d) -> the same."""
    length, heads = q.shape[2], q.shape[1]
    if length <= window:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)
    filling = -length % window
    q, k, v = (F.pad(x, (0, 0, 0, filling)) for x in (q, k, v))
    q, k, v = (x.unflatten(2, (-1, window)) for x in (q, k, v))  # (B, heads, blocks, w, d)
    before = [F.pad(x, (0, 0, 0, 0, 1, 0))[:, :, :-1] for x in (k, v)]
    k, v = (torch.cat(pair, 3) for pair in zip(before, (k, v), strict=True))  # (..., 2 w, d)
    place = torch.arange(window, device=q.device)[:, None]
    key = torch.arange(2 * window, device=q.device) - window  # of the block's own first
    band = (key <= place) & (key > place - window)  # (w, 2 w)
    blocks = torch.arange(q.shape[2], device=q.device)[:, None, None]
    band = band & ((key >= 0) | (blocks > 0))  # (blocks, w, 2 w): nothing is before the first
    # (B heads, blocks, ., d): one call for all blocks
    q, k, v = (x.flatten(0, 1) for x in (q, k, v))
    seen = F.scaled_dot_product_attention(q, k, v, attn_mask=band)
    return seen.flatten(1, 2).unflatten(0, (-1, heads))[:, :, :length]


def band_mask(queries: int, keys: int, window: int, device: torch.device) -> Tensor:
    """Which keys the last `queries` tokens see: (queries, keys), true where they do."""
    key = torch.arange(keys, device=device)
    place = key[keys - queries :, None]
    seen = key <= place
    return seen & (key > place - window) if window else seen


def heads_for_tokens(x: Tensor, group: Any) -> Tensor:
    """All heads of some tokens (B, H, T / n, d) -> some heads of all (B, H / n, T, d).

    Jacobs et al. 2023, DeepSpeed-Ulysses: attention then needs no other process.
    """
    count = dist.get_world_size(group)
    parts = x.unflatten(1, (count, -1)).transpose(0, 1)  # (n, B, H / n, T / n, d): to each
    got = AllToAll.apply(parts, [1] * count, [1] * count, group)  # from each, its tokens
    whole: Tensor = got.permute(1, 2, 0, 3, 4).flatten(2, 3)
    return whole


def tokens_for_heads(x: Tensor, group: Any) -> Tensor:
    """The way back: (B, H / n, T, d) -> (B, H, T / n, d)."""
    count = dist.get_world_size(group)
    parts = x.unflatten(2, (count, -1)).permute(2, 0, 1, 3, 4)  # (n, B, H / n, T / n, d)
    got = AllToAll.apply(parts, [1] * count, [1] * count, group)  # from each, its heads
    whole: Tensor = got.transpose(0, 1).flatten(1, 2)
    return whole

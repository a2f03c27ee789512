"""Attention weights as numbers and as heat over a picture."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from anomalyst.io.geometry import resize


def attention_weights(
    query: Tensor,
    key: Tensor,
    *,
    mask: Tensor | None = None,
    causal: bool = False,
    scale: float | None = None,
) -> Tensor:
    """softmax(Q K' / sqrt(d)): (..., Q, d) and (..., K, d) -> (..., Q, K), rows that sum to 1.

    `mask`: True where a query may look, or what is added to the logits. Vaswani et al., Attention
    Is All You Need, 2017, equation 1.
    """
    logits = query @ key.transpose(-2, -1) * (scale or 1 / math.sqrt(query.shape[-1]))
    if causal:
        allowed = torch.ones(logits.shape[-2:], dtype=torch.bool, device=logits.device).tril()
        logits = logits.masked_fill(~allowed, -math.inf)
    if mask is not None and mask.dtype == torch.bool:
        logits = logits.masked_fill(~mask, -math.inf)
    elif mask is not None:
        logits = logits + mask
    return logits.softmax(-1)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenAttention:
    """The attention of some layers among the same tokens."""

    title: str
    weights: np.ndarray  # (layers, heads, queries, keys), each row sums to 1
    queries: tuple[str, ...]
    keys: tuple[str, ...]


def patch_heat(row: np.ndarray, grid_hw: tuple[int, int], size_hw: tuple[int, int]) -> np.ndarray:
    """A token's attention to the patches (N,) as heat over the picture, (H, W) in [0, 1].

    The patches stand last, rows first; the largest becomes 1, for the shares of hundreds of patches
    are small and only their relation can be seen.
    """
    rows, columns = grid_hw
    cells = row[len(row) - rows * columns :].reshape(grid_hw).astype(np.float32)
    return resize(cells / max(float(cells.max()), 1e-12), size_hw)


def token_attention(
    weights: list[tuple[str, Tensor]], tokens: tuple[str, ...]
) -> list[TokenAttention]:
    """What modules recorded of one text, by kind: encoder, decoder, decoder to encoder.

    weights: name and (1, heads, T, T) of each module in order.
    """
    kinds: dict[str, list[np.ndarray]] = {}
    for name, one in weights:
        parts = name.lower().split(".")
        cross = any("cross" in p or p in ("encoder_attn", "encdecattention") for p in parts)
        side = "decoder" if "decoder" in parts else "encoder" if "encoder" in parts else ""
        title = "Decoder looks at encoder" if cross else f"{side} self-attention".strip()
        kinds.setdefault(title, []).append(one[0].numpy())
    return [
        TokenAttention(
            title=title[:1].upper() + title[1:],
            weights=np.stack(layers),
            queries=tokens[: layers[0].shape[1]],
            keys=tokens[: layers[0].shape[2]],
        )
        for title, layers in kinds.items()
    ]

"""Attention rollout: where, through all layers, what a token holds comes from."""

import torch
from torch import Tensor


def rollout(weights: Tensor, *, residual: float = 0.5) -> Tensor:
    """Attention of each layer (L, heads, T, T) -> (T, T), rows that sum to 1.

    The mean over the heads, with the identity for the residual path, multiplied from the first
    layer to the last: Abnar and Zuidema, Quantifying Attention Flow in Transformers, ACL 2020
    (arXiv:2005.00928), section 3, equation 1. `residual`: share of the identity, 0 for none.
    """
    layers, _, tokens, _ = weights.shape
    identity = torch.eye(tokens, dtype=weights.dtype, device=weights.device)
    joint = identity
    for layer in range(layers):
        mixed = (1 - residual) * weights[layer].mean(0) + residual * identity
        joint = mixed / mixed.sum(1, keepdim=True) @ joint
    return joint

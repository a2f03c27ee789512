"""Changes of all pictures of an episode alike: what is sound and what is not stays so."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

REACH = 2  # of the widest random filter, in pixels: 5 x 5


def recoloured(pictures: Tensor, rng: np.random.Generator) -> Tensor:
    """Other colours for whole episodes (B, P, 3, S, S), and some exposure for each picture."""
    batch, count = pictures.shape[:2]
    order = torch.from_numpy(np.stack([rng.permutation(3) for _ in range(batch)]))
    pictures = pictures.gather(
        2, order[:, None, :, None, None].expand(-1, count, -1, *pictures.shape[3:])
    )
    grey = torch.from_numpy(rng.random(batch) < 0.2)
    pictures[grey] = pictures[grey].mean(2, keepdim=True).expand_as(pictures[grey])
    inverse = torch.from_numpy(rng.random(batch) < 0.15)
    pictures[inverse] = 1 - pictures[inverse]
    curve = torch.from_numpy(np.exp(rng.normal(0, 0.35, (batch, 1, 3, 1, 1)))).float()
    pictures = pictures.clamp(min=1e-4) ** curve
    gain = torch.from_numpy(rng.uniform(0.94, 1.06, (batch, count, 1, 1, 1))).float()
    return (pictures * gain).clamp_(0, 1)


def refiltered(pictures: Tensor, rng: np.random.Generator, share: float) -> Tensor:
    """A share of the episodes (B, P, 3, S, S) seen through a random filter of their own.

    Random convolutions (Xu et al. 2021, "Robust and generalizable visual representation learning
    via random convolutions"): shapes stay, local texture and colour become any. Filters are 1, 3 or
    5 pixels wide; the result has the mean and spread of the original and is mixed with it.
    """
    batch = len(pictures)
    side = 2 * REACH + 1
    kernels = np.zeros((batch, 3, 3, side, side), np.float32)
    for kernel in kernels:
        reach = int(rng.integers(REACH + 1))
        inner = slice(REACH - reach, REACH + reach + 1)
        kernel[..., inner, inner] = rng.standard_normal((3, 3, 2 * reach + 1, 2 * reach + 1))
    amount = np.where(rng.random(batch) < share, rng.random(batch), 0.0)
    mixed = torch.from_numpy(amount).float()[:, None, None, None, None]
    rows = pictures.transpose(0, 1).flatten(1, 2)  # (P, B * 3, S, S)
    padded = F.pad(rows, (REACH,) * 4, mode="reflect")
    filtered = F.conv2d(padded, torch.from_numpy(kernels).flatten(0, 1), groups=batch)
    filtered = filtered.unflatten(1, (batch, 3)).transpose(0, 1)  # (B, P, 3, S, S)
    axes = (1, 3, 4)
    spread, mean = torch.std_mean(filtered, axes, keepdim=True)
    wanted, level = torch.std_mean(pictures, axes, keepdim=True)
    filtered = (filtered - mean) / (spread + 1e-5) * wanted + level
    return pictures.lerp(filtered, mixed).clamp_(0, 1)

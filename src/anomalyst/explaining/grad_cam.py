"""Grad-CAM: the places that speak for a class in a convolutional network."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anomalyst.errors import AnomalystError
from anomalyst.explaining.record import recorded


def grad_cam(
    network: nn.Module,
    layer: str,
    pixels: Tensor,
    target: int | None = None,
    *,
    logits: Callable[[Tensor], Tensor] | None = None,
) -> tuple[Tensor, int]:
    """Heat (h, w) in [0, 1] of a layer's grid, and the class it speaks for.

    pixels (1, C, H, W); `target`: the class, or the likeliest; `logits`: pixels -> (1, K), the
    network itself if it gives them. Selvaraju et al., Grad-CAM, ICCV 2017 (arXiv:1610.02391),
    equations 1 and 2: channels weighed by the mean of their gradient, and only what is positive;
    the largest becomes 1. Raises AnomalystError for a layer without a grid, and for no such class.
    """
    with torch.enable_grad(), recorded(network, features=[layer], gradients=True) as record:
        # Frozen weights have no gradients of their own; the pixels carry it to the layer.
        scores = (logits or network)(pixels.clone().requires_grad_(True))
        classes = scores.shape[1]
        chosen = int(scores.argmax(1)) if target is None else target
        if not 0 <= chosen < classes:
            raise AnomalystError(f"class {chosen}: the model has {classes}, from 0 on.")
        scores[0, chosen].backward()
    maps = record.features[layer].detach()
    if maps.ndim != 4:
        raise AnomalystError(
            f"layer {layer!r}: gives {tuple(maps.shape)}, and Grad-CAM needs feature maps "
            "(B, C, h, w); choose a convolution with --layer, or `look attention` for transformers."
        )
    weights = record.gradient(layer).mean((2, 3), keepdim=True)  # (1, C, 1, 1)
    heat = F.relu((weights * maps).sum(1))[0]  # (h, w)
    return heat / heat.max().clamp_min(1e-12), chosen


def last_convolution(network: nn.Module) -> str:
    """The name of the last convolution that sees more than one pixel at a time, or of any.

    Raises AnomalystError for a network without.
    """
    found = [(name, one) for name, one in network.named_modules() if isinstance(one, nn.Conv2d)]
    if not found:
        raise AnomalystError(
            f"{type(network).__name__} has no convolution, so Grad-CAM has nothing to show; take "
            "`anomalyst look attention`."
        )
    wide = [name for name, one in found if max(one.kernel_size) > 1]
    return wide[-1] if wide else found[-1][0]

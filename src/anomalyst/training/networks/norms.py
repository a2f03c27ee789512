"""Normalisation after convolutions, by name."""

from torch import nn

from anomalyst.training.networks.shape import NormName

MOST_GROUPS = 8


def norm_of(name: NormName, channels: int) -> nn.Module:
    """A layer over (B, channels, h, w).

    batch: Ioffe and Szegedy 2015; layer: over channels and places of a picture (Ba et al. 2016);
    group: Wu and He 2018, at most 8 groups; none: nothing.
    """
    match name:
        case "batch":
            return nn.BatchNorm2d(channels)
        case "layer":
            return nn.GroupNorm(1, channels)
        case "group":
            groups = next(g for g in range(MOST_GROUPS, 0, -1) if channels % g == 0)
            return nn.GroupNorm(groups, channels)
        case _:
            return nn.Identity()


def with_norms(module: nn.Module, name: NormName) -> None:
    """Put another normalisation in the place of every BatchNorm."""
    for key, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, key, norm_of(name, child.num_features))
        else:
            with_norms(child, name)

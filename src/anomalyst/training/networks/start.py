"""The weights that training begins with, drawn from torch's random numbers."""

import math

import torch
from torch import nn

from anomalyst.training.networks.network import SupervisedNetwork
from anomalyst.training.networks.published import PublishedNetwork, ResNet


@torch.no_grad()
def draw_start(network: SupervisedNetwork) -> None:
    """Weights scaled by what comes in, so that signals keep their size at any width.

    Transformers: variance 2 / (in + out) (Glorot and Bengio 2010). With the fixed 0.02 of
    published vision transformers, which are 192 wide or more, narrow ones hardly hear their
    patches. Networks of ReLUs: variance 2 / in (He et al. 2015); of tanh: Glorot's.
    """
    tokens = isinstance(network, PublishedNetwork) and not isinstance(network, ResNet)
    plain = tokens or network.shape.name == "lenet"
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            _draw(module, plain=plain)
        elif isinstance(module, nn.LayerNorm | nn.GroupNorm | nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
    for name, value in network.named_parameters():
        if name.endswith(("_token", "position_embeddings")):
            nn.init.trunc_normal_(value, std=1 / math.sqrt(value.shape[-1]))


def _draw(module: nn.Linear | nn.Conv2d, *, plain: bool) -> None:
    into = module.weight[0].numel()
    places = into // module.weight.shape[1]
    out = module.weight.shape[0] * places
    if isinstance(module, nn.Conv2d) and plain:
        variance = 1 / into  # patches do not overlap, so each weight is used once
    else:
        variance = 2 / (into + out) if plain else 2 / into
    if isinstance(module, nn.Conv2d) and module.groups > 1:
        variance = 1 / into
    std = math.sqrt(variance)
    nn.init.trunc_normal_(module.weight, std=std, a=-2 * std, b=2 * std)
    if module.bias is not None:
        nn.init.zeros_(module.bias)

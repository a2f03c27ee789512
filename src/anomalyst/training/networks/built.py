"""A network by name, in any size: `build_network`, `sized`, `parameters_of`."""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import torch
from torch import nn

from anomalyst.errors import AnomalystError
from anomalyst.training.networks.convolutional import VGG_STAGES, alexnet, lenet, vgg
from anomalyst.training.networks.network import SupervisedNetwork, lay_weights
from anomalyst.training.networks.published import RESNETS, cvt, deit, resnet, vit
from anomalyst.training.networks.shape import NetworkName, NetworkShape, Picture
from anomalyst.training.networks.start import draw_start

NETWORKS: dict[NetworkName, Callable[[NetworkShape, Picture], SupervisedNetwork]] = {
    "vit": vit,
    "deit": deit,
    "cvt": cvt,
    "resnet": resnet,
    "vgg": vgg,
    "alexnet": alexnet,
    "lenet": lenet,
}
# Depths to choose from, the deepest first, and the least width at which one is taken: a network
# that is deep and very narrow is slow and learns less than a shallower, wider one of its size.
DEPTHS: dict[NetworkName, dict[int, float]] = {
    "vit": {depth: 10.0 * depth for depth in (12, 10, 8, 6, 4, 3, 2)},
    "deit": {depth: 10.0 * depth for depth in (12, 10, 8, 6, 4, 3, 2)},
    "cvt": {13: 32.0, 10: 28.0, 8: 24.0, 6: 1.0},
    "resnet": {depth: 16.0 for depth in sorted(RESNETS, reverse=True) if depth <= 50},
    "vgg": {depth: 16.0 for depth in sorted(VGG_STAGES, reverse=True) if depth <= 16},
    "alexnet": {8: 1.0},
    "lenet": {5: 1.0},
}
WIDEST = 4096.0
HALVINGS = 18
CLOSE = 0.002  # of the parameters asked for: near enough to look no further
NEAR = 0.1  # of them: what is farther off is refused
UNITS = {"k": 1_000, "m": 1_000_000, "b": 1_000_000_000}


def build_network(shape: NetworkShape, picture: Picture) -> SupervisedNetwork:
    """A network of NETWORKS with drawn weights; raises AnomalystError for an impossible shape."""
    network = _bare(shape, picture)
    if next(network.parameters()).device.type != "meta":
        draw_start(network)
    lay_weights(network)
    return network


def sized(given: NetworkShape, picture: Picture, parameters: str | int | float) -> NetworkShape:
    """The shape of about so many trainable parameters ("2.0M"), resolved.

    Width is chosen, and depth where it is not given: the deepest network that is not too narrow.
    Raises AnomalystError where width and depth are both given, or none comes near.
    """
    wanted = number_of(parameters)
    if given.width and given.depth:
        raise AnomalystError(
            "params: model.width and model.depth leave nothing to choose; give one or none."
        )
    if given.width:
        tried = [_counted(replace(given, depth=depth), picture) for depth in DEPTHS[given.name]]
    else:
        tried = _widths(given, picture, wanted)
    count, found = min(tried, key=lambda one: abs(one[0] - wanted))
    if abs(count - wanted) > NEAR * wanted:
        raise AnomalystError(
            f"params is {parameters}; the nearest that {given.name} can have here is {count:,}."
        )
    return found


def parameters_of(network: nn.Module) -> int:
    """How many numbers are trained."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def number_of(text: str | int | float) -> int:
    """2_000_000 of "2.0M"; k, M and B are known. Raises AnomalystError for anything else."""
    words = str(text).strip().lower().replace("_", "").replace(",", "")
    times = UNITS.get(words[-1:], 1)
    try:
        number = float(words[:-1] if times > 1 else words) * times
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number >= 1):
        raise AnomalystError(f"params is {text!r}; a number is needed, as in 300k or params=2.0M.")
    return round(number)


@cache
def _counted(shape: NetworkShape, picture: Picture) -> tuple[int, NetworkShape]:
    """How many parameters a shape has, without memory for them, and the shape resolved."""
    with torch.device("meta"):
        network = _bare(shape, picture)
    return parameters_of(network), network.shape


def _bare(shape: NetworkShape, picture: Picture) -> SupervisedNetwork:
    if shape.name not in NETWORKS:
        raise AnomalystError(
            f"There is no network {shape.name!r}; there are {', '.join(NETWORKS)}."
        )
    return NETWORKS[shape.name](shape, picture)


def _widths(given: NetworkShape, picture: Picture, wanted: int) -> list[tuple[int, NetworkShape]]:
    """Widths tried at the deepest depth that is not too narrow."""
    depths = {given.depth: 1.0} if given.depth else DEPTHS[given.name]
    for depth, least in depths.items():
        last = depth == list(depths)[-1]
        low, high = (1.0 if last else least), WIDEST
        if not last and _counted(replace(given, depth=depth, width=low), picture)[0] > wanted:
            continue
        tried = []
        for _ in range(HALVINGS):
            middle = math.sqrt(low * high)
            tried.append(_counted(replace(given, depth=depth, width=middle), picture))
            if abs(tried[-1][0] - wanted) < CLOSE * wanted:
                break
            low, high = (middle, high) if tried[-1][0] < wanted else (low, middle)
        return tried
    raise AssertionError("the last depth is always taken")

"""Networks of layers by name: a list of layers -> a network, every size checked on the way."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from anomalyst.errors import AnomalystError
from anomalyst.layers.activations import ActivationName, NamedActivation
from anomalyst.layers.attention import Attention
from anomalyst.layers.norms import Normed, NormName, NormPlace, make_norm
from anomalyst.layers.positions import PositionName
from anomalyst.layers.sizes import Padding, padding_of, size_out

LayerName = Literal["dense", "convolution", "pooling", "rnn", "lstm", "residual", "attention"]
PoolingName = Literal["max", "mean", "sum"]
Shape = tuple[int, ...]  # of one sample: (C, H, W) a map, (T, D) a sequence, (D,) a vector


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerConfig:
    """One layer; fields that its kind does not have are left alone."""

    layer: LayerName
    width: int = 64  # what comes out: numbers of a dense layer or RNN, channels of a convolution
    activation: ActivationName = "relu"  # of dense, convolution, residual
    kernel: int = 3  # side in pixels, of convolution, pooling and a residual block of maps
    stride: int = 1  # of convolution and pooling
    padding: Padding | int = "valid"  # of convolution and pooling; "same" and "full" by name
    exact: bool = False  # refuse strides that leave pixels over
    pooling: PoolingName = "max"
    heads: int = 4  # of attention
    positions: PositionName = "sinusoidal"  # of attention
    norm: NormName = "layer"  # of attention and of residual blocks of vectors and sequences
    norm_place: NormPlace = "pre"

    def __post_init__(self) -> None:
        if min(self.width, self.kernel, self.stride, self.heads) < 1:
            raise AnomalystError(f"{self.layer}: width, kernel, stride and heads are 1 or more.")


class Recurrent(nn.Module):
    """An RNN (Elman 1990) or LSTM (Hochreiter and Schmidhuber 1997) and its last state."""

    def __init__(self, kind: str, width: int, hidden: int):
        super().__init__()
        make = nn.LSTM if kind == "lstm" else nn.RNN
        self.cells = make(width, hidden, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, hidden)."""
        states: Tensor = self.cells(x)[0]
        return states[:, -1]


class Residual(nn.Module):
    """x + f(x) of a map, f two convolutions of the same size (He et al. 2016, figure 2)."""

    def __init__(self, channels: int, kernel: int, activation: str):
        super().__init__()
        pad = padding_of("same", kernel)
        self.inside = nn.Sequential(
            nn.Conv2d(channels, channels, kernel, padding=pad),
            NamedActivation(activation),
            nn.Conv2d(channels, channels, kernel, padding=pad),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same."""
        return x + self.inside(x)


class SumPool(nn.Module):
    """The sum of each window: its mean times its area, padding counted as zeros."""

    def __init__(self, kernel: int, stride: int, pad: int):
        super().__init__()
        self.mean, self.area = nn.AvgPool2d(kernel, stride, pad), kernel * kernel

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, h, w)."""
        summed: Tensor = self.mean(x) * self.area
        return summed


class Rows(nn.Module):
    """A map read from top to bottom, a row at a time: (B, C, H, W) -> (B, H, C W)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.transpose(1, 2).flatten(2)


class Places(nn.Module):
    """A map as a sequence of its places: (B, C, H, W) -> (B, H W, C)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(2).transpose(1, 2)


class MeanOverPlaces(nn.Module):
    """(B, T, D) -> (B, D)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(1)


def make_stack(layers: tuple[LayerConfig, ...], shape: Shape, classes: int) -> nn.Sequential:
    """Layers in order, then a linear layer: (B, *shape) -> logits (B, classes).

    A dense layer takes a map whole and the mean of a sequence; recurrent layers read a map row by
    row, attention place by place. Raises AnomalystError that names the layer which does not fit.
    """
    parts: list[nn.Module] = []
    for number, config in enumerate(layers, start=1):
        try:
            made, shape = _MAKERS[config.layer](config, shape)
        except AnomalystError as error:
            raise AnomalystError(f"layer {number}, {config.layer}: {error}") from None
        parts.append(made)
    flat, (width,) = _as_vector(shape)
    return nn.Sequential(*parts, flat, nn.Linear(width, classes))


def _dense(config: LayerConfig, shape: Shape) -> tuple[nn.Module, Shape]:
    flat, (width,) = _as_vector(shape)
    linear = nn.Linear(width, config.width)
    return nn.Sequential(flat, linear, NamedActivation(config.activation)), (config.width,)


def _convolution(config: LayerConfig, shape: Shape) -> tuple[nn.Module, Shape]:
    channels, height, width = _map(shape)
    pad = padding_of(config.padding, config.kernel)
    made = nn.Conv2d(channels, config.width, config.kernel, config.stride, pad)
    sides = _sides(config, height, width)
    return nn.Sequential(made, NamedActivation(config.activation)), (config.width, *sides)


def _pooling(config: LayerConfig, shape: Shape) -> tuple[nn.Module, Shape]:
    channels, height, width = _map(shape)
    pad = padding_of(config.padding, config.kernel)
    if pad > config.kernel // 2:
        raise AnomalystError(
            f"padding {pad} of a kernel of {config.kernel} would pool windows of nothing; at most "
            f"{config.kernel // 2} is possible."
        )
    sizes = config.kernel, config.stride, pad
    made: nn.Module
    match config.pooling:
        case "max":
            made = nn.MaxPool2d(*sizes)
        case "mean":
            made = nn.AvgPool2d(*sizes)
        case "sum":
            made = SumPool(*sizes)
    return made, (channels, *_sides(config, height, width))


def _recurrent(config: LayerConfig, shape: Shape) -> tuple[nn.Module, Shape]:
    if len(shape) == 1:
        raise AnomalystError("reads a sequence or a map; a vector comes in. Put it earlier.")
    rows: nn.Module = nn.Identity() if len(shape) == 2 else Rows()
    width = shape[1] if len(shape) == 2 else shape[0] * shape[2]
    return nn.Sequential(rows, Recurrent(config.layer, width, config.width)), (config.width,)


def _residual(config: LayerConfig, shape: Shape) -> tuple[nn.Module, Shape]:
    if len(shape) == 3:
        return Residual(shape[0], config.kernel, config.activation), shape
    width = shape[-1]
    inside = nn.Sequential(
        nn.Linear(width, width), NamedActivation(config.activation), nn.Linear(width, width)
    )
    return Normed(inside, make_norm(config.norm, width), config.norm_place), shape


def _attention(config: LayerConfig, shape: Shape) -> tuple[nn.Module, Shape]:
    if len(shape) == 1:
        raise AnomalystError("reads a sequence or a map; a vector comes in. Put it earlier.")
    places: nn.Module = nn.Identity() if len(shape) == 2 else Places()
    count, width = shape if len(shape) == 2 else (shape[1] * shape[2], shape[0])
    inside = Attention(width, config.heads, config.positions)
    block = Normed(inside, make_norm(config.norm, width), config.norm_place)
    return nn.Sequential(places, block), (count, width)


def _as_vector(shape: Shape) -> tuple[nn.Module, Shape]:
    match shape:
        case (width,):
            return nn.Identity(), (width,)
        case (_, width):
            return MeanOverPlaces(), (width,)
        case (channels, height, width):
            return nn.Flatten(), (channels * height * width,)
    raise AssertionError(shape)


def _map(shape: Shape) -> tuple[int, int, int]:
    if len(shape) != 3:
        raise AnomalystError("reads a map; a vector or sequence comes in. Put it earlier.")
    channels, height, width = shape
    return channels, height, width


def _sides(config: LayerConfig, height: int, width: int) -> tuple[int, int]:
    def out(side: int) -> int:
        return size_out(
            side, config.kernel, stride=config.stride, padding=config.padding, exact=config.exact
        )

    return out(height), out(width)


_MAKERS = {
    "dense": _dense,
    "convolution": _convolution,
    "pooling": _pooling,
    "rnn": _recurrent,
    "lstm": _recurrent,
    "residual": _residual,
    "attention": _attention,
}

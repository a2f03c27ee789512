"""LeNet-5, AlexNet and VGG: convolutions, pooling, dense layers."""

from dataclasses import replace

from torch import Tensor, nn

from anomalyst.errors import AnomalystError
from anomalyst.training.networks.network import Answers, SupervisedNetwork
from anomalyst.training.networks.norms import norm_of
from anomalyst.training.networks.shape import NetworkShape, Picture

VGG_STAGES = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
VGG_WIDTHS = (64, 128, 256, 512, 512)
# Of AlexNet's layers in Krizhevsky 2014 (arXiv:1404.5997), one column instead of the first's two.
ALEXNET_LAYERS = ((192, 5, True), (384, 3, False), (256, 3, False), (256, 3, True))


class ConvolutionalNetwork(SupervisedNetwork):
    """Stages of convolutions, pooled to a small grid; dense layers; a linear head."""

    channels_last = True

    def __init__(self, shape: NetworkShape, stages: nn.Sequential, grid: int, dense: nn.Sequential):
        """`dense` ends with the head."""
        super().__init__(shape)
        self.stages = stages
        self.pool = nn.AdaptiveAvgPool2d(grid)
        self.dense, self.head = dense[:-1], dense[-1]

    def answers(self, pixels: Tensor) -> Answers:
        """What the last dense layer before the head gives is the feature."""
        maps = self.stages(pixels)  # (B, D, h, w)
        features = self.dense(self.pool(maps).flatten(1))
        return Answers(self.head(features), None, features)

    def blocks(self) -> dict[str, nn.Module]:
        """The stages."""
        return {f"stages.{name}": stage for name, stage in self.stages.named_children()}


def lenet(shape: NetworkShape, picture: Picture) -> ConvolutionalNetwork:
    """LeNet-5 (LeCun et al. 1998, section II.B) with tanh; 61,706 parameters on grey 28 x 28 px.

    Larger pictures are averaged to the 5 x 5 grid that its dense layers read.
    """
    shape = _resolved(shape, width=6, depth=5)
    first, second, wide, narrow = _scaled(shape, 6, (6, 16, 120, 84))
    padding = 2 if picture.size < 32 else 0  # 28 px were padded to 32
    stages = nn.Sequential(
        _layer(shape, picture.channels, first, 5, padding=padding, act=nn.Tanh(), pool="mean"),
        _layer(shape, first, second, 5, act=nn.Tanh(), pool="mean"),
    )
    side = ((picture.size + 2 * padding - 4) // 2 - 4) // 2
    grid = min(5, side)
    dense = nn.Sequential(
        nn.Linear(second * grid**2, wide), nn.Tanh(), nn.Linear(wide, narrow), nn.Tanh(),
        nn.Linear(narrow, picture.classes),
    )  # fmt: skip
    return ConvolutionalNetwork(shape, stages, grid, dense)


def alexnet(shape: NetworkShape, picture: Picture) -> ConvolutionalNetwork:
    """AlexNet (Krizhevsky et al. 2012; the single column of 2014), 61.1 M at 1000 classes.

    Its first layer looks more finely at pictures below 160 px, which its strides would use up.
    """
    shape = _resolved(shape, width=64, depth=8)
    kernel, stride, padding = _first_look(picture.size)
    before, *layers = _scaled(shape, 64, (64, *(c for c, _, _ in ALEXNET_LAYERS)))
    side = (picture.size + 2 * padding - kernel) // stride + 1
    stages = [
        _layer(shape, picture.channels, before, kernel, stride=stride, padding=padding, pool="max3")
    ]
    side = (side - 3) // 2 + 1
    for channels, (_, size, pooled) in zip(layers, ALEXNET_LAYERS, strict=True):
        pool = "max3" if pooled and side >= 3 else ""
        stages.append(_layer(shape, before, channels, size, padding=size // 2, pool=pool))
        side = (side - 3) // 2 + 1 if pool else side
        before = channels
    grid = min(6, side)
    dense = _dense(shape, before * grid**2, 4096, picture.classes, drop_first=True)
    return ConvolutionalNetwork(shape, nn.Sequential(*stages), grid, dense)


def vgg(shape: NetworkShape, picture: Picture) -> ConvolutionalNetwork:
    """VGG (Simonyan and Zisserman 2015, table 1), 138.4 M with 16 layers at 1000 classes.

    Pictures below 32 px are halved only until a pixel is left.
    """
    shape = _resolved(shape, width=64, depth=16)
    if shape.depth not in VGG_STAGES:
        raise AnomalystError(
            f"model.depth is {shape.depth}; VGG has {', '.join(map(str, VGG_STAGES))} layers."
        )
    before, side, stages = picture.channels, picture.size, []
    for channels, count in zip(
        _scaled(shape, 64, VGG_WIDTHS), VGG_STAGES[shape.depth], strict=True
    ):
        layers = []
        for number in range(count):
            pool = "max" if number + 1 == count and side > 1 else ""
            layers.append(_layer(shape, before, channels, 3, padding=1, pool=pool))
            before = channels
        stages.append(nn.Sequential(*layers))
        side = max(1, side // 2)
    grid = min(7, side)
    dense = _dense(shape, before * grid**2, 4096, picture.classes, drop_first=False)
    return ConvolutionalNetwork(shape, nn.Sequential(*stages), grid, dense)


def _resolved(shape: NetworkShape, *, width: float, depth: int) -> NetworkShape:
    """With the published width and depth; a depth that only one network has is refused."""
    if shape.name != "vgg" and shape.depth not in (0, depth):
        raise AnomalystError(
            f"model.depth is {shape.depth}; {shape.name} has {depth} layers, leave it at 0."
        )
    norm = "none" if shape.norm == "own" else shape.norm
    return replace(
        shape, width=shape.width or width, depth=shape.depth or depth, patch=0, heads=0, norm=norm
    )


def _scaled(shape: NetworkShape, first: int, widths: tuple[int, ...]) -> list[int]:
    """Channels of every layer where the first has `shape.width` instead of `first`."""
    return [max(1, round(width * shape.width / first)) for width in widths]


def _first_look(size: int) -> tuple[int, int, int]:
    """Kernel, stride and padding of AlexNet's first layer."""
    if size >= 160:
        return 11, 4, 2
    return (7, 2, 3) if size >= 48 else (5, 1, 2)


def _layer(
    shape: NetworkShape,
    before: int,
    channels: int,
    kernel: int,
    *,
    stride: int = 1,
    padding: int = 0,
    act: nn.Module | None = None,
    pool: str = "",
) -> nn.Sequential:
    """Convolution, normalisation, activation, pooling."""
    pools = {"": nn.Identity(), "mean": nn.AvgPool2d(2), "max": nn.MaxPool2d(2),
             "max3": nn.MaxPool2d(3, 2)}  # fmt: skip
    return nn.Sequential(
        nn.Conv2d(before, channels, kernel, stride, padding),
        norm_of(shape.norm, channels),
        act or nn.ReLU(),
        pools[pool],
    )


def _dense(
    shape: NetworkShape, before: int, width: int, classes: int, *, drop_first: bool
) -> nn.Sequential:
    """Two dense layers and the head; dropout before each (AlexNet) or after each (VGG)."""
    [wide] = _scaled(shape, 64, (width,))
    one, two = nn.Linear(before, wide), nn.Linear(wide, wide)
    drop = [nn.Dropout(shape.dropout), nn.Dropout(shape.dropout)]
    head = nn.Linear(wide, classes)
    if drop_first:
        return nn.Sequential(drop[0], one, nn.ReLU(), drop[1], two, nn.ReLU(), head)
    return nn.Sequential(one, nn.ReLU(), drop[0], two, nn.ReLU(), drop[1], head)

"""What a supervised network is: its name and how wide, deep and finely cut it is."""

from dataclasses import dataclass
from typing import Literal

from anomalyst.errors import AnomalystError

NetworkName = Literal["vit", "deit", "cvt", "resnet", "vgg", "alexnet", "lenet"]
NormName = Literal["own", "batch", "layer", "group", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkShape:
    """A network but for classes and picture; 0 stands for what was published, or fits the size."""

    name: NetworkName = "vit"
    width: float = 0  # of a token (vit, deit), else channels of the first stage; layers round it
    depth: int = 0  # blocks (vit, deit, cvt), or layers as in ResNet-50 and VGG-16
    patch: int = 0  # side in px of a patch (vit, deit), stride of the first embedding (cvt)
    heads: int = 0  # of attention (vit, deit)
    mlp: float = 4.0  # width of the hidden layer over that of a token (vit, deit, cvt)
    norm: NormName = "own"  # after convolutions (resnet, vgg, alexnet, lenet)
    dropout: float = 0.0  # before dense layers (vgg, alexnet), in blocks (vit, deit, cvt)

    def __post_init__(self) -> None:
        if min(self.width, self.depth, self.patch, self.heads) < 0 or self.mlp <= 0:
            raise AnomalystError("model: width, depth, patch and heads are 0 or more, mlp above 0.")
        if not 0 <= self.dropout < 1:
            raise AnomalystError(f"model.dropout is {self.dropout}; 0 or more, below 1, is needed.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """What a network sees and how many answers it has."""

    classes: int
    size: int  # side in px
    channels: int  # 1 grey, 3 RGB

    def __post_init__(self) -> None:
        if self.classes < 2 or self.size < 16 or self.channels not in (1, 3):
            raise AnomalystError(
                f"{self.classes} classes of {self.size} px in {self.channels} channels; 2 classes, "
                "16 px and 1 or 3 channels at least are needed."
            )

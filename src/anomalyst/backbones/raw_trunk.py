"""The raw levels of ImageNet's EfficientNet-Lite0, without anything that was trained on them."""

import copy

import torch
from torch import Tensor

from anomalyst.backbones.base import Encoder
from anomalyst.backbones.efficientnet_lite import LiteTrunk, imagenet_weights
from anomalyst.backbones.embedded import EmbeddedEncoder
from anomalyst.types import Features


class TrunkEncoder(Encoder):
    """Pictures -> the trunk's own features at strides 8 and 16; the embedding is the mean of these.

    Computes in float32. (B, D) of the embedding are the channels at stride 16, where the trunk
    ends, averaged over the picture.
    """

    name = "EfficientNet-Lite0"
    multiple_px = 16
    side_px = 256

    def __init__(self, trunk: LiteTrunk):
        super().__init__()
        self.trunk = trunk
        self.requires_grad_(False).eval()

    def forward(self, pixels: Tensor) -> Features:
        """(B, 3, H, W) in [0, 1] -> (B, 40, H / 8, W / 8), (B, 112, H / 16, W / 16); (B, 112)."""
        _, fine, coarse = self.trunk(pixels)
        return Features([fine, coarse], coarse.mean((2, 3)))


def trunk_beside(encoder: Encoder) -> TrunkEncoder:
    """The trunk under an encoder, on its own; ImageNet's from the package if it has none.

    Sides and weights are those of the encoder (which ships them rounded to bfloat16). Raises
    AnomalystError if the package is needed and not installed.
    """
    if isinstance(encoder, EmbeddedEncoder) and isinstance(encoder.trunk, LiteTrunk):
        found = TrunkEncoder(copy.deepcopy(encoder.trunk).to(torch.device("cpu"), torch.float32))
    else:
        trunk = LiteTrunk()
        imagenet_weights(trunk)
        found = TrunkEncoder(trunk)
    found.side_px = encoder.side_px
    return found

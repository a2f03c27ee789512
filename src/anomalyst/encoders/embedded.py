"""The embedded encoder: a small residual network, trained from scratch on pictures we draw.

Its weights ship in the package and have only ever seen the procedural inspection world.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from anomalyst.config import from_mapping
from anomalyst.encoders.base import Encoder
from anomalyst.encoders.lite import CHANNELS, LiteTrunk
from anomalyst.errors import AnomalystError
from anomalyst.processor import precision_of
from anomalyst.types import Features

EMBEDDED_WEIGHTS = Path(__file__).parent.parent / "weights" / "embedded.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedConfig:
    """What the embedded encoder is made of."""

    trunk: Literal["residual", "lite0"] = "residual"  # ours from scratch, or ImageNet's, frozen
    widths: tuple[int, int, int] = (48, 96, 192)  # channels at strides 4, 8 and 16
    levels: tuple[int, int, int] = (48, 96, 128)  # feature width D of each level handed out
    blocks: int = 2  # residual blocks per stage


class EmbeddedEncoder(Encoder):
    """Pictures -> features at strides 4, 8 and 16, projected for matching."""

    name = "embedded"
    multiple_px = 16
    side_px = 256

    def __init__(self, config: EmbeddedConfig | None = None):
        super().__init__()
        self.config = config or EmbeddedConfig()
        self.trunk: LiteTrunk | None = None
        if self.config.trunk == "lite0":
            self.trunk = LiteTrunk()
            self.projections = lite_projections(self.config.levels)
            return
        first, *_ = self.config.widths
        self.stem = conv_bn(3, first // 2, stride=2)
        stages, projections = [], []
        before = first // 2
        for width, out in zip(self.config.widths, self.config.levels, strict=True):
            blocks = [Residual(before, width, stride=2)]
            blocks += [Residual(width, width) for _ in range(self.config.blocks - 1)]
            stages.append(nn.Sequential(*blocks))
            projections.append(nn.Conv2d(width, out, 1))
            before = width
        self.stages = nn.ModuleList(stages)
        self.projections = nn.ModuleList(projections)

    def forward(self, pixels: Tensor) -> Features:
        """(B, 3, H, W) in [0, 1] -> three levels (B, D_l, H / s, W / s) and (B, 2 D) embedding."""
        seen = zip(self.projections, self._seen(pixels), strict=True)
        levels = [projection(level) for projection, level in seen]
        top = levels[-1].flatten(2).float()  # (B, D, N)
        embedding = F.normalize(torch.cat([top.mean(2), top.std(2)], 1), dim=1)
        return Features(levels, embedding)

    def _seen(self, pixels: Tensor) -> list[Tensor]:
        """What the trunk makes of pictures at strides 4, 8 and 16, not yet projected."""
        precision = next(self.projections.parameters()).dtype
        if self.trunk is not None:
            with torch.autocast(pixels.device.type, enabled=False):
                return self.trunk(pixels.to(precision))
        x = self.stem(((pixels - 0.5) * 2).to(precision))  # (B, C, H/2, W/2)
        found = []
        for stage in self.stages:
            x = stage(x)
            found.append(x)
        return found


def lite_projections(widths: Sequence[int]) -> nn.ModuleList:
    """1 x 1 convolutions that begin as rotations, so that cosines are those of the trunk."""
    layers = nn.ModuleList()
    for before, width in zip(CHANNELS, widths, strict=True):
        layer = nn.Conv2d(before, width, 1)
        nn.init.orthogonal_(layer.weight.view(width, before))
        assert layer.bias is not None
        nn.init.zeros_(layer.bias)
        layers.append(layer)
    return layers


class Residual(nn.Module):
    """Two 3 x 3 convolutions and a shortcut (He et al. 2016)."""

    def __init__(self, before: int, width: int, stride: int = 1):
        super().__init__()
        self.first = conv_bn(before, width, stride=stride)
        self.second = conv_bn(width, width, activated=False)
        changes = before != width or stride != 1
        self.shortcut: nn.Module = (
            conv_bn(before, width, stride=stride, size=1, activated=False)
            if changes
            else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.second(self.first(x)) + self.shortcut(x), inplace=True)


def conv_bn(
    before: int, width: int, *, stride: int = 1, size: int = 3, activated: bool = True
) -> nn.Sequential:
    """Convolution, batch norm and, if wanted, ReLU."""
    layers: list[nn.Module] = [
        nn.Conv2d(before, width, size, stride, size // 2, bias=False),
        nn.BatchNorm2d(width),
    ]
    if activated:
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


def fold_batch_norm(module: nn.Module) -> None:
    """Fold every convolution's batch norm into it, in place: same output, a third less time."""
    for child in module.modules():
        if (
            isinstance(child, nn.Sequential)
            and len(child) >= 2
            and isinstance(child[0], nn.Conv2d)
            and isinstance(child[1], nn.BatchNorm2d)
        ):
            child[0] = fuse_conv_bn_eval(child[0], child[1])
            child[1] = nn.Identity()


def read_weights(path: Path, prefix: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors under `prefix.` without it, and the JSON metadata, of a safetensors file of ours."""
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = json.loads((file.metadata() or {}).get("anomalyst", "{}"))
            names = [k for k in file.keys() if k.startswith(prefix + ".")]  # noqa: SIM118
            tensors = {k.removeprefix(prefix + "."): file.get_tensor(k).float() for k in names}
    except FileNotFoundError:
        raise AnomalystError(f"{path}: weights are missing; install the package again.") from None
    except (SafetensorError, OSError, ValueError) as error:
        raise AnomalystError(f"{path}: is not a whole safetensors file ({error}).") from error
    if not tensors:
        raise AnomalystError(f"{path}: holds no {prefix!r} weights; another file is needed.")
    return tensors, metadata


def load_embedded(
    path: Path = EMBEDDED_WEIGHTS, dtype: torch.dtype | None = None
) -> EmbeddedEncoder:
    """The encoder with its shipped weights, ready to infer: batch norm folded.

    `dtype`: of its weights and sums; None, as this processor is quickest (processor.py).
    """
    tensors, metadata = read_weights(path, "encoder")
    encoder = EmbeddedEncoder(from_mapping(EmbeddedConfig, metadata.get("encoder", {})))
    encoder.load_state_dict(tensors, strict=True)
    encoder.eval().requires_grad_(False)
    fold_batch_norm(encoder)
    # The weights are those of bfloat16 in any precision, so that scores differ by rounding alone
    # and a product taught on one machine is known on another. Cast once: autocast would round them
    # again for every picture.
    encoder.to(torch.bfloat16)
    wanted = dtype or precision_of("auto")
    return encoder.to(wanted, memory_format=torch.channels_last)  # type: ignore[call-overload]

"""The embedded encoder: a frozen trunk that has seen the real world, and what is trained on it.

The trunk knows photographs (`efficientnet_lite.py`, `huggingface_trunk.py`); a small network beside
it and projections, trained with the pair decoder, learn which differences matter. Its weights ship
in the package.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from anomalyst.backbones.base import Encoder, neighbourhood_mean
from anomalyst.backbones.efficientnet_lite import SHORT_STAGES, LiteTrunk
from anomalyst.config import from_mapping
from anomalyst.errors import AnomalystError
from anomalyst.hardware.processor import precision_of
from anomalyst.types import Features

if TYPE_CHECKING:
    from anomalyst.backbones.huggingface_trunk import HubTrunk

EMBEDDED_WEIGHTS = Path(__file__).parent.parent / "weights" / "embedded.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedConfig:
    """What the embedded encoder is made of."""

    # Frozen, seen the real world: lite0, ImageNet's EfficientNet-Lite0; lite0-short, the same
    # without its widest stage; or hf:DIR, any backbone that backbones/huggingface.py reads.
    trunk: str = "lite0"
    # Channels at strides 4 and 8 of a small trained network beside the trunk, which at these
    # strides sees fine print and hair cracks badly; none: the trunk alone.
    detail: tuple[int, ...] = (48, 64)
    levels: tuple[int, int, int] = (48, 96, 128)  # feature width D of each level handed out

    def __post_init__(self) -> None:
        if self.trunk not in ("lite0", "lite0-short") and not self.trunk.startswith("hf:"):
            raise ValueError(
                f"trunk is {self.trunk!r}; lite0, lite0-short, or hf: and a model's folder"
            )
        if len(self.detail) not in (0, 2):
            raise ValueError(f"detail is {list(self.detail)}; two widths are needed, or none")


class EmbeddedEncoder(Encoder):
    """Pictures -> features at strides 4, 8 and 16, projected for matching."""

    name = "embedded"
    multiple_px = 16
    side_px = 256

    def __init__(self, config: EmbeddedConfig | None = None):
        super().__init__()
        self.config = config or EmbeddedConfig()
        self.trunk = trunk_of(self.config.trunk)
        self.detail = Detail(self.config.detail) if self.config.detail else None
        beside = [*self.config.detail, *[0] * (3 - len(self.config.detail))]
        self.projections = nn.ModuleList(
            rotation(seen + more, width)
            for seen, more, width in zip(
                self.trunk.channels, beside, self.config.levels, strict=True
            )
        )

    def forward(self, pixels: Tensor) -> Features:
        """(B, 3, H, W) in [0, 1] -> three levels (B, D_l, H / s, W / s) and (B, 2 D) embedding.

        `frozen`: the trunk's own levels at strides 8 and 16, (B, C_l, H / s, W / s), each place the
        mean of its 3 x 3 neighbourhood.
        """
        seen, joined = self._seen(pixels)
        levels = [p(level) for p, level in zip(self.projections, joined, strict=True)]
        frozen = [neighbourhood_mean(level) for level in seen[1:]]
        top = levels[-1].flatten(2).float()  # (B, D, N)
        embedding = F.normalize(torch.cat([top.mean(2), top.std(2)], 1), dim=1)
        return Features(levels, embedding, frozen)

    def _seen(self, pixels: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """What the trunk makes of pictures at strides 4, 8 and 16, and the same with the detail."""
        pixels = pixels.to(next(self.projections.parameters()).dtype)
        # Frozen weights were learnt in float32, and their errors would look like differences.
        with torch.autocast(pixels.device.type, enabled=False):
            seen = self.trunk(pixels)
        if self.detail is None:
            return seen, seen
        parts = zip(seen, self.detail(pixels), self.trunk.spreads, strict=False)
        joined = [torch.cat([a / spread, b.to(a.dtype)], 1) for a, b, spread in parts]
        return seen, [*joined, seen[-1]]


def trunk_of(name: str) -> "LiteTrunk | HubTrunk":
    """The frozen network of a configuration; ImageNet's weights are filled in by who trains it."""
    if name == "lite0":
        return LiteTrunk()
    if name == "lite0-short":
        return LiteTrunk(SHORT_STAGES)
    from anomalyst.backbones.huggingface_trunk import HubTrunk

    return HubTrunk(name)


class Detail(nn.Module):
    """A small residual network: pictures (B, 3, H, W) in [0, 1] -> strides 4 and 8."""

    STEM = 24

    def __init__(self, widths: Sequence[int]):
        super().__init__()
        fine, middle = widths
        self.stem = conv_bn(3, self.STEM, stride=2)
        self.fine = nn.Sequential(Residual(self.STEM, fine, stride=2), Residual(fine, fine))
        self.middle = nn.Sequential(Residual(fine, middle, stride=2), Residual(middle, middle))

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> (B, widths[0], H/4, W/4), (B, widths[1], H/8, W/8)."""
        fine = self.fine(self.stem((pixels - 0.5) * 2))
        return [fine, self.middle(fine)]


def rotation(before: int, width: int) -> nn.Conv2d:
    """A 1 x 1 convolution that begins as a rotation: cosines are those of what it projects."""
    layer = nn.Conv2d(before, width, 1)
    nn.init.orthogonal_(layer.weight.view(width, before))
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


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


def fill(encoder: EmbeddedEncoder, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Give an encoder the weights of a file of ours; a trunk of hf: has its own and ships none.

    Raises AnomalystError for weights of another shape.
    """
    try:
        found = encoder.load_state_dict(dict(tensors), strict=False)
    except RuntimeError as error:
        raise AnomalystError(
            f"{path}: its encoder has another shape ({str(error).splitlines()[1].strip()})."
        ) from None
    own = isinstance(encoder.trunk, LiteTrunk)
    missing = [name for name in found.missing_keys if own or not name.startswith("trunk.")]
    if missing or found.unexpected_keys:
        odd = (missing or found.unexpected_keys)[0]
        raise AnomalystError(f"{path}: its encoder is another one ({odd} does not fit).")


def load_embedded(
    path: Path = EMBEDDED_WEIGHTS, dtype: torch.dtype | None = None
) -> EmbeddedEncoder:
    """The encoder with its shipped weights, ready to infer: batch norm folded.

    `dtype`: of its weights and sums; None, as this processor is quickest (hardware/processor.py).
    """
    tensors, metadata = read_weights(path, "encoder")
    encoder = EmbeddedEncoder(from_mapping(EmbeddedConfig, metadata.get("encoder", {})))
    fill(encoder, tensors, path)
    encoder.eval().requires_grad_(False)
    fold_batch_norm(encoder)
    # The weights are those of bfloat16 in any precision, so that scores differ by rounding alone
    # and a product taught on one machine is known on another. Cast once: autocast would round them
    # again for every picture.
    for name, part in encoder.named_children():
        if name != "trunk" or isinstance(part, LiteTrunk):
            part.to(torch.bfloat16)
    wanted = dtype or precision_of("auto")
    return encoder.to(wanted, memory_format=torch.channels_last)  # type: ignore[call-overload]

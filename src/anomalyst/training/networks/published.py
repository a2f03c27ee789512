"""ViT, DeiT, CvT and ResNet as transformers has them, with weights drawn here."""

from dataclasses import replace
from typing import Any

from torch import Tensor, nn
from transformers import (
    CvtConfig,
    CvtForImageClassification,
    DeiTConfig,
    DeiTForImageClassificationWithTeacher,
    ResNetConfig,
    ResNetForImageClassification,
    ViTConfig,
    ViTForImageClassification,
)

from anomalyst.errors import AnomalystError
from anomalyst.training.networks.network import Answers, SupervisedNetwork
from anomalyst.training.networks.norms import with_norms
from anomalyst.training.networks.shape import NetworkShape, Picture

BLOCKS = ("ViTLayer", "DeiTLayer", "CvtLayer", "ResNetBasicLayer", "ResNetBottleNeckLayer")
LEAST_TOKENS = 49  # of a picture, where nobody says how large a patch is
HEAD_WIDTH = 32  # of small vision transformers; 64 from a token's width of 192 on, as published
RESNETS = {
    10: ("basic", (1, 1, 1, 1)), 18: ("basic", (2, 2, 2, 2)), 26: ("bottleneck", (2, 2, 2, 2)),
    34: ("basic", (3, 4, 6, 3)), 50: ("bottleneck", (3, 4, 6, 3)),
    101: ("bottleneck", (3, 4, 23, 3)),
}  # fmt: skip


class PublishedNetwork(SupervisedNetwork):
    """One of transformers' classes as `model`.

    Never with channels last: torch 2.13's backward pass of a 1 x 1 convolution of stride 2, as
    residual networks have it, then writes beyond its memory on the CPU (4 to 8 channels crash).
    """

    def __init__(self, shape: NetworkShape, model: Any):
        super().__init__(shape)
        self.model: Any = model

    def blocks(self) -> dict[str, nn.Module]:
        """Its layers, wherever a version keeps them."""
        return {n: m for n, m in self.named_modules() if type(m).__name__ in BLOCKS}


class ViT(PublishedNetwork):
    """An image is worth 16 x 16 words (Dosovitskiy et al. 2021)."""

    def answers(self, pixels: Tensor) -> Answers:
        """The class token decides."""
        token = self.model.vit(pixels).last_hidden_state[:, 0]  # (B, D)
        return Answers(self.model.classifier(token), None, token)


class DeiT(PublishedNetwork):
    """A ViT with a second token that learns from a teacher (Touvron et al. 2021, section 4)."""

    def answers(self, pixels: Tensor) -> Answers:
        """Class token and distillation token have a head each."""
        tokens = self.model.deit(pixels).last_hidden_state  # (B, 2 + N, D)
        said, taught = tokens[:, 0], tokens[:, 1]
        model = self.model
        return Answers(model.cls_classifier(said), model.distillation_classifier(taught), taught)


class CvT(PublishedNetwork):
    """Convolutions make the tokens of each stage and the queries (Wu et al. 2021)."""

    def answers(self, pixels: Tensor) -> Answers:
        """The class token of the last stage decides."""
        token = self.model.layernorm(self.model.cvt(pixels).cls_token_value)[:, 0]  # (B, D)
        return Answers(self.model.classifier(token), None, token)


class ResNet(PublishedNetwork):
    """Deep residual learning (He et al. 2016)."""

    def answers(self, pixels: Tensor) -> Answers:
        """The mean of the last maps decides."""
        pooled = self.model.resnet(pixels).pooler_output  # (B, D, 1, 1)
        return Answers(self.model.classifier(pooled), None, pooled.flatten(1))


def vit(shape: NetworkShape, picture: Picture) -> ViT:
    """A vision transformer; as published for the smallest DeiT, 5.7 M at 1000 classes."""
    shape = _transformer_shape(shape, picture)
    return ViT(shape, ViTForImageClassification(ViTConfig(**_transformer(shape, picture))))


def deit(shape: NetworkShape, picture: Picture) -> DeiT:
    """The same with a distillation token and its head, 5.9 M."""
    shape = _transformer_shape(shape, picture)
    config = DeiTConfig(**_transformer(shape, picture))
    return DeiT(shape, DeiTForImageClassificationWithTeacher(config))


def cvt(shape: NetworkShape, picture: Picture) -> CvT:
    """A convolutional vision transformer of three stages; CvT-13 as published, 20.0 M."""
    _refuse_norm(shape)
    patch = shape.patch or (4 if picture.size >= 48 else 2)
    depth = shape.depth or 13
    if depth < 6 or patch not in (2, 4, 8):  # transformers builds no third stage of two blocks
        raise AnomalystError(
            f"model: CvT of depth {depth} and patch {patch}; 6 blocks or more, and a patch of 2, "
            "4 or 8 px are needed."
        )
    shape = replace(shape, width=shape.width or 64, depth=depth, patch=patch, heads=0)
    # A head is 64 wide as published; narrower stages have fewer heads rather than narrower ones.
    heads = [max(1, round(times * min(shape.width, 64) / 64)) for times in (1, 3, 6)]
    widths = [
        max(1, round(times * shape.width / one)) * one
        for times, one in zip((1, 3, 6), heads, strict=True)
    ]
    config = CvtConfig(
        num_labels=picture.classes, num_channels=picture.channels, embed_dim=widths,
        num_heads=heads, depth=[1, 2, depth - 3], mlp_ratio=[shape.mlp] * 3,
        drop_path_rate=[0.0] * 3, drop_rate=[shape.dropout] * 3, patch_sizes=[2 * patch - 1, 3, 3],
        patch_stride=[patch, 2, 2], patch_padding=[patch // 2, 1, 1],
    )  # fmt: skip
    return CvT(replace(shape, norm="own"), CvtForImageClassification(config))


def resnet(shape: NetworkShape, picture: Picture) -> ResNet:
    """A residual network; ResNet-50 as published, 25.6 M. Below 48 px its first pooling is gone."""
    shape = replace(
        shape, width=shape.width or 64, depth=shape.depth or 50, patch=0, heads=0,
        norm="batch" if shape.norm == "own" else shape.norm,
    )  # fmt: skip
    if shape.depth not in RESNETS or shape.norm == "none":
        raise AnomalystError(
            f"model: ResNet of depth {shape.depth} with norm {shape.norm}; a depth of "
            f"{', '.join(map(str, RESNETS))} is needed, and a normalisation (what residual "
            "blocks add up grows without one)."
        )
    kind, depths = RESNETS[shape.depth]
    times = 4 if kind == "bottleneck" else 1
    model = ResNetForImageClassification(
        ResNetConfig(
            num_labels=picture.classes,
            num_channels=picture.channels,
            layer_type=kind,
            embedding_size=max(1, round(shape.width)),
            depths=list(depths),
            hidden_sizes=[times * max(1, round(shape.width * 2**i)) for i in range(4)],
        )  # fmt: skip
    )
    if shape.norm != "batch":
        with_norms(model, shape.norm)
    if picture.size < 48:
        model.resnet.embedder.pooler = nn.Identity()
    return ResNet(shape, model)


def patch_of(size: int) -> int:
    """Side of a patch that cuts a picture into 49 tokens or more: 16 of 224 px, 8 of 64, 4 of 28.

    Raises AnomalystError where no patch of 2 px or more divides the side.
    """
    fitting = [p for p in range(2, 17) if size % p == 0 and (size // p) ** 2 >= LEAST_TOKENS]
    if not fitting:
        raise AnomalystError(
            f"size is {size}; no patch of 2 to 16 px divides it. Take a multiple of 8, as in "
            f"size={max(16, size // 8 * 8)}."
        )
    return max(fitting)


def _transformer_shape(shape: NetworkShape, picture: Picture) -> NetworkShape:
    """With patch, depth, heads, and a width that they divide."""
    _refuse_norm(shape)
    patch = shape.patch or patch_of(picture.size)
    if picture.size % patch:
        raise AnomalystError(
            f"model.patch is {patch}; it must divide the side of {picture.size} px, as "
            f"{patch_of(picture.size)} does."
        )
    width = shape.width or 192
    heads = shape.heads or max(1, round(width / (HEAD_WIDTH if width < 192 else 2 * HEAD_WIDTH)))
    return replace(
        shape, width=heads * max(1, round(width / heads)), depth=shape.depth or 12, patch=patch,
        heads=heads, norm="own",
    )  # fmt: skip


def _refuse_norm(shape: NetworkShape) -> None:
    if shape.norm not in ("own", "layer"):
        raise AnomalystError(
            f"model.norm is {shape.norm}; {shape.name} normalises its tokens as published: leave "
            "it at own."
        )


def _transformer(shape: NetworkShape, picture: Picture) -> dict[str, object]:
    """The keys of transformers' configurations."""
    width = int(shape.width)
    return {
        "num_labels": picture.classes, "num_channels": picture.channels,
        "image_size": picture.size, "patch_size": shape.patch, "hidden_size": width,
        "num_hidden_layers": shape.depth, "num_attention_heads": shape.heads,
        "intermediate_size": max(1, round(shape.mlp * width)),
        "hidden_dropout_prob": shape.dropout,
    }  # fmt: skip

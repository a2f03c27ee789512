"""What all models of one family of Hugging Face backbones have in common, by model type."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Triple = tuple[float, float, float]

IMAGENET: tuple[Triple, Triple] = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CLIP: tuple[Triple, Triple] = (
    (0.48145466, 0.4578275, 0.40821073),
    (0.26862954, 0.26130258, 0.27577711),
)
HALF: tuple[Triple, Triple] = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))

# The upper half of the depth, short of its end: SubspaceAD reads blocks 22-28 of 40, ANoCo 18 of
# 24, FoundAD 10 of 12; the last block alone costs 2-3 points. A CNN: stages 2 and 3 (PatchCore).
TOKEN_DEPTHS = (1 / 2, 2 / 3, 5 / 6)
STAGES = (2, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """What all models of one `model_type` have in common."""

    model: str  # the class in transformers that is the bare image tower
    side_px: int = 448
    normalisation: tuple[Triple, Triple] = IMAGENET  # mean and std of RGB in [0, 1]
    tokens: bool = True  # a vision transformer; else a CNN
    class_token: bool = True  # its first token stands for the picture
    patchified: bool = False  # wants rows of pixels instead of a picture (NaFlex)
    build: Mapping[str, Any] = field(default_factory=dict)  # for the constructor
    call: Mapping[str, Any] = field(default_factory=dict)  # for forward


_ANY_SIZE = {"interpolate_pos_encoding": True}
# A classifier has no pooler; built without one, no weight is left to chance.
_NO_POOLER = {"add_pooling_layer": False}
_CLIP = Family(model="CLIPVisionModel", normalisation=CLIP, call=_ANY_SIZE)
_SIGLIP = Family(model="SiglipVisionModel", normalisation=HALF, class_token=False, call=_ANY_SIZE)
_SIGLIP2 = Family(
    model="Siglip2VisionModel", normalisation=HALF, class_token=False, patchified=True
)
_SMALLER: dict[str, Any] = {"side_px": 384, "build": _NO_POOLER, "call": _ANY_SIZE}

FAMILIES: dict[str, Family] = {
    "dinov2": Family(model="Dinov2Model"),
    "dinov2_with_registers": Family(model="Dinov2WithRegistersModel"),
    "dinov3_vit": Family(model="DINOv3ViTModel", side_px=512),
    "dinov3_convnext": Family(model="DINOv3ConvNextModel", side_px=512, tokens=False),
    "clip": _CLIP,
    "clip_vision_model": _CLIP,
    "siglip": _SIGLIP,
    "siglip_vision_model": _SIGLIP,
    "siglip2": _SIGLIP2,
    "siglip2_vision_model": _SIGLIP2,
    "vit": Family(model="ViTModel", normalisation=HALF, **_SMALLER),
    "deit": Family(model="DeiTModel", **_SMALLER),
    "convnext": Family(model="ConvNextModel", side_px=384, tokens=False),
    "convnextv2": Family(model="ConvNextV2Model", side_px=384, tokens=False),
    "resnet": Family(model="ResNetModel", side_px=320, tokens=False),
}

# Parts of a name that mark weights an image tower does without: heads, and the text side of CLIP.
HEADS = ("classifier", "cls_classifier", "distillation_classifier", "pooler", "decoder")
TEXT_SIDE = ("text_model", "text_projection", "visual_projection", "logit_scale", "logit_bias")
LEFT_ASIDE = {*HEADS, *TEXT_SIDE, "mask_token", "position_ids"}
WANTED_FILES = ["config.json", "preprocessor_config.json", "model*.safetensors*"]

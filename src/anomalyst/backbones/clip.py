"""CLIP and SigLIP of any size, from a folder: pictures and sentences in one space.

Radford et al., ICML 2021 (CLIP); Zhai et al., ICCV 2023 (SigLIP). The networks are those of
transformers; `ImageTextTowers` answers as `ImageBind` does.
"""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anomalyst.backbones.huggingface import naflex_inputs, quiet
from anomalyst.backbones.huggingface_families import FAMILIES, Triple
from anomalyst.backbones.huggingface_files import normalisation_of, refuse_absent_weights
from anomalyst.errors import AnomalystError

Modality = Literal["image", "text"]
MODALITIES: tuple[Modality, ...] = get_args(Modality)


class ImageTextTowers(nn.Module):
    """Both towers of a folder of CLIP, SigLIP or SigLIP 2, ready to infer.

    `scale` and `bias` are the model's own: its logits are scale * cosine + bias.
    """

    def __init__(self, source: str):
        """Raises AnomalystError if the folder holds no such model, or not all of its weights."""
        super().__init__()
        folder = Path(source)
        if not folder.is_dir():
            raise AnomalystError(
                f"{source}: there is no such folder; give that of a CLIP or SigLIP model."
            )
        refuse_absent_weights(source, folder)
        self.source = source
        self.model, self.tokenizer, missing = read_towers(source, source)
        both = all(hasattr(self.model, name) for name in ("get_image_features", "logit_scale"))
        known = self.model.config.model_type in FAMILIES
        if not (both and known and has_text_tower(self.model)):
            raise AnomalystError(
                f"{source}: is a {type(self.model).__name__}; a model with an image and a text "
                "tower is needed, as CLIP and SigLIP are."
            )
        if missing:
            raise AnomalystError(
                f"{source}: lacks {len(missing)} weights ({missing[0]}, ...); copy or download the "
                "whole model."
            )
        self.model.float().requires_grad_(False)
        vision = self.model.config.vision_config
        self.naflex = self.model.config.model_type == "siglip2"  # takes rows of pixels of any shape
        self.patch = int(vision.patch_size)
        self.side_px = int(getattr(vision, "image_size", 16 * self.patch))
        # Mean and std that pictures are standardised with, of RGB in [0, 1].
        self.standard: tuple[Triple, Triple] = (
            normalisation_of(folder) or FAMILIES[self.model.config.model_type].normalisation
        )
        self.embed_dim = int(self.embed("text", self.tokens(["a"])).shape[1])

    @property
    def scale(self) -> Tensor:
        """By which a cosine is multiplied, a number."""
        return torch.as_tensor(self.model.logit_scale).exp()

    @property
    def bias(self) -> Tensor:
        """What is added to it: SigLIP's; CLIP's is 0."""
        bias = getattr(self.model, "logit_bias", None)
        return torch.zeros(()) if bias is None else torch.as_tensor(bias)

    def embed(self, modality: str, x: Tensor) -> Tensor:
        """Unit vectors (B, D) of pictures or texts.

        image: (B, 3, side, side), standardised by `standard`; text: (B, T) numbers of `tokens`.
        Raises AnomalystError for another word (naming the nearest) or another shape.
        """
        if modality not in MODALITIES:
            near = difflib.get_close_matches(modality, MODALITIES, n=1, cutoff=0.0)[0]
            raise AnomalystError(
                f"there is no sense {modality!r}; the nearest is {near!r}. All: "
                f"{', '.join(MODALITIES)}."
            )
        self._refuse_other_shape(modality, x)
        if modality == "text":
            return F.normalize(text_features(self.model, {"input_ids": x}).float(), dim=1)
        inputs = naflex_inputs(x, self.patch) if self.naflex else {"pixel_values": x}
        found: Any = self.model.get_image_features(**inputs)
        return F.normalize(_tensor_of(found).float(), dim=1)

    def tokens(self, sentences: Sequence[str]) -> Tensor:
        """Token numbers (S, T), padded as the model was trained; too long ones are cut."""
        numbers: Tensor = tokenized(self.model, self.tokenizer, sentences)["input_ids"]
        return numbers

    def logits(self, images: Tensor, texts: Tensor) -> Tensor:
        """How much each of (B, D) belongs to each of (S, D), both of `embed`: (B, S)."""
        return images @ texts.T * self.scale + self.bias

    def _refuse_other_shape(self, modality: str, x: Tensor) -> None:
        if modality == "text":
            longest = int(self.model.config.text_config.max_position_embeddings)
            fits = x.ndim == 2 and not x.is_floating_point() and 1 <= x.shape[1] <= longest
            needed = f"token numbers (B, up to {longest})"
        else:
            side = self.side_px
            fits = x.ndim == 4 and x.shape[1] == 3 and self._sides_fit(*x.shape[2:])
            needed = f"(B, 3, {side}, {side})"
        if not fits:
            raise AnomalystError(
                f"{modality}: a tensor of shape {tuple(x.shape)} is given; {needed} is needed."
            )

    def _sides_fit(self, height: int, width: int) -> bool:
        if self.naflex:
            return all(side and side % self.patch == 0 for side in (height, width))
        return height == width == self.side_px


def read_towers(source: str, asked: str) -> tuple[Any, Any, list[str]]:
    """Model and tokenizer of a folder, and the names of weights it lacks; `asked` begins an error.

    Raises AnomalystError if it cannot be read.
    """
    from transformers import AutoModel, AutoTokenizer

    try:
        with quiet():
            model, found = AutoModel.from_pretrained(
                source, local_files_only=True, use_safetensors=True, output_loading_info=True
            )
            tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=True)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise AnomalystError(
            f"{asked}: no model with a text tower can be read "
            f"({' '.join(str(error).split())[:200]}). A folder of CLIP, SigLIP or an encoder "
            "of sentences, with its tokenizer, is needed."
        ) from error
    return model.eval(), tokenizer, sorted(found["missing_keys"])


def has_text_tower(model: Any) -> bool:
    """Whether it embeds texts in a space shared with pictures."""
    return hasattr(model, "get_text_features")


def tokenized(model: Any, tokenizer: Any, sentences: Sequence[str]) -> Mapping[str, Tensor]:
    """What the text tower takes of sentences, each (S, T)."""
    # SigLIP was trained on sentences padded to its longest.
    padding = "max_length" if model.config.model_type.startswith("siglip") else True
    found: Mapping[str, Tensor] = tokenizer(
        list(sentences), padding=padding, truncation=True, return_tensors="pt"
    )
    return found


def text_features(model: Any, tokens: Mapping[str, Tensor]) -> Tensor:
    """Vectors (S, D) of the text tower, of no particular length."""
    return _tensor_of(model.get_text_features(**tokens))


def _tensor_of(found: Any) -> Tensor:
    return torch.as_tensor(getattr(found, "pooler_output", found))  # a tensor before 5.4

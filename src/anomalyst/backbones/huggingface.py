"""Encoders of Hugging Face: any of FAMILIES, from a folder, the local cache or the hub.

Only safetensors are read and only code of the transformers package is run.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import torch
import transformers
from torch import Tensor
from transformers.utils import logging as transformers_logging

from anomalyst.backbones.base import Encoder
from anomalyst.backbones.huggingface_families import LEFT_ASIDE, STAGES, TOKEN_DEPTHS, Family
from anomalyst.backbones.huggingface_files import (
    family_of,
    folder_of,
    normalisation_of,
    refuse_absent_weights,
)
from anomalyst.errors import AnomalystError
from anomalyst.types import Features


@dataclass(frozen=True, slots=True, kw_only=True)
class HubEncoderConfig:
    """Which model of Hugging Face, and what of it is read."""

    source: str  # a folder with config.json and *.safetensors, or a name on the hub
    levels: tuple[int, ...] | None = None  # blocks or stages, from 1; -1 is the last; None: default
    side_px: int | None = None  # working side; smaller is faster, larger sees smaller defects
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"  # half the memory on a GPU

    def __post_init__(self) -> None:
        if self.levels is not None and len(set(self.levels)) != max(1, len(self.levels)):
            raise AnomalystError(
                f"levels {list(self.levels)}: name at least one level, and none of them twice."
            )
        if self.side_px is not None and self.side_px < 1:
            raise AnomalystError(f"side_px is {self.side_px}; a size in pixels is needed.")


class HubEncoder(Encoder):
    """A frozen image tower of Hugging Face; its levels are the model's own hidden states.

    Level i is `hidden_states[i]`: the output of block (ViT) or stage (CNN) i, before any final
    norm, without class and register tokens. Features are float32 whatever the model computes in.
    """

    mean: Tensor  # (1, 3, 1, 1)
    std: Tensor  # (1, 3, 1, 1)

    def __init__(self, config: HubEncoderConfig, *, local_files_only: bool = False):
        """Load it; the network is asked only for what the local cache lacks.

        Raises AnomalystError if it cannot be found, is no family of ours, is stored as pickle, or
        if any weight is missing.
        """
        super().__init__()
        folder = folder_of(config.source, local_files_only)
        self.family = family_of(config.source, folder)
        refuse_absent_weights(config.source, folder)
        self.model = _load(config, folder, self.family)
        self.requires_grad_(False).eval()

        settings = self.model.config
        depth = settings.num_hidden_layers if self.family.tokens else len(settings.hidden_sizes)
        self.config = config
        self.name = f"hf:{config.source}"
        self.levels = _levels(config, depth, self.family)
        self.multiple_px = _multiple_px(settings, self.family)
        cells = max(1, round(self.family.side_px / self.multiple_px))
        self.side_px = config.side_px or cells * self.multiple_px
        mean, std = normalisation_of(folder) or self.family.normalisation
        self.register_buffer("mean", torch.tensor(mean).reshape(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).reshape(1, 3, 1, 1), persistent=False)

    @classmethod
    def load(cls, spec: str) -> Self:
        """The encoder of a specification as a user writes it, `hf:NAME_OR_DIR`, with defaults."""
        source = spec.removeprefix("hf:")
        if not source:
            raise AnomalystError(
                "--encoder hf: names no model; write a folder or a name after it, as in "
                "hf:./dinov2-small."
            )
        return cls(HubEncoderConfig(source=source))

    def train(self, mode: bool = True) -> Self:
        """Stay as it is: a frozen encoder has no dropout and no jittered positions to turn on."""
        del mode
        return super().train(False)

    def forward(self, pixels: Tensor) -> Features:
        """(B, 3, H, W) in [0, 1], sides multiples of `multiple_px` -> chosen levels and (B, D)."""
        size_hw = tuple(pixels.shape[-2:])
        assert not any(side % self.multiple_px for side in size_hw), (size_hw, self.multiple_px)
        normalised = ((pixels - self.mean) / self.std).to(self.model.dtype)
        inputs = naflex_inputs(normalised, self.multiple_px) if self.family.patchified else {}
        output = self.model(
            **{"pixel_values": normalised, **inputs}, **self.family.call, output_hidden_states=True
        )
        levels = [self._grid(output.hidden_states[i], size_hw).float() for i in self.levels]
        return Features(levels, self._embedding(output).float())

    def save(self, folder: Path) -> None:
        """Write it, with what normalises its pictures, as `hf:FOLDER` reads it."""
        self.model.save_pretrained(folder)
        mean, std = (value.flatten().tolist() for value in (self.mean, self.std))
        settings = {"do_normalize": True, "image_mean": mean, "image_std": std}
        (folder / "preprocessor_config.json").write_text(json.dumps(settings), encoding="utf-8")

    def _grid(self, hidden: Tensor, size_hw: tuple[int, ...]) -> Tensor:
        """Patch tokens back on their grid: (B, T, D) -> (B, D, h, w); a CNN's is one already."""
        if not self.family.tokens:
            return hidden
        rows, columns = (side // self.multiple_px for side in size_hw)
        # Class, distillation and register tokens stand first in every family.
        patches = hidden[:, hidden.shape[1] - rows * columns :]  # (B, N, D)
        return patches.transpose(1, 2).unflatten(2, (rows, columns))

    def _embedding(self, output: Any) -> Tensor:
        """The model's own summary of the picture, (B, D)."""
        if output.pooler_output is not None:
            return torch.as_tensor(output.pooler_output).flatten(1)
        last: Tensor = output.last_hidden_state
        return last[:, 0] if self.family.class_token else last.mean(1)


def naflex_inputs(pixels: Tensor, patch: int) -> dict[str, Tensor]:
    """A picture (B, 3, H, W) as SigLIP 2 NaFlex takes it: one row of pixels per patch."""
    rows, columns = pixels.shape[2] // patch, pixels.shape[3] // patch
    split = pixels.unflatten(3, (columns, patch)).unflatten(2, (rows, patch))
    values = split.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)  # (B, N, 3 * patch^2)
    return {
        "pixel_values": values,
        "pixel_attention_mask": torch.ones(values.shape[:2], device=pixels.device).long(),
        "spatial_shapes": torch.tensor([[rows, columns]] * len(pixels), device=pixels.device),
    }


def _load(config: HubEncoderConfig, folder: Path, family: Family) -> Any:
    """The model with every weight from disk, none left as it was initialised."""
    try:
        with quiet():
            model, found = getattr(transformers, family.model).from_pretrained(
                str(folder),
                dtype=getattr(torch, config.dtype),
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
                **family.build,
            )
    # Damaged weights, a config with a wrong type and a wrong shape raise unrelated families.
    except Exception as error:
        text = " ".join(str(error).split())
        raise AnomalystError(
            f"hf:{config.source}: config.json and weights cannot be loaded together ({text}); "
            "copy or download the model again."
        ) from error
    # A counter that inference does not read; checkpoints before PyTorch 0.4.1 have none.
    missing = [k for k in found["missing_keys"] if not k.endswith("num_batches_tracked")]
    spare = [k for k in found["unexpected_keys"] if not LEFT_ASIDE & set(k.split("."))]
    for keys, what in ((missing, "lacks weights"), (spare, "has weights with no place in it")):
        if keys:
            raise AnomalystError(
                f"hf:{config.source}: {what} ({len(keys)}: {', '.join(sorted(keys)[:5])}"
                f"{', ...' if len(keys) > 5 else ''}); its config.json is of another model."
            )
    if model.config.num_channels != 3:
        raise AnomalystError(
            f"hf:{config.source}: reads {model.config.num_channels} channels; an encoder of RGB "
            "pictures is needed."
        )
    return model


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bar and no load report: what matters in it becomes an error of ours."""
    verbosity = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()


def _levels(config: HubEncoderConfig, depth: int, family: Family) -> tuple[int, ...]:
    if config.levels is None:
        stages = [round(part * depth) for part in TOKEN_DEPTHS] if family.tokens else STAGES
        return tuple(sorted({min(depth, max(1, stage)) for stage in stages}))
    levels = tuple(level if level > 0 else depth + 1 + level for level in config.levels)
    if 0 in config.levels or not all(1 <= level <= depth for level in levels):
        raise AnomalystError(
            f"levels {list(config.levels)}: hf:{config.source} has {depth} "
            f"{'blocks' if family.tokens else 'stages'}; choose from 1 to {depth}, or -1 for the "
            "last."
        )
    return tuple(sorted(set(levels)))


def _multiple_px(settings: Any, family: Family) -> int:
    """Side of the coarsest cell: a patch of a ViT, one cell of a CNN's last stage."""
    patch = getattr(settings, "patch_size", 4)  # a ResNet's stem has stride 4
    if not isinstance(patch, int):
        if len(set(patch)) != 1:
            raise AnomalystError(f"patches of {list(patch)} pixels: square patches are needed.")
        patch = patch[0]
    if family.tokens:
        return int(patch)
    extra = 2 if getattr(settings, "downsample_in_first_stage", False) else 1
    return int(patch) * extra * 2 ** (len(settings.hidden_sizes) - 1)

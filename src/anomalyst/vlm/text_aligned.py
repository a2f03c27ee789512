"""The text-aligned decoder with its towers: of a CLIP folder, of a run, or new for training."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from anomalyst.backbones import fingerprint, load_encoder
from anomalyst.backbones.base import Encoder
from anomalyst.backbones.embedded import read_weights
from anomalyst.backbones.huggingface import HubEncoder, HubEncoderConfig, quiet
from anomalyst.detection.classifiers.text_aligned import (
    LEVELS,
    Shares,
    TextAligned,
    TextAlignedDecoder,
    aligned_levels,
)
from anomalyst.errors import AnomalystError
from anomalyst.vlm.text_tower import States, TextTower

WEIGHTS = "text_aligned.safetensors"
# On CLIP itself, WinCLIP+ takes the mean of the two (section 4.3); beside another detector the
# shares are those of trained layers, for want of any measurement.
CLIP_SHARES = Shares(alone=0.5, beside=0.5)


def image_tower(spec: str, dtype: torch.dtype | None = None) -> Encoder:
    """The encoder that the decoder reads: four levels of it, for a transformer at each quarter.

    Raises AnomalystError as `load_encoder` does, and for a network of fewer levels.
    """
    if not spec.startswith("hf:"):
        return load_encoder(spec, dtype)
    tower = HubEncoder(HubEncoderConfig(source=spec.removeprefix("hf:")))
    settings = tower.model.config
    depth = settings.num_hidden_layers if tower.family.tokens else len(settings.hidden_sizes)
    if depth < LEVELS:
        raise AnomalystError(
            f"{spec}: has {depth} blocks or stages; the text-aligned decoder reads {LEVELS}."
        )
    tower.side_px = int(getattr(settings, "image_size", tower.side_px))  # what it was trained on
    tower.levels = tuple(round(depth * quarter / LEVELS) for quarter in range(1, LEVELS + 1))
    return tower


@torch.inference_mode()
def level_widths(tower: Encoder) -> list[int]:
    """Channels of each level that the decoder reads of a tower."""
    side = 4 * tower.multiple_px
    levels = aligned_levels(tower(torch.zeros(1, 3, side, side)))
    return [level.shape[1] for level in levels]


def fresh_decoder(tower: Encoder, text: TextTower | None, width: int) -> TextAlignedDecoder:
    """A decoder as its training begins: on CLIP's own image tower, CLIP's way into its space."""
    if text is None:
        return TextAlignedDecoder(level_widths(tower), width)
    if tower.name == f"hf:{text.source}" and text.family == "clip":
        return clip_decoder(tower, text.source)
    return TextAlignedDecoder(level_widths(tower), text.states("object").shape[1])


def clip_decoder(tower: Encoder, source: str) -> TextAlignedDecoder:
    """Four layers that each do what CLIP's last norm and projection do, at CLIP's own scale.

    The norm's weights are drawn into the layer: W (g x + b) = (W g) x + W b.
    """
    model = clip_model(source)
    norm, projection = model.vision_model.post_layernorm, model.visual_projection
    weight, bias = projection.weight.float(), projection.weight.float() @ norm.bias.float()
    decoder = TextAlignedDecoder(level_widths(tower), weight.shape[0], standardised=True)
    with torch.no_grad():
        for layer in decoder.layers:
            one = {"weight": (weight * norm.weight.float())[..., None, None], "bias": bias}
            layer.load_state_dict(one)
        decoder.log_scale.copy_(model.logit_scale.float().clamp(max=math.log(100.0)))
    return decoder


def clip_model(source: str) -> Any:
    """transformers' CLIPModel of a folder, whole. Raises AnomalystError if it is none."""
    from transformers import CLIPModel

    try:
        with quiet():
            model, found = CLIPModel.from_pretrained(
                source, local_files_only=True, use_safetensors=True, output_loading_info=True
            )
    # Damaged weights and wrong shapes raise unrelated families.
    except Exception as error:
        raise AnomalystError(
            f"{source}: cannot be loaded as a CLIPModel ({' '.join(str(error).split())})."
        ) from error
    if missing := sorted(found["missing_keys"]):
        raise AnomalystError(
            f"{source}: lacks {len(missing)} weights of a CLIPModel ({missing[0]}, ...); "
            "copy or download the whole model."
        )
    return model.float().eval().requires_grad_(False)


@dataclass(frozen=True, slots=True)
class Trained:
    """A decoder of a run, and what it was trained with."""

    decoder: TextAlignedDecoder
    encoder: str  # specification of the image tower
    text_tower: str  # folder; empty: the two states are learned
    fingerprint: str  # of the text tower
    shares: Shares


def load_text_aligned(path: Path) -> Trained:
    """What the text_aligned task wrote, ready to infer.

    Raises AnomalystError if the file is missing, broken, old or holds no such decoder.
    """
    tensors, note = read_weights(path, "text_aligned")
    if "fingerprint" not in note:
        raise AnomalystError(
            f"{path}: was written before decoders knew their text tower; train the recipe again."
        )
    decoder = TextAlignedDecoder(
        note["level_widths"], note["width"], standardised=note.get("standardised", False)
    )
    decoder.load_state_dict(tensors, strict=True)
    decoder.eval().requires_grad_(False)
    return Trained(
        decoder,
        note["encoder"],
        note["text_tower"],
        note["fingerprint"],
        Shares(**note["shares"]),
    )


def text_aligned(source: str, name: str, states: States, encoder: str) -> TextAligned:
    """The decoder asked about one product, beside a detector on `encoder`.

    `source` is the folder of a run of the text_aligned recipe, or of CLIP, whose own image tower is
    read by its own projection.
    Raises AnomalystError for any other folder, or a run whose text tower is gone.
    """
    folder = Path(source.removeprefix("run:"))
    if (folder / WEIGHTS).is_file():
        return _of_run(folder, name, states, encoder)
    text = TextTower(source)
    if text.family == "clip":
        tower = image_tower(f"hf:{source}")
        decoder = clip_decoder(tower, source).eval().requires_grad_(False)
        note = f"words of {source}, by its own projection,"
        both = text.states(name, states)
        shares = CLIP_SHARES if encoder == f"hf:{source}" else Shares()
        return TextAligned(decoder, both, shares=shares, tower=tower, note=note)
    raise AnomalystError(
        f"--text-tower {source}: no layers were trained for this tower. Train them with "
        f"`anomalyst train recipes/text_aligned.yaml text_tower={source} --out runs/text`, then "
        "give --text-tower runs/text."
    )


def _of_run(folder: Path, name: str, states: States, encoder: str) -> TextAligned:
    trained = load_text_aligned(folder / WEIGHTS)
    text = _tower_of(trained, folder) if trained.text_tower else None
    if text is None and states != States():
        raise AnomalystError(
            f"--states: {folder} was trained without a text tower; its states are learned, not "
            "written. Leave --states out."
        )
    both = trained.decoder.states.detach() if text is None else text.states(name, states)
    own = trained.encoder != encoder or encoder.startswith("hf:")  # there it has four levels
    return TextAligned(
        trained.decoder,
        both.clone(),
        shares=trained.shares,
        tower=image_tower(trained.encoder) if own else None,
        note=f"words of {text.source}" if text else "learned states",
    )


def _tower_of(trained: Trained, folder: Path) -> TextTower:
    """The text tower of a run, still the one it was trained with."""
    told = f"--text-tower {folder}: was trained with the text tower {trained.text_tower}, which"
    if not Path(trained.text_tower).is_dir():
        raise AnomalystError(
            f"{told} is not there; put it back, or train the recipe again with text_tower=DIR."
        )
    text = TextTower(trained.text_tower)
    if fingerprint(text.model) != trained.fingerprint:
        raise AnomalystError(f"{told} has other weights now; train the recipe again.")
    return text

"""Models opened to be looked into: what reads a picture, what reads a text."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor, nn

from anomalyst.backbones import load_encoder
from anomalyst.backbones.base import to_pixels
from anomalyst.backbones.huggingface import HubEncoder, quiet
from anomalyst.backbones.huggingface_families import HALF
from anomalyst.backbones.huggingface_files import normalisation_of, refuse_absent_weights
from anomalyst.errors import AnomalystError
from anomalyst.io.geometry import canvas_for, resize

CLASSIFIER = "ForImageClassification"
FEWEST_LAYERS = 8  # that a gallery shows of a network which has so many
MOST_CELLS = 16  # patches along a side: a page holds what each looks at


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureModel:
    """A network of pictures (1, C, H, W) as its `pixels` makes them of uint8 (H, W, 3)."""

    name: str
    network: nn.Module
    pixels: Callable[[np.ndarray], Tensor]
    classes: tuple[str, ...] = ()  # of its logits; empty: it gives features
    logits: Callable[[Tensor], Tensor] | None = None  # pixels -> (1, K)

    def layers(self) -> list[str]:
        """The names of its main layers, in order."""
        return layer_names(self.network)


@dataclass(frozen=True, slots=True, kw_only=True)
class TextModel:
    """A network of token ids, and the tokenizer that makes them."""

    name: str
    network: Any
    tokenizer: Any

    def read(self, text: str) -> tuple[dict[str, Tensor], list[str]]:
        """What the network takes of a text, and the tokens as people read them."""
        inputs = dict(self.tokenizer(text, return_tensors="pt"))
        inputs.pop("token_type_ids", None)
        ids = inputs["input_ids"]
        if getattr(self.network.config, "is_encoder_decoder", False):
            inputs["decoder_input_ids"] = ids  # it reads the text on both sides
        return inputs, [self.tokenizer.decode([one]) for one in ids[0].tolist()]


def open_picture_model(source: str) -> PictureModel:
    """`embedded`, `segment` (the shipped segmenter), `run:DIR` of a detector, or a model's folder.

    Raises AnomalystError for anything else, and a folder that cannot be read.
    """
    if source == "segment":
        from anomalyst.segmentation.small import SmallSegmenter

        image = SmallSegmenter.load().network.image.eval()
        return PictureModel(name=source, network=image, pixels=lambda p: _on_canvas(p, 256, 32))
    folder = Path(source.removeprefix("hf:"))
    if (folder / "config.json").is_file():
        kinds = _config(folder).get("architectures") or [""]
        return _classifier(folder) if kinds[0].endswith(CLASSIFIER) else _backbone(folder)
    if source != "embedded" and not source.startswith(("run:", "hf:", "imagebind:")):
        raise AnomalystError(
            f"{source}: is no model that can be opened; give the folder of a saved Hugging Face "
            "model (config.json, *.safetensors), a run's folder, `embedded` or `segment`."
        )
    encoder = load_encoder(source, torch.float32).eval()
    side, multiple = encoder.side_px, encoder.multiple_px
    return PictureModel(
        name=source,
        network=encoder,
        pixels=lambda p: _on_canvas(p, side, multiple),
    )


def open_text_model(source: str) -> TextModel:
    """`language` (what ships), a text run, or the folder of a language model with its tokenizer.

    Raises AnomalystError for a folder without safetensors or tokenizer.
    """
    from anomalyst.inspection.config import EMBEDDED_LANGUAGE
    from anomalyst.vlm.huggingface.loading import load_model
    from anomalyst.vlm.texts.loading import folder_of

    folder = EMBEDDED_LANGUAGE if source == "language" else folder_of(source.removeprefix("hf:"))
    if not (folder / "config.json").is_file():
        raise AnomalystError(
            f"{source}: is no folder with config.json; give that of a saved language model with "
            "its tokenizer, or `language` for the one that ships."
        )
    if _config(folder).get("model_type") == "anomalyst":
        model, processor = load_model(folder)
        return TextModel(name=source, network=model.language_model, tokenizer=processor.tokenizer)
    refuse_absent_weights(str(folder), folder)
    model = _loaded(folder, transformers.AutoModel)
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise AnomalystError(
            f"{folder}: holds no tokenizer that can be read ({_first_line(error)}); save it with "
            "the model (tokenizer.save_pretrained)."
        ) from error
    return TextModel(name=source, network=model, tokenizer=tokenizer)


def layer_names(network: nn.Module, fewest: int = FEWEST_LAYERS) -> list[str]:
    """The largest parts of a network that are called one by one, at least `fewest` if it has them.

    Beginning with its children, the part with most weights is replaced by its own parts; what has
    sisters of its own kind, as the blocks of a transformer have, stays whole.
    """
    parts = dict(_children(network, ""))
    while True:
        inner = {name: _children(part, name) for name, part in parts.items()}
        lists = [name for name, part in parts.items() if isinstance(part, nn.ModuleList)]
        kinds = Counter(type(part) for part in parts.values())
        open_ones = [
            name
            for name, part in parts.items()
            if name in lists or (inner[name] and kinds[type(part)] == 1)
        ]
        if not open_ones or (len(parts) >= fewest and not lists):
            break
        largest = lists[0] if lists else max(open_ones, key=lambda name: _weights(parts[name]))
        parts = {
            new: one
            for name, part in parts.items()
            for new, one in (inner[name] if name == largest else [(name, part)])
        }
    return list(parts)


def _children(module: nn.Module, name: str) -> list[tuple[str, nn.Module]]:
    """The parts of a module that have weights, by their full names."""
    prefix = f"{name}." if name else ""
    return [(prefix + n, part) for n, part in module.named_children() if _weights(part)]


def _weights(module: nn.Module) -> int:
    return sum(one.numel() for one in module.parameters())


def _backbone(folder: Path) -> PictureModel:
    encoder = HubEncoder.load(f"hf:{folder}").eval()
    most = MOST_CELLS * encoder.multiple_px
    side = min(encoder.side_px, most) if encoder.family.tokens else encoder.side_px
    return PictureModel(
        name=str(folder),
        network=encoder,
        pixels=lambda p: _on_canvas(p, side, encoder.multiple_px),
    )


def _classifier(folder: Path) -> PictureModel:
    """A transformers classifier, its pictures squeezed to the square it was made for."""
    refuse_absent_weights(str(folder), folder)
    model = _loaded(folder, transformers.AutoModelForImageClassification)
    config = model.config
    side = config.image_size if isinstance(getattr(config, "image_size", None), int) else 224
    mean, std = (torch.tensor(one).reshape(1, 3, 1, 1) for one in normalisation_of(folder) or HALF)
    names = tuple(str(config.id2label[n]) for n in range(config.num_labels))
    return PictureModel(
        name=str(folder),
        network=model,
        pixels=lambda p: (to_pixels([resize(p, (side, side))]) - mean) / std,
        classes=names,
        logits=lambda pixels: model(pixels).logits,
    )


def _loaded(folder: Path, kind: Any) -> Any:
    try:
        with quiet():
            model = kind.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, dtype=torch.float32
            )
    except Exception as error:  # damaged weights and odd configurations raise unrelated families
        raise AnomalystError(
            f"{folder}: the model cannot be read ({_first_line(error)}); copy it again."
        ) from error
    return model.eval().requires_grad_(False)


def _on_canvas(picture: np.ndarray, side_px: int, multiple_px: int) -> Tensor:
    size_hw = canvas_for(picture.shape[:2], side_px, multiple_px)
    return to_pixels([np.ascontiguousarray(resize(picture, size_hw))])


def _config(folder: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((folder / "config.json").read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise AnomalystError(f"{folder}/config.json: is not readable ({error}).") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]

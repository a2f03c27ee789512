"""A model folder -> model and processor, or one sentence that says what is wrong with it."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from anomalyst.backbones.huggingface import quiet
from anomalyst.errors import AnomalystError
from anomalyst.vlm.dialogue import IMAGE_TOKEN
from anomalyst.vlm.huggingface import AnomalystModel, AnomalystProcessor
from anomalyst.vlm.huggingface.configuration import OWN_VISION

_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


def load_model(folder: Path) -> tuple[AnomalystModel, AnomalystProcessor]:
    """The model of a folder, ready to answer, with its processor.

    Every weight must be there and none left over. Raises AnomalystError for a folder without
    safetensors, a missing shard, weights or a tokenizer that do not fit.
    """
    _checked_files(folder)
    try:
        with quiet():
            model, told = AnomalystModel.from_pretrained(
                folder,
                local_files_only=True,
                use_safetensors=True,
                output_loading_info=True,
                dtype=torch.float32,
            )
            processor = AnomalystProcessor.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise AnomalystError(f"{folder}: the model cannot be read ({reason}).") from error
    kinds = ("missing_keys", "unexpected_keys", "mismatched_keys")
    odd = {kind: sorted(map(str, told[kind])) for kind in kinds if told.get(kind)}
    if odd:
        kind, names = next(iter(odd.items()))
        raise AnomalystError(
            f"{folder}: {kind.split('_')[0]} weights: {', '.join(names[:3])}, {len(names)} in all; "
            "config.json and safetensors must come from the same training."
        )
    _checked_tokenizer(folder, model, processor)
    if model.config.vision == OWN_VISION:
        model.config.vision = own_vision(folder)
    return model.eval().requires_grad_(False), processor


def own_vision(folder: Path) -> str:
    """What a model was trained to see with, as an encoder's specification.

    Raises AnomalystError where it is not beside it.
    """
    vision = folder / OWN_VISION.removeprefix("hf:")
    if not vision.is_dir():
        raise AnomalystError(
            f"{folder}: was trained together with its encoder, and its folder {vision.name} is "
            "missing; copy the whole folder again."
        )
    return f"hf:{vision}"


def check_vision(model: AnomalystModel, encoder: str) -> None:
    """Raises AnomalystError if the model was trained together with another encoder than this."""
    vision = model.config.vision
    same = Path(encoder.removeprefix("hf:")).resolve() == Path(vision.removeprefix("hf:")).resolve()
    if model.config.trained_vision and not (encoder.startswith("hf:") and same):
        raise AnomalystError(
            f"--encoder {encoder}: the language model was trained together with its own encoder; "
            f"teach and inspect with --encoder {vision}."
        )


def _checked_files(folder: Path) -> None:
    """Refuse what cannot be a model folder before any library speaks."""
    if not (folder / "config.json").is_file():
        raise AnomalystError(f"{folder}: holds no config.json; give the folder of a saved model.")
    names = [p.name for p in folder.iterdir()]
    if not any(name.endswith(".safetensors") for name in names):
        pickles = [name for name in names if name.endswith(_PICKLES)]
        found = f"{pickles[0]} is a pickle, which is never loaded" if pickles else "there is none"
        raise AnomalystError(f"{folder}: weights are needed as safetensors; {found}.")
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        try:
            wanted = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        except (ValueError, KeyError, AttributeError) as error:
            raise AnomalystError(f"{index}: is not a readable index ({error}).") from error
        missing = sorted(wanted - set(names))
        if missing:
            raise AnomalystError(
                f"{folder}: {missing[0]} is missing, one of {len(missing)} shards that are; "
                "copy the whole folder again."
            )


def _checked_tokenizer(folder: Path, model: Any, processor: Any) -> None:
    """Refuse a tokenizer of another model: its ids would mean other words."""
    entries = len(processor.tokenizer)
    places = model.get_input_embeddings().num_embeddings
    if entries > places:
        raise AnomalystError(
            f"{folder}: the tokenizer has {entries:,} entries, the model {places:,}; "
            "take the tokenizer that was saved with the model."
        )
    if processor.tokenizer.convert_tokens_to_ids(IMAGE_TOKEN) != model.config.image_token_id:
        raise AnomalystError(
            f"{folder}: the tokenizer does not know {IMAGE_TOKEN} as the model does; "
            "take the tokenizer that was saved with the model."
        )

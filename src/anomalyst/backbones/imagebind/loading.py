"""A model's folder: config.json and model.safetensors, written whole and read strictly."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from anomalyst.backbones.imagebind.config import ImageBindConfig
from anomalyst.backbones.imagebind.model import ImageBind
from anomalyst.config import from_mapping, to_mapping
from anomalyst.errors import AnomalystError
from anomalyst.io.files import folder_written_whole, write_text, written_whole

MODEL_TYPE = "anomalyst_imagebind"
CONFIG, WEIGHTS = "config.json", "model.safetensors"


def save(model: ImageBind, folder: Path, texts: Mapping[str, str] | None = None) -> None:
    """Write the model, and text files by name beside it: a licence, where the weights have one.

    Raises AnomalystError if the folder cannot be written.
    """
    write_folder(folder, model.config, model.state_dict(), texts or {})


def write_folder(
    folder: Path,
    config: ImageBindConfig,
    weights: Mapping[str, Tensor],
    texts: Mapping[str, str],
) -> None:
    """`save` for weights that no model holds."""
    values = {"model_type": MODEL_TYPE} | to_mapping(config)
    with folder_written_whole(folder) as part:
        whole = {name: value.detach().contiguous() for name, value in weights.items()}
        # Through written_whole, since safetensors alone would make the file private.
        with written_whole(part / WEIGHTS) as file:
            save_file(whole, file)
        write_text(part / CONFIG, json.dumps(values, indent=2) + "\n")
        for name, text in texts.items():
            write_text(part / name, text)


def load(folder: Path, *modalities: str) -> ImageBind:
    """The model of a folder, ready to infer; with `modalities`, only these towers of it.

    Raises AnomalystError for a folder without such a model, weights that are damaged, missing or
    to spare, or a sense that it has no tower for.
    """
    config = read_config(folder)
    if modalities:
        config = config.only(*modalities)
    with torch.device("meta"):  # no memory and no time for weights that are replaced at once
        model = ImageBind(config)
    weights = _read_weights(folder / WEIGHTS, config)
    _refuse_others(model, weights, folder)
    model.load_state_dict(weights, assign=True)
    return model.eval().requires_grad_(False)


def read_config(folder: Path) -> ImageBindConfig:
    """What its config.json says. Raises AnomalystError if it is none of an ImageBind of ours."""
    path = folder / CONFIG
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AnomalystError(
            f"{folder}: has no readable {CONFIG} ({error}); give a folder that `anomalyst convert "
            "imagebind` or a training wrote."
        ) from error
    if not isinstance(values, dict) or values.pop("model_type", None) != MODEL_TYPE:
        raise AnomalystError(f"{path}: is not of an ImageBind of ours (model_type {MODEL_TYPE!r}).")
    return from_mapping(ImageBindConfig, values, where=str(path))


def _read_weights(path: Path, config: ImageBindConfig) -> dict[str, Tensor]:
    """The tensors of the towers of `config`, and whatever belongs to no tower."""
    whole = read_config(path.parent).modalities
    left_aside = tuple(f"towers.{m}." for m in whole if m not in config.modalities)
    try:
        with safe_open(str(path), framework="pt") as file:
            names = [name for name in file.keys() if not name.startswith(left_aside)]  # noqa: SIM118
            return {name: file.get_tensor(name) for name in names}
    except (SafetensorError, OSError) as error:
        raise AnomalystError(f"{path}: is not a whole safetensors file ({error}).") from error


def _refuse_others(model: ImageBind, weights: Mapping[str, Tensor], folder: Path) -> None:
    """AnomalystError unless names and shapes are the model's."""
    wanted = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in weights.items()}
    for names, what in (
        (wanted.keys() - found.keys(), "lacks"),
        (found.keys() - wanted.keys(), "has"),
    ):
        if names:
            raise AnomalystError(
                f"{folder / WEIGHTS}: {what} {len(names)} weights that its {CONFIG} "
                f"{'needs' if what == 'lacks' else 'knows nothing of'} ({sorted(names)[0]}, ...)."
            )
    for name, shape in wanted.items():
        if found[name] != shape:
            raise AnomalystError(
                f"{folder / WEIGHTS}: {name} is {list(found[name])}; its {CONFIG} says "
                f"{list(shape)}."
            )

"""What a network's layers made of pictures at each checkpoint of its run."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from anomalyst.errors import AnomalystError
from anomalyst.explaining.learning_speed import as_rows
from anomalyst.explaining.opening import PictureModel
from anomalyst.explaining.record import recorded

FEWEST, FEWEST_PICTURES = 3, 4
PART = "model."  # of a checkpoint's tensors: the weights themselves, not their average


def features_by_checkpoint(
    run: Path,
    model: PictureModel,
    pictures: Sequence[np.ndarray],
    *,
    on_checkpoint: Callable[[int, int], None] = lambda *_: None,
) -> tuple[list[int], list[dict[str, Tensor]]]:
    """Steps, and of each the features (N, D) of every layer; the model is left as it was.

    Raises AnomalystError for fewer than three checkpoints or four pictures, and for checkpoints
    that hold another network.
    """
    folders = sorted((run / "checkpoints").glob("step-*"))
    if len(folders) < FEWEST:
        raise AnomalystError(
            f"{run}: keeps {len(folders)} checkpoints, and how fast layers learn needs {FEWEST}; "
            "train it with, for example, checkpoint_every=50 keep_checkpoints=100."
        )
    if len(pictures) < FEWEST_PICTURES:
        raise AnomalystError(
            f"{len(pictures)} pictures: likeness of features needs {FEWEST_PICTURES}, better 20."
        )
    pixels = [model.pixels(one) for one in pictures]
    before = {name: value.clone() for name, value in model.network.state_dict().items()}
    found, steps = [], []
    try:
        for number, folder in enumerate(folders, start=1):
            fill_from(model.network, _tensors(folder), folder)
            found.append(_features(model, pixels))
            steps.append(int(folder.name.removeprefix("step-")))
            on_checkpoint(number, len(folders))
    finally:
        model.network.load_state_dict(before)
    return steps, found


def fill_from(network: nn.Module, tensors: Mapping[str, Tensor], folder: Path) -> None:
    """Load the part of a task's tensors that is this network, whatever it is called there.

    What is frozen is in no checkpoint and stays. Raises AnomalystError where none of it fits.
    """
    own = network.state_dict()
    trained = {name for name, one in network.named_parameters()}
    prefixes = {""} | {
        name[: -len(end)] for end in list(own)[:1] + list(own)[-3:] for name in tensors
        if name.endswith(end)
    }  # fmt: skip
    matched = [
        {name: tensors[prefix + name] for name in own if prefix + name in tensors}
        for prefix in prefixes
    ]
    best = max(matched, key=len)
    if len(best.keys() & trained) < len(trained) / 2 or any(
        value.shape != own[name].shape for name, value in best.items()
    ):
        raise AnomalystError(
            f"{folder}: holds another network than the run's ({len(best)} of {len(own)} tensors "
            "have a place in it); give the folder of a run whose network reads pictures."
        )
    network.load_state_dict(best, strict=False)


def _tensors(folder: Path) -> dict[str, Tensor]:
    try:
        with safe_open(str(folder / "trained.safetensors"), framework="pt") as file:
            names = [name for name in file.keys() if name.startswith(PART)]  # noqa: SIM118
            return {name.removeprefix(PART): file.get_tensor(name) for name in names}
    except (SafetensorError, OSError) as error:
        raise AnomalystError(f"{folder}: is no whole checkpoint ({error}); delete it.") from error


def _features(model: PictureModel, pixels: Sequence[Tensor]) -> dict[str, Tensor]:
    rows: dict[str, list[Tensor]] = {}
    for one in pixels:
        with torch.no_grad(), recorded(model.network, features=model.layers()) as record:
            model.network(one)
        for name, value in record.features.items():
            rows.setdefault(name, []).append(as_rows(value.float()))
    return {name: torch.cat(values) for name, values in rows.items()}

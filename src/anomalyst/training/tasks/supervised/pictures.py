"""The set in memory: uint8 tensors, the same order of rows for every process."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from anomalyst.datasets.labelled import LabelledSet, Opened, open_labelled
from anomalyst.errors import AnomalystError
from anomalyst.io.files import written_whole
from anomalyst.training.tasks.supervised.recipe import SupervisedRecipe


@dataclass(frozen=True, slots=True)
class Part:
    """Train or test."""

    pixels: Tensor  # uint8 (N, C, S, S)
    labels: Tensor  # int64 (N,)
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True)
class Pictures:
    """Both, and what was remarkable about them."""

    train: Part
    test: Part
    notes: tuple[str, ...]


def read_pictures(recipe: SupervisedRecipe) -> Pictures:
    """The recipe's set, opened, or as `recipe.kept` has it. Raises as `open_labelled`."""
    found = recipe.listed()
    mark = f"{found.fingerprint()} {recipe.size} {recipe.channels} {','.join(found.classes)}"
    kept = Path(recipe.kept) if recipe.kept else None
    pictures = _kept(kept, mark) if kept and kept.is_file() else None
    if pictures is None:
        pictures = _opened(recipe, found)
        if kept:
            _keep(kept, mark, pictures)
    for name, part in (("train", pictures.train), ("test", pictures.test)):
        missing = set(range(len(found.classes))) - set(part.labels.tolist())
        if missing:
            gone = ", ".join(repr(found.classes[i]) for i in sorted(missing))
            raise AnomalystError(
                f"{recipe.data}: of {gone} no picture in {name} can be opened; mend the files."
            )
    return pictures


def _opened(recipe: SupervisedRecipe, found: LabelledSet) -> Pictures:
    channels = recipe.channels or 3
    train = open_labelled(found.train, found.classes, recipe.size, channels)
    test = open_labelled(found.test, found.classes, recipe.size, channels)
    notes = dict.fromkeys([*found.notes, *train.notes, *(f"Test: {x}" for x in test.notes)])
    return Pictures(_part(train), _part(test), tuple(notes))


def _part(opened: Opened) -> Part:
    pixels = torch.from_numpy(opened.pixels).permute(0, 3, 1, 2).contiguous()  # (N, C, S, S)
    return Part(pixels, torch.from_numpy(opened.labels), opened.names)


def _keep(path: Path, mark: str, pictures: Pictures) -> None:
    tensors: dict[str, Tensor] = {}
    for name, part in (("train", pictures.train), ("test", pictures.test)):
        tensors |= {f"{name}.pixels": part.pixels, f"{name}.labels": part.labels}
    told = {"train": pictures.train.names, "test": pictures.test.names, "notes": pictures.notes}
    with written_whole(path) as whole:
        save_file(tensors, whole, {"mark": mark, "told": json.dumps(told)})


def _kept(path: Path, mark: str) -> Pictures | None:
    """What the file keeps; None where it is of another set, size or mode."""
    try:
        with safe_open(str(path), framework="pt") as file:
            note = file.metadata() or {}
            if note.get("mark") != mark:
                return None
            told = json.loads(note["told"])
            train, test = (
                Part(file.get_tensor(f"{n}.pixels"), file.get_tensor(f"{n}.labels"), tuple(told[n]))
                for n in ("train", "test")
            )
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise AnomalystError(f"kept: {path} cannot be read ({error}); delete it.") from error
    return Pictures(train, test, tuple(told["notes"]))

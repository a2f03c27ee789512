"""Sensed parts drawn once, as the towers read them: a folder that several runs may share."""

import json
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from anomalyst.backbones.drawn_senses import (
    Words,
    depth_input,
    heat_input,
    imagenet_trunk,
    imu_values,
    picture_pixels,
    seen_by_trunk,
    sound_input,
)
from anomalyst.errors import AnomalystError
from anomalyst.io.files import written_whole
from anomalyst.synthetic.procedural.families import FAMILIES, HELD_OUT
from anomalyst.synthetic.senses.conditions import CONDITION_OF, CONDITIONS
from anomalyst.synthetic.senses.part import SensedPart, SensesConfig, make_sensed_part
from anomalyst.training.task import Share, prefetched

LOT = 250  # parts in a file: a drawing that was cut off goes on after the last whole one
OTHER_SEED = 1 << 41  # known families, products never trained on
HELD_OUT_SEED = 1 << 42  # families never trained on
FAMILY_NAMES, KIND_NAMES = tuple(FAMILIES), ("", *CONDITION_OF)
PARTS = ("train", "seen", "unseen")  # trained on; new products of its families; new families


@dataclass(frozen=True, slots=True, kw_only=True)
class PairsConfig:
    """How many parts are drawn."""

    parts: int = 4000  # to train on, of families that are not held out
    held_out: int = 500  # new products of these families, and as many of families never seen
    world: SensesConfig = field(default_factory=SensesConfig)

    def __post_init__(self) -> None:
        if self.parts < 2 or self.held_out < 2 or self.world.families or self.world.without:
            raise AnomalystError(
                "pairs: parts and held_out are 2 or more, and families are chosen by what is held "
                "out; leave world.families and world.without empty."
            )


@dataclass(frozen=True, slots=True)
class Pairs:
    """Parts as the towers read them, row by row the same part."""

    senses: dict[str, Tensor]  # image (N, 320, 8, 8), audio, depth, thermal, imu: float16
    pixels: Tensor  # uint8 (N, 3, 128, 128)
    texts: list[list[str]]  # captions of each part
    labels: dict[str, Tensor]  # family, condition, kind: int64 (N,) by the names of this file

    def __len__(self) -> int:
        return len(self.pixels)

    def rows(self, index: Tensor) -> "Pairs":
        """Some of the parts."""
        return Pairs(
            {name: x[index] for name, x in self.senses.items()},
            self.pixels[index],
            [self.texts[i] for i in index.tolist()],
            {name: x[index] for name, x in self.labels.items()},
        )


def read_pairs(folder: Path, config: PairsConfig, which: str, workers: int) -> Pairs:
    """The parts `which` of `PARTS`; what the folder lacks is drawn first.

    Raises AnomalystError where the folder holds pairs of another config.
    """
    assert which in PARTS
    _refuse_other_world(folder, config)
    count = config.parts if which == "train" else config.held_out
    lots = range(0, count, LOT)
    for first in lots:
        path = folder / f"{which}-{first:06d}.safetensors"
        if not path.is_file():
            _draw_lot(path, config, which, range(first, min(first + LOT, count)), workers)
    return _joined([folder / f"{which}-{first:06d}.safetensors" for first in lots])


def words_in(pairs: Pairs) -> Words:
    """The vocabulary of their captions."""
    return Words.of(text for texts in pairs.texts for text in texts)


def _refuse_other_world(folder: Path, config: PairsConfig) -> None:
    path = folder / "pairs.json"
    world = {"size_px": config.world.size_px, "captions": config.world.captions,
             "faulty_share": config.world.faulty_share}  # fmt: skip
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as part:
            part.write_text(json.dumps(world) + "\n", encoding="utf-8")
    if (there := json.loads(path.read_text(encoding="utf-8"))) != world:
        raise AnomalystError(
            f"{folder}: holds pairs drawn by {there}, not by {world}; choose another folder."
        )


def _draw_lot(path: Path, config: PairsConfig, which: str, numbers: range, workers: int) -> None:
    draw = partial(_drawn, config.world, which)
    found = list(prefetched(draw, numbers, Share(), workers))
    # Copied, for a tensor of another process holds an open file each.
    tensors = {
        name: torch.stack([one[name].clone() for one in found])
        for name in found[0]
        if name != "texts"
    }
    trunk = imagenet_trunk()
    image = [seen_by_trunk(trunk, part).half() for part in tensors["pixels"].split(50)]
    tensors["image"] = torch.cat(image).contiguous()
    texts = [list(one["texts"]) for one in found]
    with written_whole(path) as part_file:
        save_file(tensors, part_file, {"texts": json.dumps(texts)})


def _drawn(world: SensesConfig, which: str, number: int, part: int) -> dict[str, Any]:
    del part  # lots are shared out by files
    others = HELD_OUT if which != "unseen" else tuple(n for n in FAMILIES if n not in HELD_OUT)
    first = {"train": 0, "seen": OTHER_SEED, "unseen": HELD_OUT_SEED}[which]
    return as_read(make_sensed_part(first + number, replace(world, without=others)))


def as_read(part: SensedPart) -> dict[str, Any]:
    """One part as the towers read it, but for the image, which is read in batches."""
    truth = part.truth
    labels = (
        ("family", FAMILY_NAMES.index(truth.seen.family)),
        ("condition", CONDITIONS.index(truth.condition)),
        ("kind", KIND_NAMES.index(truth.kind)),
    )
    return {
        "pixels": picture_pixels(part.picture),
        "depth": depth_input(part.depth_mm).half(),
        "thermal": heat_input(part.heat_c).half(),
        "audio": sound_input(part.sound).half(),
        "imu": imu_values(part.imu).half(),
        "texts": part.sentences,
        **{name: torch.tensor(number) for name, number in labels},
    }


def _joined(paths: list[Path]) -> Pairs:
    lots = [load_file(path) for path in paths]
    whole = {name: torch.cat([lot[name] for lot in lots]) for name in lots[0]}
    texts: list[list[str]] = []
    for path in paths:
        with safe_open(str(path), framework="pt") as file:
            texts += json.loads(file.metadata()["texts"])
    senses = {name: whole[name] for name in ("image", "audio", "depth", "thermal", "imu")}
    labels = {name: whole[name] for name in ("family", "condition", "kind")}
    return Pairs(senses, whole["pixels"], texts, labels)

"""Real-IAD (Wang et al., CVPR 2024) as its authors publish it.

    realiad_{256,512,1024,raw}/CATEGORY/OK/S0001/NAME_C1_TIME.jpg
    realiad_.../CATEGORY/NG/DEFECT/S0001/NAME_C1_TIME.jpg       NAME_C1_TIME.png is its mask
    realiad_jsons/realiad_jsons/CATEGORY.json                   beside it: {meta, train, test}

The folder may be the whole set (its largest pictures are read), one size, or one category. With a
category's JSON the split is the published one; those of one view (realiad_jsons_sv) are taken where
only they are there. Without, the parts of the first four fifths of the OK folders train. `extra`
holds the view (C1 to C5) and the part's own number: five pictures show one part.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from anomalyst.datasets.folders import pictures_below, pictures_in, subfolders
from anomalyst.datasets.splits import by_name_order
from anomalyst.datasets.tables import read_text
from anomalyst.errors import AnomalystError
from anomalyst.types import Sample, Split

LOOKS_FOR = "realiad_1024/CATEGORY/{OK,NG}/..., with or without realiad_jsons/CATEGORY.json"
SIZES = ("realiad_raw", "realiad_1024", "realiad_512", "realiad_256")  # the largest first
JSONS = ("realiad_jsons/realiad_jsons", "realiad_jsons", "realiad_jsons/realiad_jsons_sv",
         "realiad_jsons_sv")  # fmt: skip
GOOD, BAD = "OK", "NG"
SPLITS: tuple[Split, ...] = ("train", "test")
VIEW = re.compile(r"_(C\d+)_")


def matches(root: Path) -> bool:
    """Whether `root` is such a set, one size of it, or one category."""
    return bool(_categories(root))


def read(root: Path) -> list[Sample]:
    """Every picture, by category, as its JSON lists them, or by folder.

    Raises AnomalystError if a JSON is not in order.
    """
    found = []
    for category in _categories(root):
        listed = _json_of(category)
        found += _read_json(category, listed) if listed else _read_folders(category)
    return found


def masks(root: Path) -> list[Path]:
    """The masks that belong to no picture: a list of one view leaves out those of the others."""
    below = [p for c in _categories(root) for p in pictures_below(c / BAD)]
    pictures = {p.with_suffix("") for p in below if p.suffix.lower() != ".png"}
    masks = (p for p in below if p.suffix.lower() == ".png")
    return [p for p in masks if p.with_name(p.stem.removesuffix("_mask")) not in pictures]


def _categories(root: Path) -> list[Path]:
    for base in (root, *(root / size for size in SIZES)):
        found = [f for f in (base, *subfolders(base)) if _is_category(f)]
        if found:
            return found
    return []


def _is_category(folder: Path) -> bool:
    return any(subfolders(folder / GOOD)) and (folder / BAD).is_dir()


def _json_of(category: Path) -> Path | None:
    """Beside the sizes, or beside the categories."""
    name = f"{category.resolve().name}.json"
    bases = (category.resolve().parent, category.resolve().parent.parent)
    files = (base / place / name for base in bases for place in JSONS)
    return next((file for file in files if file.is_file()), None)


def _read_json(category: Path, file: Path) -> list[Sample]:
    try:
        listed = json.loads(read_text(file))
        normal = listed.get("meta", {}).get("normal_class", GOOD)
        return [
            _listed(category, entry, normal, split)
            for split in SPLITS
            for entry in listed.get(split, ())
        ]
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError) as error:
        raise AnomalystError(
            f"{file}: is not one of Real-IAD's lists ({type(error).__name__}: {error}); "
            "{train: [{image_path, mask_path, anomaly_class}], test: [...]} is needed. Download it "
            "again, or take it away to read the folders as they are."
        ) from error


def _listed(category: Path, entry: Mapping[str, Any], normal: str, split: Split) -> Sample:
    defect = entry["anomaly_class"]
    mask = entry.get("mask_path")
    sample = _sample(category, _of(category, entry["image_path"]))
    if defect == normal:
        return replace(sample, split=split)
    mask = _of(category, mask) if mask else None
    return replace(sample, split=split, label="anomalous", defect=str(defect), mask=mask)


def _of(category: Path, path: str) -> Path:
    """A listed path below the category; some lists begin with the category's own folder."""
    own = Path(path.replace("\\", "/"))
    return category.joinpath(*own.parts[1:]) if own.parts[0] == category.name else category / own


def _read_folders(category: Path) -> list[Sample]:
    found = []
    parts = subfolders(category / GOOD)
    train = set(by_name_order(parts)[0])
    for part in parts:
        split: Split = "train" if part in train else "test"
        found += [replace(_sample(category, image), split=split) for image, _ in _pairs(part)]
    for kind in subfolders(category / BAD):
        for image, mask in (pair for part in subfolders(kind) for pair in _pairs(part)):
            sample = _sample(category, image)
            found.append(replace(sample, label="anomalous", defect=kind.name, mask=mask))
    return found


def _pairs(part: Path) -> list[tuple[Path, Path | None]]:
    """The pictures of a part, and their masks where they have one."""
    files = pictures_in(part)
    masks = {p.stem.removesuffix("_mask"): p for p in files if p.suffix.lower() == ".png"}
    return [(p, masks.get(p.stem)) for p in files if p.suffix.lower() != ".png"]


def _sample(category: Path, image: Path) -> Sample:
    """A good test picture, with what its names say."""
    view = VIEW.search(image.name)
    extra = {"part": image.parent.name} | ({"view": view[1]} if view else {})
    return Sample(image=image, label="normal", category=category.resolve().name, extra=extra)

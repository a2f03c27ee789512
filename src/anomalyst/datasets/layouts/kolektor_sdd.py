"""KolektorSDD (Tabernik et al., JIM 2020) as its authors publish it.

    kos01/Part0.jpg      kos01/Part0_label.bmp      one label a picture, black where it is good

What is good only the labels say, so each is opened once. The set brings no split: of the good
pictures, by their items' names, the first four fifths train; the others and all defective ones
test.
"""

from dataclasses import replace
from pathlib import Path

from anomalyst.datasets.folders import pictures_in, says_normal, subfolders
from anomalyst.datasets.label_files import labelled_pairs, unpaired_labels
from anomalyst.datasets.splits import by_name_order
from anomalyst.types import Sample

LOOKS_FOR = "ITEM/NAME.jpg with ITEM/NAME_label.bmp beside it"
LABEL = "_label"


def matches(root: Path) -> bool:
    """Whether the folders in `root` hold pictures, each with its label beside it."""
    return bool(_items(root))


def read(root: Path) -> list[Sample]:
    """Every picture, by item and name; one category, which is called as the folder is."""
    samples = []
    for item in _items(root):
        found = labelled_pairs(pictures_in(item), LABEL, root.resolve().name)
        samples += [replace(s, extra={"item": item.name}) for s in found]
    normals = [s.image for s in samples if s.label == "normal"]
    train = set(by_name_order(normals)[0])
    return [replace(s, split="train") if s.image in train else s for s in samples]


def masks(root: Path) -> list[Path]:
    """The labels that belong to no picture; the others are read with their pictures."""
    return [label for item in _items(root) for label in unpaired_labels(pictures_in(item), LABEL)]


def _items(root: Path) -> list[Path]:
    folders = subfolders(root)
    if pictures_in(root) or any(says_normal(f) for f in folders):
        return []
    return [f for f in folders if _holds_labels(f)]


def _holds_labels(folder: Path) -> bool:
    stems = {p.stem for p in pictures_in(folder)}
    return any(f"{stem}{LABEL}" in stems for stem in stems)

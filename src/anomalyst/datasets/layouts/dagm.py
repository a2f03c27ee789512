"""DAGM 2007 (Wieler and Hahn), drawn textures, as it is downloaded.

    Class1/{Train,Test}/0576.PNG
    Class1/{Train,Test}/Label/0576_label.PNG     of defective pictures only: an ellipse around it
    Class1/{Train,Test}/Label/Labels.txt         not read: the same in words

A picture with a label is anomalous; such pictures are in Train, too. Masks are coarse: every pixel
metric is of ellipses. A split without a folder Label has label None.
"""

from pathlib import Path

from anomalyst.datasets.folders import pictures_in, subfolders
from anomalyst.types import Sample, Split

LOOKS_FOR = "Class1/Train/Label/NAME_label.PNG, Class1 any name"
SPLITS: dict[str, Split] = {"Train": "train", "Test": "test"}
LABEL = "_label"


def matches(root: Path) -> bool:
    """Whether `root` is such a class or holds one."""
    return bool(_classes(root))


def read(root: Path) -> list[Sample]:
    """Every picture, by class, split and name."""
    return [
        sample
        for folder in _classes(root)
        for published, split in SPLITS.items()
        for sample in _read_split(folder, folder / published, split)
    ]


def masks(root: Path) -> list[Path]:
    """Every label file of the set, whether a picture belongs to it or not."""
    return [m for c in _classes(root) for split in SPLITS for m in _labels(c / split)]


def _classes(root: Path) -> list[Path]:
    return [f for f in (root, *subfolders(root)) if any(_labels(f / s) for s in SPLITS)]


def _labels(split: Path) -> list[Path]:
    return [p for p in pictures_in(split / "Label") if p.stem.lower().endswith(LABEL)]


def _read_split(folder: Path, place: Path, split: Split) -> list[Sample]:
    marked = {p.stem[: -len(LABEL)]: p for p in _labels(place)}
    known = (place / "Label").is_dir()
    return [
        Sample(
            image=image,
            label=("anomalous" if image.stem in marked else "normal") if known else None,
            split=split,
            mask=marked.get(image.stem),
            category=folder.resolve().name,
            defect="defect" if image.stem in marked else None,
        )
        for image in pictures_in(place)
    ]

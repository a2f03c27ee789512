"""MVTec 3D-AD (Bergmann et al., VISAPP 2022) as its authors publish it.

    CATEGORY/{train,validation}/good/rgb/000.png      .../good/xyz/000.tiff
    CATEGORY/test/DEFECT/rgb/000.png                  xyz/000.tiff, gt/000.png

The picture is the sample; `extra["xyz"]` names its positions (a TIFF of x, y and z in metres), of
which the depth sense reads z: `teach --depth CATEGORY/train/good/xyz --depth-unit m`. The good
pictures of `validation` train, too; `extra["published_split"]` tells them apart.
"""

from dataclasses import replace
from pathlib import Path

from anomalyst.datasets.folders import (
    itself_or_inside,
    masks_in,
    samples_in,
    says_normal,
    subfolders,
)
from anomalyst.types import Sample, Split

LOOKS_FOR = "CATEGORY/test/DEFECT/rgb with xyz and gt beside it"
SPLITS: dict[str, Split] = {"train": "train", "validation": "train", "test": "test"}


def matches(root: Path) -> bool:
    """Whether `root` is such a category or holds one."""
    return bool(_categories(root))


def read(root: Path) -> list[Sample]:
    """Every picture, by category, published split, defect and name."""
    found = []
    for category in _categories(root):
        for published, split in SPLITS.items():
            for kind in subfolders(category / published):
                found += _read_kind(category, kind, published, split)
    return found


def masks(root: Path) -> list[Path]:
    """Every mask of a defect; those of good pictures are there, too, and mark nothing."""
    kinds = [kind for c in _categories(root) for kind in subfolders(c / "test")]
    return [mask for kind in kinds if not says_normal(kind) for mask in masks_in(kind / "gt")]


def _categories(root: Path) -> list[Path]:
    return itself_or_inside(root, _is_category)


def _is_category(folder: Path) -> bool:
    kinds = subfolders(folder / "train") + subfolders(folder / "test")
    return any((kind / "rgb").is_dir() for kind in kinds)


def _read_kind(category: Path, kind: Path, published: str, split: Split) -> list[Sample]:
    name, defect = category.resolve().name, "" if says_normal(kind) else kind.name
    samples = samples_in(kind / "rgb", name, split=split, defect=defect, truth=kind / "gt")
    found = []
    for sample in samples:
        xyz = (kind / "xyz" / sample.image.name).with_suffix(".tiff")
        extra = {"published_split": published} | ({"xyz": str(xyz)} if xyz.is_file() else {})
        found.append(replace(sample, extra=extra))
    return found

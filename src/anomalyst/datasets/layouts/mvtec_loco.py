"""MVTec LOCO AD (Bergmann et al., IJCV 2022) as its authors publish it.

    CATEGORY/train/good/000.png          validation/good/000.png
    CATEGORY/test/good/000.png           test/{logical,structural}_anomalies/000.png
    CATEGORY/ground_truth/KIND/000/...png             several masks of one picture
    CATEGORY/defects_config.json                      not read: what each grey value means

The good pictures of `validation` train, too; `extra["published_split"]` tells them apart. The
masks of a picture are joined.
"""

from dataclasses import replace
from pathlib import Path

from anomalyst.datasets.folders import (
    itself_or_inside,
    kinds_in,
    masks_by_kind,
    samples_in,
    says_normal,
    subfolders,
)
from anomalyst.types import Sample

LOOKS_FOR = "CATEGORY/validation/good beside train and test, or ground_truth/DEFECT/NAME/MASK.png"


def matches(root: Path) -> bool:
    """Whether `root` is such a category or holds one."""
    return bool(_categories(root))


def read(root: Path) -> list[Sample]:
    """Every picture, by category, split, folder and name."""
    return [s for category in _categories(root) for s in _read_category(category)]


def masks(root: Path) -> list[Path]:
    """Every mask of the set, a folder where it is in several files."""
    return [mask for c in _categories(root) for mask in masks_by_kind(c / "ground_truth")]


def _categories(root: Path) -> list[Path]:
    return itself_or_inside(root, _is_category)


def _is_category(folder: Path) -> bool:
    if not subfolders(folder / "test"):
        return False
    validates = any(says_normal(f) for f in subfolders(folder / "validation"))
    return validates or any(subfolders(kind) for kind in subfolders(folder / "ground_truth"))


def _read_category(category: Path) -> list[Sample]:
    name, truth = category.resolve().name, category / "ground_truth"
    found = kinds_in(category / "train", name, split="train", truth=truth)
    for good in filter(says_normal, subfolders(category / "validation")):
        extra = {"published_split": "validation"}
        found += [replace(s, extra=extra) for s in samples_in(good, name, split="train")]
    return found + kinds_in(category / "test", name, split="test", truth=truth)

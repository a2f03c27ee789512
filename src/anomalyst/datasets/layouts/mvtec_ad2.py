"""MVTec AD 2 (Heckler-Kram et al., 2025) as its authors publish it.

    CATEGORY/train/good/000_regular.png      validation/good/000_regular.png
    CATEGORY/test_public/good/...            test_public/bad/000_overexposed.png
    CATEGORY/test_public/ground_truth/bad/000_overexposed_mask.png
    CATEGORY/test_private/000_regular.png    test_private_mixed/000_mixed.png

The good pictures of `validation` train, too. What is wrong with the private test pictures is not
published: label None. `extra["light"]` holds what follows the number in a picture's name,
`extra["published_split"]` the folder.
"""

from dataclasses import replace
from pathlib import Path

from anomalyst.datasets.folders import (
    masks_by_kind,
    pictures_in,
    samples_in,
    says_normal,
    subfolders,
)
from anomalyst.types import Sample

LOOKS_FOR = "CATEGORY/test_public/{good,bad} beside train/good"
PUBLIC, TRUTH = "test_public", "ground_truth"
PRIVATE = ("test_private", "test_private_mixed")


def matches(root: Path) -> bool:
    """Whether `root` is such a category or holds one."""
    return bool(_categories(root))


def read(root: Path) -> list[Sample]:
    """Every picture, by category, published split, folder and name."""
    return [s for category in _categories(root) for s in _read_category(category)]


def masks(root: Path) -> list[Path]:
    """Every mask file of the set, whether a picture belongs to it or not."""
    return [mask for c in _categories(root) for mask in masks_by_kind(c / PUBLIC / TRUTH)]


def _categories(root: Path) -> list[Path]:
    return [f for f in (root, *subfolders(root)) if subfolders(f / PUBLIC)]


def _read_category(category: Path) -> list[Sample]:
    name, found = category.resolve().name, list[Sample]()
    for published in ("train", "validation"):
        for good in filter(says_normal, subfolders(category / published)):
            found += _told(samples_in(good, name, split="train"), published)
    for kind in subfolders(category / PUBLIC):
        if kind.name != TRUTH:
            defect = "" if says_normal(kind) else kind.name
            truth = category / PUBLIC / TRUTH / kind.name
            found += _told(samples_in(kind, name, defect=defect, truth=truth), PUBLIC)
    for published in PRIVATE:
        pictures = pictures_in(category / published)
        found += _told([Sample(image=p, label=None, category=name) for p in pictures], published)
    return found


def _told(samples: list[Sample], published: str) -> list[Sample]:
    """The samples with the light in their names and the split they were published in."""
    told = []
    for sample in samples:
        light = sample.image.stem.partition("_")[2]
        extra = {"published_split": published} | ({"light": light} if light else {})
        told.append(replace(sample, extra=extra))
    return told

"""BTAD, the beanTech set (Mishra et al., ISIE 2021), as its authors publish it.

    {01,02,03}/train/ok/0000.bmp
    {01,02,03}/test/ok/0000.bmp            test/ko/0000.bmp
    {01,02,03}/ground_truth/ko/0000.png    of the third product .bmp

A picture and its mask have one name, whatever the suffixes.
"""

from pathlib import Path

from anomalyst.datasets.folders import kinds_in, masks_in, subfolders
from anomalyst.types import Sample

LOOKS_FOR = "PRODUCT/train/ok and PRODUCT/test/ko"


def matches(root: Path) -> bool:
    """Whether `root` is such a product or holds one."""
    return bool(_products(root))


def read(root: Path) -> list[Sample]:
    """Every picture, by product, split, folder and name."""
    found = []
    for product in _products(root):
        name, truth = product.resolve().name, product / "ground_truth"
        found += kinds_in(product / "train", name, split="train", truth=truth)
        found += kinds_in(product / "test", name, split="test", truth=truth)
    return found


def masks(root: Path) -> list[Path]:
    """Every mask file of the set, whether a picture belongs to it or not."""
    return [mask for p in _products(root) for mask in masks_in(p / "ground_truth" / "ko")]


def _products(root: Path) -> list[Path]:
    candidates = (root, *subfolders(root))
    return [f for f in candidates if (f / "train" / "ok").is_dir() and (f / "test" / "ko").is_dir()]

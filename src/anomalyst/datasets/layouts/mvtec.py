"""The MVTec-AD layout (Bergmann et al., CVPR 2019), the one most inspection sets are kept in.

    CATEGORY/train/good/NAME.png
    CATEGORY/test/good/NAME.png        test/DEFECT/NAME.png
    CATEGORY/ground_truth/DEFECT/NAME_mask.png       may be missing: no pixel truth
    CATEGORY/ground_truth/DEFECT/NAME/...png         several masks of one picture, joined
    CATEGORY/index.csv                               may be missing

The folder may hold categories or be one. `index.csv` has a column `file`, relative to the
category; its column `template` names the golden sample of that picture, further columns are kept
in `Sample.extra`.
"""

from dataclasses import replace
from pathlib import Path

from anomalyst.datasets.folders import (
    itself_or_inside,
    kinds_in,
    masks_by_kind,
    says_normal,
    subfolders,
)
from anomalyst.datasets.tables import Row, read_csv
from anomalyst.types import Sample, Split

LOOKS_FOR = "CATEGORY/train/good and CATEGORY/test/DEFECT, or one such category"


def matches(root: Path) -> bool:
    """Whether `root` is such a category or holds one."""
    return bool(_categories(root))


def read(root: Path) -> list[Sample]:
    """Every picture, by category, split, folder and name.

    Raises AnomalystError if an `index.csv` is not in order.
    """
    return [s for category in _categories(root) for s in _read_category(category)]


def masks(root: Path) -> list[Path]:
    """Every mask file of the set, whether a picture belongs to it or not."""
    return [mask for c in _categories(root) for mask in masks_by_kind(c / "ground_truth")]


def _categories(root: Path) -> list[Path]:
    return itself_or_inside(root, _is_category)


def _is_category(folder: Path) -> bool:
    trains = any(says_normal(f) for f in subfolders(folder / "train"))
    return trains or bool(subfolders(folder / "test"))


def _read_category(category: Path) -> list[Sample]:
    index, notes = category / "index.csv", dict[Path, Row]()
    if index.exists():
        notes = {category / row.posix("file"): row for row in read_csv(index, needs=["file"])}
    samples = _read_split(category, "train") + _read_split(category, "test")
    return [_noted(s, category, notes[s.image]) if s.image in notes else s for s in samples]


def _read_split(category: Path, split: Split) -> list[Sample]:
    name, truth = category.resolve().name, category / "ground_truth"
    return kinds_in(category / split, name, split=split, truth=truth)


def _noted(sample: Sample, category: Path, row: Row) -> Sample:
    # The mask is found by name, with or without an index.
    known = {"file", "template", "mask"}
    extra = {k: v for k, v in row.cells.items() if v and k not in known}
    return replace(sample, reference=row.path("template", category), extra=extra)

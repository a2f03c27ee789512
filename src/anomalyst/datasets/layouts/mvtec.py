"""The MVTec-AD layout (Bergmann et al., CVPR 2019), the one most inspection sets are kept in.

    CATEGORY/train/good/NAME.png
    CATEGORY/test/good/NAME.png        test/DEFECT/NAME.png
    CATEGORY/ground_truth/DEFECT/NAME_mask.png       may be missing: no pixel truth
    CATEGORY/index.csv                               may be missing

The folder may hold categories or be one. `index.csv` has a column `file`, relative to the
category; its column `template` names the golden sample of that picture, further columns are kept
in `Sample.extra`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from anomalyst.datasets.folders import (
    mask_for,
    masks_by_stem,
    pictures_below,
    pictures_in,
    says_normal,
    subfolders,
)
from anomalyst.datasets.tables import Row, read_csv
from anomalyst.types import Sample

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
    return [p for c in _categories(root) for p in pictures_below(c / "ground_truth")]


def _categories(root: Path) -> list[Path]:
    return [root] if _is_category(root) else [f for f in subfolders(root) if _is_category(f)]


def _is_category(folder: Path) -> bool:
    trains = any(says_normal(f) for f in subfolders(folder / "train"))
    return trains or bool(subfolders(folder / "test"))


def _read_category(category: Path) -> list[Sample]:
    notes = _read_index(category)
    return _read_split(category, "train", notes) + _read_split(category, "test", notes)


def _read_split(
    category: Path, split: Literal["train", "test"], notes: Mapping[Path, Row]
) -> list[Sample]:
    samples = []
    for folder in subfolders(category / split):
        normal = says_normal(folder)
        truth = {} if normal else masks_by_stem(category / "ground_truth" / folder.name)
        for image in pictures_in(folder):
            row = notes.get(image)
            samples.append(
                Sample(
                    image=image,
                    label="normal" if normal else "anomalous",
                    split=split,
                    mask=mask_for(image, truth),
                    category=category.resolve().name,
                    defect=None if normal else folder.name,
                    reference=row.path("template", category) if row else None,
                    extra=_extra(row),
                )
            )
    return samples


def _read_index(category: Path) -> dict[Path, Row]:
    file = category / "index.csv"
    if not file.exists():
        return {}
    return {category / row.cells["file"]: row for row in read_csv(file, needs=["file"])}


def _extra(row: Row | None) -> dict[str, str]:
    if row is None:
        return {}
    # The mask is found by name, with or without an index.
    known = {"file", "template", "mask"}
    return {k: v for k, v in row.cells.items() if v and k not in known}

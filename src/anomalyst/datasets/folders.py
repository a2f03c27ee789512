"""What the folder layouts share: sub-folders, names that mean normal, samples with their masks."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from anomalyst.datasets.splits import by_name_order
from anomalyst.errors import AnomalystError
from anomalyst.io.pictures import list_pictures
from anomalyst.types import Sample, Split

NORMAL_NAMES = frozenset({"good", "ok", "normal"})


def subfolders(folder: Path) -> list[Path]:
    """Every folder directly in `folder`, sorted by name; hidden ones are left out.

    A folder that does not exist has none. Raises AnomalystError if it may not be read.
    """
    if not folder.is_dir():
        return []
    try:
        found = sorted(p for p in folder.iterdir() if p.is_dir())
    except PermissionError:
        raise AnomalystError(f"{folder}: this folder may not be read; check its rights.") from None
    return [p for p in found if not p.name.startswith(".")]


def says_normal(folder: Path) -> bool:
    """Whether the folder's name says that its pictures are normal: good, ok or normal."""
    return folder.name.lower() in NORMAL_NAMES


def pictures_in(folder: Path) -> list[Path]:
    """The pictures directly in `folder`; none if there is no such folder."""
    return list_pictures(folder) if folder.is_dir() else []


def pictures_below(folder: Path) -> list[Path]:
    """The pictures in `folder` and in all folders below it."""
    found = pictures_in(folder)
    for inner in subfolders(folder):
        found += pictures_below(inner)
    return found


def samples_in(
    folder: Path,
    category: str,
    *,
    split: Split = "test",
    defect: str = "",
    truth: Path | None = None,
) -> list[Sample]:
    """The pictures directly in `folder`; normal ones unless `defect` names what is wrong.

    In the folder `truth` the mask of a picture NAME is NAME_mask or NAME, whatever the suffixes,
    or a folder NAME of several. Never by sort order: one missing mask would shift every pair after
    it.
    """
    masks = {p.stem: p for p in masks_in(truth)} if defect and truth else {}
    return [
        Sample(
            image=image,
            label="anomalous" if defect else "normal",
            split=split,
            mask=masks.get(f"{image.stem}_mask") or masks.get(image.stem),
            category=category,
            defect=defect or None,
        )
        for image in pictures_in(folder)
    ]


def masks_in(folder: Path) -> list[Path]:
    """The masks directly in `folder`: files, and folders whose files together are one mask."""
    return pictures_in(folder) + [f for f in subfolders(folder) if pictures_in(f)]


def masks_by_kind(truth: Path) -> list[Path]:
    """Every mask in truth/KIND."""
    return [mask for kind in subfolders(truth) for mask in masks_in(kind)]


def itself_or_inside(root: Path, is_one: Callable[[Path], bool]) -> list[Path]:
    """`root`, if it is a category, else the categories in it."""
    return [root] if is_one(root) else [f for f in subfolders(root) if is_one(f)]


def kinds_in(folder: Path, category: str, *, split: Split, truth: Path) -> list[Sample]:
    """The pictures of folder/KIND: normal where KIND says so, else with masks in truth/KIND."""
    found = []
    for kind in subfolders(folder):
        defect = "" if says_normal(kind) else kind.name
        found += samples_in(kind, category, split=split, defect=defect, truth=truth / kind.name)
    return found


def normals_in(folder: Path, category: str) -> list[Sample]:
    """The pictures of a folder of normal ones whose set brings no split: see `by_name_order`."""
    samples = samples_in(folder, category)
    train = set(by_name_order([s.image for s in samples])[0])
    return [replace(s, split="train" if s.image in train else "test") for s in samples]

"""What the folder layouts share: sub-folders, names that mean normal, masks paired by name."""

from collections.abc import Mapping
from pathlib import Path

from anomalyst.errors import AnomalystError
from anomalyst.io.pictures import list_pictures

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


def masks_by_stem(folder: Path) -> dict[str, Path]:
    """File stem -> mask, for `mask_for`."""
    return {p.stem: p for p in pictures_in(folder)}


def mask_for(image: Path, masks: Mapping[str, Path]) -> Path | None:
    """The mask named NAME_mask or NAME for the picture NAME, whatever the suffixes.

    Never by sort order: one missing mask would shift every pair after it.
    """
    return masks.get(f"{image.stem}_mask") or masks.get(image.stem)

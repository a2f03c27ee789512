"""Which files lie in a folder, and which below it; what a system or this product put there is not.

Hidden files, recycle bins, the thumbnails of storage boxes, and folders that hold a report of ours.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from anomalyst.errors import AnomalystError

REPORT = "report.html"  # beside the overlays of an earlier inspection
SYSTEM_FOLDERS = frozenset(
    {"__macosx", "$recycle.bin", "system volume information", "@eadir", "#recycle", "lost+found"}
)


def list_files(folder: Path, suffixes: frozenset[str]) -> list[Path]:
    """Every file of these endings directly in `folder`, by name; hidden ones are left out.

    Raises AnomalystError if the folder is missing, is a file, or may not be read.
    """
    try:
        found = [p for p in folder.iterdir() if p.suffix.lower() in suffixes]
    except FileNotFoundError:
        raise AnomalystError(f"{folder}: there is no such folder.") from None
    except NotADirectoryError:
        raise AnomalystError(f"{folder}: is a file; a folder of pictures is needed.") from None
    except PermissionError:
        raise AnomalystError(f"{folder}: this folder may not be read; check its rights.") from None
    return sorted(p for p in found if not p.name.startswith(".") and not p.is_dir())


def list_below(folder: Path, suffixes: frozenset[str]) -> dict[Path, list[Path]]:
    """Folder -> its files of these endings, for `folder` and all below it that hold any.

    Links to folders are followed, each folder once. Folders with a report of ours are left out,
    unless it is `folder` itself. Raises as `list_files`.
    """
    found: dict[Path, list[Path]] = {}
    for one in _folders(folder):
        if one != folder and (one / REPORT).exists():
            continue
        if files := list_files(one, suffixes):
            found[one] = files
    return found


def _folders(top: Path) -> Iterator[Path]:
    """`top` and what lies below it, by name."""
    seen: set[str] = set()
    for place, below, _ in os.walk(top, followlinks=True, onerror=_refuse):
        real = os.path.realpath(place)
        if real in seen:
            below.clear()  # a link back: it would never end
            continue
        seen.add(real)
        below[:] = sorted(name for name in below if not _is_systems(name))
        yield Path(place)


def _refuse(error: OSError) -> None:
    raise AnomalystError(f"{error.filename}: this folder may not be read; check its rights.")


def _is_systems(name: str) -> bool:
    return name.startswith(".") or name.lower() in SYSTEM_FOLDERS

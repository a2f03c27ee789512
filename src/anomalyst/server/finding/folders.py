"""Files and folders as what may be found; their names tell their senses."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from anomalyst.errors import AnomalystError
from anomalyst.inspection.parts import part_name
from anomalyst.senses.space import SensedFile
from anomalyst.server.finding.items import NAMED, Item, LeftOut, Readings, sense_of_ending


def folder_items(places: Sequence[Path], readings: Readings, left_out: LeftOut) -> list[Item]:
    """Files, and all files in folders and the folders in these, that are of some sense, by name.

    Raises AnomalystError for a place that is not there.
    """
    found: dict[Path, Item] = {}
    for place in places:
        if not place.exists():
            raise AnomalystError(f"--among {place}: there is no such file or folder.")
        for path in _files_in(place):
            sense = sense_of_name(path)
            if sense is None:
                if place == path:
                    left_out.add(str(path), "its name's ending tells no sense that is known.")
                continue
            try:
                file = SensedFile(sense=sense, path=path, reading=readings.of(sense))
                found[path.resolve()] = Item(file=file, digest=_digest(path), name=str(path))
            except AnomalystError as error:
                left_out.add(str(path), error)
            except OSError as error:
                left_out.add(str(path), f"cannot be read ({error.strerror}).")
    return list(found.values())


def sense_of_name(path: Path) -> str | None:
    """The sense that a file's name tells: `p07_depth.png`, `p07.wav`, `p07.mp4`; None: none."""
    suffix = path.suffix.lower()
    for sense, suffixes in NAMED.items():
        if suffix in suffixes and part_name(path, sense) != path.stem:
            return sense
    return sense_of_ending(path)


def _files_in(place: Path) -> list[Path]:
    """The file itself, or all that are not hidden below a folder, by name."""
    if place.is_file():
        return [place]
    return [
        path
        for path in sorted(place.rglob("*"))
        if not any(part.startswith(".") for part in path.relative_to(place).parts)
        and path.is_file()
    ]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""What is drawn on pictures, whatever format it is kept in: masks with a kind and who drew them."""

import hashlib
import json
import re
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from anomalyst.datasets.tables import read_text
from anomalyst.errors import AnomalystError, PictureError
from anomalyst.io.files import disk_told, written_whole
from anomalyst.io.masks import packed, unpacked
from anomalyst.io.pictures import MAX_PIXELS
from anomalyst.types import Mask

What = Literal["defect", "part"]
IMAGES = "images"  # the folder of the pictures' copies
NAME_LONGEST = 60  # characters of a picture's own name in the name of its copy
DIGITS = 12  # of its SHA-256, in the same


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """One mask on one picture."""

    mask: Mask
    what: What = "defect"
    label: str = ""  # the kind in words; empty: nobody said
    by: str = ""  # who drew it; empty: nobody said
    score: float | None = None  # of what a detector found, [0, 1]; None: a person drew it

    @property
    def kind(self) -> str:
        """What it is in one word or two, as categories are called; `kind_of` reads it."""
        plain = self.what == "defect" and self.label.split(":")[0] not in ("defect", "part", "")
        if plain:
            return self.label
        return f"{self.what}: {self.label}" if self.label else self.what


def kind_of(name: str) -> tuple[What, str]:
    """What a category's name says: a defect or a part, and its label."""
    what: What = "part" if name.split(":")[0] == "part" else "defect"
    if name == what or name.startswith(f"{what}: "):
        return what, name[len(what) + 2 :]
    return "defect", name


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnPicture:
    """A picture and what is drawn on it."""

    name: str  # what its sender calls it
    size_hw: tuple[int, int]
    picture: str = ""  # SHA-256 of its file and its suffix, as ab12....png; empty: not known
    file: Path | None = None  # where its file lies; None: nowhere here
    drawn: tuple[Drawn, ...] = ()

    @property
    def copy_name(self) -> str:
        """What its copy in an export is called: its own name and the beginning of its SHA-256."""
        name = Path(self.name.replace("\\", "/")).stem
        stem = re.sub(r"[^\w.-]+", "_", name)[:NAME_LONGEST] or "picture"
        return f"{stem}-{self.picture[:DIGITS]}{Path(self.picture).suffix}"


@dataclass(slots=True)
class Exchanged:
    """What a file or folder held, and a sentence for each thing in it that was not taken."""

    pictures: list[DrawnPicture] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # on what was taken


def joined(drawn: Iterable[Drawn]) -> tuple[Drawn, ...]:
    """Masks of one kind by one person as one: their union. Found ones stay as they are."""
    together: dict[tuple[str, str, str], Drawn] = {}
    found = []
    for one in drawn:
        key = (one.what, one.label, one.by)
        if one.score is not None:
            found.append(one)
        elif key in together:
            both = unpacked(together[key].mask) | unpacked(one.mask)
            together[key] = replace(one, mask=packed(both))
        else:
            together[key] = one
    return (*together.values(), *found)


def copied(one: DrawnPicture, target: Path) -> None:
    """Copy a picture's file, unless its copy is there.

    Raises PictureError where the file is gone, AnomalystError where the disk refuses.
    """
    if one.file is None or not one.file.is_file():
        raise PictureError(one.name, "the picture is no longer kept; it is left out.")
    with disk_told(target):
        if target.is_file() and target.stat().st_size == one.file.stat().st_size:
            return
    with written_whole(target) as part:
        shutil.copyfile(one.file, part)


def content_name(path: Path) -> str:
    """A file's SHA-256 and suffix, as the record calls it; empty if there is no such file."""
    try:
        if not path.is_file():  # a device never ends
            return ""
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() + path.suffix.lower()
    except OSError:
        return ""


def read_json(path: Path) -> Any:
    """What a JSON file holds. Raises AnomalystError for one that is missing or is none."""
    try:
        return json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise AnomalystError(f"{path}: is no JSON that can be read ({error}).") from None


def checked_size(height: Any, width: Any) -> tuple[int, int]:
    """A picture's size from a file. Raises AnomalystError for one that no picture here can have."""
    whole = all(isinstance(one, int) and not isinstance(one, bool) for one in (height, width))
    if not whole or min(height, width) < 1 or height * width > MAX_PIXELS:
        raise AnomalystError(
            f"the picture's size is {str(width)[:20]}x{str(height)[:20]}; whole numbers from 1 are "
            f"needed, {MAX_PIXELS // 1_000_000} megapixels at most."
        )
    return height, width


def numbers(values: Any, least: int = 1) -> np.ndarray:
    """A list of at least so many finite numbers as float64 (n,). Raises AnomalystError."""
    fine = isinstance(values, Sequence) and not isinstance(values, str) and len(values) >= least
    if not fine or any(isinstance(v, bool) or not isinstance(v, int | float) for v in values):
        raise AnomalystError(f"{least} numbers or more are needed, {str(values)[:40]} is given.")
    found = np.asarray(values, dtype=np.float64)
    if not np.isfinite(found).all():
        raise AnomalystError("some of its numbers are not finite.")
    return found

"""Masks in the MVTec-AD layout (datasets/layouts/mvtec.py), and from there.

PRODUCT/train/good, PRODUCT/test/good, PRODUCT/test/KIND
PRODUCT/ground_truth/KIND/NAME_mask.png
PRODUCT/index.csv       what was written, and who drew each mask
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from anomalyst.datasets.exchange.drawn import (
    Drawn,
    DrawnPicture,
    Exchanged,
    copied,
)
from anomalyst.datasets.folders import NORMAL_NAMES
from anomalyst.datasets.layouts import mvtec
from anomalyst.datasets.tables import read_csv
from anomalyst.errors import AnomalystError, PictureError
from anomalyst.io.files import disk_told, write_bytes, write_csv
from anomalyst.io.masks import packed, union_of, unpacked
from anomalyst.io.pictures import encoded, open_mask, open_picture

INDEX = "index.csv"
UNSAID, SEVERAL = "defect", "combined"  # folders: of no kind, and of several on one picture


def write(
    folder: Path,
    train: Sequence[DrawnPicture],
    test: Sequence[DrawnPicture],
    *,
    on_picture: Callable[[], None] = lambda: None,
) -> list[str]:
    """Write a category; what an earlier export wrote there and this one does not is taken away.

    `test`: pictures with masks of their defects, and without any, which are good. Of several
    masks the union is written; parts are no defects. Returns a sentence for each picture that
    could not be copied.
    """
    places = {f"train/good/{one.copy_name}": one for one in train}
    places |= {f"test/{_folder(one)}/{one.copy_name}": one for one in test}
    _take_away(folder, set(places))
    rows = [
        {"file": place, "by": ", ".join(sorted({d.by for d in _defects(one)})), "name": one.name}
        for place, one in places.items()
    ]
    write_csv(folder / INDEX, rows)  # first: an interrupted export is tidied up by the next
    refused = []
    for place, one in places.items():
        try:
            copied(one, folder / place)
            if any(unpacked(d.mask).any() for d in _defects(one)):
                _write_mask(_mask_place(folder, place), one)
        except PictureError as error:
            refused.append(str(error))
        on_picture()
    return refused


def _defects(one: DrawnPicture) -> list[Drawn]:
    return [d for d in one.drawn if d.what == "defect" and d.score is None]


def _folder(one: DrawnPicture) -> str:
    """The folder of a test picture: the kind of its defect, as a file may be called."""
    labels = {d.label for d in _defects(one) if unpacked(d.mask).any()}
    if not labels:
        return "good"
    if len(labels) > 1:
        return SEVERAL
    plain = re.sub(r"[^\w-]+", "_", labels.pop()).strip("_") or UNSAID
    return f"{UNSAID}_{plain}" if plain.lower() in NORMAL_NAMES else plain


def _mask_place(folder: Path, place: str) -> Path:
    _, kind, name = place.split("/")
    return folder / "ground_truth" / kind / f"{Path(name).stem}_mask.png"


def _write_mask(path: Path, one: DrawnPicture) -> None:
    data = encoded(union_of([d.mask for d in _defects(one)]))
    with disk_told(path):
        if path.is_file() and path.read_bytes() == data:
            return
    write_bytes(path, data)


def _take_away(folder: Path, places: set[str]) -> None:
    """What the index of an earlier export names and is no longer wanted."""
    if not (folder / INDEX).exists():
        return
    for row in read_csv(folder / INDEX, needs=["file"]):
        place = row.cells["file"]
        ours = re.fullmatch(r"(train|test)/[\w-]+/[\w.-]+", place)
        if place in places or not ours or ".." in place:
            continue
        with disk_told(folder):
            (folder / place).unlink(missing_ok=True)
            _mask_place(folder, place).unlink(missing_ok=True)


def read(path: Path) -> Exchanged:
    """The masks of a category in this layout; pictures without one are left out.

    A picture or mask that cannot be used is a sentence in `refused`. Raises AnomalystError for a
    folder of another layout, or with several categories.
    """
    if not path.is_dir() or not mvtec.matches(path):
        raise AnomalystError(f"{path}: is not in the MVTec layout; looked for {mvtec.LOOKS_FOR}.")
    samples = [one for one in mvtec.read(path) if one.mask is not None]
    if len(categories := sorted({one.category for one in samples})) > 1:
        raise AnomalystError(
            f"{path}: holds {', '.join(categories)}; give the folder of one, for --product says "
            "which product it is."
        )
    found = Exchanged()
    for one in samples:
        assert one.mask is not None
        try:
            height, width = open_picture(one.image).shape[:2]
            mask = open_mask(one.mask, (height, width))
            if not mask.any():
                raise AnomalystError(f"{one.mask}: marks nothing.")
        except AnomalystError as error:
            found.refused.append(str(error))
            continue
        label = "" if one.defect in (UNSAID, SEVERAL) else (one.defect or "").replace("_", " ")
        drawn = Drawn(mask=packed(mask), label=label)
        found.pictures.append(
            DrawnPicture(
                name=one.image.name, size_hw=(height, width), file=one.image, drawn=(drawn,)
            )
        )
    return found

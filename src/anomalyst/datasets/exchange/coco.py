"""COCO instances: `annotations.json` beside `images/`, and what was found as `predictions.json`.

The format is that of https://cocodataset.org/#format-data and of pycocotools' readers.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from anomalyst.datasets.exchange.drawn import (
    IMAGES,
    Drawn,
    DrawnPicture,
    Exchanged,
    What,
    checked_size,
    kind_of,
    numbers,
    read_json,
)
from anomalyst.datasets.exchange.outlines import (
    add_polygon,
    checked_polygon,
    crosses_itself,
    outlines,
)
from anomalyst.errors import AnomalystError
from anomalyst.io.files import write_text
from anomalyst.io.masks import mask_box, pack_counts, packed, unpacked
from anomalyst.io.pictures import MAX_PIXELS
from anomalyst.types import Mask
from anomalyst.version import __version__

Made = TypeVar("Made")
FILE, PREDICTIONS = "annotations.json", "predictions.json"


def write(
    folder: Path,
    pictures: Sequence[DrawnPicture],
    *,
    polygons: bool = False,
) -> None:
    """Write the two files. Masks are RLE, or polygons where asked for and no mask has a hole.

    Each mask is one annotation, with who drew it as `by`. What was found has a score, and goes to
    `predictions.json` in the form of COCO's results, which is not written where nothing was found.
    """
    kinds = {one.kind: one.what for picture in pictures for one in picture.drawn}
    numbered = {kind: number for number, kind in enumerate(sorted(kinds), start=1)}
    annotations: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for image, picture in enumerate(pictures, start=1):
        for one in picture.drawn:
            entry = {"image_id": image, "category_id": numbered[one.kind]}
            entry |= _shape(one, polygons)
            if one.score is None:
                annotations.append({"id": len(annotations) + 1, **entry, "by": one.by})
            else:
                found.append(entry | {"score": round(one.score, 6)})
    held = {
        "info": {"description": "What people drew", "version": f"anomalyst {__version__}"},
        "images": [_image(number, one) for number, one in enumerate(pictures, start=1)],
        "annotations": annotations,
        "categories": [
            {"id": number, "name": kind, "supercategory": kinds[kind]}
            for kind, number in numbered.items()
        ],
    }
    write_text(folder / FILE, json.dumps(held, indent=1))
    if found:
        write_text(folder / PREDICTIONS, json.dumps(found, indent=1))


def _image(number: int, one: DrawnPicture) -> dict[str, Any]:
    height, width = one.size_hw
    return {
        "id": number, "file_name": f"{IMAGES}/{one.copy_name}", "width": width, "height": height,
        "name": one.name, "picture": one.picture,
    }  # fmt: skip


def _shape(one: Drawn, polygons: bool) -> dict[str, Any]:
    mask = unpacked(one.mask)
    x0, y0, x1, y1 = mask_box(mask)
    outer = outlines(mask) if polygons and mask.any() else None
    return {
        "segmentation": one.mask.as_dict()
        if outer is None
        else [loop.ravel().astype(float).tolist() for loop in outer],
        "area": int(mask.sum()),
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "iscrowd": 0,  # one thing; 1 would have evaluations pass it over
    }


def read(path: Path) -> Exchanged:
    """What a COCO file of instances holds; `path` is the file, or the folder it is in.

    An entry that cannot be used is a sentence in `refused`, the rest is read. Raises AnomalystError
    for a file that is no such JSON.
    """
    file = path / FILE if path.is_dir() else path
    data = read_json(file)
    if not isinstance(data, Mapping) or not all(
        isinstance(data.get(part), list) for part in ("images", "annotations", "categories")
    ):
        raise AnomalystError(
            f"{file}: is no COCO file of instances; an object with the lists images, annotations "
            "and categories is needed."
        )
    found = Exchanged()
    images = _by_id(data["images"], "image", found, lambda one: _picture(one, file.parent))
    kinds = _by_id(data["categories"], "category", found, lambda one: kind_of(_text(one, "name")))
    drawn: dict[Any, list[Drawn]] = {number: [] for number in images}
    for place, entry in enumerate(data["annotations"], start=1):
        about = _about("annotation", entry, place)
        try:
            picture = _named(entry, "image_id", images)
            mask, notes = _mask(entry, picture.size_hw)
            drawn[entry["image_id"]].append(
                _drawn(entry, mask, _named(entry, "category_id", kinds))
            )
        except AnomalystError as error:
            found.refused.append(f"{about}: {error}")
            continue
        found.notes += [f"{about}, on {picture.name}: {note}" for note in notes]
    found.pictures = [replace(one, drawn=tuple(drawn[id])) for id, one in images.items()]
    return found


def _by_id(
    entries: Sequence[Any], what: str, found: Exchanged, made: Callable[[Mapping[str, Any]], Made]
) -> dict[Any, Made]:
    """The entries of a list that can be used, by their ids."""
    by_id: dict[Any, Made] = {}
    for place, entry in enumerate(entries, start=1):
        try:
            if not isinstance(entry, Mapping) or not isinstance(entry.get("id"), int | str):
                raise AnomalystError("has no id; a number is needed.")
            if entry["id"] in by_id:
                raise AnomalystError("has an id that another has, too; give each its own.")
            by_id[entry["id"]] = made(entry)
        except AnomalystError as error:
            found.refused.append(f"{_about(what, entry, place)}: {error}")
    return by_id


def _about(what: str, entry: Any, place: int) -> str:
    named = entry.get("id", place) if isinstance(entry, Mapping) else place
    return f"{what} {str(named)[:20]}"


def _named(entry: Any, key: str, known: Mapping[Any, Made]) -> Made:
    """The image or category that an annotation names."""
    value = entry.get(key) if isinstance(entry, Mapping) else None
    if not isinstance(value, int | str) or value not in known:
        raise AnomalystError(f"its {key} is {str(value)[:20]}, which the file does not list.")
    return known[value]


def _text(entry: Mapping[str, Any], key: str) -> str:
    value = entry.get(key)
    if not isinstance(value, str) or not value.strip():
        raise AnomalystError(f"has no {key}; some text is needed.")
    return value.strip()


def _picture(entry: Mapping[str, Any], folder: Path) -> DrawnPicture:
    file_name, own, name = _text(entry, "file_name"), entry.get("picture"), entry.get("name")
    return DrawnPicture(
        name=name if isinstance(name, str) and name else Path(file_name.replace("\\", "/")).name,
        size_hw=checked_size(entry.get("height"), entry.get("width")),
        picture=own if isinstance(own, str) else "",
        file=folder / file_name,
    )


def _drawn(entry: Mapping[str, Any], mask: Mask, kind: tuple[What, str]) -> Drawn:
    score, by = entry.get("score"), entry.get("by")
    return Drawn(
        mask=mask,
        what=kind[0],
        label=kind[1],
        by=by if isinstance(by, str) else "",
        score=None if score is None else float(numbers([score])[0]),
    )


def _mask(entry: Mapping[str, Any], size_hw: tuple[int, int]) -> tuple[Mask, list[str]]:
    """The mask of an annotation, and what to know of how it was read."""
    shape = entry.get("segmentation")
    if isinstance(shape, Mapping):
        return _run_lengths(shape, size_hw), []
    if isinstance(shape, list) and shape:
        return _polygons(shape, size_hw)
    if "bbox" in entry:
        x, y, wide, tall = numbers(entry["bbox"], 4)[:4]
        corners = np.array([(x, y), (x + wide, y), (x + wide, y + tall), (x, y + tall)])
        return _filled([corners], size_hw), ["it has a box alone, whose whole area is taken."]
    raise AnomalystError("has no segmentation; polygons or RLE are needed.")


def _run_lengths(shape: Mapping[str, Any], size_hw: tuple[int, int]) -> Mask:
    size, counts = shape.get("size"), shape.get("counts")
    if not isinstance(size, list) or [*size_hw] != size:
        raise AnomalystError(
            f"its RLE is of size {str(size)[:30]}; its picture's, [{size_hw[0]}, {size_hw[1]}], is "
            "needed: [height, width]."
        )
    if isinstance(counts, list):
        runs = numbers(counts)
        if (runs < 0).any() or (runs != np.floor(runs)).any() or runs.max() > MAX_PIXELS:
            raise AnomalystError("its run lengths are not all whole numbers from 0.")
        counts = pack_counts([int(run) for run in runs])
    if not isinstance(counts, str):
        raise AnomalystError("its RLE has no counts; a string or a list of numbers is needed.")
    return packed(unpacked(Mask(size_hw, counts)))  # written as we write it, were it otherwise


def _polygons(shape: Sequence[Any], size_hw: tuple[int, int]) -> tuple[Mask, list[str]]:
    loops, notes = [], []
    for one in shape:
        values = numbers(one, 2)
        if len(values) % 2:
            raise AnomalystError(f"its polygon has {len(values)} numbers; pairs x, y are needed.")
        loops.append(checked_polygon(values.reshape(-1, 2)))
        if crosses_itself(loops[-1]):
            # pycocotools, which defines the format, switches at each border it meets.
            notes.append("its polygon crosses itself; inside is what the even-odd rule says.")
    return _filled(loops, size_hw), notes


def _filled(loops: Sequence[np.ndarray], size_hw: tuple[int, int]) -> Mask:
    mask = np.zeros(size_hw, bool)
    for one in loops:
        add_polygon(mask, one)
    if not mask.any():
        raise AnomalystError("covers no pixel of its picture.")
    return packed(mask)

"""Taught products as the server tells of them: read from product.json, without the model."""

import hashlib
import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from anomalyst.calibration.fusion import JointCalibration
from anomalyst.calibration.tolerance import Tolerance
from anomalyst.errors import AnomalystError, PictureError
from anomalyst.inspection.seen import look_by
from anomalyst.io.deep_pictures import reading_in
from anomalyst.io.files import PART
from anomalyst.product_index import (
    COMPANIONS,
    RECORD,
    product_folder,
    product_names,
    product_senses,
    read_record,
    sense_folders,
)
from anomalyst.senses.sense import Sense, sense_of
from anomalyst.server.errors import Conflict
from anomalyst.server.records.versions import forget
from anomalyst.teaching.odd import OddPicture, odd_note

ODD_PX = 900  # side at which a good picture that looks odd is shown


def taught_already(part: Mapping[str, tuple[Path, str]], folder: Path) -> bool:
    """Whether the product in `folder` was taught from these very bytes: sense -> file, its name.

    Raises Conflict where it was from some of the part's files, and from others not.
    """
    own = sense_folders(folder)
    if set(part) != set(own):
        return False  # no part of this product: refused by who teaches
    known = {sense: same_file(path, own[sense]) for sense, (path, _) in part.items()}
    if any(known.values()) and not all(known.values()):
        old, new = (next(s for s, is_old in known.items() if is_old is k) for k in (True, False))
        raise Conflict(
            f"{part[old][1]} is taught already, with another {new} file than {part[new][1]}; give "
            "a new part, or teach the product anew."
        )
    return all(known.values())


def same_file(picture: Path, folder: Path) -> bool:
    """Whether the product in `folder` was taught from these very bytes."""
    own = digest(picture)
    size = picture.stat().st_size
    return any(
        other.stat().st_size == size and digest(other) == own
        for other in (folder / "references").iterdir()
    )


def summary(name: str, products: Path) -> dict[str, Any]:
    """What a list of products shows of one."""
    folder = product_folder(name, products)
    record = read_record(folder)
    senses = product_senses(folder)
    return {
        "name": name,
        "senses": senses,
        "description": record.get("description", ""),
        "pose": record["pose"],
        "encoder": record["encoder"],
        "references": [one["source"] for one in record["references"]],
        "corrections": [one["name"] for one in record.get("accepted", [])],
        "calibration": _calibration(record, len(senses)),
        "rule": _rule(record),
        "odd": (odd := odd_told(record)),
        "notes": [
            *record["notes"],
            *_odd_notes(odd, len(record["references"])),
            *_companions_notes(folder, senses[1:]),
        ],
        "conditions": record.get("conditions"),
        "tolerance": _tolerance(record),
        "revision": f"{(folder / RECORD).stat().st_mtime_ns:x}",
    }


def summaries(products: Path) -> list[dict[str, Any]]:
    """Of all products; one that is damaged is named with what is wrong."""
    found = []
    for name in product_names(products):
        try:
            found.append(summary(name, products))
        except (AnomalystError, KeyError, TypeError) as error:
            found.append({"name": name, "problem": str(error)})
    return found


def _calibration(record: dict[str, Any], num_senses: int) -> dict[str, Any]:
    """What the scores of new parts are compared with; of several senses, those of all together.

    None where each sense is calibrated by itself: then no score of the part has a calibration.
    """
    own = record["calibration"]
    joint = record.get("joint")
    together = JointCalibration.from_dict(joint).good_scores() if joint else []
    scores = own["scores"] if num_senses == 1 else together
    return {"method": own["method"], "scores": scores}


def odd_told(record: dict[str, Any]) -> list[dict[str, Any]]:
    """Good pictures that look odd beside the others, the oddest first; numbered from 1."""
    files = [one["file"] for one in record["references"]]
    return [
        {
            "number": files.index(one["file"]) + 1,
            "name": record["references"][files.index(one["file"])]["source"],
            "place": OddPicture.from_dict(one, Path(one["file"])).place,
            "boxes_xyxy": [region["box_xyxy"] for region in one["regions"]],
            "spreads": one["spreads"],
            "p_value": one["p_value"],
            "kept": one["kept"],
        }
        for one in record.get("odd", [])
        if one["file"] in files
    ]


def _odd_notes(odd: Sequence[dict[str, Any]], total: int) -> list[str]:
    waiting = [(one["name"], one["place"]) for one in odd if not one["kept"]]
    return [odd_note(waiting, total)] if waiting else []


def _tolerance(record: dict[str, Any]) -> str | None:
    """How far good pictures may differ and stay good, in words; None where it was not measured."""
    said = record.get("tolerance")
    return Tolerance.from_dict(said).told if said else None


def _companions_notes(folder: Path, senses: Sequence[str]) -> list[str]:
    notes = (read_record(folder / COMPANIONS / sense)["notes"] for sense in senses)
    return [note for own in notes for note in own]


def _rule(record: dict[str, Any]) -> dict[str, Any] | None:
    """What decides in place of the false-alarm rate, and what was judged to set it."""
    rule = record.get("rule")
    if not rule:
        return None
    threshold, slope = rule["threshold"], rule["slope"]
    both = [*record.get("defective", []), *record.get("fine", [])]
    return {
        "threshold": threshold,
        "normal_to": threshold - math.log(2) / slope if slope > 0 else threshold,
        "head": rule["head"] is not None,
        "costs": rule["costs"],
        "judged": [one["judged"] for one in both if "judged" in one],
    }


def reference_paths(name: str, products: Path) -> list[Path]:
    """The good files of a product's leading sense, in the order taught."""
    folder = product_folder(name, products)
    return [folder / one["file"] for one in read_record(folder)["references"]]


def odd_drawings(name: str, products: Path) -> dict[int, np.ndarray]:
    """The good pictures that nobody has decided on, by number from 1, with what is odd on them.

    uint8 (H, W, 3); one that cannot be read is left out.
    """
    from anomalyst.report.odd import odd_drawing

    folder = product_folder(name, products)
    record = read_record(folder)
    sense = sense_of(said, f"{folder}: sense") if (said := record.get("sense")) else None
    files = [one["file"] for one in record["references"]]
    drawn = {}
    for one in record.get("odd", []):
        image = folder / one["file"]
        odd = OddPicture.from_dict(one, image)
        if odd.kept or one["file"] not in files:
            continue
        try:
            picture = look_by(sense, image, reading_in(record))
        except PictureError:
            continue
        drawn[files.index(one["file"]) + 1] = odd_drawing(picture, odd, max_side_px=ODD_PX)
    return drawn


def senses_taught(name: str, products: Path) -> dict[str, Sense]:
    """How the files of a product's senses are read; photographs need nothing."""
    folder = product_folder(name, products)
    own = sense_folders(folder)
    said = {sense: read_record(place).get("sense") for sense, place in own.items()}
    return {kind: sense_of(one, f"{own[kind]}: sense") for kind, one in said.items() if one}


def good_views(name: str, products: Path, most: int) -> list[tuple[np.ndarray | Path, str]]:
    """Good parts as people see them, by all senses, and what each file was called; `most` at most.

    A photograph is its file, a recording is drawn; of a file that cannot be read there is nothing.
    """
    folder = product_folder(name, products)
    read_by = senses_taught(name, products)
    records = {sense: (place, read_record(place)) for sense, place in sense_folders(folder).items()}
    read = {sense: reading_in(record) for sense, (_, record) in records.items()}
    rows = [
        [(sense, place, one) for one in record["references"]]
        for sense, (place, record) in records.items()
    ]
    shown: list[tuple[np.ndarray | Path, str]] = []
    for sense, place, one in (file for part in zip(*rows, strict=False) for file in part):
        file = place / one["file"]
        try:
            plain = sense not in read_by and not read[sense].told
            look = file if plain else look_by(read_by.get(sense), file, read[sense])
            shown.append((look, one["source"]))
        except PictureError:
            continue
        if len(shown) == most:
            break
    return shown


def delete(name: str, products: Path) -> None:
    """Delete a product; UnknownProduct if there is none."""
    folder = product_folder(name, products)
    gone = folder.with_name(f"{PART}{name}")  # if this is killed, a start clears it away
    shutil.rmtree(gone, ignore_errors=True)
    folder.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)
    forget(name, products)


def digest(path: Path) -> str:
    """SHA-256 of a file, as the record calls pictures."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

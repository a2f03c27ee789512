"""The masks that hold of a picture: of each person the newest of a kind, unless it was undone."""

from collections.abc import Iterable, Sequence

import numpy as np

from anomalyst.errors import AnomalystError
from anomalyst.io.masks import packed, unpacked
from anomalyst.io.pictures import open_mask
from anomalyst.server.records.drawn import Drawn, shows_defect
from anomalyst.server.storage.pictures import Pictures
from anomalyst.server.storage.tables import CorrectionRow, InspectionRow
from anomalyst.types import Mask

Painted = tuple[CorrectionRow, InspectionRow]


def standing(said: Iterable[Painted]) -> list[Painted]:
    """Of what was said of one picture and not undone, newest first: the masks that hold.

    A person's mask replaces their former one of the same kind. An empty one says that there is no
    defect: it takes back all defects that the same person drew before, and a later one takes it
    back.
    """
    found: list[Painted] = []
    held: set[tuple[str, str, str]] = set()  # person, defect or part, kind
    settled: set[str] = set()  # people of whose defects nothing older holds
    for row, seen in said:
        if row.kind != "mask":
            continue
        drawn = Drawn.of(row.detail)
        key = (row.by, drawn.what, drawn.label)
        if key in held or (drawn.what == "defect" and row.by in settled):
            continue
        if drawn.what == "defect" and not row.detail["boxes_xyxy"]:
            settled.add(row.by)
            if any(by == row.by and what == "defect" for by, what, _ in held):
                continue
        held.add(key)
        found.append((row, seen))
    return found


def standing_defects(said: Iterable[Painted]) -> list[Painted]:
    """Of those, the masks that show a defect; none is empty."""
    return [
        (row, seen)
        for row, seen in standing(said)
        if shows_defect(row) and row.detail["boxes_xyxy"]
    ]


def mask_of(row: CorrectionRow, seen: InspectionRow, pictures: Pictures) -> Mask:
    """What a correction painted. Raises AnomalystError where it is no longer kept."""
    if "rle" in row.detail:
        return Mask.from_dict(row.detail["rle"])
    record = seen.record or {}
    path = pictures.existing(row.detail["mask"])
    return packed(open_mask(path, (record["height_px"], record["width_px"])))


def union_of(masks: Sequence[Mask]) -> np.ndarray:
    """What any of some masks covers, bool (H, W). Raises AnomalystError for unequal sizes."""
    if len(sizes := {one.size_hw for one in masks}) != 1:
        raise AnomalystError(f"masks of one picture have sizes {sorted(sizes)}; one is needed.")
    whole = unpacked(masks[0])
    for one in masks[1:]:
        whole |= unpacked(one)
    return whole

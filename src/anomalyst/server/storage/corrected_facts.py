"""The facts as they are once a person has corrected the verdict or the places."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from anomalyst.io.pictures import open_picture
from anomalyst.server.records.answers import facts_of_row
from anomalyst.server.records.drawn import shows_defect
from anomalyst.server.storage.pictures import Pictures
from anomalyst.server.storage.tables import CorrectionRow, InspectionRow
from anomalyst.types import Region
from anomalyst.vlm.facts import Facts


@dataclass(frozen=True, slots=True)
class CorrectedFacts:
    """Facts by a person beside those that were found, and the defect as painted."""

    facts: Facts
    found: Facts
    mask: np.ndarray | None  # bool (H, W); None: only regions were taken away


def corrected(row: CorrectionRow, seen: InspectionRow, pictures: Pictures) -> CorrectedFacts | None:
    """What a correction of the verdict or of places makes of the facts; None: they stay."""
    found = facts_of_row(seen)
    if row.kind == "wrong" and seen.verdict != "unsure":  # which of both it is, was not said
        facts = _judged(found, row.detail["verdict"], ())
        return CorrectedFacts(facts, found, None)
    if row.kind == "fine":
        accepted = [list(box) for box in row.detail["boxes_xyxy"]]
        left = tuple(region for region in found.regions if list(region.box_xyxy) not in accepted)
        facts = replace(found, regions=left) if left else _judged(found, "normal", ())
        return CorrectedFacts(facts, found, None) if facts != found else None
    if shows_defect(row) and row.detail["mask"] in pictures:
        mask = open_picture(pictures.path(row.detail["mask"]))[..., 0] > 127
        regions = _painted(mask)
        verdict = "anomalous" if regions else "normal"
        return CorrectedFacts(_judged(found, verdict, regions), found, mask)
    return None


def _painted(mask: np.ndarray) -> tuple[Region, ...]:
    from anomalyst.detection.regions import find_regions  # scipy

    return tuple(find_regions(mask.astype(np.float32), 0.5))


def _judged(found: Facts, verdict: str, regions: Sequence[Region]) -> Facts:
    """The facts with a person's verdict, and a chance that a verdict like it comes with."""
    p_value = max(found.p_value, 0.5) if verdict == "normal" else min(found.p_value, 0.01)
    return replace(
        found,
        verdict=verdict,  # type: ignore[arg-type]
        p_value=p_value,
        confidence=1.0,
        regions=tuple(regions),
    )

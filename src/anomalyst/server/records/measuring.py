"""Scale and acceptance rules of a product as the server tells and changes them."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from anomalyst.errors import AnomalystError
from anomalyst.inspection.measured import checked_rules, told_apart
from anomalyst.inspection.product_scale import as_given, by_points
from anomalyst.measuring.scale import Scale
from anomalyst.measuring.settings import (
    Measuring,
    checked_pictures,
    own_kinds,
    read_measuring,
)


def told(folder: Path) -> dict[str, Any]:
    """What the product in `folder` keeps, with words for people."""
    found = read_measuring(folder)
    words = found.scale.in_words() if found.scale else ""
    return found.as_dict() | {"words": words, "notes": told_apart(found.rules, own_kinds(folder))}


def changed(folder: Path, wanted: Mapping[str, Any]) -> Measuring:
    """What it is to keep: a missing key leaves as it is; a scale of None is forgotten.

    Raises AnomalystError for what cannot be.
    """
    checked_pictures(folder)
    found = read_measuring(folder)
    if "scale" in wanted:
        scale = _scale(folder, wanted["scale"]) if wanted["scale"] else None
        found = replace(found, scale=scale)
    if wanted.get("rules") is not None:
        found = replace(found, rules=tuple(checked_rules(wanted["rules"], own_kinds(folder))))
    return found


def _scale(folder: Path, wanted: Mapping[str, Any]) -> Scale:
    points, length = wanted.get("points_xy"), wanted.get("length_mm")
    mm_per_px, sd = wanted.get("mm_per_px"), wanted.get("plus_minus_percent", 0.0) / 196
    if (points is None) == (mm_per_px is None) or (points is None) != (length is None):
        raise AnomalystError("scale: give points_xy and length_mm, or mm_per_px.")
    if mm_per_px is not None:
        return as_given(folder, mm_per_px, sd)
    assert points is not None and length is not None
    return by_points(folder, points, length, sd, wanted.get("click_px", 0.5))

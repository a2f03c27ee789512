"""An inspection of the record as one line of text: what is searched, and what notes are about."""

from collections.abc import Mapping
from typing import Any

from anomalyst.types import size_of

MOST = 4  # regions that are described; more are counted
# What stands before each part of a text, so that a model tells them apart.
NOTE, RECORD, QUESTION, ANSWER, ROWS, SUMMARY = (
    "note: ", "record: ", "question: ", "answer: ", "rows: ", "summary: ",
)  # fmt: skip
BETWEEN = " | "


def record_text(values: Mapping[str, Any]) -> str:
    """The record of an inspection (`Inspection.as_dict`) in words.

    As in "bottle, anomalous: small scratch or crack at the upper left; grey on white".
    """
    size_hw = values["height_px"], values["width_px"]
    regions = values["regions"]
    found = [
        f"{size_of(one['area_px'], size_hw)} {one.get('called') or one.get('kind') or 'anomaly'}"
        f"{' at the ' + one['place'] if one.get('place') else ''}"
        for one in regions[:MOST]
    ]
    if len(regions) > MOST:
        found.append(f"{len(regions) - MOST} more")
    said = ", ".join(found) if values["verdict"] != "normal" and found else "no defect"
    colours = " on ".join(values.get("colours") or ())
    name = values.get("product") or "part"
    return f"{name}, {values['verdict']}: {said}{'; ' + colours if colours else ''}"

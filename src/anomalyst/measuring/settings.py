"""What a product keeps of measuring: its scale and its acceptance rules, in product.json."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anomalyst.errors import AnomalystError
from anomalyst.io.files import write_text
from anomalyst.measuring.scale import Scale
from anomalyst.product_index import BEFORE, RECORD, product_senses, read_record

KEY = "measuring"  # of product.json


@dataclass(frozen=True, slots=True, kw_only=True)
class Measuring:
    """How the regions of a product are measured and judged; with neither, they are not."""

    scale: Scale | None = None
    rules: tuple[str, ...] = ()  # as they were written, in that order

    def as_dict(self) -> dict[str, Any]:
        """Scale and rules as plain JSON values."""
        return {"scale": self.scale.as_dict() if self.scale else None, "rules": list(self.rules)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any] | None) -> "Measuring":
        """What `as_dict` gave, or nothing of products of before. Raises AnomalystError."""
        scale = (values or {}).get("scale")
        return cls(
            scale=Scale.from_dict(scale) if scale else None,
            rules=tuple((values or {}).get("rules", ())),
        )

    def __bool__(self) -> bool:
        return self.scale is not None or bool(self.rules)


def read_measuring(folder: Path) -> Measuring:
    """What the product in `folder` keeps. Raises AnomalystError where it is none, or damaged."""
    return Measuring.from_dict(read_record(folder).get(KEY))


def own_kinds(folder: Path) -> tuple[str, ...]:
    """The names of the kinds that people taught the product in `folder`; none, mostly."""
    return tuple((read_record(folder).get("kinds") or {}).get("names", ()))


def write_measuring(folder: Path, measuring: Measuring) -> None:
    """Keep it with the product in `folder`, and with what it was before it learnt judgements."""
    for place in (folder / BEFORE, folder):
        if (place / RECORD).exists():
            record = read_record(place) | {KEY: measuring.as_dict()}
            write_text(place / RECORD, json.dumps(record, indent=2) + "\n")


def checked_pictures(folder: Path) -> None:
    """Raises AnomalystError for a product whose regions are no places of one picture."""
    senses = product_senses(folder)
    if len(senses) > 1 or senses[0] in ("audio", "series"):
        raise AnomalystError(
            f"product {folder.name!r} was taught with {' and '.join(senses)}; what is measured are "
            "places of one picture."
        )

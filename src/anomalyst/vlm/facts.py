"""What is known about an inspected picture, as a language model reads it.

The detector decides and the language model explains: everything that must be exact (verdict,
count, places, sizes, kinds) reaches the model as words, and its answer is checked (grounding.py).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

import numpy as np

from anomalyst.io.colours import colour_name
from anomalyst.types import Inspection, Region, Verdict, size_of

MOST_NAMED = 6  # regions a model is told of, worst first; more are only counted
TOLD_CHARACTERS = 400  # of the user's own words that are read

# Upper limit of the p-value -> how many good parts look that unusual.
_CHANCES = (
    (0.011, "less than 1 in 100"),
    (0.025, "about 1 in 50"),
    (0.06, "about 1 in 20"),
    (0.13, "about 1 in 10"),
    (0.27, "about 1 in 5"),
    (0.5, "about 1 in 3"),
    (1.0, "most"),
)
COUNTS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """One inspection as plain values. The regions are the worst first."""

    verdict: Verdict
    p_value: float
    confidence: float  # probability that the verdict is right; of an unsure one, of an anomaly
    regions: tuple[Region, ...]
    size_hw: tuple[int, int]
    num_good: int  # good pictures compared with
    guaranteed: bool  # whether the product's own good pictures calibrate the verdict
    colours: tuple[str, ...] = ()  # of the product, then of what lies behind it
    product: str = ""  # its name, if it was taught
    told: str = ""  # the user's own words about the product
    ruled: tuple[str, ...] = ()  # what acceptance rules said of the regions
    tolerated: tuple[Region, ...] = ()  # those of a part that they made "normal"
    unfit: str = ""  # why the picture cannot be judged, in words

    @property
    def chance(self) -> str:
        """How many good parts look this unusual, in words."""
        return next(words for limit, words in _CHANCES if self.p_value <= limit)

    @property
    def surety(self) -> str:
        """How sure, in a word: "very", "fairly" or "not"."""
        if self.verdict == "unsure":
            return "not"
        clear = self.p_value <= 0.025 or self.p_value >= 0.27
        return "very" if clear and self.guaranteed else "fairly"

    @property
    def largest(self) -> int:
        """Index of the region with the largest area among those that are named."""
        named = self.regions[:MOST_NAMED]
        return max(range(len(named)), key=lambda i: named[i].area_px)

    def size(self, region: Region) -> str:
        """How large a region is, in a word."""
        return size_of(region.area_px, self.size_hw)

    def as_dict(self) -> dict[str, Any]:
        """The facts as plain JSON values."""
        return asdict(self) | {
            "regions": [region.as_dict() for region in self.regions],
            "tolerated": [region.as_dict() for region in self.tolerated],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The facts of which `as_dict` gave the values."""
        regions = tuple(Region.from_dict(one) for one in values["regions"])
        height, width = values["size_hw"]
        whole = {
            "regions": regions,
            "size_hw": (height, width),
            "colours": tuple(values["colours"]),
            "ruled": tuple(values.get("ruled", ())),
            "tolerated": tuple(Region.from_dict(one) for one in values.get("tolerated", ())),
        }
        return cls(**dict(values) | whole)

    def as_text(self) -> str:
        """The record that goes into the prompt, one fact a line."""
        lines = [
            f"verdict: {self.verdict}",
            f"sure: {self.surety}",
            f"chance: {self.chance}",
            f"good pictures: {number(self.num_good)}",
            f"calibrated: {'yes' if self.guaranteed else 'no'}",
            f"regions: {number(len(self.regions))}",
        ]
        for index, region in enumerate(self.regions[:MOST_NAMED], start=1):
            words = f"{self.size(region)} {region.kind or 'anomaly'}, {region.place}"
            lines.append(f"<region {index}> {words}")
        if len(self.regions) > 1:
            lines.append(f"largest: <region {self.largest + 1}>")
        lines.append(f"colours: {' on '.join(self.colours) or 'unknown'}")
        if self.product:
            lines.append(f"name <product>: {self.product}")
        if self.told:
            lines.append(f"told <told>: {self.told}")
        return "\n".join(lines)


def number(count: int) -> str:
    """A count as people write it: words to ten."""
    return COUNTS[count] if 0 <= count < len(COUNTS) else str(count)


def facts_of(inspection: Inspection) -> Facts:
    """The facts of an inspection.

    Of a part that acceptance rules made "normal" the regions are no defects: they are `tolerated`.
    """
    names = [field.name for field in fields(Facts) if field.name not in ("tolerated", "unfit")]
    known = {name: getattr(inspection, name) for name in names}
    known |= {"told": inspection.told[:TOLD_CHARACTERS]}
    known |= {"unfit": inspection.unfit.said if inspection.unfit else ""}
    if inspection.verdict == "normal" and inspection.verdict_before_rules:
        known |= {"regions": (), "tolerated": inspection.regions}
    return Facts(**known)


def seen_colours(picture: np.ndarray) -> tuple[str, ...]:
    """The colour of the product and of what lies behind it: uint8 (H, W, 3) -> one or two names.

    The border tells the background; what differs from it clearly is the product. Where little
    differs, the surface fills the picture and has one colour.
    """
    step = max(1, min(picture.shape[:2]) // 64)
    small = picture[::step, ::step].astype(np.float32) / 255
    edge = max(1, len(small) // 16)
    inner = np.zeros(small.shape[:2], bool)
    inner[edge:-edge, edge:-edge] = True
    behind = np.median(small[~inner], axis=0)
    differs = (np.abs(small - behind).max(axis=2) > 0.12) & inner
    if differs.mean() < 0.06:
        return (_named(np.median(small.reshape(-1, 3), axis=0)),)
    product, ground = _named(np.median(small[differs], axis=0)), _named(behind)
    return (product,) if product == ground else (product, ground)


def _named(rgb: np.ndarray) -> str:
    return colour_name((float(rgb[0]), float(rgb[1]), float(rgb[2])))

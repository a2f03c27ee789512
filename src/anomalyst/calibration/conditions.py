"""How a picture was taken (light, focus, position), beside how the good ones were.

No defect changes these figures much; a lens cap, a lamp that fails, a lens out of focus and an
empty belt do. They need a picture's small canvas and no network.

This file needs numpy and OpenCV and nothing else, for an export carries a copy of it
(deployment/folder.py).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from typing import Any, Literal, Self

import cv2
import numpy as np

Cause = Literal["dark", "over-exposed", "empty", "blurred", "product"]  # as types.Cause
Reason = tuple[Cause, str]  # and in words

# A picture is named unfit where a figure is beyond these shares of the most unusual good picture's.
# What drawn defects do to the figures is far from them (docs/decisions.md, "Pictures that cannot be
# judged").
DARK = 0.25  # of the brightness
UNBURNT = 0.5  # of the share of pixels that are not white
FLAT = 0.15  # of the structure
COVERED = 0.15  # of the share that differs from what lies behind the product
SHARP = 0.5  # of the sharpness
CLEARLY = 0.3  # of these limits, for a picture that does not look like the product
COVERED_LEAST = 0.05  # of a good picture: less, and the product does not lie on a background
SAME_GROUND = 0.1  # how much lighter or darker the ground of an empty picture may be, [0, 1]
LIKE_BORDER = 30  # grey levels from the border's colour, beyond which something covers it
WHITE = 250
LIT = 100.0  # mean grey level at which sharpness is measured
ROUNDING = 0.25  # grey levels: mean of what rounding changes
THUMB_PX = 64  # side of the picture that positions are found on
ALIGNED = 0.1  # of a correlation, below which no position was found
NEVER_CLOSER = 1e-4  # distance below which pictures are as good as the same
TOGETHER = 2  # nearest good pictures whose mean distance counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """Figures of one picture."""

    brightness: float  # mean of the grey values, [0, 1]
    unburnt: float  # share of pixels that are not white, [0, 1]
    structure: float  # standard deviation of the grey values, [0, 1]
    sharpness: float  # change over one pixel, in units of that over a few: light has no say
    behind: float  # mean of the border's median colour, [0, 1]
    covered: float  # share of pixels that differ from that, [0, 1]
    shift_x: float = 0.0  # beside the first good picture, as shares of the sides
    shift_y: float = 0.0

    @classmethod
    def of(cls, canvases: Sequence[np.ndarray], first: np.ndarray | None = None) -> Self:
        """Of a picture's canvases, uint8 (h, w, 3); `first`: the `thumbnail` of a good picture."""
        each = [_figures(canvas) for canvas in canvases]
        means = {name: float(np.mean([one[name] for one in each])) for name in each[0]}
        shift_x, shift_y = (0.0, 0.0) if first is None else shift_of(canvases[0], first)
        return cls(**means, shift_x=shift_x, shift_y=shift_y)

    def as_dict(self) -> dict[str, float]:
        """The figures as plain JSON values."""
        return {name: round(value, 4) for name, value in asdict(self).items()}


@dataclass(frozen=True)
class GoodConditions:
    """Figures of the good pictures of a product, in the order taught."""

    each: tuple[Conditions, ...]
    # `thumbnail` of the first; an export carries none, for no position keeps it from judging
    first: np.ndarray | None = field(repr=False, compare=False)
    strangeness: tuple[float, ...] = ()  # of those compared with, each beside the others

    @classmethod
    def of(cls, pictures: Sequence[Sequence[np.ndarray]]) -> Self:
        """Of the good pictures' canvases."""
        first = thumbnail(pictures[0][0])
        return cls(tuple(Conditions.of(canvases, first) for canvases in pictures), first)

    @cached_property
    def least(self) -> dict[str, float]:
        """The smallest of each figure."""
        return {f.name: float(self.column(f.name).min()) for f in fields(Conditions)}

    def column(self, name: str) -> np.ndarray:
        """One figure of all, float64 (N,)."""
        return np.array([getattr(one, name) for one in self.each])

    def unfit(self, seen: Conditions, *, strange: bool = False) -> Reason | None:
        """Why a picture with these figures cannot be judged; None where it can.

        `strange`: it does not look like the product. Another product may be lighter or smoother, so
        only what no product could be is then called over-exposed or out of focus.
        """
        clearly = CLEARLY if strange else 1.0
        least = self.least
        usual = float(np.median(self.column("brightness")))
        if seen.brightness < DARK * least["brightness"]:
            light = f"{100 * seen.brightness / max(usual, 1e-6):.0f} %"
            return "dark", (
                f"The picture is too dark to judge: it has {light} of the good pictures' "
                "light. Look at lens cap, lamp and exposure."
            )
        if seen.unburnt < clearly * UNBURNT * least["unburnt"] and seen.brightness > usual:
            return "over-exposed", (
                f"The picture is over-exposed: {1 - seen.unburnt:.0%} of it is white, of the "
                f"good pictures at most {1 - least['unburnt']:.0%}. Look at lamp and exposure."
            )
        if self._shows_nothing(seen):
            return "empty", (
                "The picture shows no part: nothing of it stands out as the good pictures' "
                "does. Is the place empty, or something before the lens?"
            )
        if seen.sharpness < clearly * SHARP * least["sharpness"]:
            sharp = seen.sharpness / float(np.median(self.column("sharpness")))
            return "blurred", (
                f"The picture is out of focus: it has {sharp:.0%} of the good pictures' "
                "sharpness, and small defects could not be seen. Look at lens and distance."
            )
        return None

    def _shows_nothing(self, seen: Conditions) -> bool:
        least = self.least
        if seen.structure < FLAT * least["structure"]:
            return True
        lies_on_ground = least["covered"] > COVERED_LEAST
        behind = self.column("behind")
        same_ground = behind.min() - SAME_GROUND < seen.behind < behind.max() + SAME_GROUND
        return lies_on_ground and same_ground and seen.covered < COVERED * least["covered"]

    def as_list(self) -> list[dict[str, float]]:
        """Plain JSON values, a picture each; those of strangeness with the first ones."""
        rows = [one.as_dict() for one in self.each]
        for row, strangeness in zip(rows, self.strangeness, strict=False):
            row["strangeness"] = round(strangeness, 4)
        return rows

    @classmethod
    def from_list(cls, values: Sequence[Mapping[str, Any]], first: np.ndarray | None) -> Self:
        """The figures of which `as_list` gave the values, and the first one's thumbnail."""
        names = [one.name for one in fields(Conditions)]
        each = tuple(Conditions(**{n: float(one[n]) for n in names}) for one in values)
        strange = tuple(float(v["strangeness"]) for v in values if "strangeness" in v)
        return cls(each, first, strange)


def log_distance(one: np.ndarray, others: np.ndarray) -> float:
    """Of a picture's (1, D) to the nearest of (V, D), all unit vectors: log of 1 - cosine."""
    distances = np.sort(1 - (one @ others.T)[0])
    return math.log(max(float(distances[:TOGETHER].mean()), NEVER_CLOSER))


def other_product(name: str, like: str = "") -> Reason:
    """The reason of a picture that does not show the product of this name."""
    said = f"This does not look like {name}"
    return "product", said + (f"; it looks like {like}." if like else ".")


def exported_reason(
    told: Mapping[str, Any], canvases: Sequence[np.ndarray], embeddings: Sequence[np.ndarray]
) -> dict[str, str] | None:
    """Why a picture cannot be judged, by what the manifest of an export tells of the good ones.

    `embeddings`: what the network gives of each canvas, (1, D).
    """
    vector = np.mean(embeddings, axis=0)
    vector = vector / max(float(np.linalg.norm(vector)), 1e-12)
    like = np.array(told["embeddings"], np.float32)
    strange = len(like) > 0 and log_distance(vector, like) > told["farthest"]
    reason: Reason | None = None
    if told["good"]:
        good = GoodConditions.from_list(told["good"], None)
        reason = good.unfit(Conditions.of(canvases), strange=strange)
    if reason is None and strange and told["pictures"] > 1:
        reason = other_product(told["name"])
    return None if reason is None else {"cause": reason[0], "said": reason[1]}


def thumbnail(canvas: np.ndarray) -> np.ndarray:
    """A canvas, uint8 (h, w, 3), as positions are found on it: float32 (THUMB_PX, THUMB_PX)."""
    grey = cv2.cvtColor(canvas, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (THUMB_PX, THUMB_PX), interpolation=cv2.INTER_AREA).astype(np.float32)
    small -= small.mean()
    return small / max(float(small.std()), 1.0)


def shift_of(canvas: np.ndarray, first: np.ndarray) -> tuple[float, float]:
    """How far (x, y) a canvas lies shifted beside a good picture's `thumbnail`, as shares of sides.

    Phase correlation; (0, 0) where nothing correlates, as of a texture without places.
    """
    window = cv2.createHanningWindow((THUMB_PX, THUMB_PX), cv2.CV_32F)
    (x, y), response = cv2.phaseCorrelate(first.astype(np.float32), thumbnail(canvas), window)
    return (x / THUMB_PX, y / THUMB_PX) if response > ALIGNED else (0.0, 0.0)


def _figures(canvas: np.ndarray) -> dict[str, float]:
    grey = cv2.cvtColor(canvas, cv2.COLOR_RGB2GRAY)
    mean, spread = (float(one[0, 0]) for one in cv2.meanStdDev(grey))
    gain = LIT / max(mean, 1.0)  # at one light, so that a lamp does not look like a lens
    real = grey.astype(np.float32) * gain
    once = cv2.GaussianBlur(real, (5, 5), 1.0)
    fine = cv2.norm(real, once, cv2.NORM_L1) / grey.size
    middle = cv2.norm(once, cv2.blur(once, (9, 9)), cv2.NORM_L1) / grey.size
    return {
        "brightness": mean / 255,
        "unburnt": cv2.countNonZero(cv2.inRange(grey, 0, WHITE - 1)) / grey.size,
        "structure": spread / 255,
        # Less what rounding to whole grey levels alone changes from pixel to pixel.
        "sharpness": max(0.0, fine - ROUNDING * gain) / (middle + 1.0),
        **_ground(canvas),
    }


def _ground(canvas: np.ndarray) -> dict[str, float]:
    """The border's median colour, and the share of the inside that differs clearly from it."""
    small = cv2.resize(canvas, (THUMB_PX, THUMB_PX), interpolation=cv2.INTER_AREA).astype(np.int16)
    edge = THUMB_PX // 16
    inside = np.zeros(small.shape[:2], bool)
    inside[edge:-edge, edge:-edge] = True
    behind = np.median(small[~inside], axis=0)
    covered = (np.abs(small - behind).max(axis=2) > LIKE_BORDER)[inside].mean()
    return {"behind": float(behind.mean()) / 255, "covered": float(covered)}

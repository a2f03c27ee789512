"""The nouns that all packages share. No torch here: these must import in a millisecond.

Shape letters, used in every comment and docstring of this project:
B batch, K references, C channels, H W pixels, h w patch grid, N = h * w patches, D feature width,
M memory bank rows, P prompt tokens, E language width, T tokens.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor

Label = Literal["normal", "anomalous"]
Split = Literal["train", "test"]
Verdict = Literal["normal", "anomalous", "unsure"]
Part = Literal["missing", "extra"]
Cause = Literal["dark", "over-exposed", "blurred", "empty", "product"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One picture of a data set and what is known about it."""

    image: Path
    label: Label | None  # None: not known
    split: Split = "test"
    mask: Path | None = None  # None if normal, or without pixel truth; a folder: all in it joined
    category: str = ""
    defect: str | None = None
    reference: Path | None = None  # the golden sample this picture is paired with
    extra: Mapping[str, str] = field(default_factory=dict)  # domain, position, time, ...


@dataclass(frozen=True, slots=True)
class Features:
    """What an encoder sees: patch features from fine to coarse, and one embedding."""

    levels: list[Tensor]  # each (B, D_l, h_l, w_l)
    embedding: Tensor  # (B, D)
    frozen: list[Tensor] = field(default_factory=list)  # (B, C, h, w): a trunk's own, not trained
    text: Tensor | None = None  # (B, 1, h, w): logits of "anomalous" by words alone, if asked for

    def to(self, device: torch.device) -> Features:
        """The same on another device."""
        levels, frozen = ([one.to(device) for one in ls] for ls in (self.levels, self.frozen))
        text = None if self.text is None else self.text.to(device)
        return Features(levels, self.embedding.to(device), frozen, text)

    def rows(self, index: Sequence[int]) -> Features:
        """Some pictures of the batch."""
        picked = list(index)
        levels, frozen = ([one[picked] for one in ls] for ls in (self.levels, self.frozen))
        text = None if self.text is None else self.text[picked]
        return Features(levels, self.embedding[picked], frozen, text)


@dataclass(frozen=True, slots=True)
class Mask:
    """Which pixels of a picture belong to a thing, as COCO writes it (io/masks.py)."""

    size_hw: tuple[int, int]  # of the picture
    counts: str  # run lengths down the columns, packed

    def as_dict(self) -> dict[str, Any]:
        """COCO's compressed RLE as plain JSON values."""
        return {"size": list(self.size_hw), "counts": self.counts}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Mask:
        """The mask of which `as_dict` gave the values."""
        return cls((values["size"][0], values["size"][1]), values["counts"])


@dataclass(frozen=True, slots=True)
class Measure:
    """A measured value and how far it may be off."""

    value: float
    plus_minus: float  # half of the interval that holds the truth in 95 of 100 cases

    def as_list(self) -> list[float]:
        """Value and half interval as plain JSON values."""
        return [round(self.value, 4), round(self.plus_minus, 4)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How large a thing is, in one unit of length and its square (measuring/figures.py)."""

    length: Measure
    width: Measure
    area: Measure
    perimeter: Measure

    def as_dict(self) -> dict[str, Any]:
        """Each value with its half interval, as plain JSON values."""
        return {name: getattr(self, name).as_list() for name in SIZE_NAMES}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Sizes:
        """The sizes of which `as_dict` gave the values."""
        return cls(**{name: Measure(*values[name]) for name in SIZE_NAMES})


SIZE_NAMES = ("length", "width", "area", "perimeter")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """A region measured."""

    px: Sizes  # in pixels of the picture
    mm: Sizes | None = None  # where the product has a scale
    thin: bool = False  # length along its medial line; else the largest Feret diameter
    line_xy: tuple[tuple[float, float], ...] = ()  # what was taken as its length, in pixels
    note: str = ""  # what limits them: "measured on the blurred map"

    def as_dict(self) -> dict[str, Any]:
        """The measures as plain JSON values."""
        return {
            "px": self.px.as_dict(),
            "mm": self.mm.as_dict() if self.mm else None,
            "thin": self.thin,
            "line_xy": [[round(x, 1), round(y, 1)] for x, y in self.line_xy],
            "note": self.note,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Measures:
        """The measures of which `as_dict` gave the values."""
        return cls(
            px=Sizes.from_dict(values["px"]),
            mm=Sizes.from_dict(values["mm"]) if values["mm"] else None,
            thin=values["thin"],
            line_xy=tuple((x, y) for x, y in values["line_xy"]),
            note=values["note"],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """One connected place of the anomaly map, in pixels of the original picture."""

    box_xyxy: tuple[int, int, int, int]  # x0, y0 inside; x1, y1 one past the end
    area_px: int
    peak: float  # highest map value inside, [0, 1]
    centre_xy: tuple[float, float]  # map-weighted centre
    place: str  # "upper left" ... "lower right": a 3 x 3 grid in reading order
    kind: str | None = None
    part: Part | None = None  # beside the good pictures: one is missing here, or one too many lies
    where: str = ""  # of a recording: the time and channels of the box, in words
    called: str = ""  # what people call such defects of this product, where they taught it
    mask: Mask | None = None  # its crisp outline, where a segmenter drew one; box, area are its own
    fit: float | None = None  # predicted IoU of the mask; None: there is none, or a person's
    measures: Measures | None = None  # where its product has a scale or acceptance rules

    def as_dict(self) -> dict[str, Any]:
        """The region as plain JSON values."""
        return {
            "box_xyxy": list(self.box_xyxy),
            "area_px": self.area_px,
            "peak": round(self.peak, 6),
            "centre_xy": [round(v, 2) for v in self.centre_xy],
            "place": self.place,
            "kind": self.kind,
            "part": self.part,
            "where": self.where,
            "called": self.called,
            "mask": self.mask.as_dict() if self.mask else None,
            "fit": None if self.fit is None else round(self.fit, 4),
            "measures": self.measures.as_dict() if self.measures else None,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Region:
        """The region of which `as_dict` gave the values."""
        box, centre = values["box_xyxy"], values["centre_xy"]
        return cls(
            box_xyxy=(box[0], box[1], box[2], box[3]),
            area_px=values["area_px"],
            peak=values["peak"],
            centre_xy=(centre[0], centre[1]),
            place=values["place"],
            kind=values["kind"],
            part=values.get("part"),  # records of before have none
            where=values.get("where", ""),
            called=values.get("called", ""),
            mask=Mask.from_dict(mask) if (mask := values.get("mask")) else None,
            fit=values.get("fit"),
            measures=Measures.from_dict(said) if (said := values.get("measures")) else None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SenseFinding:
    """What one sense alone said of a part that several looked at."""

    sense: str  # image, depth, thermal, audio or series
    file: Path
    score: float
    p_value: float
    verdict: Verdict

    def as_dict(self) -> dict[str, Any]:
        """The finding as plain JSON values."""
        return {
            "sense": self.sense,
            "file": str(self.file),
            "score": round(self.score, 6),
            "p_value": round(self.p_value, 6),
            "verdict": self.verdict,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SenseFinding:
        """The finding of which `as_dict` gave the values."""
        return cls(**(dict(values) | {"file": Path(values["file"])}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Severity:
    """How bad a part is, beside the p-value, which ends at one in the number of good pictures.

    Made by `calibration/severity.py` alone.
    """

    spreads: float | None  # score over the good pictures' middle, in their spreads; None: not known
    beside: Literal["own", "drawn"] = "own"  # whose spread: the product's, or that of drawn ones
    area_share: float = 0.0  # of the picture that its regions cover, [0, 1]
    contrast: float | None = None  # the most anomalous place, comparable between products

    @property
    def rank(self) -> tuple[float, float]:
        """What is sorted by, ascending: spreads, then area; what is not known comes first."""
        return (-math.inf if self.spreads is None else self.spreads, self.area_share)

    @property
    def text(self) -> str:
        """The spreads in a cell of a table: "12.3", "~12.3" beside drawn products, "-"."""
        if self.spreads is None:
            return "-"
        return f"{'~' if self.beside == 'drawn' else ''}{self.spreads:.1f}"

    def as_dict(self) -> dict[str, Any]:
        """The severity as plain JSON values."""
        spreads, contrast = (
            None if one is None else round(one, 4) for one in (self.spreads, self.contrast)
        )
        return {
            "spreads": spreads,
            "beside": self.beside,
            "area_share": round(self.area_share, 6),
            "contrast": contrast,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Severity:
        """The severity of which `as_dict` gave the values."""
        return cls(**values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfit:
    """Why a picture cannot be judged: that is no pass, and no defect. Its verdict is unsure."""

    cause: Cause  # product: it shows something else
    said: str  # in words
    like: str = ""  # the taught product that it looks like, where there is one

    def as_dict(self) -> dict[str, str]:
        """The reason as plain JSON values."""
        return {"cause": self.cause, "said": self.said, "like": self.like}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Unfit:
        """The reason of which `as_dict` gave the values."""
        return cls(cause=values["cause"], said=values["said"], like=values["like"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """The answer about one picture."""

    image: Path
    size_hw: tuple[int, int]
    map: np.ndarray  # float32 (H, W) in [0, 1], the size of the original picture
    score: float  # unbounded, higher is more anomalous; never clamped, so ranking survives
    p_value: float  # share of good pictures expected to score at least this high, (0, 1]
    verdict: Verdict
    regions: tuple[Region, ...]
    answer: str  # the verdict in one sentence
    seconds: Mapping[str, float]  # stage -> time
    notes: tuple[str, ...] = ()  # permitted fallbacks, said plainly
    confidence: float = 0.5  # that the verdict is right; of an unsure one, that there is a defect
    guaranteed: bool = False  # the product's own good pictures keep the false-alarm rate
    product: str = ""  # the name it was taught under
    num_good: int = 0  # good pictures the product was taught from
    told: str = ""  # what a person said about the product
    colours: tuple[str, ...] = ()  # of the product, then of what lies behind it
    shown: Mapping[str, Tensor] = field(default_factory=dict, repr=False, compare=False)
    words: Answer | None = None  # the answer to a question asked with the inspection
    sense: str = "image"  # what the file is: image, depth, thermal, audio, series; "a+b": several
    senses: tuple[SenseFinding, ...] = ()  # of a part that several senses looked at: each alone
    # uint8 (H, W, 3): what map and regions lie on, where the file is no picture to be shown.
    view: np.ndarray | None = field(default=None, repr=False, compare=False)
    ignored: Mask | None = None  # what does not count (product.areas), moved with the part
    quality: str = "default"  # how closely it was looked at (inspection/quality.py)
    taken: datetime | None = None  # when, if the file tells; not kept on disk
    verdict_before_rules: Verdict | None = None  # the conformal one, where acceptance rules judged
    ruled: tuple[str, ...] = ()  # what they say: "within tolerance: scratch of 1.4 mm (limit 2 mm)"
    severity: Severity | None = None  # how bad it is; records of before have none
    unfit: Unfit | None = None  # why it cannot be judged; None: it can
    conditions: Mapping[str, float] = field(
        default_factory=dict
    )  # light, focus, position, likeness

    def as_dict(self) -> dict[str, Any]:
        """Everything but the map, as plain JSON values."""
        return {
            "image": str(self.image),
            "height_px": self.size_hw[0],
            "width_px": self.size_hw[1],
            "score": round(self.score, 6),
            "p_value": round(self.p_value, 6),
            "severity": self.severity.as_dict() if self.severity else None,
            "verdict": self.verdict,
            "unfit": self.unfit.as_dict() if self.unfit else None,
            "confidence": round(self.confidence, 4),
            "guaranteed": self.guaranteed,
            "answer": self.answer,
            "words": self.words.as_dict() if self.words else None,
            "regions": [r.as_dict() for r in self.regions],
            "sense": self.sense,
            "senses": [one.as_dict() for one in self.senses],
            "product": self.product,
            "num_good": self.num_good,
            "quality": self.quality,
            "told": self.told,
            "colours": list(self.colours),
            "notes": list(self.notes),
            "ignored": self.ignored.as_dict() if self.ignored else None,
            "verdict_before_rules": self.verdict_before_rules,
            "ruled": list(self.ruled),
            "conditions": dict(self.conditions),
            "seconds": {k: round(v, 4) for k, v in self.seconds.items()},
        }

    @classmethod
    def from_dict(
        cls, values: Mapping[str, Any], anomaly_map: np.ndarray, shown: Mapping[str, Tensor]
    ) -> Inspection:
        """The inspection of which `as_dict` gave the values, with its map (any size) and tensors.

        Words spoken of it are left out; they are turns of a dialogue.
        """
        plain = ("score", "p_value", "verdict", "answer", "confidence", "guaranteed", "product")
        return cls(
            image=Path(values["image"]),
            size_hw=(values["height_px"], values["width_px"]),
            map=anomaly_map,
            regions=tuple(Region.from_dict(one) for one in values["regions"]),
            seconds=values["seconds"],
            notes=tuple(values["notes"]),
            num_good=values["num_good"],
            told=values["told"],
            colours=tuple(values["colours"]),
            shown=shown,
            sense=values.get("sense", "image"),  # records of before have none
            senses=tuple(SenseFinding.from_dict(one) for one in values.get("senses", ())),
            ignored=Mask.from_dict(ignored) if (ignored := values.get("ignored")) else None,
            verdict_before_rules=values.get("verdict_before_rules"),
            ruled=tuple(values.get("ruled", ())),
            unfit=Unfit.from_dict(unfit) if (unfit := values.get("unfit")) else None,
            conditions=values.get("conditions", {}),
            quality=values.get("quality", "default"),
            severity=Severity.from_dict(bad) if (bad := values.get("severity")) else None,
            **{name: values[name] for name in plain},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Words about one inspection, and the places they speak of."""

    text: str  # places resolved: "a small scratch at the upper left (box 12, 30, 80, 44)"
    raw: str  # as the language model wrote it: "... at the upper left <region 1>"
    regions: tuple[Region, ...]  # the ones that the text names, in that order
    verdict: Verdict
    confidence: float  # probability that the part is as the verdict says, [0, 1]
    corrected: bool = False  # the model's words went against the verdict or the map, and were cut
    seconds: float = 0.0
    # Published sources of what is general knowledge in the text, not seen in this picture.
    sources: tuple[str, ...] = ()
    model: str = ""  # version of the language model that spoke; records of before have none

    def as_dict(self) -> dict[str, Any]:
        """The answer as plain JSON values."""
        return {
            "text": self.text,
            "raw": self.raw,
            "regions": [r.as_dict() for r in self.regions],
            "verdict": self.verdict,
            "confidence": round(self.confidence, 4),
            "corrected": self.corrected,
            "seconds": round(self.seconds, 4),
            "sources": list(self.sources),
            "model": self.model,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Answer:
        """The answer of which `as_dict` gave the values."""
        regions = tuple(Region.from_dict(one) for one in values["regions"])
        sources = tuple(values.get("sources", ()))  # records of before have none
        return cls(**(dict(values) | {"regions": regions, "sources": sources}))


@dataclass(frozen=True, slots=True)
class Turn:
    """One question and its answer."""

    question: str
    answer: Answer


@dataclass(slots=True)
class Dialogue:
    """The turns so far about one inspection; another picture begins another dialogue."""

    inspection: Inspection
    turns: list[Turn] = field(default_factory=list)


_ROWS = ("upper", "centre", "lower")
_COLUMNS = ("left", "centre", "right")
PLACES = tuple(
    "centre" if row == column == "centre" else f"{row} {column}"
    for row in _ROWS
    for column in _COLUMNS
)


def place_of(centre_xy: tuple[float, float], size_hw: tuple[int, int]) -> str:
    """Where on the picture, in words: a 3 x 3 grid in reading order.

    "upper left" is small x and small y; the middle cell is "centre".
    """
    row = _ROWS[min(2, max(0, int(3 * centre_xy[1] / size_hw[0])))]
    column = _COLUMNS[min(2, max(0, int(3 * centre_xy[0] / size_hw[1])))]
    return "centre" if row == column == "centre" else f"{row} {column}"


_SIZES = ((0.002, "tiny"), (0.01, "small"), (0.05, "medium"), (1.0, "large"))
SIZES = tuple(word for _, word in _SIZES)


def size_of(area_px: int, size_hw: tuple[int, int]) -> str:
    """How large, in words, by the share of the picture: up to 0.2, 1 and 5 percent, or more."""
    share = area_px / (size_hw[0] * size_hw[1])
    return next(word for limit, word in _SIZES if share <= limit)

"""What the model process is asked to do; plain values, for they cross between processes."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from anomalyst.inspection.file_reading import AS_USUAL, FileReading
from anomalyst.io.geometry import FloatBox
from anomalyst.senses.space import SensedFile
from anomalyst.types import Mask

Box = tuple[int, int, int, int]
Named = tuple[Path, str]  # a file, and what its sender calls it


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspect:
    """A picture against a product, and perhaps a question about it."""

    image: Path
    product: str
    false_alarm_rate: float
    question: str | None = None
    beside: tuple[tuple[str, Path], ...] = ()  # the same part by its further senses

    @property
    def batch(self) -> tuple[str, float]:
        """Those of equal batch may be inspected together."""
        return self.product, self.false_alarm_rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Teach:
    """Good parts of a product, new or known; with none, only what is told of it changes."""

    product: str
    good: tuple[Mapping[str, Named], ...]  # sense -> file, of each part; the first sense leads
    reading: FileReading = AS_USUAL
    pose: Literal["auto", "fixed", "free"] = "auto"
    describe: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DecideOdd:
    """Good pictures that look odd: those left out, those kept, as files in the product's folder."""

    product: str
    leave_out: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A question about an inspection that was done."""

    question: str
    record: dict[str, Any]  # Inspection.as_dict
    heat: Path
    shown: Path
    turns: tuple[tuple[str, dict[str, Any]], ...] = ()  # questions and Answer.as_dict


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcribe:
    """A spoken question, to be written down; the sound is kept nowhere."""

    sound: bytes  # a WAV, FLAC, Ogg, MP3 or AIFF file
    name: str  # what its sender calls it


@dataclass(frozen=True, slots=True, kw_only=True)
class Embed:
    """Where a file or a sentence lies in the space of the shipped towers; None: about the space."""

    what: SensedFile | str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates(Ask):
    """Several different answers to the question, to be ranked."""

    key: str  # equal ones give equal answers
    count: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class LookBack(Ask):
    """Where each word of an answer that was given to the question looked."""

    answer: dict[str, Any]  # Answer.as_dict


@dataclass(frozen=True, slots=True, kw_only=True)
class Accept:
    """Places of a picture that a person called normal."""

    product: str
    image: Path
    boxes: tuple[Box, ...]
    name: str  # the correction's


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdraw:
    """Undo `Accept`."""

    product: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Resemble:
    """The place of a good picture that a place of a picture looks like."""

    product: str
    image: Path
    box: Box


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """Clicks, a box, a mask so far or words about a picture -> the mask of what they mean."""

    image: Path
    view: Box | None = None  # the part of the picture that is looked at; None: all of it
    points_xy: tuple[tuple[float, float], ...] = ()
    positive: tuple[bool, ...] = ()  # of each point: on the thing, or beside it
    box_xyxy: FloatBox | None = None
    mask: Mask | None = None
    text: str = ""
    ahead: bool = False  # nothing is asked yet: only look, so that the first click is quick


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAreas:
    """What of a product's pictures counts, in place of what did; its calibration is made anew."""

    product: str
    areas: tuple[dict[str, Any], ...]  # plain values of io/areas.py
    on_product: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedPicture:
    """A picture that people called spoiled or fine."""

    image: Path
    picture: str  # its name in the record
    name: str  # what its sender calls it
    mask: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Learn:
    """What people called spoiled and fine, the newest first, in place of what was so learnt."""

    product: str
    spoiled: tuple[JudgedPicture, ...]
    fine: tuple[JudgedPicture, ...]
    false_alarm_rate: float
    keep: bool = True  # False: figures only


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedDefect:
    """A defect that people drew on a picture, and what they call it."""

    image: Path
    name: str  # what its sender calls the picture
    mask: Path
    label: str
    corrections: tuple[str, ...]  # that drew it


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnKinds:
    """What people call a product's defects, in place of what was so learnt; nothing: forget it."""

    product: str
    named: tuple[NamedDefect, ...]
    keep: bool = True  # False: figures only


@dataclass(frozen=True, slots=True, kw_only=True)
class Unlearn:
    """Undo `Learn`."""

    product: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SetMeasuring:
    """Scale and acceptance rules of a product, in the place of those it has."""

    product: str
    measuring: dict[str, Any]  # Measuring.as_dict


@dataclass(frozen=True, slots=True, kw_only=True)
class Compare:
    """Pictures of the record, judged by two versions of a product."""

    product: str
    before: Path  # folders of the two versions
    after: Path
    pictures: tuple[Inspect, ...]
    names: tuple[str, ...]  # of each: what its sender calls it
    ids: tuple[str, ...]  # of each: its inspection
    spoiled: tuple[bool | None, ...]  # of each: what people say; None: nobody has said


Task = (
    Inspect
    | Teach
    | DecideOdd
    | Ask
    | Transcribe
    | Embed
    | Candidates
    | LookBack
    | Accept
    | Withdraw
    | Resemble
    | Segment
    | Learn
    | LearnKinds
    | Unlearn
    | SetAreas
    | SetMeasuring
    | Compare
)

"""What requests hold and answers look like."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from anomalyst.io.masks import unpack_counts
from anomalyst.server.records.drawn import LONGEST_LABEL, Drawn, Tool, What
from anomalyst.server.storage.tables import CandidateRow, CorrectionRow, Table
from anomalyst.types import Mask


def printable(text: str) -> str:
    """Text without marks that no database keeps and no page shows."""
    if any(not c.isprintable() and c not in "\n\r\t" for c in text):
        raise ValueError("holds characters that cannot be shown")
    return text


Text = Annotated[str, Field(max_length=2000), AfterValidator(printable)]
Name = Annotated[str, Field(min_length=1, max_length=80), AfterValidator(printable)]
Place = Annotated[float, Field(allow_inf_nan=False)]
PointXY = Annotated[list[Place], Field(min_length=2, max_length=2)]
BoxXYXY = Annotated[list[int], Field(min_length=4, max_length=4)]


class Shape(BaseModel):
    """An unknown key is an error."""

    model_config = ConfigDict(extra="forbid")


class OfRow(BaseModel):
    """A row of the store as an answer."""

    @classmethod
    def of(cls, row: Table) -> Self:
        """The columns that are told."""
        return cls(**{name: getattr(row, name) for name in cls.model_fields})


class Region(BaseModel):
    """A place of the anomaly map, in pixels of the picture."""

    box_xyxy: list[int]
    area_px: int
    peak: float
    centre_xy: list[float]
    place: str
    kind: str | None
    part: Literal["missing", "extra"] | None = None
    measures: dict[str, Any] | None = Field(
        default=None, description="length, width, area, perimeter, each with half its 95 % interval"
    )
    where: str = Field(default="", description="of a recording: times and channels, in words")
    called: str = Field(default="", description="what people call such defects of this product")
    mask: "MaskRLE | None" = Field(default=None, description="its crisp edge, if one was drawn")
    fit: float | None = Field(default=None, description="predicted IoU of the mask")


class Inspection(OfRow):
    """An inspection: queued, done or failed."""

    id: str
    product: str
    name: str
    state: str
    source: str
    by: str
    created_at: datetime
    done_at: datetime | None
    question: str | None
    problem: str | None
    verdict: str | None
    score: float | None
    p_value: float | None
    severity: float | None = Field(
        description="how far the score is above the good pictures', in their spreads; no guarantee"
    )
    reviewed: str | None
    revision: str | None
    line: str | None = Field(description="which it came from")
    signal_ms: float | None = Field(description="from its picture to its signal, on a line")
    late: str | None = Field(description="why it had no signal in time")
    record: dict[str, Any] | None = Field(description="regions, notes, seconds, answer, ...")


class Turn(OfRow):
    """A question and its answer."""

    id: str
    question: str
    answer: dict[str, Any]
    by: str
    created_at: datetime


class SpokenTurn(Turn):
    """A question by voice, what was heard of it, and its answer."""

    confidence: float = Field(description="mean probability of the transcript's tokens, 0 to 1")
    notes: list[str] = Field(description="what was changed in the recording")


class Correction(OfRow):
    """What a person said of an inspection."""

    id: str
    inspection: str
    product: str
    kind: str
    detail: dict[str, Any]
    by: str
    created_at: datetime
    applied_at: datetime | None
    undone_at: datetime | None


class Change(OfRow):
    """What happened to a product."""

    kind: str
    detail: dict[str, Any]
    by: str
    created_at: datetime


class Job(OfRow):
    """Something that takes long: queued, running, done, failed or cancelled."""

    id: str
    kind: str = Field(description="teach, compare")
    product: str
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    said: str = Field(description="how far it is, in words")
    done: int | None = Field(description="of `total` pictures or files")
    total: int | None
    by: str
    created_at: datetime
    ended_at: datetime | None
    problem: str | None = Field(description="why it failed")
    result: dict[str, Any] | None


class Page(BaseModel):
    """Some inspections, the newest first, and where the next ones begin."""

    items: list[Inspection]
    next: str | None = Field(description="give it as `before` for the next page; null: the end")
    total: int


class Settings(Shape):
    """What may be set for a product."""

    description: Text | None = None
    false_alarm_rate: Annotated[float, Field(gt=0, lt=1)] | None = None


class Area(Shape):
    """A region of interest or an ignore zone, in pixels of the first good picture."""

    name: Annotated[str, Field(min_length=1, max_length=40), AfterValidator(printable)]
    use: Literal["ignore", "roi"]
    points_xy: Annotated[
        list[tuple[float, float]] | None, Field(description="a polygon", max_length=1001)
    ] = None
    mask: Annotated[
        dict[str, Any] | None, Field(description='COCO run lengths: {"size", "counts"}')
    ] = None

    def values(self) -> dict[str, Any]:
        """What is said of it, as plain values."""
        return self.model_dump(mode="json", exclude_none=True)


class Areas(Shape):
    """What of a product's pictures counts."""

    areas: Annotated[list[Area], Field(max_length=50)]
    on_product: bool = False


class OddDecision(Shape):
    """Good pictures that look odd, by their numbers in the product's `odd`."""

    leave_out: Annotated[list[int], Field(max_length=500)] = Field(default_factory=list)
    keep: Annotated[list[int], Field(max_length=500)] = Field(default_factory=list)


class Question(Shape):
    """A question about an inspection."""

    question: Annotated[str, Field(min_length=1, max_length=500), AfterValidator(printable)]


class CandidatesWanted(Question):
    """A question that is to be answered in several ways."""

    count: Annotated[int, Field(ge=2, le=4)] = 3


class Candidates(BaseModel):
    """Several answers to one question; which model gave each stays hidden until they are ranked."""

    id: str
    inspection: str
    question: str
    answers: list[str] = Field(description="in an order by chance")

    @classmethod
    def of(cls, row: CandidateRow) -> Self:
        """What is told of a set before it is ranked."""
        answers = [answer["text"] for answer in row.answers]
        return cls(id=row.id, inspection=row.inspection, question=row.question, answers=answers)


class Ranks(Shape):
    """A rank for each answer, in the order shown: 1 is the best, ties are allowed."""

    ranks: Annotated[list[Annotated[int, Field(ge=1, le=4)]], Field(min_length=2, max_length=4)]


class Feedback(Shape):
    """`right`, `wrong`: the verdict; `fine`: places are normal; `answer`: better words for a turn;
    `up`, `down`: the answer of a turn."""

    kind: Literal["right", "wrong", "fine", "answer", "up", "down"]
    boxes_xyxy: Annotated[list[BoxXYXY], Field(max_length=50)] | None = None
    comment: Text = ""
    turn: Annotated[str, Field(max_length=64)] | None = None
    better: Text | None = None


class MaskRLE(Shape):
    """A mask of the whole picture, as COCO writes it: run lengths down its columns, packed."""

    size: Annotated[list[int], Field(min_length=2, max_length=2, description="height, width")]
    counts: Annotated[str, Field(max_length=4_000_000)]

    def mask(self) -> Mask:
        """The same as the noun."""
        return Mask((self.size[0], self.size[1]), self.counts)


class Prompts(Shape):
    """What is said of one thing: places in pixels of the picture, its first pixel's centre 0.5."""

    points_xy: Annotated[list[PointXY], Field(max_length=200)] = Field(default_factory=list)
    labels: Annotated[
        list[Literal[0, 1]],
        Field(max_length=200, description="of each point: 1 on the thing, 0 beside it"),
    ] = Field(default_factory=list)
    box_xyxy: Annotated[list[Place], Field(min_length=4, max_length=4)] | None = None
    text: Text = ""


class ToSegment(Prompts):
    """Prompts, a mask so far, and the part of the picture that is looked at."""

    mask: MaskRLE | None = None
    view_xyxy: BoxXYXY | None = Field(default=None, description="null: the whole picture")
    ahead: bool = Field(default=False, description="only look, so that the first click is quick")


class Candidate(BaseModel):
    """One of the masks that may be meant."""

    mask: MaskRLE
    iou: float = Field(description="predicted intersection over union with what is meant, 0 to 1")


class Segmented(BaseModel):
    """Up to three masks that may be meant, the best first."""

    candidates: list[Candidate]
    encode_ms: float = Field(description="to look at the view; next to nothing once it was")
    prompt_ms: float


class NewMask(Shape):
    """A mask that a person drew."""

    mask: MaskRLE
    what: What = "defect"
    label: Annotated[Text, Field(max_length=LONGEST_LABEL, description="kind, or part's name")] = ""
    tools: Annotated[list[Tool], Field(max_length=20)] = Field(default_factory=list)
    prompts: Prompts = Field(default_factory=Prompts)
    iou: Annotated[float, Field(ge=0, le=1)] | None = None


class DrawnMask(BaseModel):
    """A mask that was kept."""

    id: str = Field(description="of the correction; undo takes the mask back")
    what: What
    label: str
    by: str
    created_at: datetime
    area_px: int | None
    mask: MaskRLE | None = Field(description="null: its file is gone")
    tools: list[Tool]
    prompts: dict[str, Any]
    iou: float | None

    @classmethod
    def of(cls, row: CorrectionRow, mask: Mask | None) -> Self:
        """A correction of kind `mask`, with its pixels."""
        drawn = Drawn.of(row.detail)
        area = row.detail.get("area_px")
        if area is None and mask is not None:
            area = sum(unpack_counts(mask.counts)[1::2])
        return cls(
            id=row.id, by=row.by, created_at=row.created_at, area_px=area,
            mask=None if mask is None else MaskRLE(**mask.as_dict()), **drawn.as_detail(),
        )  # fmt: skip


class NewRun(Shape):
    """A training to start."""

    recipe: Name
    name: Name
    changes: Annotated[list[Text], Field(max_length=50)] = Field(default_factory=list)


class NewKey(Shape):
    """A key to make."""

    name: Name
    role: Literal["operator", "inspector", "engineer", "admin"]

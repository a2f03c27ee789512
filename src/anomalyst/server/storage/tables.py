"""What the store keeps, as tables; pictures lie beside them, by content (pictures.py)."""

import os
import time
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, DateTime, Dialect, ForeignKey, Index, TypeDecorator
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Moment(TypeDecorator[datetime]):
    """A time with its zone; SQLite forgets zones, so all are UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        return value.astimezone(UTC) if value else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        return value.replace(tzinfo=UTC) if value and value.tzinfo is None else value


def new_id() -> str:
    """24 hexadecimal digits that sort by the time they were made, to the nanosecond.

    Messages go out in their order: two of one millisecond may not change places.
    """
    milliseconds, left = divmod(time.time_ns(), 1_000_000)
    return f"{milliseconds:012x}{left:05x}{int.from_bytes(os.urandom(4)) >> 4:07x}"


def now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


class Table(DeclarativeBase):
    """All tables of the store."""

    type_annotation_map = {datetime: Moment, dict[str, Any]: JSON, list[Any]: JSON}


class Numbered(Table):
    """A row with an id of its own, and when it was made."""

    __abstract__ = True

    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    created_at: Mapped[datetime] = mapped_column(default=now)


class InspectionRow(Numbered):
    """One picture asked about: acknowledged from the moment this row is there."""

    __tablename__ = "inspections"
    __table_args__ = (
        Index("inspections_by_product", "product", "id"),
        Index("inspections_by_state", "state"),
        Index("inspections_to_review", "reviewed", "uncertainty"),
        Index("inspections_by_severity", "severity"),
        Index("inspections_by_line", "line", "id"),
    )

    product: Mapped[str]
    picture: Mapped[str]  # name in the pictures' folder
    name: Mapped[str]  # what its sender calls it
    beside: Mapped[dict[str, Any] | None]  # sense -> name of its file, of a part with several
    source: Mapped[str]  # api, workbench, watch
    by: Mapped[str]
    owner: Mapped[str]  # who takes it up again after a crash: the server, or one watch
    question: Mapped[str | None]
    false_alarm_rate: Mapped[float]
    state: Mapped[str] = mapped_column(default="queued")  # queued, done, failed
    problem: Mapped[str | None]  # why it failed
    done_at: Mapped[datetime | None]
    verdict: Mapped[str | None]
    score: Mapped[float | None]
    p_value: Mapped[float | None]
    severity: Mapped[float | None]  # Severity.spreads; rows of before have none
    uncertainty: Mapped[float | None]  # 1: it may be either, 0: certain
    record: Mapped[dict[str, Any] | None]  # Inspection.as_dict
    heat: Mapped[str | None]  # name of the map's picture
    shown: Mapped[str | None]  # name of what the language model is shown
    revision: Mapped[str | None]  # of the product, as it was
    reviewed: Mapped[str | None]  # right, wrong
    alarm: Mapped[str | None]  # the drift that this inspection revealed
    line: Mapped[str | None]  # which it came from
    signal_ms: Mapped[float | None]  # from its picture to its signal, where a line has a budget
    late: Mapped[str | None]  # why it had no signal in time

    @property
    def sense(self) -> str:
        """What was inspected: "image", another sense, or several joined by +."""
        return str((self.record or {}).get("sense", "image"))

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width of the picture, of an inspection that is done."""
        record = self.record or {}
        return record["height_px"], record["width_px"]


class TurnRow(Numbered):
    """One question and its answer."""

    __tablename__ = "turns"

    inspection: Mapped[str] = mapped_column(ForeignKey("inspections.id", ondelete="CASCADE"))
    question: Mapped[str]
    answer: Mapped[dict[str, Any]]  # Answer.as_dict
    by: Mapped[str]


Index("turns_by_inspection", TurnRow.inspection, TurnRow.id)


class CorrectionRow(Numbered):
    """What a person said of an inspection; an undone one is kept as history."""

    __tablename__ = "corrections"
    __table_args__ = (Index("corrections_by_inspection", "inspection"),)

    inspection: Mapped[str] = mapped_column(ForeignKey("inspections.id", ondelete="CASCADE"))
    product: Mapped[str]
    kind: Mapped[str]  # right, wrong, fine, mask; of answers: answer, ranking, up, down
    about: Mapped[str | None]  # the candidates ranked, or the turn judged
    detail: Mapped[dict[str, Any]]
    by: Mapped[str]
    applied_at: Mapped[datetime | None]  # the product has learnt it
    undone_at: Mapped[datetime | None]


class CandidateRow(Numbered):
    """Several answers to one question, which `by` asked for; whoever may judge may rank them."""

    __tablename__ = "candidates"
    __table_args__ = (Index("candidates_by_inspection", "inspection"),)

    inspection: Mapped[str] = mapped_column(ForeignKey("inspections.id", ondelete="CASCADE"))
    question: Mapped[str]
    turns: Mapped[list[Any]]  # questions asked before, each with its raw answer
    answers: Mapped[list[Any]]  # Answer.as_dict with its temperature, in the order shown
    order: Mapped[list[Any]]  # of each shown answer: which it was as they were made, from 0
    by: Mapped[str]


class RequestRow(Table):
    """A request with an idempotency key, and what it made: asked again, it makes nothing new."""

    __tablename__ = "requests"

    by: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[str]  # of what was asked
    made: Mapped[list[Any]]  # ids of inspections
    answer: Mapped[dict[str, Any] | None]  # status, body and location of what else was answered
    created_at: Mapped[datetime] = mapped_column(default=now)


class KeyRow(Numbered):
    """Who may ask; only the digest of a key is kept."""

    __tablename__ = "keys"

    name: Mapped[str] = mapped_column(unique=True)
    role: Mapped[str]
    digest: Mapped[str] = mapped_column(unique=True)
    revoked_at: Mapped[datetime | None]


class ChangeRow(Numbered):
    """What happened to a product, by whom."""

    __tablename__ = "changes"
    __table_args__ = (Index("changes_by_product", "product", "id"),)

    product: Mapped[str]
    # taught, extended, described, imported, accepted, withdrawn, deleted, drift, learnt,
    # not learnt, unlearnt
    kind: Mapped[str]
    detail: Mapped[dict[str, Any]]
    by: Mapped[str]


ACTIVE = ("queued", "running")  # states of jobs that have not ended


class JobRow(Numbered):
    """Something that takes long, done in the background; taken up again after a crash."""

    __tablename__ = "jobs"
    __table_args__ = (Index("jobs_by_product", "product", "id"), Index("jobs_by_state", "state"))

    kind: Mapped[str]  # teach, compare
    product: Mapped[str]
    by: Mapped[str]
    owner: Mapped[str]  # who takes it up again
    asked: Mapped[dict[str, Any]]  # plain values
    state: Mapped[str] = mapped_column(default="queued")  # running, done, failed, cancelled
    said: Mapped[str] = mapped_column(default="")  # how far it is, in words
    done: Mapped[int | None]  # of `total` pictures
    total: Mapped[int | None]
    result: Mapped[dict[str, Any] | None]
    problem: Mapped[str | None]  # why it failed
    ended_at: Mapped[datetime | None]


class SettingRow(Table):
    """What is set for a product."""

    __tablename__ = "settings"

    product: Mapped[str] = mapped_column(primary_key=True)
    false_alarm_rate: Mapped[float] = mapped_column(default=0.05)
    version: Mapped[int] = mapped_column(default=0)  # one more with each change, by whomever


class AuditRow(Table):
    """Who did what: only added to, each entry sealed with the one before (audit.py)."""

    __tablename__ = "audit"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)  # from 1
    at: Mapped[datetime] = mapped_column(default=now)
    by: Mapped[str]
    what: Mapped[str]  # a kind of change or correction, key made, key revoked, ...
    about: Mapped[str]  # a product, an inspection, a key's name
    detail: Mapped[dict[str, Any]]
    previous: Mapped[str]  # digest of the entry before
    digest: Mapped[str]


class DeliveryRow(Numbered):
    """A message that must reach somebody; sent again until that has taken it."""

    __tablename__ = "deliveries"
    __table_args__ = (
        Index("deliveries_waiting", "sent_at", "next_at"),
        Index("deliveries_refused", "refused_at"),
    )

    sink: Mapped[str]  # mqtt://... or http(s)://...
    payload: Mapped[dict[str, Any]]
    attempts: Mapped[int] = mapped_column(default=0)
    problem: Mapped[str | None]
    next_at: Mapped[datetime] = mapped_column(default=now)
    sent_at: Mapped[datetime | None]
    refused_at: Mapped[datetime | None]  # its sink will never take it: set aside, not lost

"""The record of every inspection: acknowledged, done, questioned, corrected."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Engine, Select, delete, func, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from anomalyst.server.errors import Conflict, NotFound
from anomalyst.server.storage.pictures import Pictures
from anomalyst.server.storage.tables import (
    ChangeRow,
    CorrectionRow,
    DeliveryRow,
    InspectionRow,
    RequestRow,
    SettingRow,
    TurnRow,
    new_id,
    now,
)

Row = TypeVar("Row", InspectionRow, CorrectionRow)
LONGEST_NAME = 200  # characters kept of a sender's name for a picture
PAGE_MOST = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request's idempotency key, and a fingerprint of what it asks."""

    by: str
    key: str
    fingerprint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which inspections; None: any."""

    product: str | None = None
    verdict: str | None = None
    state: str | None = None
    source: str | None = None
    owner: str | None = None
    reviewed: bool | None = None
    text: str | None = None  # in the picture's name, the question or the answer
    since: datetime | None = None
    until: datetime | None = None

    def conditions(self) -> Iterator[ColumnElement[bool]]:
        """As SQL."""
        row = InspectionRow
        for column, value in (
            (row.product, self.product),
            (row.verdict, self.verdict),
            (row.state, self.state),
            (row.source, self.source),
            (row.owner, self.owner),
        ):
            if value is not None:
                yield column == value
        if self.reviewed is not None:
            yield row.reviewed.is_not(None) if self.reviewed else row.reviewed.is_(None)
        if self.text:
            like = f"%{_escaped(self.text)}%"
            yield or_(row.name.ilike(like, escape="\\"), row.question.ilike(like, escape="\\"))
        if self.since is not None:
            yield row.created_at >= self.since
        if self.until is not None:
            yield row.created_at < self.until


class Store:
    """Inspections, dialogues and corrections in a database, pictures beside it."""

    def __init__(self, engine: Engine, pictures: Pictures):
        self.engine, self.pictures = engine, pictures

    @contextmanager
    def session(self) -> Iterator[Session]:
        """One transaction: all of it is kept, or nothing."""
        with Session(self.engine, expire_on_commit=False) as session, session.begin():
            yield session

    def acknowledge(self, rows: Sequence[InspectionRow], asked: Asked | None) -> list[str]:
        """Take inspections in: from here on they are not lost. Returns their ids.

        With an idempotency key that was used before, the ids of what it made then; nothing is
        taken in. Raises Conflict if it was another request's.
        """
        for row in rows:
            row.id = new_id()
        ids = [row.id for row in rows]
        try:
            with self.session() as session:
                if asked is not None:
                    session.add(
                        RequestRow(
                            by=asked.by, key=asked.key, fingerprint=asked.fingerprint, made=ids
                        )
                    )
                    session.flush()
                session.add_all(rows)
        except IntegrityError:
            before = self.made_before(asked) if asked is not None else None
            if before is None:
                raise
            return before
        return ids

    def made_before(self, asked: Asked) -> list[str] | None:
        """What a request with this key made; None if there was none. Raises Conflict."""
        with self.session() as session:
            row = session.get(RequestRow, (asked.by, asked.key))
        if row is None:
            return None
        if row.fingerprint != asked.fingerprint:
            raise Conflict(
                f"the idempotency key {asked.key!r} was used for another request; take a new one."
            )
        return [str(made) for made in row.made]

    def was_made(self, by: str, key: str) -> bool:
        """Whether a request with this key was acknowledged, whatever it asked."""
        with self.session() as session:
            return session.get(RequestRow, (by, key)) is not None

    def finish(
        self, id: str, *, beside: Sequence[TurnRow | DeliveryRow] = (), **found: Any
    ) -> InspectionRow:
        """Write down what an inspection found, or why it could not be done.

        `beside`: its first turn, and whom it must be told, kept in the same transaction.
        """
        with self.session() as session:
            session.add_all(beside)
            session.execute(
                update(InspectionRow).where(InspectionRow.id == id).values(done_at=now(), **found)
            )
        return self.inspection(id)

    def inspection(self, id: str) -> InspectionRow:
        """One inspection. Raises NotFound."""
        return self._one(InspectionRow, id, "inspection")

    def inspections(self, ids: Sequence[str]) -> list[InspectionRow]:
        """Several, in the order asked."""
        with self.session() as session:
            rows = session.scalars(select(InspectionRow).where(InspectionRow.id.in_(ids))).all()
        found = {row.id: row for row in rows}
        return [found[id] for id in ids if id in found]

    def history(
        self, wanted: Filter, *, before: str | None = None, limit: int = 50
    ) -> list[InspectionRow]:
        """The newest first, those before an id; at most `PAGE_MOST` at once."""
        query = _filtered(select(InspectionRow), wanted).order_by(InspectionRow.id.desc())
        if before is not None:
            query = query.where(InspectionRow.id < before)
        with self.session() as session:
            return list(session.scalars(query.limit(min(limit, PAGE_MOST))))

    def count(self, wanted: Filter) -> int:
        """How many there are."""
        with self.session() as session:
            return session.scalar(_filtered(select(func.count(InspectionRow.id)), wanted)) or 0

    def to_review(self, product: str | None, limit: int = 50) -> list[InspectionRow]:
        """Inspections that nobody has judged yet, the least certain first."""
        wanted = Filter(product=product, state="done", reviewed=False)
        query = _filtered(select(InspectionRow), wanted).order_by(
            InspectionRow.uncertainty.desc(), InspectionRow.id.desc()
        )
        with self.session() as session:
            return list(session.scalars(query.limit(limit)))

    def verdicts(self, product: str | None = None) -> dict[tuple[str, str], int]:
        """(product, verdict) -> how many; what failed or waits counts under its state."""
        row = InspectionRow
        what = func.coalesce(row.verdict, row.state)
        query = select(row.product, what, func.count(row.id)).group_by(row.product, what)
        if product is not None:
            query = query.where(row.product == product)
        with self.session() as session:
            return {(name, verdict): count for name, verdict, count in session.execute(query)}

    def scores(self, product: str, limit: int) -> list[InspectionRow]:
        """The newest `limit` inspections of a product that are done, the oldest first."""
        return self.history(Filter(product=product, state="done"), limit=limit)[::-1]

    def add_turn(self, inspection: str, question: str, answer: dict[str, Any], by: str) -> TurnRow:
        """Keep a question and its answer."""
        row = TurnRow(inspection=inspection, question=question, answer=answer, by=by)
        with self.session() as session:
            session.add(row)
        return row

    def turns(self, inspection: str) -> list[TurnRow]:
        """The dialogue about an inspection so far."""
        query = select(TurnRow).where(TurnRow.inspection == inspection).order_by(TurnRow.id)
        with self.session() as session:
            return list(session.scalars(query))

    def add_correction(self, row: CorrectionRow, reviewed: str | None) -> None:
        """Keep what a person said, and that the inspection was looked at."""
        with self.session() as session:
            session.add(row)
            if reviewed is not None:
                _review(session, row.inspection, reviewed)

    def set_reviewed(self, inspection: str, reviewed: str | None) -> None:
        """Whether a person found the verdict right or wrong; None: nobody has said."""
        with self.session() as session:
            _review(session, inspection, reviewed)

    def mark_correction(self, id: str, **values: Any) -> None:
        """Set when a correction was applied or undone."""
        with self.session() as session:
            session.execute(update(CorrectionRow).where(CorrectionRow.id == id).values(**values))

    def correction(self, id: str) -> CorrectionRow:
        """One correction. Raises NotFound."""
        return self._one(CorrectionRow, id, "correction")

    def corrections(
        self, *, inspection: str | None = None, product: str | None = None, limit: int = PAGE_MOST
    ) -> list[CorrectionRow]:
        """Corrections of an inspection or a product, the newest first."""
        query = select(CorrectionRow).order_by(CorrectionRow.id.desc()).limit(limit)
        if inspection is not None:
            query = query.where(CorrectionRow.inspection == inspection)
        if product is not None:
            query = query.where(CorrectionRow.product == product)
        with self.session() as session:
            return list(session.scalars(query))

    def undelivered(self, sink: str | None = None) -> int:
        """How many messages were not taken yet."""
        query = select(func.count(DeliveryRow.id)).where(DeliveryRow.sent_at.is_(None))
        if sink is not None:
            query = query.where(DeliveryRow.sink == sink)
        with self.session() as session:
            return session.scalar(query) or 0

    def note(self, product: str, kind: str, by: str, **detail: Any) -> None:
        """Keep what happened to a product."""
        with self.session() as session:
            session.add(ChangeRow(product=product, kind=kind, detail=detail, by=by))

    def changes(self, product: str, limit: int = 100) -> list[ChangeRow]:
        """What happened to a product, the newest first."""
        query = select(ChangeRow).where(ChangeRow.product == product)
        with self.session() as session:
            return list(session.scalars(query.order_by(ChangeRow.id.desc()).limit(limit)))

    def false_alarm_rate(self, product: str) -> float:
        """The share of good parts that may be called anomalous."""
        with self.session() as session:
            row = session.get(SettingRow, product)
        return row.false_alarm_rate if row else 0.05

    def set_false_alarm_rate(self, product: str, rate: float) -> None:
        """Set that share."""
        with self.session() as session:
            session.merge(SettingRow(product=product, false_alarm_rate=rate))

    def _one(self, table: type[Row], id: str, called: str) -> Row:
        with self.session() as session:
            row = session.get(table, id)
        if row is None:
            raise NotFound(f"there is no {called} {id[:40]!r}; it may have been forgotten.")
        return row

    def forget_settings(self, product: str) -> None:
        """Of a product that is deleted."""
        with self.session() as session:
            session.execute(delete(SettingRow).where(SettingRow.product == product))


def _filtered(query: Select[Any], wanted: Filter) -> Select[Any]:
    return query.where(*wanted.conditions())


def _review(session: Session, inspection: str, reviewed: str | None) -> None:
    session.execute(
        update(InspectionRow).where(InspectionRow.id == inspection).values(reviewed=reviewed)
    )


def _escaped(text: str) -> str:
    """A person's text in which nothing is a wildcard."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")

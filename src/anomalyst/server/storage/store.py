"""The record of every inspection: acknowledged, done, questioned, corrected."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Self, TypeVar

from sqlalchemy import Engine, Select, delete, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from anomalyst.server.config import ServingConfig
from anomalyst.server.errors import Conflict, NotFound
from anomalyst.server.storage import audit
from anomalyst.server.storage.database import open_database
from anomalyst.server.storage.filters import Filter
from anomalyst.server.storage.pictures import Pictures
from anomalyst.server.storage.tables import (
    ACTIVE,
    CandidateRow,
    ChangeRow,
    CorrectionRow,
    InspectionRow,
    JobRow,
    Numbered,
    RequestRow,
    SettingRow,
    Table,
    TurnRow,
    new_id,
    now,
)

Row = TypeVar("Row", InspectionRow, CorrectionRow, CandidateRow)
PAGE_MOST = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class IdempotentRequest:
    """A request's idempotency key, and a fingerprint of what it asks."""

    by: str
    key: str
    fingerprint: str


class Store:
    """Inspections, dialogues and corrections in a database, pictures beside it."""

    def __init__(self, engine: Engine, pictures: Pictures):
        self.engine, self.pictures = engine, pictures

    @classmethod
    def open(cls, config: ServingConfig) -> Self:
        """The store of a server, with the newest schema. Raises AnomalystError."""
        return cls(open_database(config.database_url), Pictures(config.home / "pictures"))

    @contextmanager
    def session(self) -> Iterator[Session]:
        """One transaction: all of it is kept, or nothing."""
        with Session(self.engine, expire_on_commit=False) as session, session.begin():
            yield session

    def acknowledge(
        self, rows: Sequence[InspectionRow], asked: IdempotentRequest | None
    ) -> list[str]:
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
                    session.add(RequestRow(**asdict(asked), made=ids))
                    session.flush()
                session.add_all(rows)
        except IntegrityError:
            before = self.request(asked.by, asked.key) if asked is not None else None
            if asked is None or before is None:
                raise
            if before.fingerprint != asked.fingerprint:
                raise Conflict(
                    f"the idempotency key {asked.key!r} was used for another request; take a new "
                    "one."
                ) from None
            return [str(made) for made in before.made]
        return ids

    def request(self, by: str, key: str) -> RequestRow | None:
        """The request with this idempotency key that was acknowledged, whatever it asked."""
        with self.session() as session:
            return session.get(RequestRow, (by, key))

    def finish(self, id: str, *, beside: Sequence[Table] = (), **found: Any) -> bool:
        """Write down what an inspection found, or why it could not be done; once.

        `beside`: its first turn, and whom it must be told, kept in the same transaction. False, and
        nothing is written, where it was before: by another server, or by a try whose answer was
        lost with the database.
        """
        waits = InspectionRow.id == id, InspectionRow.state == "queued"
        with self.session() as session:
            told = session.execute(
                update(InspectionRow).where(*waits).values(done_at=now(), **found)
            )
            if not getattr(told, "rowcount", 0):
                return False
            session.add_all(beside)
            return True

    def waiting_owners(self) -> set[str]:
        """Who took in inspections that are not done, or jobs that have not ended."""
        inspections = select(InspectionRow.owner).where(InspectionRow.state == "queued").distinct()
        jobs = select(JobRow.owner).where(JobRow.state.in_(ACTIVE)).distinct()
        with self.session() as session:
            return {*session.scalars(inspections), *session.scalars(jobs)}

    def take_over(self, before: str, owner: str) -> int:
        """What one owner left undone is another's; returns how many inspections and jobs."""
        left = (
            (InspectionRow.owner == before) & (InspectionRow.state == "queued"),
            (JobRow.owner == before) & JobRow.state.in_(ACTIVE),
        )
        with self.session() as session:
            told = [
                session.execute(update(table).where(which).values(owner=owner))
                for table, which in zip((InspectionRow, JobRow), left, strict=True)
            ]
        return sum(int(getattr(one, "rowcount", 0)) for one in told)

    def inspection(self, id: str) -> InspectionRow:
        """One inspection. Raises NotFound."""
        return self._one(InspectionRow, id, "inspection")

    def inspections(self, ids: Sequence[str]) -> list[InspectionRow]:
        """Several, in the order asked."""
        rows = self._all(select(InspectionRow).where(InspectionRow.id.in_(ids)))
        found = {row.id: row for row in rows}
        return [found[id] for id in ids if id in found]

    def history(
        self, wanted: Filter, *, before: str | None = None, limit: int = 50
    ) -> list[InspectionRow]:
        """The newest first, those before an id; at most `PAGE_MOST` at once."""
        query = select(InspectionRow).where(*wanted.conditions()).order_by(InspectionRow.id.desc())
        if before is not None:
            query = query.where(InspectionRow.id < before)
        return self._all(query.limit(min(limit, PAGE_MOST)))

    def severest(self, wanted: Filter, *, skip: int = 0, limit: int = 50) -> list[InspectionRow]:
        """The most severe first, after the first `skip`; those without a severity last."""
        row = InspectionRow
        order = row.severity.is_(None), row.severity.desc(), row.id.desc()
        query = select(row).where(*wanted.conditions()).order_by(*order)
        return self._all(query.offset(skip).limit(min(limit, PAGE_MOST)))

    def count(self, wanted: Filter) -> int:
        """How many there are."""
        return self._number(select(func.count(InspectionRow.id)).where(*wanted.conditions()))

    def to_review(
        self, product: str | None, limit: int = 50, *, severest: bool = False
    ) -> list[InspectionRow]:
        """Inspections that nobody has judged yet, the least certain or the most severe first."""
        wanted = Filter(product=product, state="done", reviewed=False)
        if severest:
            return self.severest(wanted, limit=limit)
        query = select(InspectionRow).where(*wanted.conditions())
        doubtful_first = InspectionRow.uncertainty.desc(), InspectionRow.id.desc()
        return self._all(query.order_by(*doubtful_first).limit(limit))

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
        self.keep(row)
        return row

    def turns(self, inspection: str) -> list[TurnRow]:
        """The dialogue about an inspection so far."""
        return self._all(select(TurnRow).filter_by(inspection=inspection).order_by(TurnRow.id))

    def add_correction(self, row: CorrectionRow, reviewed: str | None) -> None:
        """Keep what a person said, and that the inspection was looked at."""
        with self.session() as session:
            _audit_correction(session, row)
            session.add(row)
            if reviewed is not None:
                one = InspectionRow.id == row.inspection
                session.execute(update(InspectionRow).where(one).values(reviewed=reviewed))

    def replace_judgement(self, row: CorrectionRow, kinds: Sequence[str]) -> None:
        """Keep what a person said of answers; what they said of the same before is undone.

        Raises NotFound if the inspection was forgotten meanwhile.
        """
        said = CorrectionRow
        same = (said.about == row.about, said.by == row.by, said.kind.in_(kinds))
        before = update(said).where(*same, said.undone_at.is_(None)).values(undone_at=now())
        try:
            with self.session() as session:
                _audit_correction(session, row)
                session.execute(before)
                session.add(row)
        except IntegrityError:
            raise NotFound(
                f"there is no inspection {row.inspection!r} any more; it has been forgotten."
            ) from None

    def candidates(self, id: str) -> CandidateRow:
        """One set of answers to be ranked. Raises NotFound."""
        return self._one(CandidateRow, id, "set of answers")

    def candidates_of(self, inspection: str, by: str) -> list[CandidateRow]:
        """The sets that a person asked for."""
        return self._all(select(CandidateRow).filter_by(inspection=inspection, by=by))

    def set_reviewed(self, inspection: str, reviewed: str | None) -> None:
        """Whether a person found the verdict right or wrong; None: nobody has said."""
        self.set_values(InspectionRow, inspection, reviewed=reviewed)

    def mark_correction(self, id: str, **values: Any) -> None:
        """Set when a correction was applied or undone."""
        self.set_values(CorrectionRow, id, **values)

    def learnt(self, row: CorrectionRow) -> None:
        """A product knows a correction now; told in the same transaction, and so once."""
        with self.session() as session:
            open_ = (CorrectionRow.id == row.id, CorrectionRow.applied_at.is_(None))
            done = session.execute(update(CorrectionRow).where(*open_).values(applied_at=now()))
            if getattr(done, "rowcount", 0):
                _note(session, row.product, "accepted", row.by, {"correction": row.id})

    def unlearnt(self) -> list[CorrectionRow]:
        """Places called fine that a product does not know yet, the oldest first."""
        said = CorrectionRow
        waiting = (said.kind == "fine", said.applied_at.is_(None), said.undone_at.is_(None))
        return self._all(select(said).where(*waiting).order_by(said.id))

    def undo_correction(
        self, row: CorrectionRow, by: str, *, what: str = "undone", **why: str
    ) -> None:
        """A correction holds no longer: a person took it back, or it could not be learnt."""
        self._mark_told(row, by, what, now(), why)

    def redo_correction(self, row: CorrectionRow, by: str, **why: str) -> None:
        """It holds after all: taking it back failed."""
        self._mark_told(row, by, "not undone", None, why)

    def _mark_told(
        self,
        row: CorrectionRow,
        by: str,
        what: str,
        undone_at: datetime | None,
        why: dict[str, str],
    ) -> None:
        """Mark a correction, and add to the audit log that, and why, in one transaction."""
        same = CorrectionRow.id == row.id
        with self.session() as session:
            said = {"correction": row.id} | why
            audit.append(session, by, f"{what}: {row.kind}", row.inspection, **said)
            session.execute(update(CorrectionRow).where(same).values(undone_at=undone_at))

    def correction(self, id: str) -> CorrectionRow:
        """One correction. Raises NotFound."""
        return self._one(CorrectionRow, id, "correction")

    def every_correction(self, product: str | None = None) -> Iterator[CorrectionRow]:
        """All that were not undone, of a product or of all, the oldest first."""
        query = select(CorrectionRow).where(CorrectionRow.undone_at.is_(None))
        if product is not None:
            query = query.filter_by(product=product)
        last = ""
        while rows := self._all(
            query.where(CorrectionRow.id > last).order_by(CorrectionRow.id).limit(PAGE_MOST)
        ):
            yield from rows
            last = rows[-1].id

    def every_inspection(self, wanted: Filter) -> Iterator[InspectionRow]:
        """All that are wanted, the newest first."""
        before: str | None = None
        while rows := self.history(wanted, before=before, limit=PAGE_MOST):
            yield from rows
            before = rows[-1].id

    def corrections(
        self, *, inspection: str | None = None, product: str | None = None, limit: int = PAGE_MOST
    ) -> list[CorrectionRow]:
        """Corrections of an inspection or a product, the newest first."""
        query = select(CorrectionRow).order_by(CorrectionRow.id.desc()).limit(limit)
        if inspection is not None:
            query = query.filter_by(inspection=inspection)
        if product is not None:
            query = query.filter_by(product=product)
        return self._all(query)

    def note(self, product: str, kind: str, by: str, **detail: Any) -> None:
        """Keep what happened to a product, and by whom; its version is another from here on."""
        with self.session() as session:
            _note(session, product, kind, by, detail)

    def version(self, product: str) -> int:
        """One more with each change of a product, by whomever."""
        with self.session() as session:
            row = session.get(SettingRow, product)
        return row.version if row else 0

    def claim(self, product: str, version: int) -> bool:
        """Whether this is still the version; if so it is another from here on."""
        with self.session() as session:
            audit.alone(session)
            row = _setting(session, product)
            if row.version != version:
                return False
            row.version += 1
            return True

    def give_back(self, product: str, version: int) -> None:
        """After a claim of this version nothing was done; what was done since keeps its own."""
        with self.session() as session:
            audit.alone(session)
            row = session.get(SettingRow, product)
            if row is not None and row.version == version + 1:
                row.version = version

    def changes(self, product: str, limit: int = 100) -> list[ChangeRow]:
        """What happened to a product, the newest first."""
        query = select(ChangeRow).filter_by(product=product).order_by(ChangeRow.id.desc())
        return self._all(query.limit(limit))

    def false_alarm_rate(self, product: str) -> float:
        """The share of good parts that may be called anomalous."""
        with self.session() as session:
            row = session.get(SettingRow, product)
        return row.false_alarm_rate if row else 0.05

    def set_false_alarm_rate(self, product: str, rate: float, by: str) -> None:
        """Set that share; told in the same transaction."""
        with self.session() as session:
            _note(session, product, "described", by, {"false_alarm_rate": rate})
            _setting(session, product).false_alarm_rate = rate

    def forget_settings(self, product: str) -> None:
        """Of a product that is deleted."""
        with self.session() as session:
            session.execute(delete(SettingRow).where(SettingRow.product == product))

    def _one(self, table: type[Row], id: str, called: str) -> Row:
        with self.session() as session:
            row = session.get(table, id)
        if row is None:
            raise NotFound(f"there is no {called} {id[:40]!r}; it may have been forgotten.")
        return row

    def keep(self, row: Table) -> None:
        """Add a row."""
        with self.session() as session:
            session.add(row)

    def set_values(
        self, table: type[Numbered], id: str, *, beside: Sequence[Table] = (), **values: Any
    ) -> None:
        """Change a row, and add those that belong to it in the same transaction."""
        with self.session() as session:
            session.add_all(beside)
            session.execute(update(table).where(table.id == id).values(**values))

    def _all(self, query: Select[Any]) -> list[Any]:
        with self.session() as session:
            return list(session.scalars(query))

    def _number(self, query: Select[Any]) -> int:
        with self.session() as session:
            return int(session.scalar(query) or 0)


def _setting(session: Session, product: str) -> SettingRow:
    """What is set for a product, to be changed; `audit.alone` comes first."""
    row = session.get(SettingRow, product)
    if row is None:
        row = SettingRow(product=product, false_alarm_rate=0.05, version=0)
        session.add(row)
    return row


def _note(session: Session, product: str, kind: str, by: str, detail: dict[str, Any]) -> None:
    audit.append(session, by, kind, product, **detail)
    session.add(ChangeRow(product=product, kind=kind, detail=detail, by=by))
    if kind != "deleted":
        _setting(session, product).version += 1


def _audit_correction(session: Session, row: CorrectionRow) -> None:
    row.id = row.id or new_id()
    said = {"correction": row.id, "product": row.product} | row.detail
    audit.append(session, row.by, row.kind, row.inspection, **said)

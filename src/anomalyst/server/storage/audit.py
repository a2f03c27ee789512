"""Who did what, in a chain: each entry holds the SHA-256 of the one before and of itself.

An entry that is changed, taken out or put in later no longer fits its neighbours. Whoever may write
to the database could seal the whole chain anew: note the newest digest elsewhere now and then.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from anomalyst.server.storage.tables import AuditRow, now

BEFORE_THE_FIRST = "0" * 64
LONGEST_DETAIL = 2000  # characters; of what is longer, its digest is kept
AT_ONCE = 1000
LOCK = 7861  # of PostgreSQL's advisory locks


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """A chain that was gone through."""

    entries: int  # that fit
    newest: str  # digest of the last one that fits
    broken: str | None = None  # the first entry that does not fit, and why
    seen: bool = True  # whether the digest that was looked for is among them


def append(session: Session, by: str, what: str, about: str, /, **detail: Any) -> None:
    """Add an entry, in the transaction of what it tells of."""
    alone(session)
    query = select(AuditRow.number, AuditRow.digest).order_by(AuditRow.number.desc()).limit(1)
    number, previous = session.execute(query).one_or_none() or (0, BEFORE_THE_FIRST)
    row = AuditRow(
        number=number + 1, at=now(), by=by, what=what, about=about, detail=_short(detail),
        previous=previous,
    )  # fmt: skip
    row.digest = sealed(row)
    session.add(row)
    session.flush()


def alone(session: Session) -> None:
    """No other may write from here to the end of the transaction; the chain has one end."""
    connection = session.connection()
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK})")
    elif not connection.connection.driver_connection.in_transaction:  # type: ignore[union-attr]
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def sealed(row: AuditRow) -> str:
    """The digest of an entry: of the one before, and of all it says."""
    said = {name: getattr(row, name) for name in ("number", "by", "what", "about", "detail")}
    said["at"] = row.at.astimezone(UTC).isoformat(timespec="microseconds")
    return hashlib.sha256(row.previous.encode() + canonical(said).encode()).hexdigest()


def canonical(value: Any) -> str:
    """JSON that is the same for equal values."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def entries(session: Session) -> Iterator[AuditRow]:
    """All of them, the oldest first."""
    last = -1
    query = select(AuditRow).order_by(AuditRow.number).limit(AT_ONCE)
    while rows := session.scalars(query.where(AuditRow.number > last)).all():
        yield from rows
        last = rows[-1].number


def verify(session: Session, expected: str | None = None) -> Verified:
    """Go through the chain up to the first entry that does not fit.

    `expected`: a digest noted earlier, which must be among them: else the end was cut off, or all
    was sealed anew.
    """
    count, previous, seen = 0, BEFORE_THE_FIRST, expected is None
    for row in entries(session):
        why = _misfit(row, count + 1, previous)
        if why is not None:
            return Verified(entries=count, newest=previous, broken=why, seen=seen)
        count, previous = count + 1, row.digest
        seen = seen or row.digest == expected
    return Verified(entries=count, newest=previous, seen=seen)


def told(row: AuditRow) -> str:
    """An entry as one line."""
    detail = canonical(row.detail) if row.detail else ""
    return (
        f"{row.number:>5}  {row.at:%Y-%m-%d %H:%M:%S}  {row.by}  {row.what}  {row.about}  {detail}"
    )


def _misfit(row: AuditRow, number: int, previous: str) -> str | None:
    which = f"entry {row.number} ({row.at:%Y-%m-%d %H:%M}, {row.by}, {row.what} {row.about})"
    if row.number != number:
        return f"entry {number} is missing; the next one is {which}."
    if row.previous != previous:
        return f"{which} does not follow the entry before it: one of the two was put in later."
    if row.digest != sealed(row):
        return f"{which} was changed after it was written."
    return None


def _short(detail: dict[str, Any]) -> dict[str, Any]:
    """What is told, with numbers and texts as JSON keeps them; of much, its digest."""
    text = canonical(detail)
    if len(text) <= LONGEST_DETAIL:
        return dict(json.loads(text))
    return {"sha256": hashlib.sha256(text.encode()).hexdigest(), "characters": len(text)}

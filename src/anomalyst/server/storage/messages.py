"""Messages to sinks: those that wait, and those set aside because they were refused for good."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, func, select, update

from anomalyst.server.storage.store import Store
from anomalyst.server.storage.tables import DeliveryRow, now

MOST_SHOWN = 500


def waiting(store: Store, sink: str, most: int) -> list[DeliveryRow]:
    """The oldest messages that a sink has still to take, in the order they came."""
    query = (
        select(DeliveryRow)
        .where(DeliveryRow.sink == sink, *_waits())
        .order_by(DeliveryRow.id)
        .limit(most)
    )
    with store.session() as session:
        return list(session.scalars(query))


def count_waiting(store: Store, sink: str | None = None) -> int:
    """How many messages were neither taken nor refused yet."""
    return _count(store, *_waits(), *_of(sink))


def count_refused(store: Store, sink: str | None = None) -> int:
    """How many messages are set aside."""
    return _count(store, DeliveryRow.refused_at.is_not(None), *_of(sink))


def refused(store: Store, sink: str | None = None) -> list[DeliveryRow]:
    """Messages set aside, the oldest first; at most `MOST_SHOWN`."""
    query = (
        select(DeliveryRow)
        .where(DeliveryRow.refused_at.is_not(None), *_of(sink))
        .order_by(DeliveryRow.id)
        .limit(MOST_SHOWN)
    )
    with store.session() as session:
        return list(session.scalars(query))


def set_aside(store: Store, row: DeliveryRow, problem: str) -> None:
    """A sink refused this message for good."""
    tries = row.attempts + 1
    store.set_values(DeliveryRow, row.id, attempts=tries, problem=problem, refused_at=now())


def replay(store: Store, sink: str | None = None) -> int:
    """Let messages that were set aside be sent again, in their order; returns how many."""
    again: dict[str, Any] = {"refused_at": None, "next_at": now(), "attempts": 0}
    chosen = (DeliveryRow.refused_at.is_not(None), *_of(sink))
    with store.session() as session:
        done = session.execute(update(DeliveryRow).where(*chosen).values(**again))
    return int(getattr(done, "rowcount", 0))


def _waits() -> Sequence[ColumnElement[bool]]:
    return DeliveryRow.sent_at.is_(None), DeliveryRow.refused_at.is_(None)


def _of(sink: str | None) -> Sequence[ColumnElement[bool]]:
    return () if sink is None else (DeliveryRow.sink == sink,)


def _count(store: Store, *conditions: ColumnElement[bool]) -> int:
    with store.session() as session:
        return int(session.scalar(select(func.count(DeliveryRow.id)).where(*conditions)) or 0)

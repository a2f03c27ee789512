"""Requests with an idempotency key, and what was answered: asked again, they do nothing new."""

import time
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, update
from sqlalchemy.exc import IntegrityError

from anomalyst.server.errors import Conflict
from anomalyst.server.storage.store import IdempotentRequest, Store
from anomalyst.server.storage.tables import RequestRow, now

PATIENCE_SECONDS = 30.0  # for a request that is being done while it is sent again
LOST_SECONDS = 2400.0  # then whoever did it is taken to be gone; no request takes longer
LOOK_SECONDS = 0.1


def begin(
    store: Store, asked: IdempotentRequest, patience: float = PATIENCE_SECONDS
) -> dict[str, Any] | None:
    """What was answered to this request before; None: it is to be done now, and then `answered`.

    Raises Conflict for a key of another request, and while it is still being done.
    """
    end = time.monotonic() + patience
    while True:
        try:
            with store.session() as session:
                session.add(RequestRow(**asdict(asked), made=[]))
            return None
        except IntegrityError:
            row = store.request(asked.by, asked.key)
        if row is None:  # it failed meanwhile: now it is ours
            continue
        if row.fingerprint != asked.fingerprint:
            raise Conflict(
                f"the idempotency key {asked.key!r} was used for another request; take a new one."
            )
        if row.answer is not None:
            return row.answer
        if row.created_at < now() - timedelta(seconds=LOST_SECONDS):
            give_up(store, asked)
        elif time.monotonic() > end:
            raise Conflict(
                f"the request with the idempotency key {asked.key!r} is still being done; send it "
                "again in a minute."
            )
        time.sleep(LOOK_SECONDS)


def answered(store: Store, asked: IdempotentRequest, answer: dict[str, Any]) -> None:
    """Keep what was answered."""
    same = (RequestRow.by == asked.by, RequestRow.key == asked.key)
    with store.session() as session:
        session.execute(update(RequestRow).where(*same).values(answer=answer))


def give_up(store: Store, asked: IdempotentRequest) -> None:
    """It failed, so it may be tried again."""
    same = (RequestRow.by == asked.by, RequestRow.key == asked.key)
    with store.session() as session:
        session.execute(delete(RequestRow).where(*same, RequestRow.answer.is_(None)))

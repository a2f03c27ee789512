"""Jobs in the store."""

from typing import Any

from sqlalchemy import select, update

from anomalyst.server.errors import NotFound
from anomalyst.server.storage.store import Store
from anomalyst.server.storage.tables import ACTIVE, JobRow


def job(store: Store, id: str) -> JobRow:
    """One job. Raises NotFound."""
    with store.session() as session:
        row = session.get(JobRow, id)
    if row is None:
        raise NotFound(f"there is no job {id[:40]!r}.")
    return row


def jobs(
    store: Store, *, product: str | None = None, active: bool = False, limit: int | None = 50
) -> list[JobRow]:
    """The newest first, of a product or of all; `active`: only those that have not ended."""
    query = select(JobRow).order_by(JobRow.id.desc()).limit(limit)
    if product is not None:
        query = query.filter_by(product=product)
    if active:
        query = query.where(JobRow.state.in_(ACTIVE))
    with store.session() as session:
        return list(session.scalars(query))


def set_job(store: Store, id: str, *, only: tuple[str, ...] = ACTIVE, **values: Any) -> bool:
    """Write how far a job is; False, and nothing is done, where it is in none of these states."""
    with store.session() as session:
        changed = session.execute(
            update(JobRow).where(JobRow.id == id, JobRow.state.in_(only)).values(**values)
        )
        return bool(getattr(changed, "rowcount", 0))

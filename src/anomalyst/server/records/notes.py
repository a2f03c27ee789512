"""What people noted on inspections: the comments of their judgements."""

from dataclasses import dataclass
from datetime import datetime

from anomalyst.server.storage.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A person's words about an inspection."""

    at: datetime
    product: str
    inspection: str
    by: str
    words: str


def notes_of(store: Store, product: str | None = None) -> list[Note]:
    """All comments that were not undone, the oldest first."""
    return [
        Note(
            at=row.created_at,
            product=row.product,
            inspection=row.inspection,
            by=row.by,
            words=words,
        )
        for row in store.every_correction(product)
        if (words := " ".join(str(row.detail.get("comment") or "").split()))
    ]

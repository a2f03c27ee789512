"""Which inspections of the record are meant."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, or_

from anomalyst.server.storage.tables import InspectionRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which inspections; None: any."""

    product: str | None = None
    verdict: str | None = None
    state: str | None = None
    source: str | None = None
    owner: str | None = None
    line: str | None = None
    late: bool | None = None
    reviewed: bool | None = None
    text: str | None = None  # in the picture's name, the question or the answer
    since: datetime | None = None
    until: datetime | None = None

    def conditions(self) -> Iterator[ColumnElement[bool]]:
        """As SQL."""
        row = InspectionRow
        for name in ("product", "verdict", "state", "source", "owner", "line"):
            if (value := getattr(self, name)) is not None:
                yield getattr(row, name) == value
        if self.reviewed is not None:
            yield row.reviewed.is_not(None) if self.reviewed else row.reviewed.is_(None)
        if self.late is not None:
            yield row.late.is_not(None) if self.late else row.late.is_(None)
        if self.text:
            like = f"%{_escaped(self.text)}%"
            yield or_(row.name.ilike(like, escape="\\"), row.question.ilike(like, escape="\\"))
        if self.since is not None:
            yield row.created_at >= self.since
        if self.until is not None:
            yield row.created_at < self.until


def _escaped(text: str) -> str:
    """A person's text in which nothing is a wildcard."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")

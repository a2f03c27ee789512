"""The record between two times as the rows of a shift report."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import select

from anomalyst.report.shift.checked import Summary, summarised
from anomalyst.report.shift.facts import (
    JUDGEMENTS,
    NO_KIND,
    Defect,
    Said,
    Seen,
    ShiftFacts,
    facts_of,
)
from anomalyst.report.shift.period import Period
from anomalyst.report.shift.sentences import as_rows
from anomalyst.server.storage.filters import Filter
from anomalyst.server.storage.store import Store
from anomalyst.server.storage.tables import CorrectionRow, InspectionRow
from anomalyst.types import PLACES

Writer = Callable[[str], str]  # a model: a shift's rows as a line -> sentences, to be checked


def shift_of_record(
    store: Store, period: Period, product: str | None = None, line: str | None = None
) -> tuple[ShiftFacts, list[Seen]]:
    """What a shift adds up to, and its inspections in the order they came.

    A part belongs to the shift in which it was taken in; a judgement, to that in which it was
    given, whenever its part was. What was undone does not count. `line`: only parts of this one,
    and judgements on them.
    """
    wanted = Filter(product=product, line=line, since=period.start, until=period.end)
    seen = [_seen(row) for row in store.every_inspection(wanted)][::-1]
    said = CorrectionRow
    query = select(said).where(
        said.created_at >= period.start, said.created_at < period.end, said.undone_at.is_(None)
    )
    if product is not None:
        query = query.where(said.product == product)
    if line is not None:
        query = query.join(InspectionRow, said.inspection == InspectionRow.id)
        query = query.where(InspectionRow.line == line)
    with store.session() as session:
        judged = [
            Said(at=row.created_at, product=row.product, kind=row.kind)
            for row in session.scalars(query)
            if row.kind in JUDGEMENTS
        ]
    return facts_of(period, seen, judged, product, line), seen


def summary_of(facts: ShiftFacts, writer: Writer | None = None) -> Summary:
    """The checked summary, by a model's words where they hold."""
    return summarised(facts, writer(as_rows(facts)) if writer and not facts.empty else None)


def defects_of(record: dict[str, Any]) -> tuple[Defect, ...]:
    """The regions of a part's record, by kind and place."""
    return tuple(_defect(one) for one in record.get("regions", []))


def _seen(row: InspectionRow) -> Seen:
    return Seen(
        at=row.created_at,
        product=row.product,
        verdict=row.verdict,
        failed=row.state == "failed",
        p_value=row.p_value,
        defects=defects_of(row.record or {}),
        alarm=row.alarm is not None,
    )


def _defect(region: dict[str, Any]) -> Defect:
    own = region.get("called") or ""
    place = region.get("place") or ""
    return Defect(
        kind=own or region.get("kind") or NO_KIND,
        place=place if place in PLACES and not region.get("where") else "",
        own=bool(own),
    )

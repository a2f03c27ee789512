"""What the record tells of a line's production: its parts in their order, and a good picture."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import numpy as np
from sqlalchemy import select

from anomalyst.errors import AnomalystError
from anomalyst.inspection.product_scale import good_picture as first_good
from anomalyst.io.geometry import resize
from anomalyst.product_index import product_folder
from anomalyst.report.overlay import shown_size
from anomalyst.report.production.facts import Part, Production, RelativeBox, production_of
from anomalyst.report.production.page import HEAT_PX, production_page, production_pdf
from anomalyst.report.production.tables import csv_of, excel_of
from anomalyst.report.shift.facts import Seen
from anomalyst.report.shift.period import Period
from anomalyst.server.records.shift import defects_of
from anomalyst.server.storage.filters import Filter
from anomalyst.server.storage.store import Store
from anomalyst.server.storage.tables import InspectionRow

Form = Literal["html", "pdf", "xlsx", "csv"]
MEDIA_TYPES: dict[Form, str] = {
    "html": "text/html; charset=utf-8",
    "pdf": "application/pdf",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "csv": "text/csv",
}
AT_ONCE = 1000


def production_of_record(
    store: Store,
    period: Period,
    *,
    product: str | None = None,
    line: str | None = None,
    width: timedelta | None = None,
    centre: float | None = None,
) -> Production:
    """What was made in a time; records are read of anomalous parts alone, for they are large."""
    wanted = Filter(product=product, line=line, since=period.start, until=period.end)
    row = InspectionRow
    columns = (row.id, row.created_at, row.product, row.verdict, row.state, row.p_value, row.late,
               row.signal_ms)  # fmt: skip
    with store.session() as session:
        found = session.execute(select(*columns).where(*wanted.conditions()).order_by(row.id)).all()
        records = _anomalous_records(session.execute, wanted)
        parts = [_part(one, records.get(one.id, {})) for one in found]
    return production_of(period, parts, product=product, line=line, width=width, centre=centre)


def papers_of(made: Production, form: Form, products: Path) -> bytes:
    """The production as a file. Raises AnomalystError for a form that is not installed."""
    if form == "csv":
        return csv_of(made)
    if form == "xlsx":
        return excel_of(made)
    good = good_picture(made.product, products)
    if form == "pdf":
        return production_pdf(made, good)
    return production_page(made, good).encode()


def good_picture(product: str | None, products: Path) -> np.ndarray | None:
    """A good picture of a product, small; None: none that can be shown."""
    if product is None:
        return None
    try:
        picture = first_good(product_folder(product, products))
    except (AnomalystError, OSError, ValueError):
        return None
    return resize(picture, shown_size(picture.shape[:2], HEAT_PX))


def _anomalous_records(execute: Callable[..., Any], wanted: Filter) -> dict[str, dict[str, Any]]:
    """id -> record, of the parts called anomalous."""
    row, found, last = InspectionRow, {}, ""
    query = select(row.id, row.record).where(*wanted.conditions(), row.verdict == "anomalous")
    while rows := execute(query.where(row.id > last).order_by(row.id).limit(AT_ONCE)).all():
        for id, record in rows:
            record = record or {}
            names = ("regions", "width_px", "height_px")
            found[id] = {name: record[name] for name in names if name in record}
        last = rows[-1][0]
    return found


def _part(row: Any, record: dict[str, Any]) -> Part:
    seen = Seen(
        at=row.created_at,
        product=row.product,
        verdict=row.verdict,
        failed=row.state == "failed",
        p_value=row.p_value,
        defects=defects_of(record),
    )
    return Part(seen=seen, boxes=_boxes(record), late=row.late is not None, signal_ms=row.signal_ms)


def _boxes(record: dict[str, Any]) -> tuple[RelativeBox, ...]:
    """Where its regions lie in the picture; those of recordings lie in no picture."""
    wide, high = record.get("width_px") or 0, record.get("height_px") or 0
    if not wide or not high:
        return ()
    boxes = [one["box_xyxy"] for one in record.get("regions", []) if not one.get("where")]
    return tuple((x0 / wide, y0 / high, x1 / wide, y1 / high) for x0, y0, x1, y1 in boxes)

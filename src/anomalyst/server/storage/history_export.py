"""The history as a table for other programs: CSV or Parquet."""

import csv
import io
from typing import Any, Literal

from anomalyst.io.files import plain_cell
from anomalyst.server.storage.filters import Filter
from anomalyst.server.storage.store import Store
from anomalyst.server.storage.tables import InspectionRow

COLUMNS = (
    "id", "created_at", "done_at", "product", "name", "source", "by", "state", "verdict", "score",
    "p_value", "severity", "area_share", "contrast", "confidence", "regions", "kinds",
    "reviewed", "question", "answer", "problem", "line", "signal_ms", "late",
)  # fmt: skip
MEDIA_TYPES = {"csv": "text/csv", "parquet": "application/vnd.apache.parquet"}


def listing(store: Store, wanted: Filter, form: Literal["csv", "parquet"]) -> tuple[bytes, str]:
    """The inspections wanted, the newest first, and the media type of the file."""
    rows = [_cells(row) for row in store.every_inspection(wanted)]
    return (_csv(rows) if form == "csv" else _parquet(rows)), MEDIA_TYPES[form]


def _cells(row: InspectionRow) -> dict[str, Any]:
    record = row.record or {}
    words = record.get("words") or {}
    regions = record.get("regions", [])
    own = {name: getattr(row, name, None) for name in COLUMNS}
    severity = record.get("severity") or {}
    return own | {
        **{name: severity.get(name) for name in ("area_share", "contrast")},
        "confidence": record.get("confidence"),
        "regions": len(regions),
        "kinds": ", ".join(sorted({kind for one in regions if (kind := _kind(one))})),
        "answer": words.get("text") or record.get("answer"),
    }


def _kind(region: dict[str, Any]) -> str | None:
    """What people call it; records of before have no such name."""
    return region.get("called") or region["kind"]


def _csv(rows: list[dict[str, Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    writer.writerows({name: _plain(value) for name, value in row.items()} for row in rows)
    return text.getvalue().encode()


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return plain_cell(value)
    return value.isoformat() if hasattr(value, "isoformat") else value


def _parquet(rows: list[dict[str, Any]]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    moment, number = pa.timestamp("us", tz="UTC"), pa.float64()
    kinds = {
        "created_at": moment, "done_at": moment, "score": number, "p_value": number,
        "severity": number, "area_share": number, "contrast": number,
        "confidence": number, "regions": pa.int64(), "signal_ms": number,
    }  # fmt: skip
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in COLUMNS])
    target = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), target)
    return target.getvalue()

"""What the record knows of lines: their names, their late parts, how long signals took."""

from datetime import datetime, timedelta

from sqlalchemy import func, select

from anomalyst.errors import AnomalystError
from anomalyst.hardware.processor import checked_choice
from anomalyst.server.metrics import Metrics
from anomalyst.server.storage.store import Store
from anomalyst.server.storage.tables import InspectionRow, now

QUANTILES = (0.5, 0.95, 0.99)
HOUR = timedelta(hours=1)


def line_names(store: Store, product: str | None = None) -> list[str]:
    """The lines that parts came from."""
    row = InspectionRow
    query = select(row.line).where(row.line.is_not(None)).distinct()
    if product is not None:
        query = query.where(row.product == product)
    with store.session() as session:
        return sorted(str(name) for name in session.scalars(query))


def check_line(store: Store, line: str) -> None:
    """Raises AnomalystError for a line that no part came from; it names the nearest."""
    names = line_names(store)
    if not names:
        raise AnomalystError(
            f"--line {line!r}: no part of this record came from a line that has a name; "
            "`anomalyst watch --line NAME` gives it."
        )
    checked_choice("--line", line, names)


def late_parts(store: Store) -> dict[tuple[str, str], int]:
    """(product, line) -> parts of the record without a signal in time."""
    row = InspectionRow
    query = select(row.product, func.coalesce(row.line, ""), func.count(row.id))
    query = query.where(row.late.is_not(None)).group_by(row.product, row.line)
    with store.session() as session:
        return {(product, line): count for product, line, count in session.execute(query)}


def signal_times(store: Store, since: datetime) -> dict[tuple[str, str], list[float]]:
    """(product, line) -> sorted milliseconds from picture to signal."""
    row = InspectionRow
    query = select(row.product, func.coalesce(row.line, ""), row.signal_ms)
    query = query.where(row.signal_ms.is_not(None), row.created_at >= since)
    found: dict[tuple[str, str], list[float]] = {}
    with store.session() as session:
        for product, line, ms in session.execute(query.order_by(row.signal_ms)):
            found.setdefault((product, line), []).append(float(ms or 0))
    return found


def quantile(ordered: list[float], share: float) -> float:
    """The value that this share does not exceed."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def measure_lines(store: Store, metrics: Metrics) -> None:
    """Set the gauges of lines: watches are processes of their own, and the record is of all."""
    for labels, count in late_parts(store).items():
        metrics.late.labels(*labels).set(count)
    metrics.signal.clear()
    for labels, times in signal_times(store, now() - HOUR).items():
        for share in QUANTILES:
            metrics.signal.labels(*labels, f"{share:g}").set(quantile(times, share))

"""What a line made as tables for other programs: CSV, and Excel with a sheet for each."""

import csv
import io
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np

from anomalyst.errors import AnomalystError
from anomalyst.io.files import plain_cell
from anomalyst.report.production.facts import Production, Sample

OVER_TIME = (
    "from", "inspected", "normal", "unsure", "anomalous", "not inspected", "late",
    "first-pass yield", "share anomalous", "lower limit", "centre", "upper limit", "sigma",
    "alarms",
)  # fmt: skip


def csv_of(made: Production) -> bytes:
    """Each sample as a line."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(OVER_TIME)
    writer.writerows([_plain(cell) for cell in row] for row in over_time_rows(made))
    return text.getvalue().encode()


def excel_of(made: Production) -> bytes:
    """A workbook: summary, over time, kinds, places, alarms. Needs openpyxl."""
    try:
        from openpyxl import Workbook
    except ImportError as error:
        raise AnomalystError(
            "an Excel file needs openpyxl; install it with `pip install 'anomalyst[excel]'`."
        ) from error
    book = Workbook()
    book.remove(book.active)
    for title, rows in sheets_of(made).items():
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append([_excel(cell) for cell in row])
        sheet.freeze_panes = "A2"
        for column in sheet.columns:
            longest = max(len(str(cell.value or "")) for cell in column)
            sheet.column_dimensions[column[0].column_letter].width = min(40, longest + 2)
    target = io.BytesIO()
    book.save(target)
    return target.getvalue()


def sheets_of(made: Production) -> dict[str, list[Sequence[Any]]]:
    """Title -> rows with their heading."""
    alarms = [
        (one["at"], one["rule"], one["direction"], one["share"], one["inspected"])
        for one in made.alarms
    ]
    return {
        "Summary": [("figure", "value"), *summary_rows(made)],
        "Over time": [OVER_TIME, *over_time_rows(made)],
        "Kinds": [("kind", "defects", "share so far"), *_so_far(made.kinds)],
        "Places": [("place", "defects", "share so far"), *_so_far(made.places)],
        "Alarms": [("at", "rule", "direction", "share anomalous", "inspected"), *alarms],
    }


def summary_rows(made: Production) -> list[tuple[str, Any]]:
    """Figures of the whole time."""
    verdicts = made.verdicts
    rows: list[tuple[str, Any]] = [
        ("from", made.period.start),
        ("to", made.period.end),
        ("times are of", "UTC"),
        ("product", made.product or "all"),
        ("line", made.line or "all"),
        ("inspected", made.inspected),
        *((name, verdicts[name]) for name in ("normal", "unsure", "anomalous")),
        ("not inspected", made.failed),
        ("first-pass yield", made.first_pass_yield),
        ("share anomalous, centre of the chart", made.chart.centre),
        ("alarms of the chart", len(made.alarms)),
        ("late parts", made.late),
    ]
    shares = (0.5, 0.95, 0.99)
    rows += [(f"signal ms, {100 * one:g} % within", made.signal_at(one)) for one in shares]
    return [(name, value) for name, value in rows if value is not None]


def over_time_rows(made: Production) -> list[tuple[Any, ...]]:
    """Each sample under `OVER_TIME`."""
    rules: dict[int, list[str]] = {}
    for one in made.chart.signals:
        rules.setdefault(one.sample, []).append(one.rule)
    return [
        _row(made, number, sample, ", ".join(rules.get(number, ())))
        for number, sample in enumerate(made.samples)
    ]


def _row(made: Production, number: int, sample: Sample, alarms: str) -> tuple[Any, ...]:
    chart = made.chart
    figures = (chart.share[number], chart.lower[number], chart.centre, chart.upper[number])
    z = chart.z[number]
    return (
        sample.start,
        sample.inspected,
        *sample.verdicts.values(),
        sample.failed,
        sample.late,
        sample.first_pass_yield,
        *(None if np.isnan(one) else float(one) for one in figures),
        None if np.isnan(z) else float(z),
        alarms,
    )


def _so_far(counts: Mapping[str, int]) -> list[tuple[str, int, float]]:
    total, so_far, rows = sum(counts.values()), 0, []
    for name, count in counts.items():
        so_far += count
        rows.append((name, count, so_far / total))
    return rows


def _plain(cell: Any) -> Any:
    if isinstance(cell, str):
        return plain_cell(cell)
    return cell.isoformat() if isinstance(cell, datetime) else "" if cell is None else cell


def _excel(cell: Any) -> Any:
    """The same for Excel, which knows no zones: times are of UTC."""
    return cell.replace(tzinfo=None) if isinstance(cell, datetime) else _plain(cell) or cell

"""What sensors send to a broker: JSON objects, lists of them, or lines of a CSV -> rows."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from anomalyst.senses.series import TIME_NAMES

SEPARATORS = ";\t|,"  # the comma last: it may be a decimal's


class NotUnderstood(Exception):
    """A message that holds no rows; says of what kind it is."""


def rows_of(payload: bytes, channels: Sequence[str]) -> list[dict[str, str]]:
    """The samples of a message: column -> cell, as a CSV has them.

    Lines of a CSV hold the channels in the order taught, or a time and the channels. Raises
    NotUnderstood.
    """
    try:
        text = payload.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        raise NotUnderstood("bytes that are no text") from None
    if not text:
        raise NotUnderstood("nothing")
    if text[0] not in "{[":
        return [_line(line, channels) for line in text.splitlines() if line.strip()]
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise NotUnderstood("JSON that is not whole or not right") from None
    rows = found if isinstance(found, list) else [found]
    if not rows or not all(isinstance(row, dict) and row for row in rows):
        raise NotUnderstood("JSON that is neither an object of values nor a list of such")
    return [{str(name).strip(): _cell(value) for name, value in row.items()} for row in rows]


def table_of(rows: Sequence[Mapping[str, str]]) -> bytes:
    """Rows as a CSV whose columns are those that any row has."""
    text = io.StringIO()
    columns = dict.fromkeys(name for row in rows for name in row)
    table = csv.DictWriter(text, list(columns), lineterminator="\n", restval="")
    table.writeheader()
    table.writerows(rows)
    return text.getvalue().encode()


def time_of(row: Mapping[str, str]) -> str | None:
    """The cell that tells the time."""
    return next((cell for name, cell in row.items() if name.lower() in TIME_NAMES), None)


def columns_of(line: str, channels: Sequence[str]) -> tuple[str, tuple[str, ...]] | None:
    """What cuts a line into the channels, or a time and these, and what its cells are then.

    None if nothing does.
    """
    for separator in SEPARATORS:
        extra = line.count(separator) + 1 - len(channels)
        if extra in (0, 1):
            return separator, ("time",) * extra + tuple(channels)
    return None


def _line(line: str, channels: Sequence[str]) -> dict[str, str]:
    found = columns_of(line, channels)
    if found is None:
        raise NotUnderstood(
            f"a line that is neither {', '.join(channels)} nor a time and these, cut by comma or ;"
        )
    separator, names = found
    return dict(zip(names, (cell.strip() for cell in line.split(separator)), strict=True))


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)  # "NaN" is read as missing

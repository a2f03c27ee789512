"""Rows of a CSV file with their line numbers, so that an error can name the line."""

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from anomalyst.errors import AnomalystError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Row:
    """One row: where it stands and its cells by column name, stripped; absent cells are ''."""

    file: Path
    line: int
    cells: Mapping[str, str]

    def error(self, reason: str) -> AnomalystError:
        """The error that says what is wrong with this row."""
        return AnomalystError(f"{self.file}, line {self.line}: {reason}")

    def choice(self, column: str, meanings: Mapping[str, T], needed: str) -> T:
        """What a cell's word means; AnomalystError, naming what is `needed`, for any other."""
        word = self.cells.get(column, "")
        if word not in meanings:
            raise self.error(f"the {column} is {word!r}; {needed} is needed.")
        return meanings[word]

    def path(self, column: str, base: Path) -> Path | None:
        """The file that a cell names, relative to `base`; None where the cell is empty.

        Raises AnomalystError if there is no such file.
        """
        cell = self.cells.get(column, "")
        if not cell:
            return None
        path = base / cell
        try:
            if path.is_file():
                return path
        except OSError as error:
            raise self.error(f"the {column} {cell!r} cannot be read ({error.strerror}).") from error
        raise self.error(f"there is no {column} {cell!r} below {base}.")


def read_text(file: Path) -> str:
    """The UTF-8 text of a table, with or without a byte order mark.

    Raises AnomalystError if it is missing, may not be read, or is not UTF-8.
    """
    try:
        return file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise AnomalystError(f"{file}: cannot be read ({error.strerror or error}).") from error
    except UnicodeDecodeError:
        raise AnomalystError(f"{file}: is not UTF-8 text; save the table as UTF-8.") from None


def read_csv(file: Path, needs: Iterable[str]) -> list[Row]:
    """Every row of a comma-separated table that has at least the columns `needs`.

    Raises AnomalystError if it cannot be read, lacks a column, or a row has too many cells.
    """
    reader = csv.DictReader(io.StringIO(read_text(file)), strict=True)
    rows = []
    try:
        names = [name.strip() for name in reader.fieldnames or ()]
        reader.fieldnames = names
        for column in needs:
            if column not in names:
                raise AnomalystError(
                    f"{file}: has the columns {', '.join(names) or 'none'}; a column {column!r} is "
                    "needed. Write a heading line, with commas between the names."
                )
        for cells in reader:
            row = Row(file, reader.line_num, {k: (v or "").strip() for k, v in cells.items() if k})
            if None in cells:
                raise row.error(f"has more cells than the heading's {len(names)}; quote commas.")
            rows.append(row)
    except csv.Error as error:
        raise AnomalystError(f"{file}, line {reader.reader.line_num}: {error}.") from error
    return rows

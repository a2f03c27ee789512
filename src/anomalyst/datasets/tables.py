"""Rows of a table with their line numbers, so that an error can name the line.

Tables come from spreadsheets and from other systems: cells are parted by commas, semicolons or
tabs, the text is UTF-8 or UTF-16 with or without a mark, a first line `sep=;` may say so, and paths
may have backslashes.
"""

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from anomalyst.errors import AnomalystError
from anomalyst.io.text_encodings import MARK_BYTES, encoding_of

T = TypeVar("T")
MARKS = {",": "commas", ";": "semicolons", "\t": "tabs"}  # what parts cells
SEPARATOR_LINE = re.compile(r"sep=(,|;|\t|\\t)\r?\n", re.IGNORECASE)  # as spreadsheets write it
DRIVE = re.compile(r"([A-Za-z]:[\\/]|\\\\)")  # C:\ or a network share
SHOWN = 200  # characters of a cell that an error repeats


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
            raise self.error(f"the {column} is {_cut(word)}; {needed} is needed.")
        return meanings[word]

    def posix(self, column: str) -> str:
        """The path in a cell with slashes, there or not; for tables whose names hold no others."""
        return self.cells.get(column, "").replace("\\", "/")

    def path(self, column: str, base: Path) -> Path | None:
        """The file that a cell names, relative to `base`; None where the cell is empty.

        Backslashes part folders where no file is called so. Raises AnomalystError if there is no
        such file.
        """
        cell = self.cells.get(column, "")
        if not cell:
            return None
        try:
            for name in dict.fromkeys((cell, cell.replace("\\", "/"))):
                if (base / name).is_file():
                    return base / name
        except (OSError, ValueError) as error:  # too long, or with a zero byte
            why = getattr(error, "strerror", None) or error
            raise self.error(f"the {column} {_cut(cell)} cannot be read ({why}).") from error
        if DRIVE.match(cell):
            raise self.error(
                f"the {column} {_cut(cell)} is a path of another machine; write it as it lies "
                f"below {base}."
            )
        raise self.error(f"there is no {column} {_cut(cell)} below {base}.")


def read_text(file: Path) -> str:
    """The text of a table: UTF-8 with or without a mark, or UTF-16 with one.

    Raises AnomalystError if it is missing, may not be read, or is neither.
    """
    try:
        data = file.read_bytes()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise AnomalystError(f"{file}: cannot be read ({why}).") from error
    encoding = encoding_of(data[:MARK_BYTES])
    try:
        return data.decode(encoding).lstrip("\ufeff")  # some tools write a mark twice
    except UnicodeDecodeError as error:
        name = "UTF-8" if encoding == "utf-8-sig" else encoding.upper()
        line = data[: error.start].count(b"\n") + 1
        raise AnomalystError(
            f"{file}, line {line}: is not {name} text; save the table as UTF-8."
        ) from None


def read_csv(file: Path, needs: Iterable[str]) -> list[Row]:
    """Every row of a table that has at least the columns `needs`; empty lines are left out.

    Raises AnomalystError if it cannot be read, lacks a column, or a row has too many cells.
    """
    needed, rows = list(needs), list[Row]()
    text, skipped, mark = _form(read_text(file), needed)
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True, delimiter=mark)
    try:
        names = [name.strip() for name in reader.fieldnames or ()]
        reader.fieldnames = names
        _check_heading(file, names, needed)
        for cells in reader:
            known = {name: (cell or "").strip() for name, cell in cells.items() if name}
            row = Row(file, reader.line_num + skipped, known)
            if None in cells:
                raise row.error(
                    f"has more cells than the heading's {len(names)}; quote cells that hold "
                    f"{MARKS[mark]}."
                )
            if any(known.values()):
                rows.append(row)
    except csv.Error as error:
        line = reader.reader.line_num + skipped
        raise AnomalystError(
            f"{file}, line {line}: {error}; mend its quotes, or save the table again."
        ) from error
    return rows


def _form(text: str, needs: Sequence[str]) -> tuple[str, int, str]:
    """(the text from its heading on, how many lines lie before that, what parts the cells)."""
    if says := SEPARATOR_LINE.match(text):
        return text[says.end() :], 1, says[1].replace("\\t", "\t")
    return text, 0, _separator(text, needs)


def _separator(text: str, needs: Sequence[str]) -> str:
    """What parts the heading's names: what gives all that are needed, else the most."""

    def found(mark: str) -> tuple[bool, int]:
        try:
            names = next(csv.reader(io.StringIO(text, newline=""), delimiter=mark), [])
        except csv.Error:
            return False, 0
        names = [name.strip() for name in names]
        return all(name in names for name in needs), len(names)

    return max(MARKS, key=found)  # of equals the first, the comma


def _check_heading(file: Path, names: Sequence[str], needs: Sequence[str]) -> None:
    shown = _on_one_line(", ".join(names))
    for column in needs:
        if column not in names:
            raise AnomalystError(
                f"{file}: has the columns {shown or 'none'}; a column {column!r} is "
                "needed. Write a heading line, with commas between the names."
            )
    twice = [name for name in names if name and names.count(name) > 1]
    if twice:
        raise AnomalystError(f"{file}: has two columns {twice[0]!r}; give each a name of its own.")


def _cut(cell: str) -> str:
    return repr(cell if len(cell) <= SHOWN else f"{cell[:SHOWN]}...")


def _on_one_line(text: str) -> str:
    """As much of it as a sentence can show."""
    plain = " ".join(text.split())
    return plain if len(plain) <= SHOWN else f"{plain[:SHOWN]}..."

"""A table of sensor values over time -> evenly spaced channels; all that was mended is noted."""

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from anomalyst.errors import AnomalystError, RecordingError
from anomalyst.io.text_encodings import MARK_BYTES, encoding_of
from anomalyst.senses.recording import Recording

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = frozenset({".csv", ".tsv", ".txt", ".parquet", ".npy"})
TIME_NAMES = frozenset({"time", "timestamp", "datetime", "date", "t", "time_s", "seconds"})
SEPARATOR_LINE = re.compile(r"sep=([,;\t|])\s*$", re.IGNORECASE)  # as spreadsheets write it
LEAST_SAMPLES = 8
FILLED_MOST = 10  # samples in a row that are missing and may be filled by a line
UNEVEN = 0.1  # of a step that time stamps may stray before they are moved onto even ones


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesReading:
    """How a product's tables are read; the good recordings fix what is left open."""

    rate_hz: float | None = None  # samples in a second, where no column tells the time
    channels: tuple[str, ...] = ()  # columns to read; empty: all that hold numbers

    def __post_init__(self) -> None:
        if self.rate_hz is not None and not self.rate_hz > 0:
            raise AnomalystError(f"--rate {self.rate_hz:g}: a number of samples above 0 is needed.")


def read_series(path: Path, reading: SeriesReading | None = None) -> Recording:
    """The channels of a CSV, Parquet or .npy file (T, C), evenly spaced.

    A column of times sets the rate (numbers are seconds); else `reading.rate_hz` does. Gaps of up
    to ten samples are filled by a line, doubled times keep the last row, unsorted ones are sorted,
    text columns are left out: each with a note. Raises RecordingError for what cannot be mended.
    """
    reading = reading or SeriesReading()
    notes: list[str] = []
    table = _table(path)
    if table.empty:
        raise RecordingError(path, "holds no rows; record it again.")
    times, table = _times(path, table, notes)
    values, names = _numbers(path, table, reading.channels, notes)
    began = None
    if times is None:
        rate = reading.rate_hz
        if rate is None:
            raise RecordingError(
                path,
                "has no column of times, called time or timestamp; say with --rate how many "
                "samples a second it holds.",
            )
        notes.append(f"no column of times: read as {rate:g} samples a second, as was said")
    else:
        seconds, began = times
        values, rate = _even(path, seconds, values, notes)
    if len(values) < LEAST_SAMPLES:
        raise RecordingError(path, f"has {len(values)} rows; {LEAST_SAMPLES} or more are needed.")
    values = _without_gaps(path, values, names, notes)
    still = [name for name, column in zip(names, values.T, strict=True) if np.ptp(column) == 0]
    if len(still) == len(names):
        raise RecordingError(path, "has no channel that ever changes; check the sensors.")
    if still:
        notes.append(f"constant: {', '.join(still)}")
    return Recording(
        values=values.astype(np.float32),
        rate_hz=float(rate),
        channels=tuple(names),
        began=began,
        notes=tuple(notes),
    )


def _table(path: Path) -> "pd.DataFrame":
    pandas = _library()
    if path.is_dir():
        raise RecordingError(path, "is a folder; a table is needed.")
    if not path.is_file():
        raise RecordingError(path, "there is no such file.")
    if path.stat().st_size == 0:
        raise RecordingError(path, "is an empty file; record it again.")
    try:
        if path.suffix.lower() == ".parquet":
            return pandas.read_parquet(path)
        if path.suffix.lower() == ".npy":
            return _matrix(path, pandas)
        encoding, mark, skipped = _form(path)
        return pandas.read_csv(
            path, sep=mark, skiprows=skipped, skipinitialspace=True, encoding=encoding
        )
    except RecordingError:
        raise
    except (ValueError, OSError, UnicodeError, pandas.errors.ParserError, ImportError) as error:
        first = str(error).splitlines()[0]
        raise RecordingError(path, f"is not a table we can read ({first}).") from error


def _matrix(path: Path, pandas: Any) -> "pd.DataFrame":
    values = np.load(path, allow_pickle=False)
    if values.ndim == 1:
        values = values[:, None]
    if values.ndim != 2 or not np.issubdtype(values.dtype, np.number):
        raise RecordingError(
            path, f"holds {values.dtype} of shape {values.shape}; numbers (samples, channels) are "
            "needed."
        )  # fmt: skip
    return pandas.DataFrame(values, columns=[f"channel {i + 1}" for i in range(values.shape[1])])


def _form(path: Path) -> tuple[str, str, int]:
    """(encoding, what parts the cells, lines before the heading: `sep=;`)."""
    with path.open("rb") as file:
        encoding = encoding_of(file.read(MARK_BYTES))
    with path.open(encoding=encoding, errors="replace") as text:
        line = text.readline()
    says = SEPARATOR_LINE.match(line)
    return (encoding, says[1], 1) if says else (encoding, separator_of(line), 0)


def separator_of(line: str) -> str:
    """What a line is cut by most often; a comma where nothing is."""
    return max(",;\t|", key=lambda mark: (line.count(mark), mark == ","))


def _times(
    path: Path, table: "pd.DataFrame", notes: list[str]
) -> "tuple[tuple[np.ndarray, datetime | None] | None, pd.DataFrame]":
    """Seconds of every row, float64 (T,), and when the first was; None without a column of them.

    Rows come back sorted by time, each time once.
    """
    pandas = _library()
    named = [c for c in table.columns if str(c).strip().lower() in TIME_NAMES]
    first = table.columns[0]
    if (
        not named
        and not pandas.api.types.is_numeric_dtype(table[first])
        and "-" in str(table[first].iloc[0] if len(table) else "")
    ):
        named = [first]
    if not named:
        return None, table
    seconds, began = _seconds(path, table[named[0]], notes)
    table = table.drop(columns=named)
    order = np.argsort(seconds, kind="stable")
    if (order != np.arange(len(order))).any():
        notes.append("rows were not in the order of their times, and were sorted")
        seconds, table = seconds[order], table.iloc[order]
    last = np.append(np.diff(seconds) > 0, True)
    if not last.all():
        notes.append(f"{int((~last).sum())} doubled times: the last row of each is kept")
        seconds, table = seconds[last], table[last]
    return (seconds, began), table


def _seconds(
    path: Path, column: "pd.Series", notes: list[str]
) -> tuple[np.ndarray, datetime | None]:
    """A column of times as float64 seconds (T,), and when the first was, if they are of a day."""
    numbers, commas = _as_numbers(column)
    if numbers is not None:
        if not np.isfinite(numbers).all():
            raise RecordingError(
                path, f"column {column.name!r} has rows without a time; leave them out."
            )
        if commas:
            notes.append(f"decimal commas in {column.name}")
        return numbers, None
    stamps = _stamps(column)
    wrong = stamps.isna().to_numpy()
    if wrong.any():
        # Of a column of numbers, the first word among them; of dates, the first that is none.
        as_numbers = _library().to_numeric(column.astype("string"), errors="coerce").isna()
        wrong = as_numbers.to_numpy() if as_numbers.mean() < wrong.mean() else wrong
        row = int(np.flatnonzero(wrong)[0])
        raise RecordingError(
            path, f"column {column.name!r} holds {column.iloc[row]!r} in row {row + 2}, which is "
            "no time; mend or leave out that row."
        )  # fmt: skip
    began = stamps.min().to_pydatetime()
    return (stamps - stamps.min()).dt.total_seconds().to_numpy(np.float64), began


def _stamps(column: "pd.Series") -> "pd.Series":
    """Dates in UTC; NaT where a row is none. ISO 8601, or all in the form of the first row."""
    pandas = _library()
    stamps = pandas.to_datetime(column, errors="coerce", utc=True, format="ISO8601")
    first = str(column.iloc[0])
    begins = re.match(r"(\d{1,2})([./])", first)  # with dots the day comes first, as in 31.1.2026
    by_day = begins is not None and (begins[2] == "." or int(begins[1]) > 12)
    form = pandas.tseries.api.guess_datetime_format(first, dayfirst=by_day)
    if stamps.isna().any() and form is not None:
        other = pandas.to_datetime(column, errors="coerce", utc=True, format=form)
        stamps = other if other.isna().sum() < stamps.isna().sum() else stamps
    return stamps


def _numbers(
    path: Path, table: "pd.DataFrame", wanted: tuple[str, ...], notes: list[str]
) -> tuple[np.ndarray, list[str]]:
    """The columns of numbers, float64 (T, C) with NaN where a cell is empty, and their names."""
    columns: dict[str, np.ndarray] = {}
    text: list[str] = []
    other: list[str] = []
    for label in table.columns:
        name = str(label).strip()
        if wanted and name not in wanted:
            other.append(name)
            continue
        found, commas = _as_numbers(table[label])
        if found is None:
            _refuse_one_word(path, name, table[label])
            text.append(name)
            continue
        if commas:
            notes.append(f"decimal commas in {name}")
        columns[name] = found
    missing = [name for name in wanted if name not in columns]
    if missing and missing[0] in text:
        label = next(label for label in table.columns if str(label).strip() == missing[0])
        raise RecordingError(
            path, f"column {missing[0]!r} holds {_no_number(table[label])!r}, which is no number; "
            "mend or leave out that row."
        )  # fmt: skip
    if missing:
        raise RecordingError(
            path, f"has no column of numbers {missing[0]!r}, which the product was taught with; it "
            f"has {', '.join(repr(str(c)) for c in table.columns)}."
        )  # fmt: skip
    if not columns:
        raise RecordingError(path, "has no column of numbers; a table of sensor values is needed.")
    if text:
        notes.append(f"left out, for it holds text: {', '.join(text)}")
    if other:
        notes.append(f"left out, for the product was not taught with it: {', '.join(other)}")
    names = list(wanted) or list(columns)
    return np.stack([columns[name] for name in names], axis=1), names


def _refuse_one_word(path: Path, name: str, column: "pd.Series") -> None:
    """Raise RecordingError for a column of numbers with a few words in it: it is no text."""
    words = column.astype("string").str.strip()
    known = words.notna() & (words != "")
    numbers = _library().to_numeric(words.str.replace(",", ".", regex=False), errors="coerce")
    wrong = (known & numbers.isna()).to_numpy()
    if wrong.any() and wrong.sum() < known.sum() / 2:
        row = int(np.flatnonzero(wrong)[0])
        raise RecordingError(
            path, f"column {name!r} holds {column.iloc[row]!r} in row {row + 2}, which is no "
            "number; mend it, or leave the cell empty."
        )  # fmt: skip


def _as_numbers(column: "pd.Series") -> tuple[np.ndarray | None, bool]:
    """A column as float64, and whether its decimals were commas; None for text."""
    pandas = _library()
    if pandas.api.types.is_bool_dtype(column) or pandas.api.types.is_numeric_dtype(column):
        values = column.to_numpy(np.float64, na_value=np.nan)
        return np.where(np.isfinite(values), values, np.nan), False
    words = column.astype("string").str.strip()
    known = words.notna() & (words != "")
    for commas in (False, True):
        tried = words.str.replace(",", ".", regex=False) if commas else words
        numbers = pandas.to_numeric(tried, errors="coerce")
        if known.any() and numbers[known].notna().all():
            return numbers.to_numpy(np.float64, na_value=np.nan), commas
    return None, False


def _no_number(column: "pd.Series") -> str:
    """The first cell of a column of text that is no number, even with a decimal comma."""
    words = column.astype("string").str.strip().dropna()
    tried = words.str.replace(",", ".", regex=False)
    return str(words[_library().to_numeric(tried, errors="coerce").isna() & (words != "")].iloc[0])


def _even(
    path: Path, seconds: np.ndarray, values: np.ndarray, notes: list[str]
) -> tuple[np.ndarray, float]:
    """Rows on even times (a row of NaN where one is missing), and their rate."""
    if len(seconds) < LEAST_SAMPLES // 2:
        raise RecordingError(path, f"has {len(seconds)} rows; {LEAST_SAMPLES} or more are needed.")
    steps = np.diff(seconds)
    step, longest = float(np.median(steps)), float(steps.max())
    if longest > (FILLED_MOST + 1.5) * step:
        at = float(seconds[int(steps.argmax())] - seconds[0])
        raise RecordingError(
            path, f"has a gap of {longest:.4g} s after {at:.4g} s, longer than {FILLED_MOST} "
            "samples; cut it there and give each part as a file."
        )  # fmt: skip
    places = (seconds - seconds[0]) / step
    whole = np.round(places).astype(int)
    if np.abs(places - whole).max() <= UNEVEN and (np.diff(whole) > 0).all():
        even = np.full((int(whole[-1]) + 1, values.shape[1]), np.nan)
        even[whole] = values
        return even, 1 / step
    grid = np.arange(0, seconds[-1] - seconds[0] + step / 2, step)
    notes.append(f"uneven times: values were moved onto even ones, {1 / step:.6g} Hz")
    known = [np.isfinite(column) for column in values.T]
    if not all(one.any() for one in known):
        raise RecordingError(path, "has a column without any number; leave it out.")
    at = seconds - seconds[0]
    columns = [np.interp(grid, at[k], c[k]) for c, k in zip(values.T, known, strict=True)]
    return np.stack(columns, axis=1), 1 / step


def _without_gaps(path: Path, values: np.ndarray, names: list[str], notes: list[str]) -> np.ndarray:
    """Missing cells filled by a line. Raises RecordingError for too many in a row."""
    filled = values.copy()
    count = 0
    for name, column in zip(names, filled.T, strict=True):
        missing = ~np.isfinite(column)
        if not missing.any():
            continue
        if missing.all():
            raise RecordingError(path, f"column {name!r} holds no number; leave it out.")
        edges = np.flatnonzero(np.diff(np.r_[0, missing.astype(np.int8), 0]))
        longest = int(np.diff(edges)[::2].max())
        if longest > FILLED_MOST:
            raise RecordingError(
                path, f"column {name!r} misses {longest} values in a row; at most {FILLED_MOST} "
                "can be filled. Cut the file there."
            )  # fmt: skip
        at = np.arange(len(column))
        column[missing] = np.interp(at[missing], at[~missing], column[~missing])
        count += int(missing.sum())
    if count:
        what = "1 missing value was" if count == 1 else f"{count} missing values were"
        notes.append(f"{what} filled by straight lines")
    return filled


def _library() -> Any:
    try:
        import pandas
    except ImportError:
        raise AnomalystError(
            "tables need the library pandas, which is not installed; run "
            "`pip install 'anomalyst[senses]'`."
        ) from None
    return pandas

"""A table that lists the pictures: CSV with a heading, or one JSON object per line (JSONL).

Cells may be parted by commas, semicolons or tabs, and paths may have backslashes (tables.py).

    image       needed; like every path here, relative to the table's folder
    label       normal, anomalous, or empty where it is not known
    split       train or test; empty is test
    mask        the mask of an anomalous picture
    category    empty is allowed
    defect      the kind of defect
    reference   the golden sample the picture is paired with

Any other column is kept in `Sample.extra`.
"""

import json
from pathlib import Path
from typing import Any

from anomalyst.datasets.tables import Row, read_csv, read_text
from anomalyst.errors import AnomalystError
from anomalyst.types import Label, Sample, Split

LOOKS_FOR = "a .csv, .tsv or .jsonl file with a column 'image'"
SUFFIXES = frozenset({".csv", ".tsv", ".txt", ".jsonl"})
COLUMNS = ("image", "label", "mask", "split", "category", "defect", "reference")
LABELS: dict[str, Label | None] = {"normal": "normal", "anomalous": "anomalous", "": None}
SPLITS: dict[str, Split] = {"train": "train", "test": "test", "": "test"}


def matches(root: Path) -> bool:
    """Whether `root` is a file that is called as a table is."""
    return root.is_file() and root.suffix.lower() in SUFFIXES


def read(root: Path) -> list[Sample]:
    """Every row as a sample, in the table's order.

    Raises AnomalystError naming the line of the first row that is not in order.
    """
    jsonl = root.suffix.lower() == ".jsonl"
    rows = _read_jsonl(root) if jsonl else read_csv(root, needs=["image"])
    samples, seen = [], dict[Path, int]()
    for row in rows:
        sample = _sample(row)
        if sample.image in seen:
            first = seen[sample.image]
            raise row.error(f"the image {row.cells['image']!r} is on line {first} already.")
        seen[sample.image] = row.line
        samples.append(sample)
    return samples


def masks(root: Path) -> list[Path]:
    """The masks the table names: a table has no others."""
    return [s.mask for s in read(root) if s.mask]


def _sample(row: Row) -> Sample:
    base = row.file.parent
    image = row.path("image", base)
    if image is None:
        raise row.error("names no image.")
    label = row.choice("label", LABELS, "normal, anomalous or nothing")
    mask = row.path("mask", base)
    if label == "normal" and mask:
        raise row.error("is normal and has a mask; only an anomalous picture has one.")
    return Sample(
        image=image,
        label=label,
        split=row.choice("split", SPLITS, "train or test"),
        mask=mask,
        category=row.cells.get("category", ""),
        defect=row.cells.get("defect") or None,
        reference=row.path("reference", base),
        extra={k: v for k, v in row.cells.items() if v and k not in COLUMNS},
    )


def _read_jsonl(file: Path) -> list[Row]:
    rows = []
    for line, text in enumerate(read_text(file).split("\n"), start=1):
        if not text.strip():
            continue
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:  # also a number of thousands of digits
            why = getattr(error, "msg", None) or error
            raise AnomalystError(f"{file}, line {line}: is not JSON ({why}).") from None
        if not isinstance(values, dict):
            raise AnomalystError(f"{file}, line {line}: holds no object; write {{...}}.")
        rows.append(Row(file, line, {k: _cell(file, line, k, v) for k, v in values.items()}))
    return rows


def _cell(file: Path, line: int, key: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, dict | list):
        raise AnomalystError(f"{file}, line {line}: {key} is nested; write text or a number.")
    return str(value).strip()

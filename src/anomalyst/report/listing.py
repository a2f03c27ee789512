"""A batch of inspections as a table for other programs: inspections.csv, the most severe first."""

from collections.abc import Sequence
from pathlib import Path

from anomalyst.io.files import plain_cell, write_csv
from anomalyst.report.page import kept_beside
from anomalyst.types import Severity

NAME = "inspections.csv"
UNKNOWN = Severity(spreads=None)


def write_listing(
    folder: Path,
    rows: Sequence[tuple[Path, str, float, float, Severity | None, str]],
) -> Path:
    """Write picture, verdict, p-value, score, severity and answer of each; returns the file.

    One of an earlier run is kept beside it, as reports are.
    """
    target = folder / NAME
    kept_beside(target)
    ordered = sorted(rows, key=lambda row: (row[4] or UNKNOWN).rank, reverse=True)
    write_csv(target, [_cells(*row) for row in ordered])
    return target


def _cells(
    image: Path, verdict: str, p_value: float, score: float, severity: Severity | None, answer: str
) -> dict[str, str]:
    bad = severity or UNKNOWN
    return {
        "picture": _plain(image.as_posix()),
        "verdict": verdict,
        "p_value": f"{p_value:.6g}",
        "severity": "" if bad.spreads is None else f"{bad.spreads:.4f}",
        "beside": "" if bad.spreads is None else bad.beside,
        "area_share": f"{bad.area_share:.6f}" if severity else "",
        "contrast": "" if bad.contrast is None else f"{bad.contrast:.4f}",
        "score": f"{score:.6f}",
        "answer": _plain(answer),
    }


def _plain(text: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return plain_cell(text.encode("utf-8", "replace").decode())  # a name may be no UTF-8 on disk

"""Made pictures to look at before anything is trained on them: sheet.png and sheet.html."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from anomalyst.datasets.builders.build_job import Filled, Row
from anomalyst.datasets.builders.plan import HEADS, MakingPlan
from anomalyst.io.files import write_bytes, write_text
from anomalyst.io.geometry import resize
from anomalyst.io.pictures import data_uri, encoded, open_mask, open_picture
from anomalyst.io.templates import template
from anomalyst.synthetic.procedural.gallery import outlined, write_label

ON_SHEET, ON_PAGE = 24, 60  # made pictures shown, spread evenly over the categories
COLUMNS = 2
CELL_HEIGHT_PX, CELL_MOST_PX = 150, 260  # height, and most width, of a picture on the sheet
CAPTION_PX = 18


def write_sheet(
    out: Path, source: Path, plan: MakingPlan, filled: Filled, said: Sequence[str]
) -> None:
    """OUT/sheet.png and OUT/sheet.html: before, after, and after with the mask outlined.

    `source` is the set the pictures come from; copied pictures are shown only where none was made.
    """
    made = {name: [row for row in rows if _is_made(row)] for name, rows in filled.rows.items()}
    shown = {name: rows for name, rows in made.items() if rows} or filled.rows
    cells = [_cell(out, source, *one) for one in _spread(shown, ON_PAGE)]
    write_bytes(out / "sheet.png", encoded(_sheet(cells)))
    page = template("anomalyst.datasets.builders", "sheet.html.j2").render(
        title=plan.title,
        said=said,
        heads=HEADS,
        balance=plan.balance,
        faults=[*plan.faults, *filled.faults],
        cells=[(data_uri(strip, quality=85), name, row) for strip, name, row in cells],
        settings=plan.settings,
    )
    write_text(out / "sheet.html", page)


def _spread(made: Mapping[str, Sequence[Row]], count: int) -> list[tuple[str, Row]]:
    """Up to `count` rows, evenly from every category and over its length."""
    share = max(1, count // max(1, len(made)))
    picked = []
    for name, rows in made.items():
        steps = np.unique(np.linspace(0, len(rows) - 1, min(share, len(rows))).round().astype(int))
        picked += [(name, rows[step]) for step in steps]
    return picked[:count]


def _is_made(row: Row) -> bool:
    return row.get("method", "copied") != "copied"


def _cell(out: Path, source: Path, name: str, row: Row) -> tuple[np.ndarray, str, Row]:
    """Before, after, outlined, side by side."""
    after = open_picture(out / name / row["file"])
    shown = [after]
    base = source.parent if source.is_file() else source
    if _is_made(row):
        shown.insert(0, open_picture(base / row["source"]))
    if row.get("mask"):
        mask = open_mask(out / name / row["mask"], after.shape[:2])
        small = resize(mask.astype(np.uint8) * 255, _size(after)) > 40
        shown.append(outlined(resize(after, _size(after)), small))
    strips = [resize(one, _size(one)) for one in shown]
    gap = np.full((CELL_HEIGHT_PX, 3, 3), 255, np.uint8)
    return np.hstack([part for strip in strips for part in (_padded(strip), gap)]), name, row


def _size(picture: np.ndarray) -> tuple[int, int]:
    height, width = picture.shape[:2]
    scale = min(CELL_HEIGHT_PX / height, CELL_MOST_PX / width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def _padded(picture: np.ndarray) -> np.ndarray:
    """On white, as high as a cell."""
    missing = CELL_HEIGHT_PX - picture.shape[0]
    return _on_white(picture, missing // 2, missing - missing // 2)


def _on_white(picture: np.ndarray, above: int = 0, below: int = 0, right: int = 0) -> np.ndarray:
    return np.pad(picture, ((above, below), (0, right), (0, 0)), constant_values=255)


def _sheet(cells: Sequence[tuple[np.ndarray, str, Row]]) -> np.ndarray:
    shown = cells[:: max(1, -(-len(cells) // ON_SHEET))]
    blocks = [_captioned(strip, f"{name}  {row['file']}") for strip, name, row in shown]
    wide = max(block.shape[1] for block in blocks)
    blocks = [_on_white(block, right=wide - block.shape[1]) for block in blocks]
    while len(blocks) % COLUMNS:
        blocks.append(np.full_like(blocks[0], 255))
    lines = [np.hstack(blocks[i : i + COLUMNS]) for i in range(0, len(blocks), COLUMNS)]
    return np.vstack(lines)


def _captioned(strip: np.ndarray, text: str) -> np.ndarray:
    block, at = _on_white(strip, below=CAPTION_PX), (2, strip.shape[0] + CAPTION_PX - 5)
    return write_label(block, text, at, 0.36)

"""A batch of inspections as one self-contained HTML page, written row by row."""

import errno
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import numpy as np

from anomalyst.detection.regions import PARTS
from anomalyst.errors import AnomalystError, PictureError
from anomalyst.io.files import written_whole
from anomalyst.io.geometry import resize
from anomalyst.io.pictures import data_uri, open_picture
from anomalyst.io.templates import template
from anomalyst.measuring.words import shortly
from anomalyst.report.overlay import VISIBLE_FROM, legend_colours, overlay, shown_size
from anomalyst.types import Inspection

THUMBNAIL_PX = 400  # with this and JPEG quality 76, 1,000 rows are at most some 70 MB
DRAWING_PX = 900  # of a recording, or of several senses
REFERENCE_PX = 160
REFERENCES_SHOWN = 8


class ReportWriter:
    """`with ReportWriter(...) as report: report.add(...)`.

    Rows go to disk as they come, so a thousand pictures need no more memory than one. When the
    block ends, by Ctrl-C too, the page is completed for what was done. A page that lies there
    already is kept beside it under the time at which it was written (`kept`).
    Raises AnomalystError when the folder cannot be written or the disk is full.
    """

    def __init__(
        self,
        path: Path,
        *,
        product: str,
        references: Sequence[Path],
        encoder: str,
        look: Callable[[Path], np.ndarray] = open_picture,
    ):
        self.look = look  # how a reference is shown
        self.path, self.product, self.encoder = path, product, encoder
        self.references = list(references)
        self.counts: Counter[str] = Counter()
        self.skipped: list[PictureError] = []
        self.kept: Path | None = None  # the page of an earlier run
        self.notes: dict[str, int] = {}  # sentence -> its number on the page
        self._page, self._row = (
            template("anomalyst.report", name) for name in ("page.html.j2", "row.html.j2")
        )
        self._rows: IO[str] | None = None

    def __enter__(self) -> "ReportWriter":
        with _told(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # Beside the page, where there is room for it; nameless, so that nothing is left behind.
            # A name that is no UTF-8 on disk is shown with "?" in the place of what is not.
            self._rows = tempfile.TemporaryFile(
                "w+", encoding="utf-8", errors="replace", dir=self.path.parent
            )
        return self

    def add(
        self, inspection: Inspection, picture: np.ndarray, *, full_size: Path | None = None
    ) -> None:
        """One row: the picture as it is and explained, verdict, figures, regions, sentence.

        `full_size` is the overlay's file, linked relative to the page.
        """
        assert self._rows is not None, "add() works inside the with block"
        # What has words and time on it is read, not glanced at.
        side = THUMBNAIL_PX if inspection.sense == "image" else DRAWING_PX
        plain = resize(picture, shown_size(picture.shape[:2], side))
        drawn = overlay(picture, inspection, max_side_px=side)
        for note in inspection.notes:
            self.notes.setdefault(note, len(self.notes) + 1)
        row = self._row.render(
            number=sum(self.counts.values()) + 1,
            inspection=inspection,
            plain=data_uri(plain),
            drawn=None if np.array_equal(plain, drawn) else data_uri(drawn),
            full_size=full_size.relative_to(self.path.parent).as_posix() if full_size else None,
            notes=[self.notes[note] for note in inspection.notes],
            parts=PARTS,
            shortly=shortly,
        )
        with _told(self.path):
            self._rows.write(row)
        self.counts[inspection.verdict] += 1

    def skip(self, error: PictureError) -> None:
        """A picture that could not be used is listed with the reason."""
        self.skipped.append(error)

    def __exit__(self, *_: object) -> None:
        assert self._rows is not None
        rows, self._rows = self._rows, None
        with _told(self.path), rows:  # closing writes what is left
            rows.seek(0)
            self.kept = kept_beside(self.path)
            self._write_page(rows)

    def _write_page(self, rows: IO[str]) -> None:
        head, tail = self._page.render(
            product=self.product,
            encoder=self.encoder,
            made=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M"),
            counts=self.counts,
            total=sum(self.counts.values()),
            references=[_thumbnail(path, self.look) for path in self.references[:REFERENCES_SHOWN]],
            num_references=len(self.references),
            skipped=self.skipped,
            notes=self.notes,
            legend=legend_colours(),
            visible_from=VISIBLE_FROM,
        ).split("<!-- rows -->")
        with (
            written_whole(self.path) as part,
            part.open("w", encoding="utf-8", errors="replace") as page,
        ):
            page.write(head)
            while chunk := rows.read(1 << 20):
                page.write(chunk)
            page.write(tail)


def kept_beside(page: Path) -> Path | None:
    """A copy of an earlier page or table beside it: a second run must not lose what one found."""
    if not page.exists():
        return None
    when = datetime.fromtimestamp(page.stat().st_mtime).strftime("%Y%m%d-%H%M%S")
    target = page.with_name(f"{page.stem}-{when}{page.suffix}")
    shutil.copy2(page, target)
    return target


def _thumbnail(path: Path, look: Callable[[Path], np.ndarray]) -> dict[str, Any]:
    try:
        picture = look(path)
    except PictureError as error:
        return {"name": path.name, "uri": None, "error": error.reason}
    small = resize(picture, shown_size(picture.shape[:2], REFERENCE_PX))
    return {"name": path.name, "uri": data_uri(small)}


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        reason = "the disk is full; free some space" if full else error.strerror or str(error)
        raise AnomalystError(
            f"{path}: the report cannot be written ({reason}); choose another place with --out."
        ) from error

"""A batch of inspections as one self-contained HTML page, written row by row."""

import base64
import html
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

import cv2
import numpy as np
from jinja2 import Environment, PackageLoader, select_autoescape

from anomalyst.errors import PictureError
from anomalyst.files import written_whole
from anomalyst.imaging import open_picture, resize
from anomalyst.report.overlay import overlay, shown_size
from anomalyst.types import Inspection

THUMBNAIL_PX = 480
REFERENCES_SHOWN = 8


class ReportWriter:
    """`with ReportWriter(...) as report: report.add(...)`.

    Rows go to disk as they come, so a thousand pictures need no more memory than one. When the
    block ends, by Ctrl-C too, the page is completed for what was done.
    """

    def __init__(self, path: Path, *, product: str, references: Sequence[Path], encoder: str):
        self.path, self.product, self.encoder = path, product, encoder
        self.references = list(references)
        self.counts: Counter[str] = Counter()
        self.skipped: list[PictureError] = []
        self.notes: dict[str, None] = {}
        environment = Environment(
            loader=PackageLoader("anomalyst.report", "."), autoescape=select_autoescape(["j2"])
        )
        self._page = environment.get_template("page.html.j2")
        self._rows: IO[str] | None = None
        self._rows_path = path.with_name(f".rows-{path.name}")

    def __enter__(self) -> "ReportWriter":
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._rows = self._rows_path.open("w", encoding="utf-8")
        return self

    def add(self, inspection: Inspection, picture: np.ndarray) -> None:
        """One row: the picture as it is and explained, verdict, figures, regions, sentence."""
        assert self._rows is not None, "add() works inside the with block"
        self.counts[inspection.verdict] += 1
        self.notes |= dict.fromkeys(inspection.notes)
        size_hw = shown_size(picture.shape[:2], THUMBNAIL_PX)
        row = self._page.module.row(  # type: ignore[attr-defined]
            number=sum(self.counts.values()),
            inspection=inspection,
            plain=data_uri(resize(picture, size_hw)),
            drawn=data_uri(overlay(picture, inspection, max_side_px=THUMBNAIL_PX)),
        )
        self._rows.write(str(row))

    def skip(self, error: PictureError) -> None:
        """A picture that could not be used is listed with the reason."""
        self.skipped.append(error)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._rows is not None
        self._rows.close()
        try:
            self._write_page()
        finally:
            self._rows_path.unlink(missing_ok=True)

    def _write_page(self) -> None:
        head, tail = self._page.render(
            product=self.product,
            encoder=self.encoder,
            counts=self.counts,
            total=sum(self.counts.values()),
            references=[_thumbnail(p) for p in self.references[:REFERENCES_SHOWN]],
            num_references=len(self.references),
            skipped=self.skipped,
            notes=list(self.notes),
        ).split("<!-- rows -->")
        with written_whole(self.path) as part, part.open("w", encoding="utf-8") as page:
            page.write(head)
            with self._rows_path.open(encoding="utf-8") as rows:
                while chunk := rows.read(1 << 20):
                    page.write(chunk)
            page.write(tail)


def data_uri(picture: np.ndarray) -> str:
    """A picture as a JPEG data URI, so that the page needs no other file."""
    encoded = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 82])[1]
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode("ascii")


def _thumbnail(path: Path) -> dict[str, str]:
    try:
        picture = open_picture(path)
    except PictureError as error:
        return {"name": html.escape(str(error)), "uri": ""}
    return {"name": path.name, "uri": data_uri(resize(picture, shown_size(picture.shape[:2], 160)))}

"""A search as one self-contained HTML page: the query, and beside it what was found."""

from pathlib import Path

import numpy as np

from anomalyst.errors import AnomalystError
from anomalyst.inspection.signal_view import view_of
from anomalyst.io.files import write_text
from anomalyst.io.geometry import resize
from anomalyst.io.pictures import data_uri, open_picture
from anomalyst.io.templates import template
from anomalyst.report.overlay import shown_size
from anomalyst.senses.fields import FieldView
from anomalyst.senses.sense import SignalSense
from anomalyst.senses.space import SensedFile
from anomalyst.senses.video import read_film
from anomalyst.server.finding.search import Found

PAGE = "find.html"
SIDE_PX = 480


def write_page(out: Path, found: Found) -> Path:
    """OUT/find.html. Raises AnomalystError if it cannot be written."""
    asked = found.query.what
    page = template("anomalyst.server.finding", "find.html.j2").render(
        found=found,
        asked=None if isinstance(asked, str) else _uri(asked),
        hits=[(hit, _uri(hit.item.file)) for hit in found.hits],
    )
    write_text(out / PAGE, page)
    return out / PAGE


def drawn(file: SensedFile) -> np.ndarray:
    """What people see of a file, uint8 RGB (H, W, 3): pictures and films as they are, depth and
    heat as grey between their own ends, sound as its spectrum, series as curves or spectra.

    Raises PictureError for a file that cannot be read.
    """
    if file.sense == "image":
        return open_picture(file.path)
    if file.sense == "video":
        return np.concatenate(list(read_film(file.path).clips[:, 0]), axis=1)
    if file.sense in ("depth", "thermal"):
        view = file.reading
        assert isinstance(view, FieldView)
        field = view.read(file.path)
        return view.fitted([field]).shown(field.values)
    sense = file.reading if isinstance(file.reading, SignalSense) else None
    if sense is None:
        sense = SignalSense(kind="audio" if file.sense == "audio" else "series")
    recording = sense.read(file.path)
    fitted = sense.fitted([recording])
    return view_of(recording, fitted.frames(recording), fitted).picture


def _uri(file: SensedFile) -> str:
    """A small JPEG as a data URI; empty where there is nothing to draw any more."""
    try:
        picture = drawn(file)
    except AnomalystError:
        return ""
    return data_uri(resize(picture, shown_size(picture.shape[:2], SIDE_PX)), quality=82)

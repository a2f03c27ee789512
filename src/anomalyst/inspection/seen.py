"""A file of a product's sense as it is judged and shown, and what was changed when it was read."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from anomalyst.inspection.signal_view import view_of
from anomalyst.io.deep_pictures import AS_FILES_SAY, PictureReading
from anomalyst.io.pictures import open_picture, reading_of
from anomalyst.senses.fields import FieldView
from anomalyst.senses.sense import Sense, SignalSense
from anomalyst.types import Inspection

if TYPE_CHECKING:
    from anomalyst.product import Product


@dataclass(frozen=True, slots=True)
class Seen:
    """A photograph, or a reading of depth or heat."""

    picture: np.ndarray  # uint8 (H, W, 3)
    sense: str = "image"
    notes: tuple[str, ...] = ()
    as_read: bool = False  # a photograph that nobody sees in its file as it was read

    def completed(self, found: Inspection) -> Inspection:
        """What was found on it, with what it is and how it is shown."""
        if self.sense == "image" and not self.as_read:
            return found
        notes = (*found.notes, *self.notes)
        return replace(found, sense=self.sense, view=self.picture, notes=notes)


def open_for(product: "Product", path: Path) -> Seen:
    """The file as the product takes it. Raises PictureError."""
    if product.field_view is None and product.frame is None:  # nothing was taught: by itself
        reading = reading_of([path], product.reading)
        return Seen(open_picture(path, reading), notes=told(reading), as_read=bool(reading.told))
    return _opened(product.field_view, path, product.reading)


def told(reading: PictureReading) -> tuple[str, ...]:
    """What a reading assumes, as notes."""
    return (f"{reading.told}.",) if reading.told else ()


def look_at(product: "Product", path: Path) -> np.ndarray:
    """A file of the product's sense as people see it, uint8 (H, W, 3). Raises PictureError."""
    return look_by(product.sense, path, product.reading)


def look_by(sense: Sense | None, path: Path, reading: PictureReading = AS_FILES_SAY) -> np.ndarray:
    """A file of a sense (None: a photograph) as people see it. Raises PictureError."""
    if not isinstance(sense, SignalSense):
        return _opened(sense, path, reading).picture
    recording = sense.read(path)
    return view_of(recording, sense.frames(recording), sense).picture


def _opened(view: FieldView | None, path: Path, reading: PictureReading) -> Seen:
    if view is None:
        return Seen(open_picture(path, reading), as_read=bool(reading.told))
    read = view.read(path)
    return Seen(view.shown(read.values), view.kind, read.notes)

"""What the spaces share: how fields and tables are read, and what tells two models apart."""

import hashlib
from pathlib import Path

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from anomalyst.errors import AnomalystError
from anomalyst.senses.fields import FieldView, checked_unit, read_field
from anomalyst.senses.recording import Recording
from anomalyst.senses.sense import SignalSense
from anomalyst.senses.series import SeriesReading, read_series
from anomalyst.senses.space import SensedFile, Space

PREPARED = 1  # raised when files are prepared otherwise than before, so that old vectors go


def field_of(file: SensedFile) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Depth in mm or heat in degrees Celsius, float32 (H, W); its holes; notes.

    Raises PictureError, and AnomalystError where the unit is not said.
    """
    view = file.reading
    if not isinstance(view, FieldView):
        checked_unit(file.sense, "")  # type: ignore[arg-type]
    assert isinstance(view, FieldView)
    field = read_field(file.path, view.kind, view.unit)
    return field.values, field.holes, field.notes


def series_of(file: SensedFile) -> Recording:
    """The channels of a table. Raises RecordingError."""
    reading = file.reading
    rate = reading.rate_hz if isinstance(reading, SignalSense) else None
    channels = reading.channels if isinstance(reading, SignalSense) else ()
    return read_series(file.path, SeriesReading(rate_hz=rate, channels=channels))


def middle_of(vectors: Tensor) -> np.ndarray:
    """Unit vectors (S, D) of one thing -> their mean at unit length, float32 (D,)."""
    found: np.ndarray = F.normalize(vectors.float().mean(0), dim=0).numpy()
    return found


def refuse_sense(space: Space, sense: str) -> None:
    """AnomalystError if the space has no tower for a sense."""
    if sense not in space.senses:
        raise AnomalystError(
            f"--encoder {space.name}: has no tower for {sense} files; it takes "
            f"{', '.join(space.senses)} and sentences."
        )


def folder_fingerprint(folder: Path) -> str:
    """Sixteen hex digits of a model's folder, by its files' names, sizes and times.

    Reading gigabytes of weights at each search would take longer than the search.
    """
    digest = hashlib.sha256(f"prepared {PREPARED}".encode())
    for path in sorted(folder.iterdir()):
        if path.suffix in (".json", ".safetensors", ".txt", ".model"):
            state = path.stat()
            digest.update(f"{path.name} {state.st_size} {state.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]

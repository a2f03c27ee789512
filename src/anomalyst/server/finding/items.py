"""What may be found: an inspection by one of its senses, or a file of a folder."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from anomalyst.errors import AnomalystError, PictureError
from anomalyst.hardware.processor import checked_choice
from anomalyst.io.pictures import PICTURE_SUFFIXES
from anomalyst.senses import audio, fields, video
from anomalyst.senses.fields import FieldView
from anomalyst.senses.sense import Sense, SignalSense
from anomalyst.senses.series import SeriesReading
from anomalyst.senses.space import FILE_SENSES, SensedFile

TABLES = frozenset({".csv", ".tsv", ".parquet"})  # a .txt or .npy beside them may be anything
NAMED = {"depth": fields.SUFFIXES, "thermal": fields.SUFFIXES, "series": TABLES | {".npy", ".txt"}}
OF_ENDING = {
    "image": PICTURE_SUFFIXES, "audio": audio.SUFFIXES, "series": TABLES, "video": video.SUFFIXES,
}  # fmt: skip
ENDINGS = frozenset().union(*OF_ENDING.values(), *NAMED.values())
SHOWN_NAMES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One file that may be found, and what it belongs to."""

    file: SensedFile
    digest: str  # SHA-256 of its content
    name: str  # as people call it
    inspection: str | None = None  # None: a file of a folder
    product: str | None = None
    verdict: str | None = None
    created_at: datetime | None = None

    @property
    def key(self) -> str:
        """Of its vector: content, sense and how it is read, as 64 hexadecimal digits."""
        return hashlib.sha256(f"{self.file.read_as}\n{self.digest}".encode()).hexdigest()


@dataclass(slots=True)
class LeftOut:
    """What could not be compared: reason -> names."""

    by_reason: dict[str, list[str]] = field(default_factory=dict)

    def add(self, name: str, error: AnomalystError | str) -> None:
        """One more, and why."""
        reason = error.reason if isinstance(error, PictureError) else str(error)
        self.by_reason.setdefault(reason, []).append(name)

    def notes(self) -> list[str]:
        """A sentence for each reason."""
        return [
            f"left out: {', '.join(names[:SHOWN_NAMES])}"
            f"{f' and {len(names) - SHOWN_NAMES} more' if len(names) > SHOWN_NAMES else ''}: "
            f"{reason}"
            for reason, names in self.by_reason.items()
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """How files without a product are read."""

    depth_unit: str = "mm"
    thermal_unit: str = ""  # must be said where there is heat
    rate: float | None = None  # samples a second, of tables without a column of times

    def __post_init__(self) -> None:
        SeriesReading(rate_hz=self.rate)  # refuses a rate that is none

    def of(self, sense: str) -> Sense | None:
        """How a file of a sense is read. Raises AnomalystError for a unit that is none."""
        if sense == "depth":
            return FieldView(kind="depth", unit=self.depth_unit)
        if sense == "thermal":
            return FieldView(kind="thermal", unit=self.thermal_unit)
        return SignalSense(kind="series", rate_hz=self.rate) if sense == "series" else None


def sense_of_ending(path: Path) -> str | None:
    """What a file most likely is, by its ending alone; None: nothing that is known."""
    suffix = path.suffix.lower()
    return next((sense for sense, known in OF_ENDING.items() if suffix in known), None)


def of_sense(items: Iterable[Item], sense: str | None) -> list[Item]:
    """Those of one sense; None: of any. Raises AnomalystError for a word that is none."""
    if sense is None:
        return list(items)
    checked_choice("--sense", sense, FILE_SENSES)
    return [item for item in items if item.file.sense == sense]

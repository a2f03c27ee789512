"""A space that several senses share, and the files that lie in it: what a search needs of both."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from anomalyst.senses.fields import FieldView
from anomalyst.senses.sense import Sense, SignalSense

FILE_SENSES = ("image", "depth", "thermal", "audio", "series", "video")


@dataclass(frozen=True, slots=True, kw_only=True)
class SensedFile:
    """A file, the sense it is of, and how it is read where that must be said."""

    sense: str  # one of FILE_SENSES
    path: Path
    reading: Sense | None = None  # the unit of depth and heat, rate and channels of a table

    @property
    def read_as(self) -> str:
        """What the vector depends on beside the file's bytes."""
        one = self.reading
        if isinstance(one, FieldView):
            return f"{self.sense} in {one.unit}"
        if isinstance(one, SignalSense) and self.sense == "series":
            return f"series of {one.rate_hz} Hz, {one.channels}"
        return self.sense


@dataclass(frozen=True, slots=True)
class Embedded:
    """Where something lies in a space."""

    vector: np.ndarray  # float32 (D,), length 1
    notes: tuple[str, ...] = ()  # what was changed to get there


class Space(Protocol):
    """Files of some senses, and sentences, in one space of unit vectors."""

    name: str  # as the command line takes it
    fingerprint: str  # of the weights and of how files are prepared: other vectors, another word
    senses: tuple[str, ...]  # of the files it takes
    across: str  # what a user must know of hits by another sense than the query's; "": nothing

    def of_file(self, file: SensedFile) -> Embedded:
        """Where a file lies.

        Raises PictureError for a file that cannot be used, AnomalystError for a sense it lacks.
        """

    def of_text(self, text: str) -> Embedded:
        """Where a sentence lies. Raises AnomalystError if it cannot be understood."""

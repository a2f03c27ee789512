"""Which sense a product was taught with, and how its files are read: fixed by the good ones."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from anomalyst.config import from_mapping, to_mapping
from anomalyst.errors import AnomalystError, RecordingError
from anomalyst.senses import audio, fields, series
from anomalyst.senses.audio import read_audio
from anomalyst.senses.fields import FieldView
from anomalyst.senses.recording import Recording
from anomalyst.senses.series import SeriesReading, read_series
from anomalyst.senses.spectra import frames_of

SenseKind = Literal["image", "depth", "thermal", "audio", "series"]
SPECTRUM_FROM_HZ = 100.0  # a channel as fast as that is looked at as a spectrum
RATE_SLACK = 0.01  # by which a table's rate may differ from the good ones'
SUFFIXES: dict[str, frozenset[str]] = {
    "depth": fields.SUFFIXES, "thermal": fields.SUFFIXES, "audio": audio.SUFFIXES,
    "series": series.SUFFIXES,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalSense:
    """Sound or sensors over time."""

    kind: Literal["audio", "series"]
    method: str = "memory"  # what judges it: detection/signals/judges.py
    rate_hz: float | None = None  # samples in a second
    channels: tuple[str, ...] = ()  # columns of a table
    low: float = 0.0  # of what is shown, in decibels: dark
    high: float = 1.0  # bright

    @property
    def as_spectrum(self) -> bool:
        """Whether it is looked at as a spectrum, in decibels; else as plain values.

        Methods of time series take samples as they are.
        """
        if self.method != "memory":
            return False
        return self.kind == "audio" or (self.rate_hz or 0) >= SPECTRUM_FROM_HZ

    def read(self, path: Path) -> Recording:
        """A file of this sense, as the good ones were. Raises RecordingError for any other."""
        if self.kind == "audio":
            return read_audio(path)
        reading = SeriesReading(rate_hz=self.rate_hz, channels=self.channels)
        recording = read_series(path, reading)
        rate = self.rate_hz
        if rate is not None and abs(recording.rate_hz / rate - 1) > RATE_SLACK:
            raise RecordingError(
                path, f"holds {recording.rate_hz:.4g} samples a second, and {rate:.4g} is the "
                "product's rate; record at the same one."
            )  # fmt: skip
        return recording

    def frames(self, recording: Recording) -> Recording:
        """What moments are compared in: decibels of bands, or the values themselves."""
        return frames_of(recording) if self.as_spectrum else recording

    def fitted(self, good: Sequence[Recording]) -> "SignalSense":
        """The same with the rate, channels and range of the good recordings.

        Raises AnomalystError where these differ from each other in channels or rate.
        """
        first = good[0]
        for other in good:
            if other.channels != first.channels:
                raise AnomalystError(
                    f"good recordings have the channels {', '.join(first.channels)} and "
                    f"{', '.join(other.channels)}; all need the same."
                )
            if abs(other.rate_hz / first.rate_hz - 1) > RATE_SLACK:
                raise AnomalystError(
                    f"good recordings hold {first.rate_hz:.4g} and {other.rate_hz:.4g} samples a "
                    "second; all need the same rate."
                )
        fitted = replace(self, rate_hz=first.rate_hz, channels=first.channels)
        seen = np.concatenate([fitted.frames(one).values.ravel() for one in good])
        low, high = (float(v) for v in np.quantile(seen, (0.02, 0.999)))
        return replace(fitted, low=low, high=max(high, low + 1e-6))


Sense = FieldView | SignalSense


def sense_as_dict(sense: Sense) -> dict[str, Any]:
    """A sense as plain JSON values."""
    return to_mapping(sense)


def sense_of(values: dict[str, Any], where: str) -> Sense:
    """The sense of which `sense_as_dict` gave the values; AnomalystError for any others."""
    if values.get("kind") in ("depth", "thermal"):
        return from_mapping(FieldView, values, where=where)
    return from_mapping(SignalSense, values, where=where)

"""A recorded question, as a file or as bytes -> what a voice model hears."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from anomalyst.errors import RecordingError
from anomalyst.senses.audio import RATE_HZ, read_audio

LONGEST_SECONDS = 30.0  # what Whisper models read at once
SHORTEST_SECONDS = 0.3  # "OK?" takes longer
QUIET = 0.01  # of full scale; a peak below it is 40 dB down
# What browsers and telephones record that libsndfile does not read: its first bytes, its name.
_OTHERS = (
    (0, b"\x1a\x45\xdf\xa3", "WebM or Matroska"),
    (4, b"ftyp", "MP4 (M4A)"),
    (0, b"#!AMR", "AMR"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sound:
    """One channel at 16 kHz, and what was changed on the way."""

    wave: np.ndarray  # float32 (S,) in [-1, 1]
    notes: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return len(self.wave) / RATE_HZ


def read_sound(source: Path | bytes, name: str = "the recording") -> Sound:
    """The sound of a WAV, FLAC, Ogg (Vorbis or Opus), MP3 or AIFF file, or of its bytes.

    `name` stands for bytes in errors; they are kept on disk no longer than they are read. Raises
    RecordingError for what is no sound, silent, shorter than 0.3 s or longer than 30 s;
    AnomalystError where the library that reads sound is not installed.
    """
    if isinstance(source, Path):
        return _read(source)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "sound"
        path.write_bytes(source)
        try:
            return _read(path)
        except RecordingError as error:
            raise RecordingError(name, error.reason) from None


def _read(path: Path) -> Sound:
    _refuse_others(path)
    _refuse_long(path)
    recording = read_audio(path)
    wave = recording.values[:, 0]
    if recording.seconds < SHORTEST_SECONDS:
        raise RecordingError(
            path, f"lasts {recording.seconds:.2g} s; a question takes {SHORTEST_SECONDS} s or more."
        )
    notes = recording.notes
    if np.abs(wave).max() < QUIET:
        notes = (*notes, "the recording is very quiet; speak nearer to the microphone")
    return Sound(wave=wave, notes=notes)


def _refuse_others(path: Path) -> None:
    """Say what a file is that sounds like a recording but cannot be read here."""
    if not path.is_file():
        return  # told by who reads it
    with path.open("rb") as file:
        start = file.read(12)
    for at, mark, kind in _OTHERS:
        if start[at:].startswith(mark):
            raise RecordingError(
                path, f"is {kind}, which is not read here; save it as WAV, FLAC, Ogg or MP3, for "
                "instance with `ffmpeg -i RECORDING question.wav`."
            )  # fmt: skip


def _refuse_long(path: Path) -> None:
    """Before an hour is read and resampled only to be refused."""
    seconds = _told_seconds(path)
    if seconds > LONGEST_SECONDS:
        raise RecordingError(
            path, f"lasts {seconds:.0f} s; at most {LONGEST_SECONDS:.0f} s are heard. Cut out the "
            "question."
        )  # fmt: skip


def _told_seconds(path: Path) -> float:
    """How long a file says that it lasts; 0 where it does not say, which read_audio explains."""
    try:
        import soundfile

        told: Any = soundfile.info(path)
        return float(told.frames / told.samplerate)
    except (ImportError, OSError, RuntimeError, TypeError):
        return 0.0

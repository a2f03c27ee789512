"""A sound file -> one channel at 16 kHz; whatever was changed on the way is noted."""

from math import gcd
from pathlib import Path
from typing import Any

import numpy as np

from anomalyst.errors import AnomalystError, RecordingError
from anomalyst.senses.recording import Recording

RATE_HZ = 16_000  # of all sounds, as speech models and ImageBind take them
SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif"})
SILENT = 1e-4  # full scale is 1: below this peak there is nothing but the converter's last bit
LEAST_SECONDS = 0.1
LOWEST_RATE_HZ = 4_000


def read_audio(path: Path) -> Recording:
    """The sound of a file, float32 (T, 1) in [-1, 1] at 16 kHz, channels averaged.

    Raises RecordingError for what is no sound, empty, silent, shorter than a tenth of a second or
    below 4 kHz; AnomalystError where the library that reads sound is not installed.
    """
    values, rate, kind = _opened(path)
    if len(values) < LEAST_SECONDS * rate:
        raise RecordingError(
            path, f"lasts {len(values) / rate:.3g} s; at least {LEAST_SECONDS} s are needed."
        )
    if not np.isfinite(values).all():
        raise RecordingError(path, "holds samples that are not numbers; record it again.")
    if np.abs(values).max() < SILENT:
        raise RecordingError(path, "is silent; check the microphone and record it again.")
    notes = []
    if values.shape[1] > 1:
        notes.append(f"{values.shape[1]} channels were averaged to one")
    mono = values.mean(axis=1)
    if np.abs(mono).max() < SILENT:
        raise RecordingError(
            path, "has channels that cancel each other; save one of them as a mono file."
        )
    if rate != RATE_HZ:
        notes.append(_resampled(rate))
        common = gcd(rate, RATE_HZ)
        from scipy.signal import resample_poly  # the server starts without it: 1.4 s, 50 MB

        mono = resample_poly(mono, RATE_HZ // common, rate // common)
    if kind == "clipped":
        notes.append("the sound is clipped: its peaks are cut off")
    return Recording(
        values=mono[:, None].astype(np.float32),
        rate_hz=float(RATE_HZ),
        channels=("sound",),
        notes=tuple(notes),
    )


def _resampled(rate: int) -> str:
    lost = f"; nothing above {rate / 2000:g} kHz was recorded" if rate < RATE_HZ else ""
    return f"resampled from {rate / 1000:g} to {RATE_HZ / 1000:g} kHz{lost}"


def _opened(path: Path) -> tuple[np.ndarray, int, str]:
    """Samples float64 (T, C), their rate, and "clipped" where full scale is held."""
    soundfile = _library()
    try:
        if path.is_dir():
            raise RecordingError(path, "is a folder; a sound file is needed.")
        if path.stat().st_size == 0:
            raise RecordingError(path, "is an empty file; record it again.")
        values, rate = soundfile.read(path, dtype="float64", always_2d=True)
    except FileNotFoundError:
        raise RecordingError(path, "there is no such file.") from None
    except PermissionError:
        raise RecordingError(path, "may not be read; check its rights.") from None
    except (soundfile.SoundFileError, RuntimeError, TypeError) as error:
        raise RecordingError(
            path, "is not a sound we can read; WAV, FLAC, Ogg, MP3 or AIFF is needed."
        ) from error
    if len(values) == 0:
        raise RecordingError(path, "holds no samples; record it again.")
    if rate < LOWEST_RATE_HZ:
        raise RecordingError(
            path, f"has {rate} samples a second; a sound needs {LOWEST_RATE_HZ} or more. If it is "
            "no sound, give it with --series."
        )  # fmt: skip
    held = np.abs(values) >= np.abs(values).max() * 0.9999
    clipped = np.abs(values).max() > 0.98 and (held[1:] & held[:-1]).sum() > 8
    return values, int(rate), "clipped" if clipped else ""


def _library() -> Any:
    try:
        import soundfile
    except ImportError:
        raise AnomalystError(
            "sound needs the library soundfile, which is not installed; run "
            "`pip install 'anomalyst[senses]'`."
        ) from None
    return soundfile

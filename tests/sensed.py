"""What tests of other senses share: a drawn machine that sounds, a depth camera, a torque curve."""

from pathlib import Path

import cv2
import numpy as np
import pandas
import soundfile

RATE = 8_000  # resampled when read, as many a microphone's files are


def sound(path: Path, rng: np.random.Generator, *, knock: bool = False) -> Path:
    """Half a second of a shaft at 25 Hz with harmonics, in noise; `knock`: something hits once."""
    t = np.arange(RATE // 2) / RATE
    phase = 2 * np.pi * 25 * (1 + 0.01 * rng.normal()) * t + rng.uniform(0, 6)
    values = sum(np.sin(k * phase) / k for k in range(1, 8)) * 0.05 + 0.02 * rng.normal(size=t.size)
    if knock:
        values[2400:2800] += 0.3 * np.hanning(400) * rng.normal(size=400)
    soundfile.write(path, values, RATE)
    return path


def curve(path: Path, rng: np.random.Generator, *, step: bool = False) -> Path:
    """Torque and temperature, ten samples a second; `step`: the torque jumps for two seconds."""
    t = np.arange(160) / 10
    torque = np.sin(2 * np.pi * t / 4 + rng.uniform(0, 6)) + 0.1 * rng.normal(size=t.size)
    if step:
        torque[60:80] += 3
    columns = {"time": t, "torque": torque, "temperature": 20 + 0.1 * rng.normal(size=t.size)}
    pandas.DataFrame(columns).to_csv(path, index=False)
    return path


def depth(path: Path, rng: np.random.Generator, *, dent: bool = False) -> Path:
    """A disc that stands 20 mm out, in tenths of a millimetre; `dent`: 6 mm are missing."""
    down, across = np.mgrid[:120, :160]
    field = np.where((down - 60) ** 2 + (across - 80) ** 2 < 40**2, 480.0, 500.0)
    if dent:
        field[(down - 45) ** 2 + (across - 95) ** 2 < 8**2] += 6
    field += 0.2 * rng.normal(size=field.shape)
    cv2.imwrite(str(path), (field * 10).astype(np.uint16))
    return path

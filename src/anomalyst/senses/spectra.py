"""A recording -> frames of a logarithmic spectrum: what a memory bank of sounds remembers."""

from dataclasses import dataclass

import numpy as np

from anomalyst.senses.recording import Recording

LEAST_WINDOW = 128  # samples: fewer tell too few frequencies apart
DYNAMIC_DB = 80.0  # below the loudest frame's power: what is quieter is as quiet as that


@dataclass(frozen=True, slots=True, kw_only=True)
class SpectrumConfig:
    """How a recording becomes frames."""

    window_seconds: float = 0.128  # of a slow sensor longer: LEAST_WINDOW samples
    overlap: float = 0.75  # of neighbouring windows
    bands: int = 128  # of a channel at most, even on the mel scale (which is linear below 1 kHz)


def frames_of(recording: Recording, config: SpectrumConfig | None = None) -> Recording:
    """Decibels of each band, (T', C * bands), channel after channel; the rate is that of frames.

    Bands are triangles on the mel scale (2595 log10(1 + f / 700), Stevens, Volkmann and Newman
    1937); those narrower than a line of the spectrum are left out.
    """
    config = config or SpectrumConfig()
    rate = recording.rate_hz
    size = max(LEAST_WINDOW, round(config.window_seconds * rate))
    hop = max(1, round((1 - config.overlap) * size))
    values = recording.values
    if len(values) < size:
        values = np.pad(values, ((0, size - len(values)), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(values, size, axis=0)[::hop]  # (T', C, size)
    power = np.abs(np.fft.rfft(windows * np.hanning(size), axis=2)) ** 2  # (T', C, lines)
    bank, centres = mel_bands(size // 2 + 1, rate, min(config.bands, size // 4))
    levels = 10 * np.log10(power @ bank.T + 1e-12)  # (T', C, bands)
    levels = np.maximum(levels, levels.max() - DYNAMIC_DB)
    names = [f"{_hertz(hz)}" for hz in centres]
    if len(recording.channels) > 1:
        names = [f"{channel} {name}" for channel in recording.channels for name in names]
    return Recording(
        values=levels.reshape(len(levels), -1).astype(np.float32),
        rate_hz=rate / hop,
        channels=tuple(names),
        began=recording.began,
        notes=recording.notes,
    )


def mel_bands(lines: int, rate_hz: float, bands: int) -> tuple[np.ndarray, np.ndarray]:
    """Triangles of unit sum, (bands, lines), and their centres in Hz; empty ones are left out."""
    top = 2595 * np.log10(1 + rate_hz / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, bands + 2) / 2595) - 1)
    hertz = np.linspace(0, rate_hz / 2, lines)
    rising = (hertz - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - hertz) / np.diff(edges)[1:, None]
    bank = np.clip(np.minimum(rising, falling), 0, None)
    kept = bank.sum(axis=1) > 0
    bank = bank[kept]
    return bank / bank.sum(axis=1, keepdims=True), edges[1:-1][kept]


def _hertz(value: float) -> str:
    return f"{value / 1000:.1f} kHz" if value >= 1000 else f"{value:.0f} Hz"

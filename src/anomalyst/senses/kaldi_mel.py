"""Kaldi's filter bank of a sound, as the audio spectrogram transformer and ImageBind take it.

Kaldi, compute-fbank-feats (Povey et al., ASRU 2011) with the settings of AST (Gong et al.,
Interspeech 2021, section 2): 25 ms Hann windows every 10 ms, no dither.
"""

from functools import lru_cache

import numpy as np

from anomalyst.errors import AnomalystError

RATE_HZ = 16_000
WINDOW = 400  # samples: 25 ms
SHIFT = 160  # samples: 10 ms
TRANSFORM = 512  # the window, filled up to a power of two
LOWEST_HZ = 20.0
EMPHASIS = 0.97  # of what was one sample ago is taken away
# Energies below float32's step at 1 count as that; a filter between two frequencies has none.
FLOOR = float(np.finfo(np.float32).eps)


def log_mel(samples: np.ndarray, bands: int = 128) -> np.ndarray:
    """Natural logarithm of the energy in mel bands, float32 (frames, bands).

    `samples` float (T,) at 16 kHz, in [-1, 1]; frames = 1 + (T - 400) // 160, none beyond the end.
    The mean of all samples does not count. Raises AnomalystError for less than one window.
    """
    if samples.ndim != 1 or len(samples) < WINDOW:
        raise AnomalystError(
            f"a sound of {len(samples)} samples: at least {WINDOW} (25 ms at 16 kHz) of one "
            "channel are needed."
        )
    # Centred in float32, as the reference does: where a band is all but silent, the rounding shows.
    sound = samples.astype(np.float32)
    centred = (sound - sound.mean()).astype(np.float64)
    frames = np.lib.stride_tricks.sliding_window_view(centred, WINDOW)[::SHIFT]
    frames = frames - frames.mean(axis=1, keepdims=True)
    before = np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
    windowed = (frames - EMPHASIS * before) * np.hanning(WINDOW)
    power = np.abs(np.fft.rfft(windowed, TRANSFORM)) ** 2  # (frames, 257)
    energy = power @ mel_filters(bands).T
    return np.log(np.maximum(energy, FLOOR)).astype(np.float32)


@lru_cache(maxsize=4)
def mel_filters(bands: int) -> np.ndarray:
    """Triangles that overlap by half, evenly spaced in mel from 20 Hz to 8 kHz: (bands, 257)."""
    edges = np.linspace(_mel(LOWEST_HZ), _mel(RATE_HZ / 2), bands + 2)
    lower, centre, upper = (edges[i : i + bands, None] for i in range(3))
    # The last frequency, half the rate, is in no filter.
    at = _mel(np.arange(TRANSFORM // 2) * RATE_HZ / TRANSFORM)
    rising, falling = (at - lower) / (centre - lower), (upper - at) / (upper - centre)
    filters = np.maximum(0, np.minimum(rising, falling))
    return np.pad(filters, ((0, 0), (0, 1)))


def _mel(hz: np.ndarray | float) -> np.ndarray:
    return 1127.0 * np.log1p(np.asarray(hz) / 700.0)

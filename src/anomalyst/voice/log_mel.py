"""The log-magnitude mel spectrogram that Whisper models read.

As published with the models (Radford et al. 2022, sec. 2.2), the filters are Slaney's: equal steps
up to 1 kHz, equal ratios above, each of area one; not the 2595 log10(1 + f / 700) of text books.
"""

from functools import cache

import torch
from torch import Tensor

from anomalyst.senses.audio import RATE_HZ

WINDOW = 400  # samples, 25 ms
STRIDE = 160  # samples, 10 ms
LINEAR_HZ = 1000.0  # up to here the scale is linear: 15 steps of 200 / 3 Hz (Slaney 1998)
STEP_HZ = 200.0 / 3
STEPS_TO_64 = 27  # above, so many steps from 1 to 6.4 kHz
DEPTH = 8.0  # decades below the loudest that are kept


def log_mel(waves: Tensor, channels: int = 80) -> Tensor:
    """Sound (B, S) at 16 kHz -> (B, channels, S / 160) float32, about -1 to 1.5.

    What is more than eight decades below the loudest of its own row is raised to that.
    """
    window = torch.hann_window(WINDOW, device=waves.device)
    waves = waves.float()
    spectrum = torch.stft(waves, WINDOW, STRIDE, window=window, return_complex=True)  # (B, F, T+1)
    power = spectrum[..., :-1].abs().square()
    mel = mel_filters(channels).to(waves.device).T @ power  # (B, channels, T)
    decades = mel.clamp(min=1e-10).log10()
    floor = decades.amax((1, 2), keepdim=True) - DEPTH
    return (torch.maximum(decades, floor) + 4) / 4


@cache
def mel_filters(channels: int = 80) -> Tensor:
    """How much of each frequency goes into each channel: (201, channels), triangles."""
    frequencies = torch.linspace(0, RATE_HZ / 2, WINDOW // 2 + 1, dtype=torch.float64)
    highest = _to_mel(torch.tensor(RATE_HZ / 2, dtype=torch.float64))
    steps = torch.linspace(0, float(highest), channels + 2, dtype=torch.float64)
    corners = _to_hz(steps)  # a triangle begins, peaks and ends at three that follow each other
    widths = corners.diff()
    away = corners[None] - frequencies[:, None]  # (201, channels + 2)
    rising = -away[:, :-2] / widths[:-1]
    falling = away[:, 2:] / widths[1:]
    area = (corners[2:] - corners[:-2]) / 2
    return (torch.minimum(rising, falling).clamp(min=0) / area).float()


def _to_mel(hz: Tensor) -> Tensor:
    above = LINEAR_HZ / STEP_HZ + (hz / LINEAR_HZ).log() * STEPS_TO_64 / _OCTAVES
    return torch.where(hz < LINEAR_HZ, hz / STEP_HZ, above)


def _to_hz(mel: Tensor) -> Tensor:
    above = LINEAR_HZ * ((mel - LINEAR_HZ / STEP_HZ) * _OCTAVES / STEPS_TO_64).exp()
    return torch.where(mel < LINEAR_HZ / STEP_HZ, mel * STEP_HZ, above)


_OCTAVES = float(torch.tensor(6.4, dtype=torch.float64).log())

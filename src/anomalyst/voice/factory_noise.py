"""What else a microphone on a line hears, drawn: machines, blows, other people, the room.

Training adds it and the bench measures in it. All sounds are float32 at 16 kHz; every function is
decided by the random numbers it is given.
"""

from collections.abc import Callable, Sequence

import numpy as np
from scipy.signal import fftconvolve

from anomalyst.senses.audio import RATE_HZ

Draw = Callable[[int, np.random.Generator], np.ndarray]
RATIOS_DB = (20, 10, 5)  # speech above noise, at which figures are given


def drawn_noise(
    samples: int, rng: np.random.Generator, voices: Sequence[np.ndarray] = ()
) -> np.ndarray:
    """Noise of one or two kinds (S,), of unit power; `voices`: sounds that babble is made of."""
    kinds: list[Draw] = [_hum, _fan, _blows, _compressor]
    if len(voices):
        kinds.append(lambda n, r: _babble(n, r, voices))
    found = np.zeros(samples, np.float32)
    for at in rng.permutation(len(kinds))[: 1 + int(rng.integers(2))]:
        found += np.float32(rng.uniform(0.4, 1)) * _unit(kinds[at](samples, rng))
    return _unit(found)


def with_noise(speech: np.ndarray, noise: np.ndarray, ratio_db: float) -> np.ndarray:
    """Speech (S,) under noise (S,) of unit power that lies `ratio_db` below it.

    The power of speech is that of its louder parts: silence before and after does not count.
    """
    return speech + noise * np.sqrt(speech_power(speech) / 10 ** (ratio_db / 10))


def speech_power(speech: np.ndarray) -> np.float32:
    """Mean power of the frames (20 ms) that are less than 30 dB below the loudest."""
    step = RATE_HZ // 50
    frames = speech[: len(speech) // step * step].reshape(-1, step)
    power = np.square(frames).mean(1)
    return np.float32(power[power >= power.max() * 1e-3].mean() + 1e-12)


def in_a_room(speech: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Speech with the echo of a room of 0.1 to 0.5 s, of the same length and power."""
    seconds = rng.uniform(0.1, 0.5)  # until it is 60 dB down
    times = np.arange(int(seconds * RATE_HZ), dtype=np.float32) / RATE_HZ
    tail = rng.standard_normal(len(times), np.float32) * np.exp(-6.9 * times / seconds)
    echo = fftconvolve(speech, tail)[: len(speech)].astype(np.float32)
    wet = speech + np.float32(rng.uniform(0.1, 0.7)) * _unit(echo) * np.sqrt(
        np.square(speech).mean()
    )
    return wet * np.sqrt(np.square(speech).mean() / (np.square(wet).mean() + 1e-12))


def _hum(samples: int, rng: np.random.Generator) -> np.ndarray:
    """Mains and motors: a low tone with many harmonics, slowly swaying."""
    times = np.arange(samples, dtype=np.float32) / RATE_HZ
    first = rng.choice([50.0, 60.0, 100.0, 120.0, rng.uniform(80, 400)])
    found = np.zeros(samples, np.float32)
    for number in range(1, int(rng.integers(4, 12))):
        tone = np.sin(2 * np.pi * (first * number * times + rng.random()), dtype=np.float32)
        found += tone * np.float32(rng.uniform(0.2, 1) / number ** rng.uniform(0.5, 1.5))
    return found * (1 + 0.3 * np.sin(2 * np.pi * rng.uniform(0.2, 4) * times, dtype=np.float32))


def _fan(samples: int, rng: np.random.Generator) -> np.ndarray:
    """Air: noise whose power falls with frequency, with no, little or much of a slope."""
    return _coloured(samples, rng, rng.uniform(0, 2))


def _blows(samples: int, rng: np.random.Generator) -> np.ndarray:
    """Hammers, dropped parts: tones that die away, one to four in a second, over faint noise."""
    found = 0.02 * _coloured(samples, rng, 1)
    for _ in range(1 + rng.poisson(samples / RATE_HZ * rng.uniform(1, 4))):
        at = int(rng.integers(samples))
        length = min(samples - at, int(rng.uniform(0.03, 0.4) * RATE_HZ))
        times = np.arange(length, dtype=np.float32) / RATE_HZ
        ring = sum(np.sin(2 * np.pi * f * times) for f in rng.uniform(300, 5000, 4))
        burst = (ring + rng.standard_normal(length)) * np.exp(-times * rng.uniform(15, 80))
        found[at : at + length] += (burst * rng.uniform(0.3, 1)).astype(np.float32)
    return found


def _compressor(samples: int, rng: np.random.Generator) -> np.ndarray:
    """Pumps and valves: noise that beats 4 to 30 times a second."""
    times = np.arange(samples, dtype=np.float32) / RATE_HZ
    beat = np.sin(2 * np.pi * (rng.uniform(4, 30) * times + rng.random()), dtype=np.float32)
    return _coloured(samples, rng, rng.uniform(0.5, 1.5)) * np.exp(rng.uniform(0.5, 2) * beat)


def _babble(samples: int, rng: np.random.Generator, voices: Sequence[np.ndarray]) -> np.ndarray:
    """Two to five others who talk at once."""
    found = np.zeros(samples, np.float32)
    for _ in range(int(rng.integers(2, 6))):
        voice = _unit(voices[int(rng.integers(len(voices)))].astype(np.float32))
        turned = np.resize(np.roll(voice, int(rng.integers(len(voice)))), samples)
        found += turned * np.float32(rng.uniform(0.3, 1))
    return found


def _coloured(samples: int, rng: np.random.Generator, slope: float) -> np.ndarray:
    """Noise whose power falls as frequency to the `slope`, of unit power."""
    spectrum = np.fft.rfft(rng.standard_normal(samples, np.float32))
    spectrum *= np.maximum(np.arange(len(spectrum)), 20 * samples / RATE_HZ) ** (-slope / 2)
    return _unit(np.fft.irfft(spectrum, samples).astype(np.float32))


def _unit(sound: np.ndarray) -> np.ndarray:
    return sound / np.sqrt(np.square(sound).mean() + np.float32(1e-12))

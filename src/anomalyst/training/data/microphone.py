"""What happens to a spoken question on its way to the microphone."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from anomalyst.senses.audio import RATE_HZ
from anomalyst.voice.factory_noise import drawn_noise, in_a_room, with_noise

NOISE_SECONDS = 6
VOICES = 64  # of which babble is made


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomConfig:
    """What happens to an utterance on its way to the microphone."""

    clean: float = 0.2  # share without any noise
    ratio_db: tuple[float, float] = (2.0, 25.0)  # speech above noise, drawn evenly
    room: float = 0.3  # share with an echo
    stretch: float = 0.1  # played faster or slower by up to this share; pitch goes with it
    silence_seconds: float = 0.3  # before and after, up to this
    level_db: tuple[float, float] = (-30.0, -1.0)  # of the loudest sample, under full scale

    def softened(self, share: float) -> Self:
        """So much of it, up to all: what a network hears before it knows any word."""
        share = min(1.0, share)
        return replace(
            self,
            clean=1 - (1 - self.clean) * share,
            room=self.room * share,
            stretch=self.stretch * share,
        )


def as_heard(
    wave: np.ndarray, room: RoomConfig, rng: np.random.Generator, noises: list[np.ndarray]
) -> np.ndarray:
    """A spoken wave int16 (S,) as a microphone takes it, float32 of about the same length."""
    speed = 1 + rng.uniform(-room.stretch, room.stretch)
    places = np.arange(0, len(wave) - 1, speed)
    sound = np.interp(places, np.arange(len(wave)), wave).astype(np.float32) / 32768
    quiet_ends = (rng.uniform(0, room.silence_seconds, 2) * RATE_HZ).astype(int)
    sound = np.pad(sound, tuple(quiet_ends))
    if rng.random() < room.room:
        sound = in_a_room(sound, rng)
    if rng.random() >= room.clean:
        noise = noises[int(rng.integers(len(noises)))]
        noise = np.resize(np.roll(noise, int(rng.integers(len(noise)))), len(sound))
        sound = with_noise(sound, noise, rng.uniform(*room.ratio_db))
    level = 10 ** (rng.uniform(*room.level_db) / 20)
    return (sound * (level / (np.abs(sound).max() + 1e-9))).astype(np.float32)


def drawn_noises(
    rng: np.random.Generator, waves: Sequence[np.ndarray], count: int
) -> list[np.ndarray]:
    """Pieces of factory noise, each float32 of unit power; `waves` babble in some.

    Every utterance gets a stretch of one of them.
    """
    voices = [waves[int(i)] for i in rng.integers(len(waves), size=VOICES)]
    return [drawn_noise(NOISE_SECONDS * RATE_HZ, rng, voices) for _ in range(count)]

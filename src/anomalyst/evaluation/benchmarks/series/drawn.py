"""Signals we draw, good and faulty: what constants are chosen on before real data are looked at."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter

FAULTS = ("spike", "shift", "drift", "noise", "tone", "stuck", "decoupled", "rhythm")
LENGTH = 600  # samples of a drawn recording
GOOD = 2  # good recordings a product is taught with


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnCase:
    """A machine: good recordings to learn from, more of them, and a faulty one."""

    good: tuple[np.ndarray, ...]  # float32 (T, C)
    more: np.ndarray  # another good one
    faulty: np.ndarray
    wrong: np.ndarray  # bool (T,): where the fault is
    fault: str


def draw_cases(count: int, *, seed: int = 0, first: int = 0) -> Iterator[DrawnCase]:
    """Cases from number `first` on, faults in turn; the same seed and number draw the same."""
    for number in range(first, first + count):
        yield _case(np.random.default_rng((seed, number)), FAULTS[number % len(FAULTS)])


def _case(rng: np.random.Generator, fault: str) -> DrawnCase:
    machine = _Machine.drawn(rng)
    *good, more, whole = (machine.run(rng) for _ in range(GOOD + 2))
    faulty, wrong = _with_fault(machine, whole, fault, rng)
    return DrawnCase(
        good=tuple(one.astype(np.float32) for one in good),
        more=more.astype(np.float32),
        faulty=faulty.astype(np.float32),
        wrong=wrong,
        fault=fault,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Machine:
    """Hidden rhythms and slow noise, mixed into channels with noise of their own."""

    mixing: np.ndarray  # (H, C)
    periods: np.ndarray  # (H,) samples; 0: slow noise instead of a rhythm
    memory: np.ndarray  # (H,) of that noise
    own: np.ndarray  # (C,) spread of each channel's own noise
    own_memory: np.ndarray  # (C,)
    level: np.ndarray  # (C,)
    unit: np.ndarray  # (C,)

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> "_Machine":
        hidden, channels = int(rng.integers(1, 4)), int(rng.integers(1, 9))
        rhythm = rng.random(hidden) < 0.6
        return cls(
            mixing=rng.normal(size=(hidden, channels)) * (rng.random((hidden, channels)) < 0.7),
            periods=np.where(rhythm, np.exp(rng.uniform(np.log(8), np.log(120), hidden)), 0),
            memory=rng.uniform(0.5, 0.98, hidden),
            own=np.exp(rng.uniform(np.log(0.05), np.log(1.0), channels)),
            own_memory=rng.uniform(0, 0.8, channels),
            level=rng.normal(size=channels) * 10,
            unit=np.exp(rng.normal(size=channels) * 2),
        )

    def run(self, rng: np.random.Generator) -> np.ndarray:
        """A good recording, float64 (T, C)."""
        hidden = np.stack(
            [
                np.sqrt(2) * np.sin(2 * np.pi * (np.arange(LENGTH) / period + rng.random()))
                if period
                else _slow(rng, memory)
                for period, memory in zip(self.periods, self.memory, strict=True)
            ],
            axis=1,
        )
        noise = np.stack([_slow(rng, memory) for memory in self.own_memory], axis=1)
        return self.level + self.unit * (hidden @ self.mixing + self.own * noise)


def _slow(rng: np.random.Generator, memory: float) -> np.ndarray:
    """First-order autoregressive noise of spread 1, (T,)."""
    made = lfilter([np.sqrt(1 - memory**2)], [1, -memory], rng.normal(size=LENGTH + 200))
    return made[200:]


def _with_fault(
    machine: _Machine, good: np.ndarray, fault: str, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A good recording with one fault somewhere, and where."""
    long = 3 if fault == "spike" else int(rng.integers(40, 160))
    first = int(rng.integers(100, LENGTH - long))
    part = slice(first, first + long)
    channel = int(rng.integers(good.shape[1]))
    spread = good.std(axis=0)[channel]
    size = rng.uniform(1.0, 3.0) * rng.choice([-1, 1])
    faulty, time = good.copy(), np.arange(long)
    own = faulty[part, channel]
    if fault == "spike":
        own += 2 * size * spread
    elif fault == "shift":
        own += size * spread
    elif fault == "drift":
        own += 1.5 * size * spread * time / long
    elif fault == "noise":
        own += abs(size) * spread * rng.normal(size=long)
    elif fault == "tone":
        own += abs(size) * 0.7 * spread * np.sin(2 * np.pi * time / rng.uniform(3, 8))
    elif fault == "stuck":
        own[:] = own[0]
    else:
        other = machine.run(rng)[part, channel]
        # Another time of the same channel, or its own at another speed: each value by itself is
        # usual, what is wrong is what it goes with.
        own[:] = other if fault == "decoupled" else _faster(good[:, channel], first, long, rng)
    wrong = np.zeros(LENGTH, bool)
    wrong[part] = True
    return faulty, wrong


def _faster(column: np.ndarray, first: int, long: int, rng: np.random.Generator) -> np.ndarray:
    speed = rng.uniform(1.4, 2.5) * rng.choice([1.0, -1.0])
    at = np.clip(first + speed * np.arange(long), 0, len(column) - 1)
    return np.interp(at, np.arange(len(column)), column)

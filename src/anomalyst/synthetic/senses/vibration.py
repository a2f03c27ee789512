"""What an inertial unit on the machine feels: acceleration and rotation, 5 s at 400 Hz."""

import numpy as np

from anomalyst.synthetic.senses.machine import Running, strikes, times, turns
from anomalyst.synthetic.senses.sound import OUTER_RACE

RATE_HZ = 400
SECONDS = 5
COUNT = RATE_HZ * SECONDS
CHANNELS = ("ax", "ay", "az", "gx", "gy", "gz")  # m/s2 along x, y, z; degrees a second around them
GRAVITY = 9.81  # m/s2, on az
MOUNT_DAMPING = 0.05


def vibration_of(run: Running) -> np.ndarray:
    """Six channels of the same machine, float32 (2000, 6): `CHANNELS`.

    Whole orders turn in the plane x, y; impacts shake the mount along z; the case rolls with them.
    """
    rng = np.random.default_rng((run.seed, 2))
    turn = turns(run, COUNT, RATE_HZ, rng.random())
    angle = 2 * np.pi * turn
    first = 0.4 * (1 + run.effect("imbalance"))
    loose, rubbing = run.effect("looseness"), run.effect("rubbing")
    values = np.zeros((COUNT, 6))
    values[:, 0] = first * np.cos(angle) + 0.15 * np.cos(2 * angle + 0.4)
    values[:, 1] = first * np.sin(angle) + 0.1 * np.sin(2 * angle)
    for order, level in ((0.5, 0.5), (1.5, 0.4), (2.5, 0.25), (3.0, 0.2)):
        if loose:
            shaken = level * loose * np.cos(order * angle + rng.uniform(0, 6.28))
            values[:, 0] += 0.5 * shaken
            values[:, 2] += shaken
    values[:, 2] += GRAVITY + _shaken(run, turn, rng)
    around = 1 + 0.2 * run.effect("imbalance")
    values[:, 3] = 0.5 * np.sin(angle) * around + 0.8 * loose * np.sin(0.5 * angle)
    values[:, 4] = 0.5 * np.cos(angle) * around
    values[:, 5] = 0.3 * np.cos(2 * angle) + 0.05 * (values[:, 2] - GRAVITY)
    if rubbing:
        scraped = rng.standard_normal((COUNT, 6)) * (0.5 + 0.5 * np.cos(angle))[:, None]
        values += scraped * rubbing * (0.6, 0.6, 0.3, 1.2, 1.2, 0.8)
    flow = 0.05 + 0.12 * run.machine.kind.flow
    values += rng.standard_normal((COUNT, 6)) * flow
    return values.astype(np.float32)


def _shaken(run: Running, turn: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The mount's mode under strikes, float64 (T,); a crack makes it softer, dirt dampens it."""
    hits = np.zeros(COUNT)
    kind = run.machine.kind
    # One sample is 2.5 ms: what strikes more often than the sensor can tell adds up.
    events = [(kind.strikes, 1.2, 0.0), (1.0, 2.6 * run.effect("knocks"), 0.3)]
    events.append((OUTER_RACE * kind.balls, 1.3 * run.effect("bursts"), 0.0))
    for per_turn, level, offset in events:
        if per_turn and level and per_turn * run.shaft_hz < RATE_HZ:
            at = strikes(turn, per_turn, offset)
            hits[at] += level * (1 + 0.15 * rng.standard_normal(len(at)))
    hits += 0.12 * rng.standard_normal(COUNT)
    stiffness = run.modes_hz[0] / run.machine.modes_hz[0] if run.modes_hz else 1.0
    damping = MOUNT_DAMPING * run.damping / run.machine.damping
    t = times(COUNT // 4, RATE_HZ)
    rate = 2 * np.pi * min(run.machine.mount_hz * stiffness, 0.45 * RATE_HZ)
    answer = np.exp(-damping * rate * t) * np.sin(rate * t)
    found: np.ndarray = np.convolve(hits, answer)[:COUNT] * (1 - 0.5 * run.effect("muffling"))
    return found

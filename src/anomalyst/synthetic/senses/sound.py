"""What a microphone hears of the machine: 2 s at 16 kHz, by simple physics.

Orders of the shaft, gear mesh with sidebands, blades, impacts that ring the part's modes, flow
noise; and each condition's own signs (conditions.py).
"""

import numpy as np

from anomalyst.synthetic.sampling import Rng
from anomalyst.synthetic.senses.machine import Running, strikes, times, turns

RATE_HZ = 16_000
SECONDS = 2
COUNT = RATE_HZ * SECONDS
TRANSFORM = 2 * COUNT  # room for what still rings at the end
OUTER_RACE = 0.4  # of a ball's passes a turn (Randall 2011, eq. 2.13, usual geometry)
BROADBAND = 0.02  # of the room and the microphone


def sound_of(run: Running) -> np.ndarray:
    """Sound pressure of a machine at work, float32 (32000,) in [-1, 1]."""
    rng = np.random.default_rng((run.seed, 1))
    turn = turns(run, COUNT, RATE_HZ, rng.random())
    heard = _orders(run, turn, rng) + _gear(run, turn) + _rung(run, turn, rng)
    heard += _noise(run, turn, rng)
    gain = 0.22 * 10 ** (rng.uniform(-1, 1) / 20)
    return np.clip(heard * gain, -1, 1).astype(np.float32)


def impulses(run: Running, turn: np.ndarray, rng: Rng) -> np.ndarray:
    """What hits the part, float64 (T,): normal strikes, a chipped tooth, a damaged bearing."""
    hits = np.zeros(len(turn))
    kind = run.machine.kind
    if kind.strikes:
        at = strikes(turn, kind.strikes)
        hits[at] += 1 + 0.1 * rng.standard_normal(len(at))
    if knocks := run.effect("knocks"):
        hits[strikes(turn, 1.0, 0.3)] += 1.6 * knocks
    if bursts := run.effect("bursts"):
        at = strikes(turn, OUTER_RACE * kind.balls)
        # The load turns with the shaft, and balls slip: no two bursts are alike.
        load = 0.55 + 0.45 * np.cos(2 * np.pi * turn[at])
        hits[at] += 0.9 * bursts * load * (1 + 0.2 * rng.standard_normal(len(at)))
    return hits


def _orders(run: Running, turn: np.ndarray, rng: Rng) -> np.ndarray:
    """Whole orders of the shaft, and halves where something is loose."""
    loose = run.effect("looseness")
    levels = {1.0: 0.25 * (1 + run.effect("imbalance")), 2.0: 0.1 + 0.25 * loose, 3.0: 0.05}
    if loose:
        more = {0.5: 0.4, 1.5: 0.3, 2.5: 0.22, 3.0: 0.2, 3.5: 0.15, 4.0: 0.12}
        levels |= {order: levels.get(order, 0.0) + level * loose for order, level in more.items()}
    if run.machine.kind.blades:
        levels[float(run.machine.kind.blades)] = 0.35
    return _summed(turn, levels, rng)


def _summed(turn: np.ndarray, levels: dict[float, float], rng: Rng) -> np.ndarray:
    total = np.zeros(len(turn))
    for order, level in levels.items():
        total += level * np.cos(2 * np.pi * (order * turn + rng.random()))
    return total


def _gear(run: Running, turn: np.ndarray) -> np.ndarray | float:
    """Mesh tone and its double, modulated by the shaft: sidebands one order to each side."""
    teeth = run.machine.teeth
    if not teeth or teeth * run.shaft_hz > RATE_HZ / 5:
        return 0.0
    depth = 0.25 + 0.4 * run.effect("knocks") + 0.3 * run.effect("imbalance") / 2.5
    around = 1 + depth * np.cos(2 * np.pi * turn)
    mesh = 2 * np.pi * teeth * turn
    tones: np.ndarray = around * (0.3 * np.cos(mesh) + 0.12 * np.cos(2 * mesh + 0.7))
    return tones


def _rung(run: Running, turn: np.ndarray, rng: Rng) -> np.ndarray:
    """The part's modes, struck by impulses and always a little by everything else."""
    excited = impulses(run, turn, rng) + 0.03 * rng.standard_normal(len(turn))
    spectrum = np.fft.rfft(excited, TRANSFORM) * np.fft.rfft(ring(run), TRANSFORM)
    found: np.ndarray = np.fft.irfft(spectrum, TRANSFORM)[: len(turn)]
    return found


def ring(run: Running) -> np.ndarray:
    """How the part answers one impact, float64 (T,): damped modes, the high ones softer."""
    t = times(COUNT, RATE_HZ)
    answer = np.zeros(COUNT)
    for number, frequency in enumerate(run.modes_hz):
        rate = 2 * np.pi * frequency
        last = min(COUNT, int(RATE_HZ * 9 / (rate * run.damping)) + 1)  # then less than e^-9
        answer[:last] += (
            np.exp(-run.damping * rate * t[:last]) * np.sin(rate * t[:last]) / (1 + 0.5 * number)
        )
    if muffling := run.effect("muffling"):
        answer = answer * (1 - 0.6 * muffling)
    return answer


def _noise(run: Running, turn: np.ndarray, rng: Rng) -> np.ndarray:
    """Flow around the machine and friction, each white noise in its own band."""
    frequency = np.fft.rfftfreq(COUNT, 1 / RATE_HZ)
    kind = run.machine.kind
    white = np.fft.rfft(rng.standard_normal(COUNT))
    flow = kind.flow * 1.2 * _band(frequency, kind.flow_hz, 0.7) + BROADBAND
    if muffling := run.effect("muffling"):
        flow = flow * (1 - muffling * (frequency > 1000))
    found = np.fft.irfft(white * flow, COUNT)
    if rubbing := run.effect("rubbing"):
        scraped = np.fft.rfft(rng.standard_normal(COUNT)) * _band(frequency, 3200, 0.35)
        pressed = 0.5 + 0.5 * np.cos(2 * np.pi * turn)
        found += 1.6 * rubbing * pressed * np.fft.irfft(scraped, COUNT)
    return np.asarray(found)


def _band(frequency: np.ndarray, centre_hz: float, octaves: float) -> np.ndarray:
    """A bell on the logarithmic axis: 1 at its centre."""
    apart = np.log2(np.maximum(frequency, 1.0) / centre_hz) / octaves
    return np.asarray(np.exp(-0.5 * apart**2))

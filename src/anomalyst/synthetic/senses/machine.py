"""The machine that a product is part of or made on, as its picture decides it.

Material and machine follow from the family, the speed from the product's size, the teeth from its
parts, the natural frequencies from material, size and outline: what is seen can be heard.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np

from anomalyst.synthetic.procedural.product import ProductSpec
from anomalyst.synthetic.sampling import Rng
from anomalyst.synthetic.senses.conditions import EFFECTS, Condition, Effects

VIEW_MM = 100.0  # what the side of every picture shows
HIGHEST_HZ = 7_500.0  # of the modes that are heard


@dataclass(frozen=True, slots=True)
class Stuff:
    """A material as it rings and conducts."""

    lowest_hz: float  # mode of a part of 70 mm
    damping: float  # share of critical
    spread_px: float  # how far heat spreads, at 160 px
    rings: str  # how it sounds, in a word


@dataclass(frozen=True, slots=True)
class MachineKind:
    """A kind of machine."""

    shaft_hz: tuple[float, float]  # of the largest and of the smallest product
    teeth: int  # of its gear, to which the product's parts add; 0: no gear
    blades: int  # passes a turn of what moves air; 0: none
    strikes: int  # impacts a turn in normal work
    flow: float  # share of broadband noise
    flow_hz: float  # its centre
    balls: int = 8  # of its bearing


STUFFS = {
    "metal": Stuff(1500, 0.004, 7.0, "bright"),
    "glass": Stuff(1900, 0.006, 3.5, "clear"),
    "stone": Stuff(1150, 0.012, 3.0, "hard"),
    "wood": Stuff(700, 0.020, 2.0, "hollow"),
    "plastic": Stuff(560, 0.030, 2.0, "flat"),
    "board": Stuff(820, 0.022, 3.0, "dry"),
    "rubber": Stuff(170, 0.110, 1.5, "dull"),
    "fabric": Stuff(240, 0.140, 1.5, "soft"),
    "paper": Stuff(390, 0.090, 1.2, "rustling"),
    "food": Stuff(480, 0.070, 1.8, "crumbling"),
}
MACHINES = {
    "loom": MachineKind((6, 10), 0, 0, 4, 0.15, 1200),
    "roller": MachineKind((11, 19), 0, 0, 0, 0.6, 2600),
    "press": MachineKind((2.5, 5), 17, 0, 1, 0.1, 700),
    "saw": MachineKind((44, 70), 0, 3, 0, 0.5, 4800),
    "lathe": MachineKind((20, 34), 29, 0, 0, 0.25, 3600),
    "screwdriver": MachineKind((13, 22), 11, 0, 2, 0.1, 1800),
    "drill": MachineKind((55, 90), 0, 2, 0, 0.4, 5600),
    "fan": MachineKind((24, 40), 0, 7, 0, 0.8, 900),
    "gearbox": MachineKind((15, 28), 19, 0, 0, 0.1, 1500),
    "filler": MachineKind((4, 7), 0, 0, 3, 0.5, 6200),
    "conveyor": MachineKind((3, 6), 13, 0, 0, 0.3, 500),
    "winder": MachineKind((30, 52), 0, 0, 0, 0.35, 2000),
    "pump": MachineKind((22, 38), 0, 5, 0, 0.45, 400),
}
WORKED_BY = {  # family -> material, machine; no two families have the same pair
    "textile": ("fabric", "loom"), "paper": ("paper", "roller"), "leather": ("fabric", "press"),
    "wood": ("wood", "saw"), "stone": ("stone", "saw"), "metal sheet": ("metal", "roller"),
    "tiles": ("stone", "press"), "ridges": ("metal", "lathe"), "bare board": ("board", "drill"),
    "circuit module": ("board", "fan"), "machined part": ("metal", "gearbox"),
    "screw": ("metal", "screwdriver"), "moulded figure": ("plastic", "press"),
    "casting": ("metal", "press"), "bottle": ("glass", "filler"), "cap": ("plastic", "filler"),
    "pill": ("food", "press"), "tray": ("plastic", "conveyor"), "biscuit": ("food", "conveyor"),
    "loose goods": ("food", "filler"), "label": ("paper", "winder"), "cable": ("plastic", "winder"),
    "zipper": ("metal", "loom"), "brush": ("plastic", "loom"), "seal": ("rubber", "pump"),
    "cell panel": ("glass", "fan"), "lens": ("glass", "lathe"),
}  # fmt: skip
METAL_LOOKS = frozenset({"brushed", "thread", "ridges", "grain", "stripes", "band"})
STONE_LOOKS = frozenset({"terrazzo", "crackle", "cells", "pebbles", "spots", "speckle", "cloud"})
SOFT_LOOKS = frozenset({"weave", "twill", "fibres", "mesh"})
# Ratios of natural frequencies: a free disc, a free plate, a free beam, anything else.
PLATE = (1.0, 1.73, 2.33, 3.91, 4.11, 6.30)  # Leissa 1969, free circular plate, Poisson 0.33
SQUARE = (1.0, 1.46, 1.81, 2.58, 4.53, 4.97)  # Leissa 1969, free square plate, Poisson 0.3
BEAM = (1.0, 2.757, 5.404, 8.933)  # Euler and Bernoulli, both ends free
LUMP = (1.0, 1.32, 1.9, 2.21, 2.95, 3.4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What all instances of a product share, whether sound or not."""

    name: str
    stuff: str
    kind: MachineKind
    shaft_hz: float
    teeth: int
    modes_hz: tuple[float, ...]
    damping: float
    mount_hz: float  # on which the whole machine stands and shakes


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """The machine with one instance of the product in one condition."""

    machine: Machine
    condition: Condition
    severity: float  # 0 sound .. 1
    shaft_hz: float
    modes_hz: tuple[float, ...]
    damping: float
    seed: int

    def effect(self, name: str) -> float:
        """What the condition does here, e.g. `imbalance`: the table's figure by the severity."""
        return float(getattr(EFFECTS[self.condition], name)) * self.severity


def machine_of(spec: ProductSpec) -> Machine:
    """The machine of a product: the same product, the same machine."""
    stuff_name, name = _worked_by(spec)
    stuff, kind = STUFFS[stuff_name], MACHINES[name]
    body_mm = VIEW_MM * (2 * spec.body_half if spec.body is not None else 0.95)
    small = float(np.clip((95 - body_mm) / 45, 0, 1))
    low, high = kind.shaft_hz
    # Parts are mass that does not stiffen.
    mass = sum(min(part.half_size, 1.0) ** 2 for part in spec.parts if not part.text)
    lowest = stuff.lowest_hz * 70 / body_mm / (1 + min(mass, 3.0) * 0.25) ** 0.5
    modes = [lowest * ratio for ratio in _ratios(spec)]
    return Machine(
        name=name,
        stuff=stuff_name,
        kind=kind,
        shaft_hz=low * (high / low) ** small,
        teeth=kind.teeth + min(len(spec.parts), 24) if kind.teeth else 0,
        modes_hz=tuple(f for f in modes if f < HIGHEST_HZ),
        damping=stuff.damping,
        mount_hz=30.0 + 60.0 * small + 0.02 * stuff.lowest_hz,
    )


def running(machine: Machine, condition: Condition, severity: float, rng: Rng) -> Running:
    """One instance at work: its speed and stiffness vary a little from part to part."""
    assert (condition == "sound") == (severity == 0)
    effects: Effects = EFFECTS[condition]
    own = 1 + 0.006 * rng.standard_normal()
    stiff = own * (1 + effects.modes * severity)
    return Running(
        machine=machine,
        condition=condition,
        severity=severity,
        shaft_hz=machine.shaft_hz * (1 + 0.01 * rng.uniform(-1, 1)),
        modes_hz=tuple(f * stiff for f in machine.modes_hz),
        damping=machine.damping
        * (1 + effects.damping * severity)
        * (1 + 0.05 * rng.uniform(-1, 1)),
        seed=int(rng.integers(1 << 62)),
    )


@cache
def times(count: int, rate_hz: int) -> np.ndarray:
    """Seconds of each sample, float64 (count,)."""
    found = np.arange(count) / rate_hz
    found.setflags(write=False)
    return found


def turns(run: Running, count: int, rate_hz: int, phase: float) -> np.ndarray:
    """Shaft turns up to each sample, float64 (count,): the speed swings slowly by 0.3 %."""
    t = times(count, rate_hz)
    swing = 0.003 * run.shaft_hz * np.sin(2 * np.pi * 0.7 * t + phase) / (2 * np.pi * 0.7)
    return run.shaft_hz * t + swing + phase


def strikes(turn: np.ndarray, per_turn: float, offset: float = 0.0) -> np.ndarray:
    """Samples (N,) at which an event happens that recurs `per_turn` times a turn."""
    passed = np.floor(turn * per_turn + offset)
    return np.flatnonzero(np.diff(passed) > 0) + 1


def _worked_by(spec: ProductSpec) -> tuple[str, str]:
    if spec.family in WORKED_BY:
        return WORKED_BY[spec.family]
    # Anything of anything: what it looks like decides.
    look = (spec.body_material or spec.background).look
    stuff = "plastic"
    for name, looks in (("metal", METAL_LOOKS), ("stone", STONE_LOOKS), ("fabric", SOFT_LOOKS)):
        if look in looks:
            stuff = name
    if look == "wood":
        stuff = "wood"
    return stuff, "screwdriver" if spec.family == "assembly" else "roller"


def _ratios(spec: ProductSpec) -> tuple[float, ...]:
    if spec.body is None:
        return SQUARE
    extent = np.ptp(spec.body.outer, axis=0) * (1.0, spec.body_aspect)
    if max(extent) > 2 * min(extent):
        return BEAM
    if spec.body.name in ("disc", "ring", "gear", "polygon"):
        return PLATE
    return SQUARE if spec.body.name == "rectangle" else LUMP

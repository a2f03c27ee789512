"""What a visible fault does to the machine: the physics that ties the senses to the picture.

Signs as machine diagnosis knows them (Randall 2011, Vibration-based Condition Monitoring, ch. 2):
imbalance raises the first order, looseness brings orders of one half, a broken tooth strikes once
a turn, a damaged bearing in bursts; a crack softens (lower modes) and rubs inside (more damping).
"""

from dataclasses import dataclass
from typing import Literal, get_args

Condition = Literal[
    "sound", "cracked", "worn", "loose", "broken", "deformed", "foreign", "contaminated"
]
CONDITIONS: tuple[Condition, ...] = get_args(Condition)


@dataclass(frozen=True, slots=True, kw_only=True)
class Effects:
    """What a condition does at full severity; each figure is scaled by how severe the fault is."""

    modes: float = 0.0  # share by which natural frequencies change
    damping: float = 0.0  # by how many times damping grows
    imbalance: float = 0.0  # first order, in the amplitude of a sound machine's
    looseness: float = 0.0  # orders 1/2, 3/2, ... and 2, 3, ...; in the same unit
    knocks: float = 0.0  # one strike a turn, in those of the sound machine
    bursts: float = 0.0  # strikes of the bearing's outer race, modulated by the shaft
    rubbing: float = 0.0  # friction noise, modulated by the shaft
    muffling: float = 0.0  # share of what is above 1 kHz that is lost
    fault_c: float = 0.0  # on the fault itself, degrees
    around_c: float = 0.0  # around it, degrees
    contact_c: float = 0.0  # where the part rubs in its machine, degrees


EFFECTS: dict[Condition, Effects] = {
    "sound": Effects(),
    "cracked": Effects(modes=-0.22, damping=2.5, fault_c=7.0),
    "worn": Effects(rubbing=1.0, damping=0.3, around_c=3.0, contact_c=4.0),
    "loose": Effects(looseness=1.0, modes=-0.04, fault_c=-5.0, contact_c=1.0),
    "broken": Effects(knocks=1.0, imbalance=0.5, modes=0.08, fault_c=-4.0),
    "deformed": Effects(imbalance=2.5, around_c=5.0, contact_c=3.0),
    "foreign": Effects(bursts=1.0, fault_c=-3.0, around_c=-1.0),
    "contaminated": Effects(muffling=0.8, damping=1.2, around_c=-4.0),
}

# Every kind of the drawn world: defects of surface and shape, faults of the layout.
CONDITION_OF: dict[str, Condition] = {
    "crack": "cracked", "cut": "cracked", "fracture": "cracked",
    "scratch": "worn", "smear": "worn", "wrong texture": "worn",
    "missing part": "loose", "misplaced part": "loose", "swapped parts": "loose",
    "wrong size": "loose",
    "hole": "broken", "chip": "broken", "broken off": "broken", "broken part": "broken",
    "edge fault": "broken",
    "dent": "deformed", "fold": "deformed", "bend": "deformed", "bent part": "deformed",
    "particles": "foreign", "fibre": "foreign", "foreign body": "foreign", "extra part": "foreign",
    "stain": "contaminated", "discolouration": "contaminated", "wrong colour": "contaminated",
    "wrong print": "contaminated",
}  # fmt: skip

# How far a fault stands above the surface (below: less than 0), mm; smooth ones swell and sink.
STANDS_MM = {
    "scratch": -0.3, "crack": -1.2, "cut": -1.0, "fracture": -4.0, "hole": -5.0, "chip": -2.5,
    "broken off": -6.0, "edge fault": -1.5, "particles": 1.0, "fibre": 0.5, "foreign body": 3.0,
    "wrong texture": 0.2, "smear": 0.1, "stain": 0.0, "discolouration": 0.0,
}  # fmt: skip
SWELLS_MM = {"dent": -2.5, "fold": 2.0, "bend": 1.5}


def kinds_of(condition: Condition, *, layout: bool, surface: frozenset[str]) -> list[str]:
    """The world's kinds of a condition: `surface` ones, and those of the layout if it has parts."""
    kinds = [kind for kind, found in CONDITION_OF.items() if found == condition]
    return [kind for kind in kinds if layout or kind in surface]

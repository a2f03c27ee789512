"""Product families: programs that draw a random product layout."""

from collections.abc import Callable, Sequence

import numpy as np

from anomalyst.errors import AnomalystError
from anomalyst.synthetic.procedural.families.assemblies import assembly
from anomalyst.synthetic.procedural.families.boards import BOARDS
from anomalyst.synthetic.procedural.families.mechanical import MECHANICAL
from anomalyst.synthetic.procedural.families.packaging import PACKAGING
from anomalyst.synthetic.procedural.families.soft import SOFT
from anomalyst.synthetic.procedural.families.surfaces import SURFACES
from anomalyst.synthetic.procedural.product import ProductSpec

_BY_NAME: dict[str, Callable[[np.random.Generator], ProductSpec]] = {
    **SURFACES,
    "assembly": assembly,
    **BOARDS,
    **MECHANICAL,
    **PACKAGING,
    **SOFT,
}
# The order is part of the world: a seed means another product when it changes.
_ORDER = (
    "surface", "textile", "paper", "leather", "wood", "stone", "metal sheet", "tiles", "ridges",
    "assembly", "bare board", "circuit module", "machined part", "screw", "moulded figure",
    "casting", "bottle", "cap", "pill", "tray", "biscuit", "loose goods", "label", "cable",
    "zipper", "brush", "seal", "cell panel", "lens",
)  # fmt: skip
FAMILIES = {name: _BY_NAME[name] for name in _ORDER}
# Words are not learnt from these, but judged on them.
HELD_OUT = ("leather", "casting", "cap", "tray", "cable", "lens", "biscuit")
# How often each is drawn, relative to a made thing: textures a quarter, assemblies a fifth.
WEIGHTS = {
    "surface": 4.0,
    "assembly": 7.0,
    "textile": 1.5,
    "bare board": 2.0,
    "circuit module": 1.5,
}


def draw_product(
    rng: np.random.Generator, only: Sequence[str] | None = None, without: Sequence[str] = ()
) -> ProductSpec:
    """A random product of a random family; AnomalystError if a named family does not exist."""
    for name in (*(only or ()), *without):
        if name not in FAMILIES:
            raise AnomalystError(
                f"world: there is no family {name!r}; it has {', '.join(FAMILIES)}."
            )
    names = [n for n in (only or FAMILIES) if n not in set(without)]
    weights = np.array([WEIGHTS.get(n, 1.0) for n in names])
    return FAMILIES[str(rng.choice(names, p=weights / weights.sum()))](rng)

"""Product families: programs that draw a random product layout."""

from collections.abc import Callable, Sequence

import numpy as np

from anomalyst.errors import AnomalystError
from anomalyst.synthetic.procedural.families import (
    assemblies,
    boards,
    mechanical,
    packaging,
    soft,
    surfaces,
)
from anomalyst.synthetic.procedural.product import ProductSpec
from anomalyst.synthetic.sampling import Rng

# The order is part of the world: a seed means another product when it changes.
FAMILIES: dict[str, Callable[[Rng], ProductSpec]] = {
    "surface": surfaces.surface,
    "textile": surfaces.textile,
    "paper": surfaces.paper,
    "leather": surfaces.leather,
    "wood": surfaces.wood,
    "stone": surfaces.stone,
    "metal sheet": surfaces.metal_sheet,
    "tiles": surfaces.tiles,
    "ridges": surfaces.ridges,
    "assembly": assemblies.assembly,
    "bare board": boards.bare_board,
    "circuit module": boards.circuit_module,
    "machined part": mechanical.machined_part,
    "screw": mechanical.screw,
    "moulded figure": mechanical.moulded_figure,
    "casting": mechanical.casting,
    "bottle": packaging.bottle,
    "cap": packaging.cap,
    "pill": packaging.pill,
    "tray": packaging.tray,
    "biscuit": soft.biscuit,
    "loose goods": soft.loose_goods,
    "label": packaging.label,
    "cable": soft.cable,
    "zipper": soft.zipper,
    "brush": soft.brush,
    "seal": mechanical.seal,
    "cell panel": boards.cell_panel,
    "lens": mechanical.lens,
}
# Words are not learnt from these, but judged on them.
HELD_OUT = ("leather", "casting", "cap", "tray", "cable", "lens", "biscuit")
# How often each is drawn, relative to a made thing: textures a quarter, assemblies a fifth.
WEIGHTS = {"surface": 4, "assembly": 7, "textile": 1.5, "bare board": 2, "circuit module": 1.5}


def draw_product(
    rng: Rng, only: Sequence[str] | None = None, without: Sequence[str] = ()
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

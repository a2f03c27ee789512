"""Whether a picture can be judged at all: taken as the good ones were, and of the product.

What cannot be judged is no pass and no defect. Its verdict is unsure, without regions, and `unfit`
says why; score, p-value and map stay as they were found.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from anomalyst.calibration import conditions
from anomalyst.calibration.conditions import Conditions, GoodConditions
from anomalyst.inspection.likeness import likeness_of
from anomalyst.inspection.preprocessing import Prepared
from anomalyst.io.geometry import Frame
from anomalyst.product import UNNAMED, Product
from anomalyst.types import Inspection, Unfit

ALONE = (
    "This may show something else than {name}: as a whole it looks unlike the one good picture. "
    "From two good pictures on, such a picture is not judged."
)


@dataclass(frozen=True, slots=True)
class Fitness:
    """How a picture was taken, and why it cannot be judged, if so."""

    conditions: Mapping[str, float]
    unfit: Unfit | None = None
    note: str = ""

    def of(self, found: Inspection) -> Inspection:
        """The inspection with it."""
        notes = (*found.notes, self.note) if self.note else found.notes
        found = replace(found, conditions=self.conditions, notes=notes)
        return found if self.unfit is None else unjudged(found, self.unfit)


def fitness(one: Prepared, product: Product) -> Fitness:
    """That of an encoded picture.

    A product of before, which keeps no figures of its good pictures, is only asked whether the
    picture shows it. Without a good picture, and for senses but photographs, all are fit.
    """
    if product.sense is not None or not product.references or one.features is None:
        return Fitness({})
    good, strange = product.conditions, False
    seen = Conditions.of(one.views.canvases, good.first if good else None)
    figures = seen.as_dict()
    if (likeness := likeness_of(product)) is not None:
        strangeness = likeness.strangeness(one.features)
        figures["strangeness"] = round(strangeness, 4)
        strange = strangeness > 0
    if good and (reason := good.unfit(seen, strange=strange)):
        return Fitness(figures, Unfit(cause=reason[0], said=reason[1]))
    if not strange:
        return Fitness(figures)
    if product.num_references == 1:  # how much the product's pictures differ is not known
        return Fitness(figures, note=ALONE.format(name=named(product.name)))
    return Fitness(figures, other_product(product.name))


def conditions_of(frame: Frame, pictures: Sequence[np.ndarray], product: Product) -> GoodConditions:
    """How the good pictures of a product were taken, and how much they differ as a whole."""
    good = GoodConditions.of([frame.cut(picture).canvases for picture in pictures])
    known = likeness_of(product)
    if known is None:
        return good
    own = known.trunk or known.embedding
    return replace(good, strangeness=own.left_out[: len(good.each)])


def other_product(name: str, like: str = "") -> Unfit:
    """The reason of a picture that does not show the product of this name."""
    cause, said = conditions.other_product(named(name), like)
    return Unfit(cause=cause, said=said, like=like)


def none_of(names: Sequence[str], nearest: str) -> Unfit:
    """The reason of a picture that shows none of the taught products."""
    if len(names) == 1:
        return other_product(nearest)
    said = f"This looks like none of the {len(names)} taught products; the nearest is {nearest}."
    return Unfit(cause="product", said=said)


def unjudged(found: Inspection, unfit: Unfit) -> Inspection:
    """The inspection of a picture that cannot be judged."""
    return replace(
        found,
        verdict="unsure",
        regions=(),
        unfit=unfit,
        answer=f"Cannot be judged: {unfit.said[0].lower()}{unfit.said[1:]}",
        confidence=0.5,
        guaranteed=False,
    )


def named(name: str) -> str:
    """A product as sentences call it."""
    return "the good pictures" if name == UNNAMED else name

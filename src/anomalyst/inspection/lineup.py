"""Several products on one line: which of them a picture shows, or none."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from anomalyst.errors import AnomalystError, PictureError
from anomalyst.inspection.fitness import none_of, other_product, unjudged
from anomalyst.inspection.likeness import likeness_of
from anomalyst.inspection.pipeline import Pipeline
from anomalyst.inspection.preprocessing import Prepared, Stopwatch
from anomalyst.inspection.seen import Seen, open_for
from anomalyst.io.deep_pictures import PictureReading
from anomalyst.io.geometry import Frame
from anomalyst.product import UNNAMED, Product
from anomalyst.types import Inspection

Way = tuple[Frame | None, PictureReading]  # how a product's pictures are read and cut


@dataclass(frozen=True, slots=True)
class Pick:
    """The product that a picture looks most like, and whether it looks like it at all."""

    product: Product
    strangeness: float  # above 0: it does not show it
    opened: Seen  # the picture as that product reads it
    seen: Prepared  # as that product looks at it, encoded


class Lineup:
    """Taught products among which pictures are told apart. Raises AnomalystError for none."""

    def __init__(self, pipeline: Pipeline, products: Sequence[Product]):
        fitting = [one for one in products if picked_from(pipeline, one)]
        if not fitting:
            raise AnomalystError(
                "--product auto: none of the taught products is of photographs and of the encoder "
                "in use; teach one first: `anomalyst teach NAME GOOD...`."
            )
        self.pipeline, self.products = pipeline, fitting

    def pick(self, image: Path) -> Pick:
        """The product that the picture looks most like. Raises PictureError."""
        return min(self.looks(image), key=lambda one: one.strangeness)

    def looks(self, image: Path) -> list[Pick]:
        """How much the picture looks like each product that can read it.

        Products whose pictures are cut alike share one look at it. Raises PictureError where no
        product can read it.
        """
        looks: dict[Way, tuple[Seen, Prepared] | PictureError] = {}
        found = []
        for product in self.products:
            way = (product.frame, product.reading)
            if way not in looks:
                looks[way] = self._look(image, product)
            look = looks[way]
            if isinstance(look, PictureError):
                continue  # as this product reads it, it is no picture
            opened, seen = look
            likeness = likeness_of(product)
            assert seen.features is not None and likeness is not None  # encoded; it was taught
            found.append(Pick(product, likeness.strangeness(seen.features), opened, seen))
        if not found:
            raise next(one for one in looks.values() if isinstance(one, PictureError))
        return found

    def inspect(self, image: Path, rate: float) -> Inspection:
        """The picture judged as the product it looks like; unfit where that is none of them.

        Raises PictureError.
        """
        pick = self.pick(image)
        product, seen = pick.product, pick.seen
        if product.areas or product.measuring or self.pipeline.config.refine:
            found = self.pipeline.run(image, pick.opened.picture, product, rate, Stopwatch())
        else:
            if self.pipeline.on_engine(product) is not None:
                self.pipeline.encode([seen], product)
            found = self.pipeline.finish(seen, product, rate)
        found = pick.opened.completed(found)
        if pick.strangeness <= 0:
            return found
        if found.unfit is None or found.unfit.cause == "product":
            names = [one.name for one in self.products]
            found = unjudged(found, none_of(names, product.name))
        return replace(found, product="")

    def _look(self, image: Path, product: Product) -> tuple[Seen, Prepared] | PictureError:
        """Its features as torch gives them: an engine is asked only by the product it is for."""
        stopwatch = Stopwatch()
        try:
            with stopwatch("open"):
                opened = open_for(product, image)
        except PictureError as error:
            return error
        assert product.frame is not None  # a taught product has one
        seen = Prepared.of(image, opened.picture, product.frame, stopwatch)
        with stopwatch("recognise"), self.pipeline.threads():
            seen.features = self.pipeline.detector.encode(seen.views.canvases)
        return opened, seen


def picked_from(pipeline: Pipeline, product: Product) -> bool:
    """Whether pictures can be told to show the product."""
    plain = product.sense is None and not product.companions and product.signal is None
    ours = plain and product.fingerprint == pipeline.fingerprint
    return ours and likeness_of(product) is not None


def with_suggestion(
    found: Inspection, pipeline: Pipeline, products: Sequence[Product]
) -> Inspection:
    """An inspection that is unfit, with the taught product that its picture looks like, if any.

    What seems dim or smooth beside one product may be another one. Where none of the products can
    be told by a picture, the inspection as it is.
    """
    others = [one for one in products if one.name != found.product and picked_from(pipeline, one)]
    if found.unfit is None or found.sense != "image" or not others:
        return found
    try:
        pick = Lineup(pipeline, others).pick(found.image)
    except PictureError:  # none of them can read it, or it is gone by now
        return found
    if pick.strangeness > 0:
        return found
    return unjudged(found, other_product(found.product or UNNAMED, pick.product.name))

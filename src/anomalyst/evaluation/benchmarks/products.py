"""Is it the product, and can it be judged? What is told of good, defective and other pictures."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from anomalyst.calibration.conditions import Conditions
from anomalyst.inspection.lineup import Lineup
from anomalyst.inspector import Inspector
from anomalyst.io.files import write_bytes
from anomalyst.io.pictures import encoded, open_picture
from anomalyst.product import Product
from anomalyst.synthetic.procedural.episode import WorldConfig, defective_picture, normal_picture
from anomalyst.synthetic.procedural.families import draw_product
from anomalyst.synthetic.sampling import Rng
from anomalyst.types import Cause

SEED = 2611  # of the drawn products; none of it was used to choose a constant
SPOILT: Mapping[Cause, Callable[[np.ndarray], np.ndarray]] = {
    "dark": lambda canvas: (canvas * 0.05).astype(np.uint8),
    "over-exposed": lambda canvas: np.clip(canvas * 4.0 + 60, 0, 255).astype(np.uint8),
    "blurred": lambda canvas: cv2.GaussianBlur(canvas, (0, 0), 3.0),
    "empty": lambda canvas: np.full_like(canvas, np.median(canvas, axis=(0, 1)).astype(np.uint8)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductPictures:
    """Pictures of one product: those it is taught from, and others."""

    name: str
    taught: Sequence[Path]
    good: Sequence[Path]
    defective: Sequence[Path]


@dataclass(slots=True)
class Share:
    """How many of how many."""

    hits: int = 0
    total: int = 0

    def count(self, hit: bool) -> None:
        """One more."""
        self.hits += hit
        self.total += 1

    def __str__(self) -> str:
        return f"{self.hits} of {self.total}" if self.total else "-"


class Told:
    """What was told of the pictures of one product, or of all."""

    def __init__(self) -> None:
        self.good_as_other, self.defective_as_other, self.others_as_other = (
            Share(),
            Share(),
            Share(),
        )
        self.good_unfit, self.defective_unfit = Share(), Share()
        self.picked = Share()
        self.spoilt: dict[str, Share] = {cause: Share() for cause in SPOILT}

    def row(self) -> list[str]:
        """As a row of the table."""
        shares = [self.good_as_other, self.defective_as_other, self.others_as_other, self.picked,
                  self.good_unfit, self.defective_unfit, *self.spoilt.values()]  # fmt: skip
        return list(map(str, shares))


HEADS = (
    "product", "good as another", "defective as another", "others as another", "auto is right",
    "good unfit", "defective unfit", *SPOILT,
)  # fmt: skip


def judge_products(
    inspector: Inspector,
    sets: Sequence[ProductPictures],
    on_picture: Callable[[], None] = lambda: None,
) -> dict[str, Told]:
    """Teach each product, look at all pictures as each of them: name -> what was told; "all"."""
    taught = {
        one.name: inspector.teach(one.name, one.taught, calibrated=False, adapted=False)
        for one in sets
    }
    lineup = inspector.lineup(list(taught.values()))
    found = {one.name: Told() for one in sets} | {"all": Told()}
    for one in sets:
        for path in (*one.good, *one.defective):
            _look(path, one.name, path in one.good, lineup, found)
            on_picture()
        for path in one.good:
            _spoil(path, taught[one.name], (found[one.name], found["all"]))
    return found


def _look(path: Path, name: str, good: bool, lineup: Lineup, found: dict[str, Told]) -> None:
    looks = lineup.looks(path)
    best = min(looks, key=lambda one: one.strangeness)
    for look in looks:
        own = look.product.name == name
        for told in (found[look.product.name], found["all"]):
            if not own:
                told.others_as_other.count(look.strangeness > 0)
                continue
            as_other = told.good_as_other if good else told.defective_as_other
            as_other.count(look.strangeness > 0)
            told.picked.count(best.product.name == name and best.strangeness <= 0)
            conditions = look.product.conditions
            assert conditions is not None  # it was taught just now
            seen = Conditions.of(look.seen.views.canvases, conditions.first)
            unfit = told.good_unfit if good else told.defective_unfit
            unfit.count(conditions.unfit(seen) is not None)


def _spoil(path: Path, product: Product, both: Sequence[Told]) -> None:
    assert product.frame is not None and product.conditions is not None  # it was taught
    canvases = product.frame.cut(open_picture(path)).canvases
    for cause, spoil in SPOILT.items():
        seen = Conditions.of([spoil(canvas) for canvas in canvases], product.conditions.first)
        unfit = product.conditions.unfit(seen)
        for told in both:
            told.spoilt[cause].count(unfit is not None)


def drawn_products(
    folder: Path, count: int, *, shots: int, each: int = 6, side_px: int = 256, seed: int = SEED
) -> list[ProductPictures]:
    """Products drawn into a folder: `shots` good pictures to teach, `each` good and defective."""
    found = []
    for number in range(count):
        rng = np.random.default_rng((seed, number))
        spec = draw_product(rng)
        name = f"{number:02d} {spec.family}"
        config = WorldConfig(size_px=side_px)

        def good(rng: Rng = rng, spec: object = spec) -> np.ndarray:
            return normal_picture(spec, rng, side_px)  # type: ignore[arg-type]

        where = folder / name
        taught = [_written(where / f"t{i}.png", good()) for i in range(shots)]
        fine = [_written(where / f"g{i}.png", good()) for i in range(each)]
        bad = [
            _written(where / f"d{i}.png", defective_picture(spec, rng, config)[0])
            for i in range(each)
        ]
        found.append(ProductPictures(name=name, taught=taught, good=fine, defective=bad))
    return found


def _written(path: Path, picture: np.ndarray) -> Path:
    write_bytes(path, encoded(picture))
    return path

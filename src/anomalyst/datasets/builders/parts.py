"""Drawn parts as a labelled set: a folder per class, numbers that do not tell the class.

OUT/train/CLASS/000123.png   OUT/test/CLASS/000007.png
OUT/train/CLASS/index.csv    the defect of each picture and its box
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import numpy as np

from anomalyst.datasets.builders.build_job import Filled, Row, fill
from anomalyst.datasets.builders.dealing import dealt
from anomalyst.errors import AnomalystError, PictureError
from anomalyst.io.files import write_bytes
from anomalyst.io.geometry import resize
from anomalyst.io.pictures import encoded, list_pictures, open_picture
from anomalyst.synthetic.procedural.defects import DEFECTS
from anomalyst.synthetic.procedural.episode import damaged_picture, normal_picture
from anomalyst.synthetic.procedural.families import draw_product
from anomalyst.synthetic.procedural.gallery import write_label
from anomalyst.synthetic.procedural.product import ProductSpec

KINDS = (
    "scratch",
    "stain",
    "hole",
    "chip",
    "foreign body",
)  # that look unlike each other on most parts
GOOD, DEFECTIVE = "good", "defective"
SHOWN, CELL_PX, LABEL_PX = 8, 128, 18  # of a class in preview.png


@dataclass(frozen=True, slots=True, kw_only=True)
class PartsConfig:
    """What is drawn; classes are equally many, in train and in test, give or take one."""

    count: int = 2000
    by_kind: bool = False  # a class for each kind of defect, else one for all
    kinds: tuple[str, ...] = KINDS
    family: str = "machined part"
    products: int = 1  # of the family, each with its own layout and materials
    size_px: int = 96
    least_area: float = 0.008  # of the picture that a defect covers; smaller ones are drawn anew
    test_share: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        for kind in self.kinds:
            if kind not in DEFECTS:
                raise AnomalystError(
                    f"There is no defect {kind!r}; there are {', '.join(DEFECTS)}."
                )
        if not 0 <= self.least_area <= 0.1:
            raise AnomalystError(f"--least-area is {self.least_area}; 0 to 0.1 is needed.")
        if not self.kinds or self.products < 1 or self.size_px < 32 or self.seed < 0:
            raise AnomalystError(
                "A kind of defect, a product, 32 px and a seed of 0 or more are needed."
            )
        if not 0 < self.test_share < 1 or min(self.parts()) < len(self.classes):
            raise AnomalystError(
                f"{self.count} pictures, {self.test_share:g} of them to test: at least one of each "
                f"of {len(self.classes)} classes is needed in train and in test."
            )

    @property
    def classes(self) -> tuple[str, ...]:
        """The folders' names."""
        return (GOOD, *(k.replace(" ", "_") for k in self.kinds)) if self.by_kind else (
            GOOD, DEFECTIVE
        )  # fmt: skip

    @property
    def least_px(self) -> int:
        """Pixels of a defect, at least."""
        return round(self.least_area * self.size_px**2)

    def parts(self) -> tuple[int, int]:
        """Pictures to learn from, and to test with."""
        test = round(self.count * self.test_share)
        return self.count - test, test


@dataclass(frozen=True, slots=True)
class PartJob:
    """One picture; `category` is its folder, as train/good."""

    category: str
    file: str
    number: int
    kind: str  # of defect; empty: none
    config: PartsConfig

    def make(self, folder: Path) -> Row:
        """Draw it, write it, tell what is on it."""
        config = self.config
        rng = np.random.default_rng((config.seed, 1, self.number))
        spec = product(config, int(rng.integers(config.products)))
        if not self.kind:
            write_bytes(folder / self.file, encoded(normal_picture(spec, rng, config.size_px)))
            return {"file": self.file, "defect": ""}
        drawn = damaged_picture(spec, rng, config.size_px, self.kind, config.least_px)
        if drawn is None:
            raise PictureError(
                self.file, f"no {self.kind} shows on this {spec.noun}; take another seed or kind."
            )
        write_bytes(folder / self.file, encoded(drawn[0]))
        ys, xs = np.nonzero(drawn[1])
        box = f"{xs.min()} {ys.min()} {xs.max() + 1} {ys.max() + 1}"
        return {"file": self.file, "defect": self.kind, "box_xyxy": box}


@cache
def product(config: PartsConfig, number: int) -> ProductSpec:
    """One of the set's products; the same in every process."""
    return draw_product(np.random.default_rng((config.seed, 0, number)), only=[config.family])


def plan_parts(config: PartsConfig) -> list[PartJob]:
    """A job per picture."""
    rng = np.random.default_rng((config.seed, 2))
    train, test = config.parts()
    jobs = []
    places = dealt(rng, {"train": train, "test": test}, len(config.classes))
    for number, (part, which) in enumerate(places):
        kind = "" if which == 0 else str(rng.choice(config.kinds))
        if kind and config.by_kind:
            kind = config.kinds[which - 1]
        folder = f"{part}/{config.classes[which]}"
        jobs.append(PartJob(folder, f"{number:06d}.png", number, kind, config))
    return jobs


def write_parts(
    out: Path,
    config: PartsConfig,
    *,
    workers: int | None = None,
    on_picture: Callable[[], None] = lambda: None,
) -> Filled:
    """Fill `out`, or go on with it, and draw preview.png; the same config gives the same bytes.

    Raises AnomalystError if `out` holds something else, or cannot be written.
    """
    product(config, 0)  # a family that there is not is told before the folder is made
    jobs = plan_parts(config)
    filled = fill(out, jobs, asdict(config), workers=workers, on_picture=on_picture)
    write_bytes(out / "preview.png", encoded(_preview(out, config)))
    return filled


def _preview(out: Path, config: PartsConfig) -> np.ndarray:
    """uint8 (H, W, 3): a row for each class."""

    rows = []
    for name in config.classes:
        files = list_pictures(out / "train" / name)[:SHOWN]
        cells = [resize(open_picture(file), (CELL_PX, CELL_PX)) for file in files]
        cells += [np.full((CELL_PX, CELL_PX, 3), 255, np.uint8)] * (SHOWN - len(cells))
        label = np.full((LABEL_PX, SHOWN * CELL_PX, 3), 255, np.uint8)
        rows += [write_label(label, name, (4, 13), 0.42), np.hstack(cells)]
    return np.vstack(rows)

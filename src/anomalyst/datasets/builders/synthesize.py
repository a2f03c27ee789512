"""Defective training pictures from good ones alone, by any of the self-supervised methods."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from anomalyst.datasets.builders.build_job import Row, write_made
from anomalyst.datasets.builders.picture_cache import opened, product_on
from anomalyst.datasets.builders.plan import MakingPlan, refuse_mixed
from anomalyst.datasets.builders.source_set import Category, Originals
from anomalyst.datasets.checks import Measured
from anomalyst.errors import AnomalystError, PictureError
from anomalyst.synthetic.anomalies.methods import METHODS, make_anomaly
from anomalyst.synthetic.product_constants import COMPARED, Traits, traits_for


@dataclass(frozen=True, slots=True)
class SynthesizeJob:
    """One good picture with one or two planted defects."""

    category: str
    file: str
    method: str
    images: tuple[Path, ...]  # the picture, and one to take patches from
    traits: Traits
    seed: tuple[int, int, int]
    row: Row

    def make(self, folder: Path) -> Row:
        """Plant, write the mask, write the picture."""
        pictures = [opened(image) for image in self.images]
        products = [product_on(image, self.traits) for image in self.images]
        try:
            made = make_anomaly(self.method, pictures, self.seed, self.traits, products=products)
        except AnomalystError as error:
            raise PictureError(self.images[0], str(error)) from error
        return write_made(folder, self.row, made)


def plan_synthesis(
    originals: Originals, *, method: str, count: int | None, constants: str, seed: int
) -> MakingPlan:
    """The set as it is, and `count` defective training pictures a category.

    As many as it has good training pictures if None. They lie in train/METHOD, their masks in
    ground_truth/METHOD. Raises AnomalystError for an unknown method or table of constants, or a
    category without good training pictures.
    """
    if method not in METHODS:
        raise AnomalystError(f"There is no method {method!r}; there are {', '.join(METHODS)}.")
    if count is not None and count < 1:
        raise AnomalystError(f"--count is {count}; at least 1 is needed.")
    jobs, balance = list[SynthesizeJob](), []
    for name in originals.categories:
        category = Category(originals, name, seed)
        good, bad = category.good(), len(category.bad)
        if not good:
            raise AnomalystError(f"{name}: has no good training picture to plant defects on.")
        refuse_mixed(name, good)
        wanted = len(good) if count is None else count
        shown = [opened(one.sample.image) for one in good[:COMPARED]]
        jobs += _jobs(category, good, wanted, method, traits_for(name, constants, shown))
        balance.append((name, len(good), len(good), bad, bad + wanted))
    settings = {"method": method, "count": count, "constants": constants, "seed": seed}
    return originals.plan(f", defects planted by {method}", jobs, balance, settings)


def _jobs(
    category: Category, good: Sequence[Measured], count: int, method: str, traits: Traits
) -> list[SynthesizeJob]:
    jobs = []
    for index in range(count):
        at = index % len(good)
        other = (at + 1 + int(category.rng.integers(max(1, len(good) - 1)))) % len(good)
        one, donor = good[at].sample, good[other].sample
        file, mine = category.new_file(f"train/{method}/{index:04d}.png"), category.seed_of(index)
        row = category.row(file, one, donor, method=method, seed=mine)
        images = (one.image, donor.image)
        jobs.append(SynthesizeJob(category.name, file, method, images, traits, mine, row))
    return jobs

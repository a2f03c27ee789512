"""Defective training pictures from good ones alone, by any of the self-supervised methods."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import numpy as np

from anomalyst.datasets.builders.build_job import Job, Row, write_made
from anomalyst.datasets.builders.picture_cache import opened, product_on
from anomalyst.datasets.builders.plan import MakingPlan, refuse_mixed
from anomalyst.datasets.builders.source_set import Originals, free_name
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
    jobs: list[Job] = list(originals.copies)
    balance = []
    for category, pictures in originals.categories.items():
        good = originals.some(category, split="train", label="normal")
        if not good:
            raise AnomalystError(f"{category}: has no good training picture to plant defects on.")
        refuse_mixed(category, good)
        wanted = len(good) if count is None else count
        shown = [opened(one.sample.image) for one in good[:COMPARED]]
        traits = traits_for(category, constants, shown)
        jobs += _jobs(originals, category, good, wanted, method, traits, seed)
        bad = sum(one.sample.label == "anomalous" for one in pictures)
        balance.append((category, len(good), len(good), bad, bad + wanted))
    return MakingPlan(
        title=f"{originals.root.name}, defects planted by {method}",
        jobs=jobs,
        settings={"method": method, "count": count, "constants": constants, "seed": seed},
        balance=balance,
        faults=originals.faults,
    )


def _jobs(
    originals: Originals,
    category: str,
    good: Sequence[Measured],
    count: int,
    method: str,
    traits: Traits,
    seed: int,
) -> list[SynthesizeJob]:
    number = crc32(category.encode())
    rng = np.random.default_rng([seed, number])
    taken = originals.taken(category)
    jobs = []
    for index in range(count):
        at = index % len(good)
        other = (at + 1 + int(rng.integers(max(1, len(good) - 1)))) % len(good)
        one, donor = good[at].sample, good[other].sample
        file = free_name(f"train/{method}/{index:04d}.png", taken)
        mine = (seed, number, index)
        row = originals.made_row(file, one, donor, method=method, seed=mine)
        images = (one.image, donor.image)
        jobs.append(SynthesizeJob(category, file, method, images, traits, mine, row))
    return jobs

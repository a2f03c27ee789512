"""Which runs a data set asks for: category by category, draw by draw, paired or not."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from anomalyst.errors import AnomalystError
from anomalyst.evaluation.protocols.run_records import by_category, folder_name
from anomalyst.types import Sample


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One run to be done: these references are drawn from, these pictures inspected."""

    category: str
    seed: int
    paired: bool  # each test picture is inspected against its own reference
    train: list[Sample]
    test: list[Sample]
    digest: str  # of both lists, to know them again
    bad: list[Sample] = field(default_factory=list)  # defective, drawn to teach; not in `test`


def plan_runs(
    samples: Sequence[Sample],
    shots: int | Literal["all"],
    seeds: int,
    *,
    max_pictures: int | None = None,
    bad_shots: int = 0,
) -> list[Plan]:
    """Every run of every category, by name, then seed.

    One run, not `seeds`, where nothing is drawn: paired, or `shots` is 0 or "all"; with 0 nothing
    is paired either. `bad_shots` defective test pictures are drawn by seed, to teach and not to
    test. `max_pictures` thins the test pictures of each category evenly over labels and defects.
    Raises AnomalystError for a category without labelled test pictures, one of which only some are
    paired, and two whose names make the same folder.
    """
    categories = by_category(samples)
    folders = Counter(map(folder_name, categories))
    if clash := [name for name, count in folders.items() if count > 1]:
        raise AnomalystError(
            f"{folders[clash[0]]} categories would both be kept as {clash[0]!r}; rename one."
        )
    draws = 1 if shots in (0, "all") and not bad_shots else seeds
    return [
        _with_bad(plan, bad_shots) if bad_shots else plan
        for category in sorted(categories)
        for plan in _plans_of(category, categories[category], draws, max_pictures, alone=shots == 0)
    ]


def _plans_of(
    category: str, samples: list[Sample], draws: int, max_pictures: int | None, *, alone: bool
) -> list[Plan]:
    train = [s for s in samples if s.split == "train" and s.label == "normal"]
    test = [s for s in samples if s.split == "test" and s.label is not None]
    if not test:
        raise AnomalystError(
            f"Category {category!r} has no test pictures whose label is known; evaluate another."
        )
    unpaired = sum(sample.reference is None for sample in test)
    if 0 < unpaired < len(test):
        raise AnomalystError(
            f"{unpaired} of the {len(test)} test pictures of {category!r} have no reference, the "
            "others do; give every one its reference, or none."
        )
    test, paired = _spread(test, max_pictures), unpaired == 0 and not alone
    return [
        Plan(
            category=category,
            seed=seed,
            paired=paired,
            train=train,
            test=test,
            digest=_digest([*train, *test]),
        )
        for seed in range(1 if paired else draws)
    ]


def _with_bad(plan: Plan, count: int) -> Plan:
    """The plan with some defective test pictures to teach instead; the draw is its seed's."""
    if plan.paired:
        raise AnomalystError(
            f"Category {plan.category!r} compares each picture with its own reference, so there is "
            "no product to teach defects; leave --bad-shots out, or evaluate others by --category."
        )
    known = [i for i, sample in enumerate(plan.test) if sample.label == "anomalous"]
    if len(known) <= count:
        raise AnomalystError(
            f"Category {plan.category!r} has {len(known)} defective test pictures; with "
            f"--bad-shots {count} none would be left to test."
        )
    drawn = set(np.random.default_rng(plan.seed).permutation(known)[:count].tolist())
    return replace(
        plan,
        test=[sample for i, sample in enumerate(plan.test) if i not in drawn],
        bad=[sample for i, sample in enumerate(plan.test) if i in drawn],
    )


def _spread(test: list[Sample], max_pictures: int | None) -> list[Sample]:
    """In order of label and defect; if too many, evenly spaced from the first to the last.

    The first is normal and the last anomalous, so both labels stay.
    """
    ordered = sorted(
        test, key=lambda s: (s.label == "anomalous", s.defect or "", s.image.as_posix())
    )
    if max_pictures is None or len(ordered) <= max_pictures:
        return ordered
    kept = np.linspace(0, len(ordered) - 1, max_pictures).round().astype(int)
    return [ordered[number] for number in kept]


def _digest(samples: list[Sample]) -> str:
    """Names and labels of the pictures, not their folder: a data set may be moved between runs."""

    def line(sample: Sample) -> str:
        files = (sample.image, sample.mask, sample.reference)
        names = [file.name if file else "" for file in files]
        return "|".join([sample.split, sample.label or "", sample.defect or "", *names])

    lines = sorted(map(line, samples))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()

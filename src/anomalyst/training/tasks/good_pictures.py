"""Which pictures of the recipe's sets train, which are held out, and which are asked about."""

from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from anomalyst.datasets.reading import read_dataset
from anomalyst.datasets.splits import folds
from anomalyst.errors import AnomalystError
from anomalyst.types import Sample


class PictureChoice(Protocol):
    """What of a recipe decides it."""

    @property
    def data(self) -> tuple[str, ...]: ...
    @property
    def seed(self) -> int: ...
    @property
    def limit(self) -> int: ...
    @property
    def limit_samples(self) -> int: ...
    @property
    def folds(self) -> int: ...
    @property
    def fold(self) -> int: ...
    @property
    def fold_by(self) -> Literal["pictures", "categories"]: ...


def labelled_test_pictures(choice: PictureChoice) -> list[tuple[str, Sample]]:
    """The labelled test pictures of the sets, and the category of each."""
    return [
        (sample.category or Path(folder).name, sample)
        for folder in choice.data
        for sample in read_dataset(Path(folder))
        if sample.split == "test" and sample.label is not None
    ]


def good_samples(choice: PictureChoice, *, held_out: bool) -> dict[str, list[Sample]]:
    """The good training pictures of each category, or those that the fold holds out.

    Raises AnomalystError for a folder that is no set, or sets without good training pictures.
    """
    found: dict[str, list[Sample]] = {}
    for folder in choice.data:
        for sample in read_dataset(Path(folder)):
            if sample.split == "train" and sample.label == "normal":
                found.setdefault(sample.category or Path(folder).name, []).append(sample)
    if choice.limit:
        found = {name: samples[: choice.limit] for name, samples in found.items()}
    if choice.limit_samples:
        found = _some(found, choice.limit_samples, choice.seed)
    if choice.folds:
        found = _fold(choice, found, held_out=held_out)
    if not any(found.values()):
        raise AnomalystError(f"{', '.join(choice.data)}: no good training picture is there.")
    return {name: samples for name, samples in found.items() if samples}


def _some(found: dict[str, list[Sample]], count: int, seed: int) -> dict[str, list[Sample]]:
    """`count` of all samples, drawn by the seed, so that no category is the one cut off."""
    every = [(name, sample) for name, samples in found.items() for sample in samples]
    drawn = np.random.default_rng(seed).permutation(len(every))[:count]
    kept: dict[str, list[Sample]] = {}
    for name, sample in (every[i] for i in sorted(drawn)):
        kept.setdefault(name, []).append(sample)
    return kept


def training_counts(choice: PictureChoice) -> dict[str, int]:
    """How many good pictures of each category train."""
    return {name: len(found) for name, found in good_samples(choice, held_out=False).items()}


def _fold(
    choice: PictureChoice, found: dict[str, list[Sample]], *, held_out: bool
) -> dict[str, list[Sample]]:
    """The part of a cross-validation: every category without a fold of it, or whole categories."""
    names = sorted(found)
    if choice.fold_by == "categories":
        if len(names) < choice.folds:
            raise AnomalystError(
                f"folds {choice.folds} by categories: the sets have {len(names)}; ask for "
                f"{len(names)} or fewer."
            )
        return {n: found[n] for i, n in enumerate(names)
                if (i % choice.folds == choice.fold) is held_out}  # fmt: skip
    parts = {}
    for name in names:
        apart = folds(found[name], choice.folds, choice.seed)
        kept = [s for i, part in enumerate(apart) if i != choice.fold for s in part]
        parts[name] = apart[choice.fold] if held_out else kept
    return parts

"""The set that another is made from: its usable pictures, and jobs that copy them as they are."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from zlib import crc32

import numpy as np

from anomalyst.datasets.builders.build_job import Copy, Job, mask_name
from anomalyst.datasets.builders.plan import Balance, MakingPlan
from anomalyst.datasets.checks import Measured, Progress, measure, relative_name
from anomalyst.datasets.findings import Fault
from anomalyst.datasets.reading import read_categories
from anomalyst.errors import AnomalystError
from anomalyst.types import Sample, Split


@dataclass(frozen=True, slots=True, kw_only=True)
class Originals:
    """What of a set can be used, category by category."""

    root: Path
    categories: dict[str, list[Measured]]
    faults: list[Fault]
    files: dict[Path, str] = field(default_factory=dict)  # picture -> its name in the new set
    copies: list[Copy] = field(default_factory=list)
    unlabelled: int = 0  # pictures that were left out without a fault, as they were asked to be

    def extra(self, sample: Sample) -> dict[str, str]:
        """What the set's own index says about a picture: domain, position, golden sample ..."""
        said = dict(sample.extra)
        if sample.reference in self.files:
            said["template"] = self.files[sample.reference]
        return said

    def refused(self, one: Measured, *, needs_mask: bool = False) -> bool:
        """Whether a picture cannot be used; then it is among the faults."""
        sample, path = one.sample, one.sample.image
        reason = ""
        if one.size_hw is None:
            reason = one.reason
        elif sample.label is None:
            reason = "is labelled neither normal nor anomalous, so it is left out."
        elif sample.mask is not None and one.mask_reason:
            reason, path = one.mask_reason, sample.mask
        elif sample.mask is not None and not one.mask_marks_px:
            reason = "its mask marks nothing, so it is no defect to learn from."
        elif needs_mask and sample.label == "anomalous" and sample.mask is None:
            reason = "has no mask in ground_truth, so where it is damaged is not known."
        if reason:
            self.faults.append(Fault(path=self.named(path), reason=reason))
        return bool(reason)

    def named(self, path: Path) -> str:
        """A file of the set, relative to it."""
        return relative_name(path, self.root.parent if self.root.is_file() else self.root)

    def plan(
        self,
        title: str,
        jobs: Sequence[Job],
        balance: Sequence[Balance],
        settings: Mapping[str, object],
        notes: Sequence[str] = (),
    ) -> MakingPlan:
        """The copies, then these jobs; title and faults are the set's."""
        return MakingPlan(
            title=f"{self.root.name}{title}",
            jobs=[*self.copies, *jobs],
            settings=settings,
            balance=balance,
            faults=self.faults,
            notes=notes,
        )


@dataclass(slots=True)
class Category:
    """One category for which more pictures are planned; name and seed decide every draw."""

    originals: Originals
    name: str
    seed: int
    number: int = field(init=False)
    rng: np.random.Generator = field(init=False)
    _taken: set[str] = field(init=False)  # places that new pictures may not take

    def __post_init__(self) -> None:
        self.number = crc32(self.name.encode())
        self.rng = np.random.default_rng([self.seed, self.number])
        mine = (copy.file for copy in self.originals.copies if copy.category == self.name)
        self._taken = set[str]().union(*map(_places, mine))

    def good(self, split: Split = "train") -> list[Measured]:
        """Its normal pictures of a split, in the set's order."""
        return [
            one
            for one in self.originals.categories[self.name]
            if (one.sample.split, one.sample.label) == (split, "normal")
        ]

    @property
    def bad(self) -> list[Measured]:
        """Its anomalous pictures of both splits, in the set's order."""
        pictures = self.originals.categories[self.name]
        return [one for one in pictures if one.sample.label == "anomalous"]

    def seed_of(self, index: int) -> tuple[int, int, int]:
        """What one new picture is drawn from."""
        return self.seed, self.number, index

    def new_file(self, name: str, beside: Sample | None = None) -> str:
        """A free place for a new picture: `name`, in the folder of the one it lies `beside`."""
        folder = Path(self.originals.files[beside.image]).parent if beside else Path()
        return free_name((folder / name).as_posix(), self._taken)

    def row(
        self,
        file: str,
        sample: Sample,
        donor: Sample | None = None,
        *,
        method: str,
        seed: Sequence[int],
    ) -> dict[str, str]:
        """The row of a picture made from `sample`, with what the set's index says of that one.

        It has a mask if it has a `donor` of its defect, or the sample itself is defective.
        """
        named, extra = self.originals.named, self.originals.extra(sample)
        row = {"file": file} | ({"mask": mask_name(file)} if donor or sample.mask else {})
        row |= extra | {"method": method, "seed": " ".join(map(str, seed))}
        row["source"] = named(sample.image)
        return row | ({"defect_from": named(donor.image)} if donor else {})


def read_originals(
    root: Path,
    out: Path,
    *,
    categories: Sequence[str] = (),
    layout: str | None = None,
    labelled: bool = False,
    on_progress: Progress | None = None,
) -> Originals:
    """Open every picture and mask of a set once; what cannot be used is a fault and left out.

    `labelled`: pictures without a label are counted only, as those of a hidden test. Raises
    AnomalystError if the set cannot be read, has no such category, `out` lies within it or it
    within `out`, or no picture of it can be used.
    """
    refuse_overlap(root, out)
    root = root.resolve()  # so that the same set is known again, however it is named
    samples = read_categories(root, categories, layout=layout)
    known = [one for one in samples if one.label is not None] if labelled else samples
    faults, usable = list[Fault](), dict[str, list[Measured]]()
    unlabelled = len(samples) - len(known)
    found = Originals(root=root, categories=usable, faults=faults, unlabelled=unlabelled)
    for one in measure(known, on_progress):
        if not found.refused(one):
            usable.setdefault(_as_folder(one.sample.category or root.stem), []).append(one)
    if not usable:
        raise AnomalystError(f"{root}: none of its {len(samples)} pictures can be used.")
    for pictures in usable.values():
        _name(found, pictures)
    for category, pictures in usable.items():
        for sample in (one.sample for one in pictures):
            source = {"method": "copied", "source": found.named(sample.image)}
            file, columns = found.files[sample.image], source | found.extra(sample)
            found.copies.append(Copy.of(category, file, sample, columns))
    return found


def _name(found: Originals, pictures: Sequence[Measured]) -> None:
    """A place in the new set for each picture: its own name, with its folders where they differ."""
    alike = dict[str, list[Sample]]()
    for sample in (one.sample for one in pictures):
        kind = "good" if sample.label == "normal" else _as_folder(sample.defect or "anomaly")
        alike.setdefault(f"{sample.split}/{kind}/{sample.image.stem}", []).append(sample)
    taken = set[str]()
    for place, samples in alike.items():
        for sample, folders in zip(samples, _told_apart(samples), strict=True):
            folder, _, stem = place.rpartition("/")
            wanted = f"{folder}/{folders}{stem}{sample.image.suffix.lower()}"
            found.files[sample.image] = free_name(wanted, taken)


def _told_apart(samples: Sequence[Sample]) -> list[str]:
    """What tells pictures of one name apart, to stand before it: kos01/Part0.jpg -> "kos01_"."""
    parts = [sample.image.parent.parts for sample in samples]
    levels = list(zip_longest(*parts, fillvalue=""))
    differing = [level for level in levels if len(set(level)) > 1]
    return [
        "".join(f"{name}_" for name in own if name) for own in zip(*differing, strict=True)
    ] or ["" for _ in samples]


def free_name(wanted: str, taken: set[str]) -> str:
    """`wanted`, or with underscores before its last part until picture and mask are free.

    `taken` holds the places of every picture, and gains those of this one.
    """
    while taken & _places(wanted):
        wanted = re.sub(r"([^/]+)$", r"_\1", wanted)
    taken |= _places(wanted)
    return wanted


def _places(file: str) -> set[str]:
    """The picture whatever its suffix, and its mask, which test and train share."""
    picture = str(Path(file).with_suffix(""))
    return {picture} if Path(file).parent.name == "good" else {picture, mask_name(file)}


def _as_folder(name: str) -> str:
    """A category's or a defect's name as one folder, whatever a table called it."""
    return re.sub(r"[^\w .,+-]+", "_", name).lstrip(". ") or "_"


def refuse_overlap(root: Path, out: Path) -> None:
    """AnomalystError if the new set would lie in the old one, or on it."""
    source, target = root.resolve(), out.resolve()
    if source == target:
        raise AnomalystError(f"{out}: is the set itself; choose another folder with --out.")
    if target.is_relative_to(source) or source.is_relative_to(target):
        raise AnomalystError(
            f"{out}: {'lies within' if target.is_relative_to(source) else 'holds'} {root}, the set "
            "it is made from; choose a folder beside it with --out."
        )

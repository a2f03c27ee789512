"""The set that another is made from: its usable pictures, and jobs that copy them as they are."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from anomalyst.data.checks import Measured, measure
from anomalyst.data.findings import Fault
from anomalyst.data.reading import read_categories
from anomalyst.errors import AnomalystError
from anomalyst.making.filling import Copy, mask_name
from anomalyst.types import Sample

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Originals:
    """What of a set can be used, category by category."""

    root: Path
    categories: dict[str, list[Measured]]
    faults: list[Fault]
    files: dict[Path, str] = field(default_factory=dict)  # picture -> its name in the new set
    copies: list[Copy] = field(default_factory=list)

    def some(self, category: str, *, split: str, label: str) -> list[Measured]:
        """The pictures of one kind, in the set's order."""
        return [
            one
            for one in self.categories[category]
            if one.sample.split == split and one.sample.label == label
        ]

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
        base = self.root.parent if self.root.is_file() else self.root
        return (path.relative_to(base) if path.is_relative_to(base) else path).as_posix()


def read_originals(
    root: Path,
    out: Path,
    *,
    categories: Sequence[str] = (),
    on_progress: Progress | None = None,
) -> Originals:
    """Open every picture and mask of a set once; what cannot be used is a fault and left out.

    Raises AnomalystError if the set cannot be read, has no such category, `out` lies within it
    or it within `out`, or no picture of it can be used.
    """
    refuse_overlap(root, out)
    root = root.resolve()  # so that the same set is known again, however it is named
    samples = read_categories(root, categories)
    faults, usable = list[Fault](), dict[str, list[Measured]]()
    found = Originals(root=root, categories=usable, faults=faults)
    for one in measure(samples, on_progress):
        if not found.refused(one):
            usable.setdefault(_as_folder(one.sample.category or root.stem), []).append(one)
    if not usable:
        raise AnomalystError(f"{root}: none of its {len(samples)} pictures can be used.")
    for pictures in usable.values():
        _name(found, pictures)
    for category, pictures in usable.items():
        found.copies.extend(_copy(found, category, one.sample) for one in pictures)
    return found


def _name(found: Originals, pictures: Sequence[Measured]) -> None:
    """A place in the new set for each picture: its own name, unique within its folder.

    Of defective ones over both splits, as their masks lie in one folder.
    """
    taken = set[str]()
    for one in pictures:
        sample = one.sample
        kind = "good" if sample.label == "normal" else _as_folder(sample.defect or "anomaly")
        folder = f"{sample.split}/{kind}"
        stem = sample.image.stem
        beside = folder if sample.label == "normal" else kind
        while f"{beside}/{stem}" in taken:
            stem += "_2"
        taken.add(f"{beside}/{stem}")
        found.files[sample.image] = f"{folder}/{stem}{sample.image.suffix.lower()}"


def _as_folder(name: str) -> str:
    """A category's or a defect's name as one folder, whatever a table called it."""
    return re.sub(r"[^\w .,+-]+", "_", name).lstrip(". ") or "_"


def _copy(found: Originals, category: str, sample: Sample) -> Copy:
    file = found.files[sample.image]
    row = {"file": file}
    if sample.mask is not None:
        row["mask"] = mask_name(file).removesuffix(".png") + sample.mask.suffix.lower()
    row |= {"method": "copied", "source": found.named(sample.image)} | found.extra(sample)
    return Copy(category, file, sample.image, sample.mask, row)


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

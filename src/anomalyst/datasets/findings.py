"""What a check found: counts, faults and suspicions, as JSON values and as text."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from anomalyst.config import to_mapping

LARGE_SHARE = 0.5  # of a picture: a mask that marks more is likely black and white exchanged
SHOWN = 5  # how many file names a sentence gives; the JSON has them all


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One file that cannot be used, and why."""

    path: str  # relative to the set
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicate:
    """Pictures that are the same pixel for pixel once decoded, whatever their file format."""

    paths: tuple[str, ...]
    in_train_and_test: bool
    labels_differ: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortcut:
    """A trivial number that tells good from bad on the test split."""

    statistic: str
    auroc: float  # [0, 1]; near 0: anomalous pictures have the lower values

    def __str__(self) -> str:
        side = "higher" if self.auroc > 0.5 else "lower"
        return f"{self.statistic} (AUROC {self.auroc:.2f}, anomalous is {side})"


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryReport:
    """What was found in one category."""

    name: str
    counts: Mapping[str, Mapping[str, int]]  # split -> label (or "unknown") -> pictures
    defects: Mapping[str, Mapping[str, int]]  # split -> defect kind -> pictures
    sizes: Mapping[str, int]  # "WIDTHxHEIGHT" -> pictures, the commonest first
    grey: int  # pictures whose three channels are equal
    colour: int
    masks_read: int  # masks that fit their picture and mark something
    broken: tuple[Fault, ...]
    masks_missing: tuple[str, ...]  # anomalous pictures without one, where others have one
    masks_broken: tuple[Fault, ...]  # unreadable, or of another size than their picture
    masks_empty: tuple[str, ...]  # masks that mark nothing
    masks_large: tuple[str, ...]  # masks that mark more than LARGE_SHARE of their picture
    masks_grey: tuple[str, ...]  # masks with values between black and their brightest
    duplicates: tuple[Duplicate, ...]
    shortcuts: tuple[Shortcut, ...]

    @property
    def pictures(self) -> int:
        """How many pictures the category lists, broken ones included."""
        return sum(n for labels in self.counts.values() for n in labels.values())

    def findings(self) -> list[str]:
        """One sentence for each thing to look at; none for a category in order."""
        found = [*self._file_findings(), *self._duplicate_findings()]
        if self.shortcuts:
            found.append(
                "an image score proves little here, each of these alone tells good from bad: "
                f"{', '.join(map(str, self.shortcuts))}."
            )
        if len(self.sizes) > 1:
            common = ", ".join(f"{size} ({n})" for size, n in list(self.sizes.items())[:SHOWN])
            found.append(f"pictures have {len(self.sizes)} sizes: {common}.")
        if self.grey and self.colour:
            found.append(f"{self.grey} pictures are grey and {self.colour} are in colour.")
        return found

    def _file_findings(self) -> Iterator[str]:
        for broken, what in ((self.broken, "picture"), (self.masks_broken, "mask")):
            if broken:
                yield f"{_number(broken, what)} cannot be used: {_faults(broken)}"
        if self.masks_missing:
            yield (
                f"{_number(self.masks_missing, 'anomalous picture')} without a mask, where others "
                f"have one: {_named(self.masks_missing)}."
            )
        yield from _masks("marking nothing", self.masks_empty)
        yield from _masks(
            "marking more than half of the picture (are black and white exchanged?)",
            self.masks_large,
        )
        yield from _masks(
            "with greys (every pixel that is not black counts as defective)", self.masks_grey
        )

    def _duplicate_findings(self) -> Iterator[str]:
        across = [d for d in self.duplicates if d.in_train_and_test]
        within = [d for d in self.duplicates if not d.in_train_and_test]
        both = [d for d in self.duplicates if d.labels_differ]
        for group, where in (
            (across, "in train and in test alike: the test is not fair"),
            (within, "more than once in one split"),
            (both, "called both normal and anomalous"),
        ):
            if group:
                pairs = [" = ".join(d.paths[:SHOWN]) for d in group]
                yield f"{_number(group, 'picture')} {where}: {_named(pairs)}."


@dataclass(frozen=True, slots=True, kw_only=True)
class DataReport:
    """What was found in a data set."""

    root: str
    layout: str
    categories: tuple[CategoryReport, ...]
    masks_orphaned: tuple[str, ...]  # mask files that belong to no picture

    def findings(self) -> list[str]:
        """One sentence for each thing to look at, over all categories."""
        found = [f"{c.name}: {f}" if c.name else f for c in self.categories for f in c.findings()]
        return [*found, *_masks("belonging to no picture", self.masks_orphaned)]

    def as_dict(self) -> dict[str, Any]:
        """The whole report, and its sentences under `findings`, as plain JSON values."""
        return {**to_mapping(self), "findings": self.findings()}

    def as_text(self) -> str:
        """The report to be read: what is there, then what to look at, marked with `!`."""
        total = sum(c.pictures for c in self.categories)
        lines = [f"{self.root}: {total} pictures, {len(self.categories)} categories, {self.layout}"]
        for category in self.categories:
            lines += ["", category.name or "(no category)", *_overview(category)]
            lines += [f"  ! {finding}" for finding in category.findings()]
        orphans = _masks("belonging to no picture", self.masks_orphaned)
        lines += ["", *(f"! {orphan}" for orphan in orphans)]
        count = len(self.findings())
        lines.append(f"{count} to look at." if count else "Nothing to look at.")
        return "\n".join(lines)


def _overview(category: CategoryReport) -> Iterator[str]:
    for split, labels in category.counts.items():
        kinds = category.defects.get(split, {})
        named = f" ({', '.join(f'{kind} {n}' for kind, n in kinds.items())})" if kinds else ""
        yield f"  {split:6} {', '.join(f'{n} {label}' for label, n in labels.items())}{named}"
    if len(category.sizes) == 1:
        colour = "grey" if not category.colour else "colour" if not category.grey else "mixed"
        yield f"  size   {next(iter(category.sizes))}, {colour}"
    if category.masks_read:
        yield f"  masks  {category.masks_read}"
    elif any("anomalous" in labels for labels in category.counts.values()):
        yield "  masks  none in order: can be scored by image only"


def _number(things: Sequence[object], name: str) -> str:
    return f"{len(things)} {name}{'' if len(things) == 1 else 's'}"


def _masks(what: str, masks: Sequence[str]) -> Iterator[str]:
    if masks:
        yield f"{_number(masks, 'mask')} {what}: {_named(masks)}."


def _named(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - SHOWN} more" if len(paths) > SHOWN else ""
    return ", ".join(paths[:SHOWN]) + more


def _faults(faults: Sequence[Fault]) -> str:
    lines = [f"\n      {f.path}: {f.reason}" for f in faults[:SHOWN]]
    more = f"\n      and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
    return "".join(lines) + more

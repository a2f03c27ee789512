"""Sets as published -> MVTec-AD layout; AeBAD-S as four categories, one per kind of damage.

Pictures and masks are paired by name, not by sort order, and of AeBAD-S no good test picture equals
one that trains: the successor of AnomalyGPT that first did this had neither.
"""

import random
from collections.abc import Sequence
from pathlib import Path

from anomalyst.datasets.builders.build_job import Copy
from anomalyst.datasets.builders.plan import MakingPlan
from anomalyst.datasets.builders.source_set import Originals, read_originals, refuse_overlap
from anomalyst.datasets.checks import Measured, Progress, measure
from anomalyst.datasets.findings import Fault
from anomalyst.datasets.layouts import aebad
from anomalyst.errors import AnomalystError


def plan_copies(
    root: Path,
    out: Path,
    *,
    layout: str,
    categories: Sequence[str] = (),
    on_progress: Progress | None = None,
) -> MakingPlan:
    """Copies of every picture of a set in any layout, what its names and tables say in index.csv.

    Masks in several files become one. Pictures without a label have no place there: they are
    counted in a note. Raises as `read_originals`.
    """
    source = read_originals(
        root, out, categories=categories, layout=layout, labelled=True, on_progress=on_progress
    )
    balance = []
    for name, pictures in source.categories.items():
        labels = [(one.sample.split, one.sample.label) for one in pictures]
        good = labels.count(("train", "normal"))
        bad = sum(label == "anomalous" for _, label in labels)
        balance.append((name, good, good, bad, bad))
    settings = {"method": f"convert {layout}", "layout": layout}
    notes = []
    if source.unlabelled:
        notes.append(f"{source.unlabelled} pictures without a label were left out.")
    return source.plan(f" ({layout}) in MVTec-AD layout", [], balance, settings, notes)


def plan_aebad(
    root: Path,
    out: Path,
    *,
    train_share: float = 0.7,
    seed: int = 0,
    on_progress: Progress | None = None,
) -> MakingPlan:
    """Copies of the pictures under new numbers, the same training pictures in every category.

    `train_share` of each domain's good training pictures train; the others, and the set's own good
    test pictures, test. Broken files, pictures without a mask, masks without a picture and good
    test pictures that equal a training one are faults and left out. Raises AnomalystError if
    `root` is not kept as AeBAD-S is, or nothing is left to train on.
    """
    refuse_overlap(root, out)
    root = root.resolve()
    if not 0 < train_share < 1:
        raise AnomalystError(f"--train-share is {train_share:g}; between 0 and 1 is needed.")
    source = Originals(root=root, categories={}, faults=[])
    usable = _usable(source, on_progress)
    train, rest = _split(usable, train_share, seed)
    good = _unknown([*rest, *_of(usable, "test", "normal")], train, source)
    bad = _of(usable, "test", "anomalous")
    kinds = sorted({str(one.sample.defect) for one in bad})
    if not train or not kinds:
        raise AnomalystError(
            f"{root}: {len(train)} good training pictures and {len(bad)} defective ones can be "
            "used; some of each are needed."
        )
    jobs, balance = list[Copy](), []
    for kind in kinds:
        mine = [one for one in bad if one.sample.defect == kind]
        for folder, some in (("train/good", train), ("test/good", good), (f"test/{kind}", mine)):
            jobs += _copies(source, kind, folder, some)
        balance.append((kind, len(train), len(train), len(mine), len(mine)))
    source.faults.sort(key=lambda fault: fault.path)
    settings = {"method": "convert aebad", "train_share": train_share, "seed": seed}
    note = f"Every category has the same {len(train)} good pictures to train, {len(good)} to test."
    return source.plan(f" as {len(kinds)} categories", jobs, balance, settings, [note])


def _usable(source: Originals, on_progress: Progress | None) -> list[Measured]:
    """The pictures that can be used; the others, and masks without a picture, are faults."""
    root = source.root
    if not root.is_dir() or not aebad.matches(root):
        raise AnomalystError(f"{root}: is not kept as AeBAD-S is; looked for {aebad.LOOKS_FOR}.")
    samples = aebad.read(root)
    paired = {sample.mask for sample in samples}
    for mask in aebad.masks(root):
        if mask not in paired:
            source.faults.append(Fault(path=source.named(mask), reason="belongs to no picture."))
    measured = measure(samples, on_progress)
    return [one for one in measured if not source.refused(one, needs_mask=True)]


def _unknown(
    good: Sequence[Measured], train: Sequence[Measured], source: Originals
) -> list[Measured]:
    """The good test pictures that do not equal one that trains; the others are faults."""
    known = {one.pixels for one in train}
    for one in good:
        if one.pixels in known:
            name = source.named(one.sample.image)
            source.faults.append(Fault(path=name, reason="is the same picture as one that trains."))
    return [one for one in good if one.pixels not in known]


def _split(
    usable: Sequence[Measured], share: float, seed: int
) -> tuple[list[Measured], list[Measured]]:
    """The good training pictures, domain by domain: (the share that trains, the others)."""
    train, rest = list[Measured](), list[Measured]()
    pictures = _of(usable, "train", "normal")
    for domain in sorted({one.sample.extra["domain"] for one in pictures}):
        mine = [one for one in pictures if one.sample.extra["domain"] == domain]
        draw = random.Random(f"{seed} {domain}")
        chosen = set(draw.sample(range(len(mine)), round(share * len(mine))))
        for index, one in enumerate(mine):
            (train if index in chosen else rest).append(one)
    return train, rest


def _of(usable: Sequence[Measured], split: str, label: str) -> list[Measured]:
    """By domain and name: the order in which they are numbered."""
    mine = [one for one in usable if (one.sample.split, one.sample.label) == (split, label)]
    return sorted(mine, key=lambda one: (one.sample.extra["domain"], one.sample.image.name))


def _copies(
    source: Originals, category: str, folder: str, pictures: Sequence[Measured]
) -> list[Copy]:
    digits = max(3, len(str(len(pictures) - 1)))
    jobs = []
    for number, one in enumerate(pictures):
        sample = one.sample
        file = f"{folder}/{number:0{digits}d}{sample.image.suffix.lower()}"
        columns = {"domain": sample.extra["domain"], "source": source.named(sample.image)}
        jobs.append(Copy.of(category, file, sample, columns))
    return jobs

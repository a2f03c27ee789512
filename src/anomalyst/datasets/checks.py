"""Look a data set over before it is trusted: broken files, masks, leaks, shortcuts.

A shortcut is a number that needs no inspection (how bright a picture is, how many bytes its file
has) and yet tells the good from the bad test pictures. Where one exists, a high image score may
mean that the detector found the shortcut.
"""

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from sklearn.metrics import roc_auc_score

from anomalyst.datasets.findings import (
    LARGE_SHARE,
    CategoryReport,
    DataReport,
    Duplicate,
    Fault,
    Shortcut,
)
from anomalyst.datasets.reading import LAYOUTS, located, read_dataset
from anomalyst.errors import PictureError
from anomalyst.io.pictures import mask_values, open_picture
from anomalyst.types import Sample

STATISTICS = (
    "mean brightness", "spread of brightness", "darkest pixel", "brightest pixel",
    "file size in bytes", "width", "height",
)  # fmt: skip
Progress = Callable[[int, int], None]  # told (done, total) after each picture
SHORTCUT_AUROC = 0.8  # and its mirror image, 0.2
# With fewer of either label, chance alone gives one number in forty an AUROC beyond 0.8 or 0.2.
SHORTCUT_MIN_EACH = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one picture and its mask turned out to be. Without `size_hw` it is broken."""

    sample: Sample
    reason: str = ""
    size_hw: tuple[int, int] | None = None
    grey: bool = False
    pixels: str = ""  # a hash of the decoded pixels and their shape
    statistics: tuple[float, ...] = ()  # as STATISTICS
    mask_reason: str = ""
    mask_marks_px: int | None = None
    mask_is_grey: bool = False  # it has values between black and its brightest

    @property
    def marked_share(self) -> float:
        """Of the picture that its mask marks, [0, 1]."""
        height, width = self.size_hw or (1, 1)
        return (self.mask_marks_px or 0) / (height * width)


def check(
    root: Path, *, layout: str | None = None, on_progress: Progress | None = None
) -> DataReport:
    """Open every picture and mask of a set once and report on each category.

    A broken picture is listed with its reason and the check goes on. `on_progress` is told
    (done, total) after each picture. Raises AnomalystError if the set itself cannot be read.
    """
    root = Path(root)
    layout, place = located(root, layout)
    samples = read_dataset(place, layout=layout)
    measured = defaultdict(list)
    for one in measure(samples, on_progress):
        measured[one.sample.category].append(one)
    base = root.parent if root.is_file() else root
    paired = {s.mask for s in samples}
    orphans = [relative_name(p, base) for p in LAYOUTS[layout].masks(place) if p not in paired]
    return DataReport(
        root=str(root),
        layout=layout,
        categories=tuple(_judge(name, measured[name], base) for name in sorted(measured)),
        masks_orphaned=tuple(orphans),
    )


def measure(samples: Sequence[Sample], on_progress: Progress | None = None) -> list[Measured]:
    """Open every picture and mask once, several at a time; `on_progress` is told (done, total)."""
    found = []
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        for one in pool.map(_measure, samples):
            found.append(one)
            if on_progress is not None:
                on_progress(len(found), len(samples))
    return found


def _measure(sample: Sample) -> Measured:
    try:
        picture = open_picture(sample.image)
    except PictureError as error:
        return Measured(sample=sample, reason=error.reason)
    height, width = picture.shape[:2]
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    statistics = (grey.mean(), grey.std(), grey.min(), grey.max())
    marks_px, is_grey, mask_reason = _measure_mask(sample.mask, (height, width))
    return Measured(
        sample=sample,
        size_hw=(height, width),
        grey=all(np.array_equal(picture[..., 0], picture[..., k]) for k in (1, 2)),
        pixels=hashlib.blake2b(picture.data, person=f"{height}x{width}".encode()).hexdigest(),
        statistics=tuple(
            float(v) for v in (*statistics, sample.image.stat().st_size, width, height)
        ),
        mask_marks_px=marks_px,
        mask_is_grey=is_grey,
        mask_reason=mask_reason,
    )


def _measure_mask(mask: Path | None, size_hw: tuple[int, int]) -> tuple[int | None, bool, str]:
    """(pixels marked, whether it has greys, why it cannot be used)."""
    if mask is None:
        return None, False, ""
    try:
        values = mask_values(mask, size_hw)
    except PictureError as error:
        return None, False, error.reason
    marked = values > 0
    return int(marked.sum()), bool((values[marked] < values.max()).any()), ""


def _judge(name: str, measured: Sequence[Measured], base: Path) -> CategoryReport:
    opened = [m for m in measured if m.size_hw is not None]
    samples = [m.sample for m in measured]
    anomalous = [s for s in samples if s.label == "anomalous"]
    some_masks = any(s.mask for s in samples)
    masks = [(m.sample.mask, m.mask_marks_px, m.mask_reason) for m in opened if m.sample.mask]
    named = partial(relative_name, base=base)
    sizes = Counter(f"{m.size_hw[1]}x{m.size_hw[0]}" for m in opened if m.size_hw)
    return CategoryReport(
        name=name,
        counts=_counts([(s.split, s.label or "unknown") for s in samples]),
        defects=_counts([(s.split, s.defect) for s in samples if s.defect]),
        sizes=dict(sizes.most_common()),
        grey=sum(m.grey for m in opened),
        colour=sum(not m.grey for m in opened),
        masks_read=sum(bool(m.mask_marks_px) for m in opened),
        broken=tuple(
            Fault(path=named(m.sample.image), reason=m.reason)
            for m in measured
            if m.size_hw is None
        ),
        masks_missing=tuple(named(s.image) for s in anomalous if some_masks and s.mask is None),
        masks_broken=tuple(Fault(path=named(mask), reason=why) for mask, _, why in masks if why),
        masks_large=tuple(
            named(m.sample.mask) for m in opened if m.sample.mask and m.marked_share > LARGE_SHARE
        ),
        masks_grey=tuple(named(m.sample.mask) for m in opened if m.sample.mask and m.mask_is_grey),
        masks_empty=tuple(named(mask) for mask, marks_px, _ in masks if marks_px == 0),
        duplicates=_duplicates(opened, base),
        shortcuts=_shortcuts(opened),
    )


def _counts(pairs: Sequence[tuple[str, str]]) -> dict[str, dict[str, int]]:
    """(split, name) pairs -> split -> name -> how many; train first, then by name."""
    splits = [s for s in ("train", "test") if any(split == s for split, _ in pairs)]
    return {s: dict(sorted(Counter(n for split, n in pairs if split == s).items())) for s in splits}


def _duplicates(opened: Sequence[Measured], base: Path) -> tuple[Duplicate, ...]:
    alike = defaultdict(list)
    for one in opened:
        alike[one.pixels].append(one.sample)
    return tuple(
        Duplicate(
            paths=tuple(relative_name(s.image, base) for s in group),
            in_train_and_test=len({s.split for s in group}) > 1,
            labels_differ=len({s.label for s in group if s.label}) > 1,
        )
        for group in alike.values()
        if len(group) > 1
    )


def _shortcuts(opened: Sequence[Measured]) -> tuple[Shortcut, ...]:
    known = [m for m in opened if m.sample.split == "test" and m.sample.label is not None]
    truth = np.array([m.sample.label == "anomalous" for m in known], dtype=bool)
    if min(truth.sum(), (~truth).sum()) < SHORTCUT_MIN_EACH:
        return ()
    found = []
    for column, statistic in enumerate(STATISTICS):
        auroc = float(roc_auc_score(truth, [m.statistics[column] for m in known]))
        if not 1 - SHORTCUT_AUROC < auroc < SHORTCUT_AUROC:
            found.append(Shortcut(statistic=statistic, auroc=round(auroc, 4)))
    return tuple(found)


def relative_name(path: Path, base: Path) -> str:
    """A file of a set, relative to it where it lies in it."""
    return (path.relative_to(base) if path.is_relative_to(base) else path).as_posix()

"""Labelled pictures, whatever the layout: which picture is of which class, in train and in test.

SET/train/CLASS/*  SET/test/CLASS/*     split as it is
SET/CLASS/*                             split here, 80 to 20 in each class, by a seed
MVTec-AD, VisA, AeBAD-S, a table        its kinds of defect are the classes; split here
train-images-idx3-ubyte[.gz], ...       MNIST and its kin
"""

import hashlib
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from anomalyst.datasets.folders import NORMAL_NAMES, pictures_below, subfolders
from anomalyst.datasets.idx import idx_files, read_idx
from anomalyst.datasets.name_leaks import name_leaks
from anomalyst.datasets.reading import layout_of, read_dataset
from anomalyst.errors import AnomalystError, PictureError
from anomalyst.io.geometry import resize
from anomalyst.io.pictures import open_picture

Labels = Literal["kinds", "verdict"]
GOOD, DEFECTIVE = "good", "defective"
APART = frozenset({"ground_truth", "masks"})  # folders that hold no pictures to learn
LAYOUTS = ("manifest", "visa", "aebad", "mvtec")  # whose own reader knows the classes
GREY_MODES = frozenset({"1", "L", "LA", "I", "F"})
GREY_PROBES = 24  # pictures looked at to tell whether a set is grey


@dataclass(frozen=True, slots=True)
class Labelled:
    """One picture of a set; `number` is its place in an idx file."""

    path: Path
    label: str
    number: int | None = None

    @property
    def name(self) -> str:
        """What to call it."""
        return str(self.path) if self.number is None else f"{self.path}#{self.number}"


@dataclass(frozen=True, slots=True)
class LabelledSet:
    """What a set holds; nothing is opened yet."""

    root: Path
    classes: tuple[str, ...]  # sorted; normal ones first
    train: tuple[Labelled, ...]
    test: tuple[Labelled, ...]
    notes: tuple[str, ...] = ()

    def fingerprint(self) -> str:
        """Changes with what is in the set."""
        files = {one.path for one in (*self.train, *self.test)}
        marks = {path: (s := path.stat()).st_mtime_ns ^ s.st_size for path in files}
        told = [f"{x.name} {x.label} {marks[x.path]}" for part in (self.train, self.test)
                for x in part]  # fmt: skip
        return hashlib.sha256("\n".join([*told, str(len(self.train))]).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Opened:
    """Pictures of one size and mode, with what had to be changed."""

    pixels: np.ndarray  # uint8 (N, S, S, C)
    labels: np.ndarray  # int64 (N,), of the set's classes
    names: tuple[str, ...]
    notes: tuple[str, ...] = ()


def read_labelled(
    root: Path, *, labels: Labels = "kinds", test_share: float = 0.2, seed: int = 0
) -> LabelledSet:
    """Every picture of a set with its class.

    `labels`: verdict makes all kinds of defect one class. Raises AnomalystError for a folder
    without classes, with one class, or with a class of a single picture.
    """
    root = Path(root)
    train, test, notes = _listed(root)
    if labels == "verdict":
        train, test = [[_verdict(x) for x in part] for part in (train, test)]
    if not test or {x.label for x in train} != {x.label for x in test}:
        if test:
            notes.append(
                f"{root}: train and test hold other classes ({_told(train)}; {_told(test)}), so "
                f"all pictures are split anew, {test_share:.0%} of each class for the test."
            )
        train, test = split_by_class([*train, *test], test_share, seed)
    _refuse_single(root, train, test)
    names = sorted({x.label for x in train}, key=lambda n: (n.lower() not in NORMAL_NAMES, n))
    both = [x for x in (*train, *test) if x.number is None]
    notes += name_leaks([x.path.name for x in both], [x.label for x in both])
    return LabelledSet(root, tuple(names), tuple(train), tuple(test), tuple(notes))


def split_by_class(
    pictures: Sequence[Labelled], test_share: float, seed: int
) -> tuple[list[Labelled], list[Labelled]]:
    """Train and test, each class in the same share; at least one of each where there are two."""
    of_class: dict[str, list[Labelled]] = defaultdict(list)
    for one in pictures:
        of_class[one.label].append(one)
    train, test = [], []
    for label, held in sorted(of_class.items()):
        order = random.Random(f"{seed} {label}").sample(held, len(held))
        count = min(len(held) - 1, max(1, round(test_share * len(held))))
        test += order[:count]
        train += order[count:]
    return train, test


def channels_of(pictures: Sequence[Labelled]) -> Literal[1, 3]:
    """1 where most of a sample are grey files, or all show grey alone; else 3."""
    if pictures[0].number is not None:
        return 1
    step = max(1, len(pictures) // GREY_PROBES)
    some = (_open_or_error(one) for one in islice(pictures, 0, None, step))
    seen = [one for one in some if not isinstance(one, PictureError)]  # told when all are opened
    files = sum(one.ndim == 2 for one in seen)
    shown = all(one.ndim == 2 or _is_grey(one) for one in seen)
    return 1 if seen and (2 * files > len(seen) or shown) else 3


def open_labelled(
    pictures: Sequence[Labelled],
    classes: Sequence[str],
    size: int,
    channels: int,
    *,
    on_picture: Callable[[], None] = lambda: None,
) -> Opened:
    """All pictures in memory, resized and in one mode; broken ones are left out and named.

    Raises AnomalystError where none can be opened.
    """
    opened: dict[int, np.ndarray] = {}
    sizes: Counter[tuple[int, int]] = Counter()
    grey, broken = 0, []
    for index, found in enumerate(_opened(pictures)):
        if isinstance(found, PictureError):
            broken.append(found)
        else:
            sizes[found.shape[:2]] += 1
            grey += found.ndim == 2 or (channels == 1 and _is_grey(found))
            opened[index] = in_mode(resize(found, (size, size)), channels)
        on_picture()
    if not opened:
        raise AnomalystError(f"{pictures[0].path.parent}: no picture can be opened; {broken[0]}")
    numbers = {name: number for number, name in enumerate(classes)}
    return Opened(
        np.stack(list(opened.values())),
        np.array([numbers[pictures[i].label] for i in opened], np.int64),
        tuple(pictures[i].name for i in opened),
        tuple(_changes(sizes, grey, len(opened), size, channels, broken)),
    )


def in_mode(picture: np.ndarray, channels: int) -> np.ndarray:
    """(H, W) or (H, W, 3) -> (H, W, channels); grey is the luma of ITU-R BT.601."""
    if picture.ndim == 2:
        return np.repeat(picture[..., None], channels, axis=2)
    if channels == 3:
        return picture
    luma = picture.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    return luma.round().astype(np.uint8)[..., None]


def _opened(pictures: Sequence[Labelled]) -> Iterable[np.ndarray | PictureError]:
    """Pictures as they are, in order; those of idx files from one reading of each."""
    if pictures and pictures[0].number is not None:
        arrays = {path: read_idx(path) for path in {one.path for one in pictures}}
        yield from (arrays[one.path][one.number] for one in pictures)
        return
    with ThreadPoolExecutor(4) as pool:
        for first in range(0, len(pictures), 256):  # else all lie in memory at full size
            yield from pool.map(_open_or_error, pictures[first : first + 256])


def _open_or_error(one: Labelled) -> np.ndarray | PictureError:
    """(H, W) of a grey file, (H, W, 3) of another, or what is wrong with it."""
    try:
        picture = open_picture(one.path)
    except PictureError as error:
        return error
    with Image.open(one.path) as head:
        return picture[..., 0] if head.mode in GREY_MODES or head.mode[:2] == "I;" else picture


def _changes(
    sizes: Counter[tuple[int, int]],
    grey: int,
    count: int,
    size: int,
    channels: int,
    broken: Sequence[PictureError],
) -> list[str]:
    """What was done to pictures, once for all."""
    notes = []
    if len(sizes) > 1:
        common = ", ".join(f"{n} of {w}x{h}" for (h, w), n in sizes.most_common(3))
        notes.append(
            f"{len(sizes)} sizes ({common}{', ...' * (len(sizes) > 3)}); all are resized to "
            f"{size}x{size}."
        )
    elif (sides := next(iter(sizes)))[0] != sides[1]:
        notes.append(f"Pictures are {sides[1]}x{sides[0]}; they are squeezed to {size}x{size}.")
    if 0 < grey < count:
        mode = "grey" if channels == 1 else "RGB"
        notes.append(f"{grey} pictures are grey, {count - grey} coloured; all are made {mode}.")
    notes += [f"Left out: {error}" for error in broken[:5]]
    if len(broken) > 5:
        notes.append(f"{len(broken) - 5} more are left out.")
    return notes


def _listed(root: Path) -> tuple[list[Labelled], list[Labelled], list[str]]:
    """Train, test (empty where the set has no split) and remarks, by the first layout that fits."""
    if root.is_dir() and (files := idx_files(root)):
        first, *second = [_of_idx(*pair) for pair in files.values()]  # train first, if it is there
        return first, second[0] if second else [], []
    if len(_classes(root / "train")) > 1:
        return _in_folders(root / "train"), _in_folders(root / "test"), []
    if _layout_or_none(root) in LAYOUTS:
        samples = [s for s in read_dataset(root) if s.label]
        return [Labelled(s.image, s.defect or GOOD) for s in samples], [], []
    if len(_classes(root)) > 1:
        return _in_folders(root), [], []
    what = "there is no such folder" if not root.exists() else "holds no two folders of pictures"
    raise AnomalystError(
        f"{root}: {what}; a folder for each class is needed, as in {root.name}/good and "
        f"{root.name}/defective, or {root.name}/train/CLASS and {root.name}/test/CLASS."
    )


def _layout_or_none(root: Path) -> str:
    """The layout that a set is kept in; empty where it fits none."""
    try:
        return layout_of(root)
    except AnomalystError:
        return ""


def _of_idx(pictures: Path, labels: Path) -> list[Labelled]:
    values, names = read_idx(pictures), read_idx(labels)
    if values.ndim != 3 or names.shape != values.shape[:1] or values.dtype != np.uint8:
        raise AnomalystError(
            f"{pictures}: holds {values.dtype} of shape {values.shape} and its labels "
            f"{names.shape}; bytes of (N, H, W) and (N,) are needed."
        )
    return [Labelled(pictures, str(name), i) for i, name in enumerate(names)]


def _classes(folder: Path) -> list[Path]:
    """Its folders that hold pictures."""
    kinds = [f for f in subfolders(folder) if f.name.lower() not in APART]
    return [f for f in kinds if pictures_below(f)]


def _in_folders(folder: Path) -> list[Labelled]:
    return [Labelled(p, kind.name) for kind in _classes(folder) for p in pictures_below(kind)]


def _verdict(one: Labelled) -> Labelled:
    return replace(one, label=GOOD if one.label.lower() in NORMAL_NAMES else DEFECTIVE)


def _told(pictures: Sequence[Labelled]) -> str:
    return ", ".join(sorted({x.label for x in pictures}))


def _refuse_single(root: Path, train: Sequence[Labelled], test: Sequence[Labelled]) -> None:
    if len({x.label for x in train}) < 2:
        raise AnomalystError(
            f"{root}: all pictures are of one class, {_told(train)!r}; two are needed to learn "
            "what tells them apart."
        )
    for name, count in sorted(Counter(x.label for x in (*train, *test)).items()):
        if count < 2:
            raise AnomalystError(
                f"{root}: class {name!r} has one picture; it can be learnt or tested, not both. "
                "Add pictures, or take the class out."
            )


def _is_grey(picture: np.ndarray) -> bool:
    return bool((picture[..., :1] == picture[..., 1:]).all())

"""From a folder or a table to a list of samples, whatever the layout."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from anomalyst.datasets.folders import pictures_in, subfolders
from anomalyst.datasets.layouts import (
    aebad,
    btad,
    dagm,
    folder,
    kolektor_sdd,
    kolektor_sdd2,
    manifest,
    mvtec,
    mvtec_3d,
    mvtec_ad2,
    mvtec_loco,
    real_iad,
    visa,
)
from anomalyst.errors import AnomalystError
from anomalyst.types import Sample


class Layout(Protocol):
    """What each module of `anomalyst.datasets.layouts` offers."""

    LOOKS_FOR: str

    def matches(self, root: Path) -> bool:
        """Whether the set at `root` is kept this way."""

    def read(self, root: Path) -> list[Sample]:
        """Every picture of the set."""

    def masks(self, root: Path) -> list[Path]:
        """Every mask file of the set, whether a picture belongs to it or not."""


# The first that fits is taken: from the most particular shape to the plainest.
LAYOUTS: dict[str, Layout] = {
    "manifest": manifest,
    "visa": visa,
    "aebad": aebad,
    "mvtec-3d": mvtec_3d,
    "mvtec-ad2": mvtec_ad2,
    "mvtec-loco": mvtec_loco,
    "btad": btad,
    "real-iad": real_iad,
    "kolektor-sdd2": kolektor_sdd2,
    "dagm": dagm,
    "mvtec": mvtec,
    "kolektor-sdd": kolektor_sdd,
    "folder": folder,
}


WRAPPERS_MOST = 2  # folders that may lie around a set


def read_dataset(
    root: Path, *, layout: str | None = None, category: str | None = None
) -> list[Sample]:
    """Every picture of a set, or of one of its categories.

    `layout` names one of LAYOUTS; without it the first that fits is taken. Raises AnomalystError
    if none fits, there are no pictures, a table is not in order, or there is no such category.
    """
    root = Path(root)
    name, place = located(root, layout)
    samples = LAYOUTS[name].read(place)
    if not samples:
        raise AnomalystError(
            f"{root}: holds no pictures in the {name} layout; looked for {LAYOUTS[name].LOOKS_FOR}."
        )
    return samples if category is None else _of_categories(root, samples, [category])


def read_categories(
    root: Path, categories: Sequence[str], *, layout: str | None = None
) -> list[Sample]:
    """Every picture of a set, or of some of its categories; raises as `read_dataset`."""
    samples = read_dataset(root, layout=layout)
    return _of_categories(root, samples, categories) if categories else samples


def _of_categories(
    root: Path, samples: Sequence[Sample], categories: Sequence[str]
) -> list[Sample]:
    known = sorted({s.category for s in samples})
    for name in categories:
        if name not in known:
            raise AnomalystError(
                f"{root}: has no category {name!r}; it has {', '.join(map(repr, known))}."
            )
    return [s for s in samples if s.category in categories]


def layout_of(root: Path) -> str:
    """The name of the first layout that fits; raises as `located`."""
    return located(root)[0]


def located(root: Path, layout: str | None = None) -> tuple[str, Path]:
    """(the first layout that fits, or the one asked for; the folder that it fits).

    That is `root`, or what it wraps: archives often hold one folder, and that the set. Raises
    AnomalystError, saying what was looked for, if none fits.
    """
    if layout is not None and layout not in LAYOUTS:
        raise AnomalystError(f"There is no layout {layout!r}; there are {', '.join(LAYOUTS)}.")
    _refuse_missing(root)
    tried = LAYOUTS if layout is None else {layout: LAYOUTS[layout]}
    for place in _wrapped(root):
        for name, one in tried.items():
            # Any folder of pictures is a plain one: to go down to it would be a guess.
            if one.matches(place) and (place == root or name != "folder"):
                return name, place
    if layout is not None:
        return layout, root
    if root.is_file():
        raise AnomalystError(
            f"{root}: is a file; a folder, or a .csv, .tsv or .jsonl table is needed."
        )
    what = "is an empty folder" if not any(root.iterdir()) else "fits no layout we know"
    looked = "; ".join(f"{name}: {one.LOOKS_FOR}" for name, one in LAYOUTS.items())
    raise AnomalystError(f"{root}: {what}. Looked for {looked}.")


def _wrapped(root: Path) -> Iterator[Path]:
    """The folder, and the only one in it, and so on."""
    yield root
    for _ in range(WRAPPERS_MOST):
        inner = subfolders(root)
        if len(inner) != 1 or pictures_in(root):
            return
        root = inner[0]
        yield root


def _refuse_missing(root: Path) -> None:
    try:
        there = root.exists()
    except OSError as error:
        raise AnomalystError(f"{root}: cannot be read ({error.strerror}).") from error
    if not there:
        raise AnomalystError(f"{root}: there is no such folder or table.")

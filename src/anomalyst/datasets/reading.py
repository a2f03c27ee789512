"""From a folder or a table to a list of samples, whatever the layout."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from anomalyst.datasets.layouts import aebad, folder, manifest, mvtec, visa
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
    "mvtec": mvtec,
    "folder": folder,
}


def read_dataset(
    root: Path, *, layout: str | None = None, category: str | None = None
) -> list[Sample]:
    """Every picture of a set, or of one of its categories.

    `layout` names one of LAYOUTS; without it the first that fits is taken. Raises AnomalystError
    if none fits, there are no pictures, a table is not in order, or there is no such category.
    """
    root = Path(root)
    name = layout_of(root) if layout is None else layout
    if name not in LAYOUTS:
        raise AnomalystError(f"There is no layout {name!r}; there are {', '.join(LAYOUTS)}.")
    _refuse_missing(root)
    samples = LAYOUTS[name].read(root)
    if not samples:
        raise AnomalystError(
            f"{root}: holds no pictures in the {name} layout; looked for {LAYOUTS[name].LOOKS_FOR}."
        )
    return samples if category is None else _of_categories(root, samples, [category])


def read_categories(root: Path, categories: Sequence[str]) -> list[Sample]:
    """Every picture of a set, or of some of its categories; raises as `read_dataset`."""
    samples = read_dataset(root)
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
    """The name of the first layout that fits.

    Raises AnomalystError, saying what was looked for, if none does.
    """
    _refuse_missing(root)
    for name, layout in LAYOUTS.items():
        if layout.matches(root):
            return name
    if root.is_file():
        raise AnomalystError(f"{root}: is a file; a folder, a .csv or a .jsonl table is needed.")
    what = "is an empty folder" if not any(root.iterdir()) else "fits no layout we know"
    looked = "; ".join(f"{name}: {layout.LOOKS_FOR}" for name, layout in LAYOUTS.items())
    raise AnomalystError(f"{root}: {what}. Looked for {looked}.")


def _refuse_missing(root: Path) -> None:
    try:
        there = root.exists()
    except OSError as error:
        raise AnomalystError(f"{root}: cannot be read ({error.strerror}).") from error
    if not there:
        raise AnomalystError(f"{root}: there is no such folder or table.")

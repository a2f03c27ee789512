"""KolektorSDD2 (Bozic et al., Computers in Industry 2021) as its authors publish it.

    train/10000.png      train/10000_GT.png      one label a picture, black where it is good
    test/20000.png       test/20000_GT.png

What is good only the labels say, so each is opened once. Some of the training pictures are
defective.
"""

from dataclasses import replace
from pathlib import Path

from anomalyst.datasets.folders import pictures_in
from anomalyst.datasets.label_files import labelled_pairs, unpaired_labels
from anomalyst.types import Sample, Split

LOOKS_FOR = "train/NAME.png with train/NAME_GT.png beside it, and test alike"
LABEL = "_GT"
SPLITS: tuple[Split, ...] = ("train", "test")


def matches(root: Path) -> bool:
    """Whether `root` has a split with labels beside its pictures."""
    for split in SPLITS:
        stems = {p.stem for p in pictures_in(root / split)}
        if any(f"{stem}{LABEL}" in stems for stem in stems):
            return True
    return False


def read(root: Path) -> list[Sample]:
    """Every picture, by split and name; one category, which is called as the folder is."""
    return [
        replace(sample, split=split)
        for split in SPLITS
        for sample in labelled_pairs(pictures_in(root / split), LABEL, root.resolve().name)
    ]


def masks(root: Path) -> list[Path]:
    """The labels that belong to no picture; the others are read with their pictures."""
    return [m for split in SPLITS for m in unpaired_labels(pictures_in(root / split), LABEL)]

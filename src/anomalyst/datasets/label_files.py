"""Pictures with a label file each beside them, NAME and NAME_label: black means that it is good."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from anomalyst.errors import PictureError
from anomalyst.io.pictures import marks_anything
from anomalyst.types import Label, Sample

WORKERS = 8  # labels are opened at once; the disk is the slower part


def labelled_pairs(files: Sequence[Path], ending: str, category: str) -> list[Sample]:
    """The pictures among `files`, all test; label None where the label is missing or broken.

    A broken label stays the sample's mask, so that whoever opens it reports it by name.
    """
    labels = {p.stem: p for p in files if p.stem.endswith(ending)}
    pictures = [p for p in files if not p.stem.endswith(ending)]
    pairs = [(picture, labels.get(picture.stem + ending)) for picture in pictures]
    with ThreadPoolExecutor(max_workers=WORKERS) as pool:
        known = list(pool.map(_label, [label for _, label in pairs]))
    return [
        Sample(
            image=picture,
            label=label,
            mask=None if label == "normal" else mask,
            category=category,
            defect="defect" if label == "anomalous" else None,
        )
        for (picture, mask), label in zip(pairs, known, strict=True)
    ]


def unpaired_labels(files: Sequence[Path], ending: str) -> list[Path]:
    """The labels among `files` whose picture is not there."""
    stems = {p.stem for p in files}
    return [p for p in files if p.stem.endswith(ending) and p.stem[: -len(ending)] not in stems]


def _label(file: Path | None) -> Label | None:
    if file is None:
        return None
    try:
        return "anomalous" if marks_anything(file) else "normal"
    except PictureError:
        return None

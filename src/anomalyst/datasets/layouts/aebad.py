"""The AeBAD-S layout (Zhang et al., Engineering Applications of AI 2023): one part, four domains.

    train/good/{background, illumination, view}/NAME.png
    test/{ablation, breakdown, fracture, groove, good}/{same, background, illumination, view}/...
    ground_truth/DEFECT/DOMAIN/NAME.png

Read as it is published: one category with four defect kinds, its own good test pictures, and the
domain of each picture in `extra["domain"]`, because a score that holds in one domain and not in
the next is what this set is for. Masks without a picture and pictures without a mask both occur.
"""

from dataclasses import replace
from pathlib import Path

from anomalyst.datasets.folders import pictures_below, samples_in, says_normal, subfolders
from anomalyst.types import Sample, Split

LOOKS_FOR = "train/good/DOMAIN and test/DEFECT/DOMAIN, DOMAIN one of same, background, ..."
CATEGORY = "AeBAD_S"
DOMAINS = frozenset({"same", "background", "illumination", "view"})


def matches(root: Path) -> bool:
    """Whether `root`, or its folder AeBAD_S, keeps its pictures by domain."""
    return _base(root) is not None


def read(root: Path) -> list[Sample]:
    """Every picture, by split, defect, domain and name."""
    base = _base(root)
    if base is None:
        return []
    return _read_split(base, "train") + _read_split(base, "test")


def masks(root: Path) -> list[Path]:
    """Every mask file of the set, whether a picture belongs to it or not."""
    base = _base(root)
    return [] if base is None else pictures_below(base / "ground_truth")


def _base(root: Path) -> Path | None:
    for base in (root, root / CATEGORY):
        kinds = subfolders(base / "train") + subfolders(base / "test")
        if any(domain.name in DOMAINS for kind in kinds for domain in subfolders(kind)):
            return base
    return None


def _read_split(base: Path, split: Split) -> list[Sample]:
    found = []
    for kind in subfolders(base / split):
        defect = "" if says_normal(kind) else kind.name
        for domain in subfolders(kind):
            truth = base / "ground_truth" / kind.name / domain.name
            samples = samples_in(domain, CATEGORY, split=split, defect=defect, truth=truth)
            found += [replace(sample, extra={"domain": domain.name}) for sample in samples]
    return found

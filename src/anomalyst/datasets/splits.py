"""Who is train and who is test, who is a reference, who is in which fold: drawn by seed.

Every draw depends on the pictures' paths and the seed alone, not on the order they are given in.
"""

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from anomalyst.errors import AnomalystError
from anomalyst.types import Sample


def by_name_order(normals: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """(train, test) for a set that brings no split: the last fifth by name, rounded down, is test.

    One block, not every fifth: pictures with near names were often taken moments apart, and
    spreading them would put near-copies on both sides.
    """
    ordered = sorted(normals)
    cut = len(ordered) - len(ordered) // 5
    return ordered[:cut], ordered[cut:]


def k_shot(samples: Sequence[Sample], k: int, seed: int) -> list[Sample]:
    """`k` normal training pictures of one category, drawn by `seed`.

    With the same seed, the draw of k is the start of the draw of k + 1, so that results over k
    differ by the added pictures only. Raises AnomalystError if `samples` hold several categories,
    or fewer than `k` normal training pictures.
    """
    if k < 1:
        raise AnomalystError(f"{k} references were asked for; at least 1 is needed.")
    names = sorted({s.category for s in samples})
    if len(names) > 1:
        raise AnomalystError(
            f"References are drawn from one category; these are {len(names)}: "
            f"{', '.join(names)}. Choose one."
        )
    normals = [s for s in samples if s.split == "train" and s.label == "normal"]
    if len(normals) < k:
        raise AnomalystError(
            f"{k} normal training pictures were asked for; {names[0] if names else 'the set'!r} "
            f"has {len(normals)}. Ask for fewer, or add good pictures."
        )
    return _shuffled(normals, random.Random(seed))[:k]


def folds(samples: Sequence[Sample], n: int, seed: int) -> list[list[Sample]]:
    """`n` parts that together hold every sample once; their sizes differ by at most one.

    Each category, label and defect kind is dealt evenly over the parts. Raises AnomalystError if
    there are fewer samples than parts.
    """
    if n < 2:
        raise AnomalystError(f"{n} folds were asked for; at least 2 are needed.")
    if len(samples) < n:
        raise AnomalystError(
            f"{n} folds were asked for; there are {len(samples)} pictures. Ask for fewer folds."
        )
    kinds = defaultdict(list)
    for sample in samples:
        kinds[sample.category, sample.label or "", sample.defect or ""].append(sample)
    draw = random.Random(seed)
    dealt = [s for key in sorted(kinds) for s in _shuffled(kinds[key], draw)]
    return [dealt[i::n] for i in range(n)]


def by_column(samples: Sequence[Sample], column: str) -> list[Sample]:
    """Each category once per value that its test pictures have in a column of `Sample.extra`.

    "ablation" with domains becomes "ablation, domain view" and so on, each with all training
    pictures: one teaching, judged under every condition by itself. Raises AnomalystError if a test
    picture has no such column.
    """
    found = []
    for category in sorted({s.category for s in samples}):
        mine = [s for s in samples if s.category == category]
        tests = [s for s in mine if s.split == "test"]
        tests = [s for s in tests if s.label is not None] or tests  # the others cannot be judged
        lacking = [s for s in tests if column not in s.extra]
        if lacking:
            known = sorted({name for s in mine for name in s.extra})
            raise AnomalystError(
                f"{category!r}: {len(lacking)} of {len(tests)} test pictures have no {column!r} "
                f"in index.csv, as {lacking[0].image.name}; its columns are "
                f"{', '.join(known) or 'none'}."
            )
        for value in sorted({s.extra[column] for s in tests}):
            name = f"{category}, {column} {value}"
            some = [s for s in mine if s.split == "train" or s.extra[column] == value]
            found += [replace(s, category=name) for s in some]
    return found


def _shuffled(samples: Sequence[Sample], draw: random.Random) -> list[Sample]:
    ordered = sorted(samples, key=lambda s: s.image)
    draw.shuffle(ordered)
    return ordered

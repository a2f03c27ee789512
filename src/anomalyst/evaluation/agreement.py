"""How far people agree beyond chance: Cohen's kappa of two, Fleiss' kappa of many."""

from collections.abc import Sequence

import numpy as np

Label = str | int


def cohen_kappa(first: Sequence[Label], second: Sequence[Label]) -> float | None:
    """Of two people's labels of the same things, in [-1, 1]; None where both only ever said one.

    Cohen 1960, "A coefficient of agreement for nominal scales": (po - pe) / (1 - pe).
    """
    assert len(first) == len(second) > 0
    labels = sorted({*first, *second}, key=str)
    table = np.zeros((len(labels), len(labels)))
    for one, other in zip(first, second, strict=True):
        table[labels.index(one), labels.index(other)] += 1
    table /= len(first)
    return _beyond_chance(float(np.trace(table)), float(table.sum(0) @ table.sum(1)))


def fleiss_kappa(counts: np.ndarray) -> float | None:
    """Of (things, labels): how many people gave each label, the same number for each thing.

    In [-1, 1]; None where only one label was ever given. Fleiss 1971, "Measuring nominal scale
    agreement among many raters", equations 3 to 7.
    """
    counts = np.asarray(counts, float)
    raters = counts[0].sum()
    assert raters >= 2 and (counts.sum(1) == raters).all()
    of_things = (counts * (counts - 1)).sum(1) / (raters * (raters - 1))
    shares = counts.sum(0) / counts.sum()
    return _beyond_chance(float(of_things.mean()), float(shares @ shares))


def _beyond_chance(seen: float, by_chance: float) -> float | None:
    return None if np.isclose(by_chance, 1) else (seen - by_chance) / (1 - by_chance)

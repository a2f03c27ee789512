"""Finding the same part by another sense: recall, and whether it beats chance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from scipy.stats import binomtest
from torch import Tensor

GALLERY = 100  # parts among which one is looked for
KS = (1, 5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recall:
    """How often the right part is among the nearest of a gallery."""

    query: str
    key: str
    paired: bool  # whether these two senses were trained on together
    asked: int
    found: Mapping[int, int]  # k -> how many queries found their own among the k nearest
    gallery: int

    def share(self, k: int) -> float:
        """Recall at k."""
        return self.found[k] / self.asked

    def interval(self, k: int) -> tuple[float, float]:
        """95 % of the share (Wilson)."""
        ends = binomtest(self.found[k], self.asked).proportion_ci(0.95, method="wilson")
        return float(ends.low), float(ends.high)

    def beats_chance(self, k: int) -> bool:
        """Whether the interval lies above k of the gallery's size."""
        return self.interval(k)[0] > k / self.gallery

    def as_values(self) -> dict[str, object]:
        """Plain values, for JSON."""
        values = {
            f"recall@{k}": {"share": round(self.share(k), 4), "interval": self.interval(k)}
            for k in self.found
        }
        return {"query": self.query, "key": self.key, "paired": self.paired} | values


def ranks(queries: Tensor, keys: Tensor) -> Tensor:
    """How many keys are nearer to a query than its own, int64 (N,): unit vectors (N, D) in pairs.

    Keys as near as its own count as nearer, so that a collapsed space finds nothing.
    """
    similarity = queries @ keys.T  # (N, N)
    own = similarity.diagonal()[:, None]
    return (similarity >= own).sum(1) - 1


def recall(
    query: str, key: str, vectors: Mapping[str, Tensor], *, paired: bool, gallery: int = GALLERY
) -> Recall:
    """Each part asked for in its own gallery: rows are cut into galleries in their order."""
    count = len(vectors[query]) // gallery * gallery
    if not count:
        gallery = count = len(vectors[query])
    found = torch.cat(
        [
            ranks(vectors[query][first : first + gallery], vectors[key][first : first + gallery])
            for first in range(0, count, gallery)
        ]
    )
    hits = {k: int((found < k).sum()) for k in KS}
    return Recall(query=query, key=key, paired=paired, asked=count, found=hits, gallery=gallery)


def all_recalls(vectors: Mapping[str, Tensor], hub: str = "image") -> list[Recall]:
    """Every sense by every other."""
    names: Sequence[str] = list(vectors)
    return [
        recall(query, key, vectors, paired=hub in (query, key))
        for query in names
        for key in names
        if query != key
    ]

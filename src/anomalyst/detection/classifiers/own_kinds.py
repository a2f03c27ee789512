"""A product's own kinds of defects, from a few places that people drew and named.

The shipped classifier's figures of a place (its last layer but the head: pixels, map and what the
decoder compared, pooled) are told apart by a ridge classifier, one row of weights a kind; examples
of rare kinds weigh as much together as those of frequent ones. It is taken only where it names
places of pictures left out better than the shipped classifier does, and than one name for all.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from anomalyst.detection.classifiers.kinds import KIND_OF

LEAST_EACH = 3  # pictures of a kind
LEAST_KINDS = 2
MARGIN = 0.1  # of accuracy, by which it must be better: few pictures tell little
RIDGE = 1.0  # of the mean square of the figures


@dataclass(frozen=True, slots=True, kw_only=True)
class KindExample:
    """A place that a person named, as the shipped classifier sees it."""

    figures: Tensor  # (D,)
    label: str
    picture: str  # what is left out together
    found: bool  # its box is one that an inspection found; False: as the person drew it
    shipped: str  # what the shipped classifier calls it


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnKinds:
    """Names of a product's defects, and the weights that tell them apart."""

    names: tuple[str, ...]
    centre: Tensor  # (D,)
    weights: Tensor  # (D, kinds)
    about: Mapping[str, Any]  # what it was learnt from and how well, as plain JSON values

    def names_of(self, figures: Tensor) -> list[str]:
        """The name of each place: figures (B, D)."""
        return [self.names[i] for i in ((figures - self.centre) @ self.weights).argmax(1).tolist()]

    def state(self) -> dict[str, Tensor]:
        """What is kept as tensors; names and about are kept as JSON."""
        return {"centre": self.centre.contiguous(), "weights": self.weights.contiguous()}

    @classmethod
    def of(cls, record: Mapping[str, Any], state: Mapping[str, Tensor]) -> "OwnKinds":
        """What `about` with the names, and `state`, were kept of."""
        about = {key: value for key, value in record.items() if key != "names"}
        return cls(names=tuple(record["names"]), about=about, **state)

    def as_dict(self) -> dict[str, Any]:
        """Names and about as plain JSON values."""
        return {"names": list(self.names), **self.about}


@dataclass(frozen=True, slots=True, kw_only=True)
class KindFigures:
    """How well kinds are told on pictures left out, and whether that is good enough."""

    kinds: Mapping[str, int]  # name -> pictures
    left_out: Mapping[str, int]  # kinds of too few pictures
    places: int  # that accuracy is of
    own: float  # accuracies in [0, 1]
    shipped: float
    commonest: float  # of one name for all
    taken: bool
    reason: str = ""  # why not


def learn_own_kinds(examples: Sequence[KindExample]) -> tuple[OwnKinds | None, KindFigures]:
    """The kinds that the examples teach, None where they are not taken, and the figures."""
    pictures = Counter(label for label, _ in {(one.label, one.picture) for one in examples})
    kinds = {label: count for label, count in sorted(pictures.items()) if count >= LEAST_EACH}
    few = {label: count for label, count in sorted(pictures.items()) if count < LEAST_EACH}
    used = [one for one in examples if one.label in kinds]
    if len(kinds) < LEAST_KINDS:
        reason = (
            f"{LEAST_KINDS} kinds of at least {LEAST_EACH} pictures each are needed, "
            f"{len(kinds)} {'is' if len(kinds) == 1 else 'are'} there"
        )
        return None, _figures(kinds, few, [], (0.0, 0.0, 0.0), reason)
    names = tuple(kinds)
    judged = [one for one in used if one.found] or used
    told = _told_without(used, judged, names)
    own = _share(name == one.label for name, one in zip(told, judged, strict=True))
    shipped = _share(KIND_OF.get(one.label, one.label) == one.shipped for one in judged)
    commonest = Counter(one.label for one in judged).most_common(1)[0][1] / len(judged)
    reason = ""
    if own < max(shipped, commonest) + MARGIN:
        reason = (
            f"of pictures left out it names {own:.0%} of {len(judged)} places right, the shipped "
            f"kinds {shipped:.0%}, one name for all {commonest:.0%}; {MARGIN:.0%} more are needed"
        )
    figures = _figures(kinds, few, judged, (own, shipped, commonest), reason)
    if reason:
        return None, figures
    centre, weights = _fitted(used, names)
    about = {"accuracy": round(own, 4), "shipped": round(shipped, 4), "places": len(judged)}
    return OwnKinds(names=names, centre=centre, weights=weights, about=about), figures


def _figures(
    kinds: Mapping[str, int],
    few: Mapping[str, int],
    judged: Sequence[KindExample],
    shares: tuple[float, float, float],
    reason: str,
) -> KindFigures:
    own, shipped, commonest = shares
    return KindFigures(
        kinds=kinds, left_out=few, places=len(judged), own=own, shipped=shipped,
        commonest=commonest, taken=not reason, reason=reason,
    )  # fmt: skip


def _told_without(
    used: Sequence[KindExample], judged: Sequence[KindExample], names: tuple[str, ...]
) -> list[str]:
    """What each place is called by weights that saw nothing of its picture."""
    told: dict[int, str] = {}
    for picture in dict.fromkeys(one.picture for one in judged):
        centre, weights = _fitted([one for one in used if one.picture != picture], names)
        for index, one in enumerate(judged):
            if one.picture == picture:
                told[index] = names[int(((one.figures - centre) @ weights).argmax())]
    return [told[index] for index in range(len(judged))]


def _fitted(examples: Sequence[KindExample], names: tuple[str, ...]) -> tuple[Tensor, Tensor]:
    """Centre (D,) and weights (D, kinds) of the ridge regression on one-hot kinds."""
    figures = torch.stack([one.figures for one in examples]).double()  # (n, D)
    kinds = torch.tensor([names.index(one.label) for one in examples])
    counts = torch.bincount(kinds, minlength=len(names)).double()
    root = (1 / counts[kinds]).sqrt()[:, None]  # each kind weighs 1 in all
    centre = figures.mean(0)
    seen = (figures - centre) * root
    wanted = (torch.eye(len(names), dtype=torch.float64)[kinds] - 1 / len(names)) * root
    inner = seen @ seen.T  # (n, n): fewer places than figures
    ridge = RIDGE * inner.trace() / len(examples) + 1e-9
    eye = torch.eye(len(examples), dtype=torch.float64)
    weights = seen.T @ torch.linalg.solve(inner + ridge * eye, wanted)
    return centre.float(), weights.float()


def _share(right: Any) -> float:
    known = list(right)
    return sum(known) / len(known)

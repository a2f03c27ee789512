"""Has what we see changed? A sequential test on the scores of accepted parts.

Online conformal p-values and a betting martingale: Vovk, Gammerman and Shafer (2005), chapter 7;
the Simple Jumper of Vovk et al. (2021), "Retrain or not retrain: conformal test martingales for
change-point detection", algorithm 1.
"""

import math
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

BETS = (-1.0, 0.0, 1.0)  # against high p-values, against none, against low ones
JUMP = 0.01  # share of the capital that changes its bet at each step
ALARM_AT = 100.0  # a stream without change gets here with probability 1 % at most (Ville)

RECENT_LEAST = 8  # inspections from which it is said what has moved
MOVED = 2.0  # spreads of the good pictures by which the middle of recent ones has to move


@dataclass(frozen=True, slots=True)
class Watched:
    """A figure of how pictures are taken, and what is said when it has moved."""

    figure: str
    least_spread: float  # so much any figure may differ without a cause
    ratio: bool  # whether it is compared by its logarithm
    more: str
    less: str

    def moved(self, good: np.ndarray, recent: np.ndarray) -> tuple[float, str]:
        """How many spreads recent values lie from the good pictures', and in words."""
        if self.ratio:
            good, recent = (np.log(np.maximum(one, 1e-4)) for one in (good, recent))
        middle = float(np.median(good))
        spread = 1.4826 * float(np.median(np.abs(good - middle)))
        gap = float(np.median(recent)) - middle
        amount = abs(math.expm1(gap)) if self.ratio else abs(gap)
        words = (self.more if gap > 0 else self.less).format(amount)
        return abs(gap) / max(spread, self.least_spread), words


WATCHED = (
    Watched("brightness", 0.03, True, "light: {:.0%} brighter", "light: {:.0%} darker"),
    Watched("sharpness", 0.05, True, "focus: {:.0%} sharper", "focus: {:.0%} less sharp"),
    Watched("shift_x", 0.01, False, "position: {:.1%} of the width further right",
            "position: {:.1%} of the width further left"),
    Watched("shift_y", 0.01, False, "position: {:.1%} of the height further down",
            "position: {:.1%} of the height further up"),
)  # fmt: skip
PRODUCT = Watched("strangeness", 0.2, False, "product: it looks different as a whole", "")


def causes(
    good: Sequence[Mapping[str, float]],
    recent: Sequence[Mapping[str, float]],
    *,
    placed: bool = True,
) -> list[str]:
    """What of how pictures are taken has moved from the good ones', most first; [] if nothing has.

    `good` and `recent` are figures of pictures (`calibration/conditions.py`, `strangeness`).
    `placed`: whether the product lies in one place. The product itself is named only where light,
    focus and position are as they were, for each of them changes how it looks.
    """
    found = []
    for one in WATCHED if placed else WATCHED[:2]:
        found += _moved(one, good, recent)
    found = found or _moved(PRODUCT, good, recent)
    return [words for _, words in sorted(found, reverse=True) if words]


def _moved(
    one: Watched, good: Sequence[Mapping[str, float]], recent: Sequence[Mapping[str, float]]
) -> list[tuple[float, str]]:
    known, seen = (
        np.array([figures[one.figure] for figures in some if one.figure in figures])
        for some in (good, recent)
    )
    if not len(known) or len(seen) < RECENT_LEAST:
        return []
    spreads, words = one.moved(known, seen)
    return [(spreads, words)] if spreads > MOVED else []


@dataclass(slots=True)
class DriftTest:
    """Capital won by betting that scores are no longer like those before them.

    If the scores, calibration and stream together, are exchangeable, the capital reaches
    `ALARM_AT` with probability at most 1 / ALARM_AT, however long one looks. For scores of parts
    that were called normal, give only the calibration scores that would have been, too: below a
    rank of the calibration both are drawn from the same, cut distribution.
    """

    scores: list[float] = field(default_factory=list)  # ascending: all that were seen
    seed: int = 0
    capital: list[float] = field(default_factory=lambda: [1 / len(BETS)] * len(BETS))
    _lots: np.random.Generator = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.scores.sort()
        self._lots = np.random.default_rng(self.seed)

    @property
    def strength(self) -> float:
        """How much one unit of capital has become: the evidence against "nothing changed"."""
        return sum(self.capital)

    @property
    def alarm(self) -> bool:
        """Whether the evidence is enough."""
        return self.strength >= ALARM_AT

    def see(self, score: float) -> float:
        """Take one more score; returns the strength after it."""
        p = self._p_value(score)
        insort(self.scores, score)
        whole = self.strength
        mixed = [(1 - JUMP) * part + JUMP * whole / len(BETS) for part in self.capital]
        self.capital = [part * (1 + bet * (p - 0.5)) for part, bet in zip(mixed, BETS, strict=True)]
        return self.strength

    def see_all(self, scores: Iterable[float]) -> list[float]:
        """The strength after each of several scores."""
        return [self.see(score) for score in scores]

    def _p_value(self, score: float) -> float:
        """Rank from above among all seen so far and itself, ties broken by lot: uniform."""
        above = len(self.scores) - bisect_right(self.scores, score)
        ties = bisect_right(self.scores, score) - bisect_left(self.scores, score) + 1
        return (above + float(self._lots.uniform()) * ties) / (len(self.scores) + 1)

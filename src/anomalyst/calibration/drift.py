"""Has what we see changed? A sequential test on the scores of accepted parts.

Online conformal p-values and a betting martingale: Vovk, Gammerman and Shafer (2005), chapter 7;
the Simple Jumper of Vovk et al. (2021), "Retrain or not retrain: conformal test martingales for
change-point detection", algorithm 1.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

BETS = (-1.0, 0.0, 1.0)  # against high p-values, against none, against low ones
JUMP = 0.01  # share of the capital that changes its bet at each step
ALARM_AT = 100.0  # a stream without change gets here with probability 1 % at most (Ville)


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

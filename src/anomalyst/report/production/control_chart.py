"""A control chart of shares (p-chart) and the Western Electric rules that find what is no chance.

Montgomery, Introduction to Statistical Quality Control, chapter 7 (limits for varying sample size,
standardised); Western Electric, Statistical Quality Control Handbook (1956), for the rules.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

Rule = Literal["beyond 3 sigma", "2 of 3 beyond 2 sigma", "4 of 5 beyond 1 sigma", "8 on one side"]
# Rule -> (how many, of how many points that follow each other, beyond how many sigma on one side);
# the last of them must be one that counts.
RULES: dict[Rule, tuple[int, int, float]] = {
    "beyond 3 sigma": (1, 1, 3.0),
    "2 of 3 beyond 2 sigma": (2, 3, 2.0),
    "4 of 5 beyond 1 sigma": (4, 5, 1.0),
    "8 on one side": (8, 8, 0.0),
}
ENOUGH = (
    5.0  # defectives that a sample should be expected to hold, for limits by sigma to mean much
)


@dataclass(frozen=True, slots=True)
class Signalled:
    """A point at which a rule found that the process has changed."""

    sample: int  # from 0
    rule: Rule
    high: bool  # more defectives than before, or fewer


@dataclass(frozen=True, slots=True)
class PChart:
    """Shares of defectives by sample; a sample without parts is nan throughout."""

    inspected: np.ndarray  # (G,) parts of each sample
    share: np.ndarray  # (G,) of them defective
    centre: float
    lower: np.ndarray  # (G,) limits at 3 sigma, within [0, 1]
    upper: np.ndarray  # (G,)
    z: np.ndarray  # (G,) distance from the centre in sigma
    signals: tuple[Signalled, ...]

    @property
    def expected_few(self) -> bool:
        """Whether samples are so small that sigma says little of what chance does."""
        sizes = self.inspected[self.inspected > 0]
        return bool(sizes.size and np.median(sizes) * self.centre < ENOUGH)


def p_chart(defective: np.ndarray, inspected: np.ndarray, centre: float | None = None) -> PChart:
    """The chart of samples in the order they were taken, (G,) counts each.

    `centre`: the share that is normal for this process, where it is known; else that of all.
    """
    defective, inspected = np.asarray(defective, float), np.asarray(inspected, float)
    assert defective.shape == inspected.shape and (defective <= inspected).all()
    total = inspected.sum()
    if centre is None:
        centre = float(defective.sum() / total) if total else 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(inspected > 0, defective / inspected, np.nan)
        sigma = np.where(inspected > 0, np.sqrt(centre * (1 - centre) / inspected), np.nan)
        z = np.where(sigma > 0, (share - centre) / sigma, np.where(inspected > 0, 0.0, np.nan))
    return PChart(
        inspected=inspected,
        share=share,
        centre=centre,
        lower=np.clip(centre - 3 * sigma, 0, 1),
        upper=np.clip(centre + 3 * sigma, 0, 1),
        z=z,
        signals=western_electric(z),
    )


def western_electric(z: np.ndarray) -> tuple[Signalled, ...]:
    """Where each rule signals, by sample; nan is passed over, as if it had not been taken.

    A rule signals at the point that completes its pattern, and again at each that keeps it.
    """
    taken = np.flatnonzero(~np.isnan(z))
    found = []
    for rule, (least, window, beyond) in RULES.items():
        for side in (1.0, -1.0):
            out = side * z[taken] > beyond
            so_far = np.cumsum(np.concatenate([np.zeros(window, int), out]))
            enough = so_far[window:] - so_far[:-window] >= least
            found += [
                Signalled(int(taken[i]), rule, side > 0) for i in np.flatnonzero(out & enough)
            ]
    return tuple(sorted(found, key=lambda one: (one.sample, list(RULES).index(one.rule))))

"""What known defects set: how a product's pictures are scored, from where on they are anomalous."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from anomalyst.calibration.figures import figures_of
from anomalyst.detection.scoring import Evidence
from anomalyst.errors import AnomalystError
from anomalyst.types import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What mistakes cost, in any one unit; only their ratio matters."""

    missed: float = 1.0  # a defective part called normal
    alarm: float = 1.0  # a good part called anomalous

    def __post_init__(self) -> None:
        for name, cost in (("--cost-missed", self.missed), ("--cost-alarm", self.alarm)):
            if not (math.isfinite(cost) and cost > 0):
                raise AnomalystError(f"{name} is {cost:g}; a number above 0 is needed, as 20.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """Logistic regression on the figures of the tile that stands out most (left_out.py)."""

    weights: tuple[float, ...]  # of each figure as it is: the scaling is in them
    bias: float

    def log_odds(self, figures: np.ndarray) -> float:
        """Of "defective", in nats, if good and defective were as many; figures (F,)."""
        return float(figures @ np.array(self.weights)) + self.bias


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """What a rule that was learnt without a picture says of it."""

    defective: bool  # what it is
    verdict: Verdict
    log_odds: float  # of "defective", by that rule: comparable between rules, as scores are not


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What was found on pictures left out; file names as the user gave them."""

    good: int  # good pictures judged, each against the others
    bad: int
    masked: int  # defective pictures with a mask
    auroc_plain: float  # of the scores that good pictures alone give, [0, 1]
    auroc: float  # of the chosen ones, each picture left out of the choice
    pixel_ap_plain: float | None = None  # mean over the masked pictures, [0, 1]
    pixel_ap: float | None = None
    missed: tuple[str, ...] = ()  # defective, not above the threshold that the others set
    alarms: tuple[str, ...] = ()  # good, above the threshold that the others set
    doubtful: tuple[str, ...] = ()  # good, and more like the defective ones
    reasons: tuple[str, ...] = ()  # why shares and head are as they are, a sentence each
    held_out: tuple[HeldOut, ...] = ()  # of all, if people judged some (crossed.py)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """How a product with known defects is judged."""

    shares: tuple[float, ...] = ()  # of each size; empty: the shipped ones
    head: Head | None = None
    threshold: float  # anomalous above it
    slope: float  # of the log-odds of "defective" over the score, 0 or more
    middle: float  # the score at which they are even
    costs: Costs = field(default_factory=Costs)
    findings: Findings

    def __post_init__(self) -> None:
        head = (*self.head.weights, self.head.bias) if self.head else ()
        if not all(map(math.isfinite, (*head, self.threshold, self.slope, self.middle))):
            raise AnomalystError("a rule of known defects holds what is no number.")
        if any(share <= 0 for share in self.shares):
            raise AnomalystError("a rule of known defects holds a scale share that is not above 0.")

    def score(self, evidence: Sequence[Evidence]) -> float:
        """One picture's score from its tiles: the head's log-odds, or as without a rule.

        Raises AnomalystError if the head was made for other figures than the detector gives.
        """
        most = max(evidence, key=lambda e: e.score)
        if self.head is None:
            return most.score
        figures = figures_of(most)
        if len(figures) != len(self.head.weights):
            raise AnomalystError(
                f"the product's head reads {len(self.head.weights)} figures and the detector gives "
                f"{len(figures)}; teach the product again with --replace."
            )
        return self.head.log_odds(figures)

    def chance(self, score: float) -> float:
        """How likely a picture is defective, if every second one is; in (0, 1)."""
        return 1 / (1 + math.exp(-self.log_odds(score)))

    def log_odds(self, score: float) -> float:
        """Of "defective", in nats, if good and defective were as many; kept within 700."""
        return min(700.0, max(-700.0, self.slope * (score - self.middle)))

    def verdict(self, score: float) -> Verdict:
        """Anomalous above the threshold; unsure down to where the odds are half of those there."""
        if score > self.threshold:
            return "anomalous"
        near = self.slope > 0 and score > self.threshold - math.log(2) / self.slope
        return "unsure" if near else "normal"

    @property
    def note(self) -> str:
        """What an inspection says of its verdict."""
        found = self.findings
        how = " and a head trained on them" if self.head else ""
        return (
            f"The verdict is by the threshold that {found.good} good and {found.bad} defective "
            f"pictures set{how} (a missed defect costs {self.costs.missed:g}, a false alarm "
            f"{self.costs.alarm:g}); the false-alarm rate asked for does not apply to it."
        )

"""One p-value of several senses of the same part, whose false-alarm rate is what it says.

What is valid, and under what: conformal p-values of one sense are valid each for itself, and those
of two senses of one part depend on each other in ways nobody knows. Three combinations:

- `joint` (`JointCalibration`): the same good parts calibrate every sense. How far each part stands
  out among all n + 1 of them, the new one included, is one number; its rank is the p-value. The
  number treats all parts alike, so the p-value is exact for parts exchangeable with the calibrating
  ones, however the senses depend on each other (conformal prediction with a symmetric score: Vovk,
  Gammerman and Shafer 2005, section 2.2). It uses by how much a score is high, not its rank alone:
  one sense that is sure is enough, which it is not for a combination of ranks.
- `bonferroni`: K times the smallest, at most 1. Valid under any dependence; where the senses were
  not calibrated by the same parts.
- `cauchy` (Liu and Xie 2020, eq. 1): the mean of tan((1/2 - p) pi), as a Cauchy variable. Exact for
  independent senses, near so in the tail for dependent ones. Not used for a verdict.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from anomalyst.errors import AnomalystError


def bonferroni(p_values: Sequence[float]) -> float:
    """K p-values in (0, 1] -> one: K times the smallest, at most 1."""
    return min(1.0, len(p_values) * min(p_values))


def cauchy(p_values: Sequence[float]) -> float:
    """K p-values in (0, 1] -> one by the Cauchy combination with equal weights."""
    held = [min(p, 1 - 1e-6) for p in p_values]  # the quantile of 1 is minus infinity
    mean = sum(math.tan((0.5 - p) * math.pi) for p in held) / len(held)
    return 0.5 - math.atan(mean) / math.pi


@dataclass(frozen=True, slots=True, kw_only=True)
class JointCalibration:
    """Scores of good parts, one row a part and one column a sense, none of them remembered."""

    senses: tuple[str, ...]
    scores: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        if any(len(row) != len(self.senses) for row in self.scores):
            raise AnomalystError(
                f"a joint calibration of {', '.join(self.senses)} has rows of other lengths; teach "
                "the product again."
            )

    def p_value(self, scores: Mapping[str, float]) -> float:
        """The share of good parts expected to stand out as much, all senses together, (0, 1].

        Raises AnomalystError unless every sense has a score.
        """
        found = self._together(scores)
        # Sums in another order may differ in the last digits; a tie counts against the part.
        return float(np.mean(found >= found[-1] - 1e-9 * max(1.0, abs(found[-1]))))

    def score(self, scores: Mapping[str, float]) -> float:
        """How far a part stands out in all senses together; unbounded, higher is more anomalous."""
        return float(self._together(scores)[-1])

    def good_scores(self) -> list[float]:
        """How far each of the good parts stands out among them all."""
        return [float(one) for one in _standing_out(np.array(self.scores))]

    def _together(self, scores: Mapping[str, float]) -> np.ndarray:
        """How far all parts stand out, the new one last: (n + 1,)."""
        missing = [sense for sense in self.senses if sense not in scores]
        if missing:
            raise AnomalystError(f"the part has no {missing[0]}, which it was taught with.")
        new = [scores[sense] for sense in self.senses]
        return _standing_out(np.array([*self.scores, new]))  # of (n + 1, K)

    def as_dict(self) -> dict[str, Any]:
        """The calibration as plain JSON values."""
        return {"senses": list(self.senses), "scores": [list(row) for row in self.scores]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The calibration of which `as_dict` gave the values."""
        rows = tuple(tuple(float(one) for one in row) for row in values["scores"])
        return cls(senses=tuple(values["senses"]), scores=rows)


def _standing_out(rows: np.ndarray) -> np.ndarray:
    """How far each part stands out in its senses together: (n, K) -> (n,).

    Scores less their sense's median, in mean absolute deviations from it; then a soft maximum.
    """
    away = rows - np.median(rows, axis=0)
    spread = np.abs(away).mean(axis=0)
    units = np.divide(away, spread, out=np.zeros_like(away), where=spread > 0)
    most = units.max(axis=1, keepdims=True)
    return np.log(np.exp(units - most).mean(axis=1)) + most[:, 0]

"""How unusual a score is among good pictures: conformal p-values and the verdict they allow.

Nothing here looks at how scores are made. Vovk, Gammerman and Shafer (2005); Angelopoulos and
Bates (2021); Bates et al. (2023), "Testing for outliers with conformal p-values".
"""

import json
import math
import statistics
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self, cast, get_args

from anomalyst.errors import AnomalystError
from anomalyst.types import Verdict

Method = Literal["leave-one-out", "split", "procedural"]

PROCEDURAL_SCORES = Path(__file__).parent.parent / "weights" / "calibration.json"
ALONE_SCORES = PROCEDURAL_SCORES.with_name("calibration-alone.json")  # with no good picture

# Spread of a drawn product's normal scores, and how many scores this knowledge is worth (60 drawn
# products, four good pictures, five normal ones each).
USUAL_SPREAD, USUAL_WORTH = 0.75, 4
REFERENCES_MOST = 24  # good pictures that queries are compared with, beside those that calibrate


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Scores of good pictures, ascending, and where they come from. What each method promises:

    - "split": each score is of a good picture that is no reference, against all references. If the
      inspected good pictures come from the same source (are exchangeable with these), the share
      of them with p <= rate is at most `rate`, exactly, whatever the score is: split conformal.
    - "leave-one-out": each good picture is scored against the other n - 1, an inspected one against
      all n. One reference more can only bring a nearest-neighbour score down, so the comparison
      leans towards "normal", and simulated products keep the rate (tests/test_calibration.py).
      What is proven for such scores is twice the rate at worst: jackknife+ (Barber et al. 2021,
      theorem 1), whose p-value, with the score against n - 1, is at most this one. For scores that
      may grow with a reference more, as those of a decoder, nothing is proven.
    - "procedural": scores of good pictures of other, drawn products. A fair guess for a product
      with too few pictures of its own, and no guarantee.
    """

    scores: tuple[float, ...]
    method: Method

    def __post_init__(self) -> None:
        if not all(math.isfinite(score) for score in self.scores):
            raise AnomalystError(
                f"a calibration of {len(self.scores)} scores has some that are not numbers; "
                "teach the product again."
            )
        object.__setattr__(self, "scores", tuple(sorted(float(s) for s in self.scores)))

    @classmethod
    def procedural(cls, quantiles: Sequence[float]) -> Self:
        """From a stored table of equally spaced quantiles of normal scores on drawn products."""
        return cls(scores=tuple(quantiles), method="procedural")

    def p_value(self, score: float) -> float:
        """(1 + number of calibration scores >= `score`) / (n + 1), in (0, 1]; ties raise it."""
        assert not math.isnan(score)
        at_least = len(self.scores) - bisect_left(self.scores, score)
        return (1 + at_least) / (len(self.scores) + 1)

    def estimated_p_value(self, score: float, *, usual: bool = True) -> float:
        """How seldom a good picture would score this high, guessed from a few scores; in (0, 1].

        For two scores or more, too few to count ranks. They are taken as normal, with the spread
        of drawn products as prior knowledge: Student's t (Gelman et al., Bayesian Data Analysis,
        3.3). A guess, and no guarantee. Not `usual`: of scores of another scale than those of drawn
        products, whose spread then is no knowledge.
        """
        from scipy.special import stdtr

        count, mean = len(self.scores), statistics.fmean(self.scores)
        worth = USUAL_WORTH if usual else 0
        freedom = worth + count - 1
        around = sum((s - mean) ** 2 for s in self.scores)
        variance = (worth * USUAL_SPREAD**2 + around) / freedom * (1 + 1 / count)
        if variance == 0:  # all are equal
            return 1e-6 if score > mean else 1.0
        return max(1e-6, float(stdtr(freedom, (mean - score) / math.sqrt(variance))))

    def verdict(self, p_value: float, false_alarm_rate: float) -> Verdict:
        """Anomalous if p <= rate: that is what the rate is promised of. Else unsure up to 2 rate.

        "unsure" is for a person to look at. It is no alarm; at most 2 rate of good pictures are
        either (with the guarantee of the method).
        """
        if p_value <= checked_rate(false_alarm_rate):
            return "anomalous"
        return "unsure" if p_value <= 2 * false_alarm_rate else "normal"

    def enough_for(self, false_alarm_rate: float) -> bool:
        """Whether any score at all could be called anomalous at this rate: n >= 1 / rate - 1."""
        return 1 / (len(self.scores) + 1) <= checked_rate(false_alarm_rate)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"method": self.method, "scores": list(self.scores)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The calibration of which `as_dict` gave the values; AnomalystError for any others."""
        method, scores = values.get("method"), values.get("scores")
        if method not in get_args(Method):
            raise AnomalystError(
                f"a calibration by {method!r}: one of {', '.join(get_args(Method))} is needed; "
                "teach the product again."
            )
        if not isinstance(scores, list) or not all(isinstance(s, int | float) for s in scores):
            raise AnomalystError("a calibration without a list of scores; teach the product again.")
        return cls(scores=tuple(scores), method=cast(Method, method))


def checked_rate(false_alarm_rate: float) -> float:
    """The rate itself. Raises AnomalystError unless it lies between 0 and 1."""
    if not 0 < false_alarm_rate < 1:
        raise AnomalystError(
            f"--false-alarm-rate is {false_alarm_rate}; a share between 0 and 1 is needed, as 0.05."
        )
    return false_alarm_rate


def scores_needed(false_alarm_rate: float) -> int:
    """The fewest calibration scores with which a verdict "anomalous" is possible at this rate."""
    needed = max(0, math.ceil(1 / checked_rate(false_alarm_rate)) - 2)
    while 1 / (needed + 1) > false_alarm_rate:  # the test of `enough_for`, with its rounding
        needed += 1
    return needed


def too_few_note(
    false_alarm_rate: float, calibration: Calibration, product: str, num_good: int
) -> str:
    """What to tell a user whose product has too few good pictures for the rate asked for."""
    if num_good == 0:
        return (
            "No good picture is known, so each picture is judged by itself and the verdict comes "
            "with no guarantee. Give --reference GOOD, or teach a product."
        )
    needed, count = scores_needed(false_alarm_rate), len(calibration.scores)
    # Of a split only the pictures set apart count.
    beside = REFERENCES_MOST if calibration.method == "split" else 0
    has = f"{num_good}, of which {count} calibrate" if beside else str(num_good)
    lower = f", or ask for {_rounded_up(1 / (count + 1))} or higher" if count else ""
    return (
        f"--false-alarm-rate {false_alarm_rate:g} needs {needed + beside} good pictures; product "
        f"{product!r} has {has}. Teach more{lower}. Until then the verdict comes with no "
        "guarantee."
    )


def _rounded_up(rate: float) -> str:
    """Two decimals, or one digit of a smaller number; never below `rate`."""
    decimals = max(2, -math.floor(math.log10(rate)))
    return f"{math.ceil(rate * 10**decimals - 1e-9) / 10**decimals:g}"


def procedural_calibration(path: Path = PROCEDURAL_SCORES) -> Calibration:
    """The calibration that ships with the embedded weights: normal scores on drawn products."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        calibration = Calibration.from_dict(values)
    except FileNotFoundError:
        raise AnomalystError(
            f"{path}: the calibration is missing; install the package again."
        ) from None
    except (OSError, ValueError, AttributeError, AnomalystError) as error:
        raise AnomalystError(f"{path}: is not a calibration ({error}).") from error
    if calibration.method != "procedural" or not calibration.scores:
        raise AnomalystError(f"{path}: holds no procedural scores; install the package again.")
    return calibration

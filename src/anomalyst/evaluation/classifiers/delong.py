"""Areas under ROC curves with their uncertainty, after DeLong, DeLong and Clarke-Pearson.

Each case's share in an area is written as one number, its influence: an area's variance is the sum
of their squares, and the covariance of two areas on the same cases the sum of their products. So
areas of two classifiers, or of the classes of one, are compared without resampling.
Sources: DeLong et al. 1988, Biometrics 44, 837; Sun and Xu 2014, IEEE Signal Processing Letters 21,
1389 (midranks in n log n); Pepe 2003, section 5.2.2 (the interval on the logit scale).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import beta, norm, rankdata

from anomalyst.errors import AnomalystError
from anomalyst.evaluation.metrics import Labels, Scores, checked_scores

CERTAINTY = 0.95


@dataclass(frozen=True, slots=True)
class Area:
    """AUROC in [0, 1], its 95 % interval, its variance.

    All are nan where a class has no case; all but the value, where one has a single case.
    """

    value: float
    low: float
    high: float
    variance: float

    def __str__(self) -> str:
        return f"{self.value:.4f} [{self.low:.4f}, {self.high:.4f}]"


@dataclass(frozen=True, slots=True)
class Difference:
    """Area of a less that of b, the z of DeLong's paired test and its two-sided p.

    Equal scores give z 0 and p 1. z and p are nan where neither area varies though they differ.
    """

    value: float
    z: float
    p: float


def area(labels: Labels, scores: Scores) -> Area:
    """AUROC of scores (N,) for labels (N,) of 0 and 1; ties count half.

    The interval is symmetric on the logit scale, so it stays within [0, 1]. Where all cases are
    placed alike (none out of order, or all scores equal) the variance is 0 and says nothing: then
    the smaller class's cases, each paired with another of the other class, are as many independent
    trials, and the exact binomial interval (Clopper and Pearson 1934) of that share is taken.
    Raises AnomalystError for unequal lengths, other
    labels, or scores that are not numbers.
    """
    truth, values = checked_scores(labels, scores)
    value, influence = _influence(truth, values)
    positives = int(truth.sum())
    return _with_interval(value, influence, min(positives, len(truth) - positives))


def difference(labels: Labels, scores_a: Scores, scores_b: Scores) -> Difference:
    """Whether a's area differs from b's on the same cases: all (N,), labels of 0 and 1.

    Raises AnomalystError as `area` does.
    """
    truth, values_a = checked_scores(labels, scores_a)
    _, values_b = checked_scores(labels, scores_b)
    return _tested(_influence(truth, values_a), _influence(truth, values_b))


def macro_difference(
    labels: Sequence[int] | np.ndarray, probabilities_a: np.ndarray, probabilities_b: np.ndarray
) -> Difference:
    """Whether a's macro AUROC differs from b's on the same cases.

    `labels` (N,) of 0 .. K-1, both `probabilities` (N, K). Each side's mean over classes of the
    AUROC against the rest, of two classes the second's alone. Raises AnomalystError as
    `macro_area` does, and where a and b differ in shape.
    """
    truth, columns_a = checked_probabilities(labels, probabilities_a)
    _, columns_b = checked_probabilities(labels, probabilities_b)
    if columns_a.shape != columns_b.shape:
        raise AnomalystError(
            f"Probabilities of a have shape {columns_a.shape}, of b {columns_b.shape}; "
            "both must be of the same cases and classes."
        )
    classes = [1] if columns_a.shape[1] == 2 else None
    return _tested(
        _macro_influence(truth, columns_a, classes), _macro_influence(truth, columns_b, classes)
    )


def macro_area(labels: Sequence[int] | np.ndarray, probabilities: np.ndarray) -> Area:
    """Mean over classes of each one's AUROC against the rest, with the joint interval.

    `labels` (N,) of 0 .. K-1, `probabilities` (N, K). The classes' areas share their cases; their
    covariances come from the influences, so nothing is taken as independent. Classes without a
    case are refused with an AnomalystError, as is what `area` refuses.
    """
    truth, columns = checked_probabilities(labels, probabilities)
    value, influence = _macro_influence(truth, columns)
    return _with_interval(value, influence, int(np.bincount(truth).min()))


def checked_probabilities(
    labels: Sequence[int] | np.ndarray, probabilities: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Both as int64 (N,) and float64 (N, K), K >= 2; AnomalystError where they do not fit."""
    truth, columns = np.asarray(labels), np.asarray(probabilities, dtype=np.float64)
    if columns.ndim != 2 or columns.shape[1] < 2 or truth.shape != columns.shape[:1]:
        raise AnomalystError(
            f"labels have shape {truth.shape}, probabilities {columns.shape}; (N,) and (N, K) with "
            "at least two classes are needed."
        )
    if not len(truth):
        raise AnomalystError("There is no case at all; at least one of each class is needed.")
    if not np.isin(truth, np.arange(columns.shape[1])).all():
        raise AnomalystError(
            f"labels must be whole numbers of 0 .. {columns.shape[1] - 1}, one per column of the "
            "probabilities; others were given."
        )
    if not np.isfinite(columns).all():
        raise AnomalystError(
            f"{int((~np.isfinite(columns)).any(1).sum())} of {len(columns)} cases have a "
            "probability that is not a number; the network has diverged or its pictures are broken."
        )
    return truth.astype(np.int64), columns


def _influence(truth: np.ndarray, scores: np.ndarray) -> tuple[float, np.ndarray]:
    """The area, and (N,) each case's influence on it: DeLong's placements, centred and scaled."""
    truth = truth.astype(bool)
    positives, negatives = int(truth.sum()), int((~truth).sum())
    influence = np.full(len(scores), math.nan)
    if not positives or not negatives:
        return math.nan, influence
    # A midrank among all less that among its own counts the cases of the other class below.
    ranks = rankdata(scores)
    above = (ranks[truth] - rankdata(scores[truth])) / negatives  # (positives,)
    below = 1 - (ranks[~truth] - rankdata(scores[~truth])) / positives  # (negatives,)
    value = float(above.mean())
    if min(positives, negatives) > 1:
        influence[truth] = (above - value) / math.sqrt(positives * (positives - 1))
        influence[~truth] = (below - value) / math.sqrt(negatives * (negatives - 1))
    return value, influence


def _macro_influence(
    truth: np.ndarray, columns: np.ndarray, classes: Sequence[int] | None = None
) -> tuple[float, np.ndarray]:
    """Mean area of the classes (all, if none are named) against the rest, influences (N,) on it."""
    absent = [k for k in range(columns.shape[1]) if not (truth == k).any()]
    if absent:
        raise AnomalystError(
            f"Of class number {absent[0]} there is no case among {len(truth)}; the mean area over "
            "classes needs at least one of each. Leave the class out, or add pictures of it."
        )
    found = [
        _influence(truth == k, columns[:, k])
        for k in (range(columns.shape[1]) if classes is None else classes)
    ]
    value = float(np.mean([value for value, _ in found]))
    return value, np.mean([influence for _, influence in found], axis=0)


def _tested(first: tuple[float, np.ndarray], second: tuple[float, np.ndarray]) -> Difference:
    """The paired test of two areas, each with its cases' influences (N,)."""
    value, apart = first[0] - second[0], first[1] - second[1]
    variance = float(apart @ apart)
    if variance <= 1e-18:  # rounding of equal areas
        same = abs(value) < 1e-9
        return Difference(value, 0.0 if same else math.nan, 1.0 if same else math.nan)
    z = value / math.sqrt(variance)
    return Difference(value, z, float(2 * norm.sf(abs(z))))


def _with_interval(value: float, influence: np.ndarray, fewest: int) -> Area:
    variance = float(influence @ influence)
    if math.isnan(variance):
        return Area(value, math.nan, math.nan, math.nan)
    if variance <= 1e-18:  # every case is placed alike
        right, tail = value * fewest, (1 - CERTAINTY) / 2
        low = float(beta.ppf(tail, right, fewest - right + 1)) if value > 0 else 0.0
        high = float(beta.ppf(1 - tail, right + 1, fewest - right)) if value < 1 else 1.0
        return Area(value, low, high, variance)
    middle = math.log(value / (1 - value))
    reach = float(norm.ppf((1 + CERTAINTY) / 2)) * math.sqrt(variance) / (value * (1 - value))
    low, high = (
        1 / (1 + math.exp(-min(max(end, -700.0), 700.0)))
        for end in (middle - reach, middle + reach)
    )
    return Area(value, low, high, variance)

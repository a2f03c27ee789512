"""How well scores rank defective above good, and whether one score does so better than another."""

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Gain:
    """How much better one way is than another, on the same pictures."""

    mean: float
    error: float  # standard error of the mean

    def clear(self, errors: float) -> bool:
        """Whether it is more than so many standard errors, and more than nothing."""
        return self.mean > max(errors * self.error, 0.0)


def auroc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Chance that a defective one (label 1) scores above a good one (0); a tie counts half."""
    return float(_wins(labels, scores).mean())


def average_precision(labels: np.ndarray, scores: np.ndarray) -> float:
    """Sum over thresholds of (gain in recall) x precision; ties are one threshold."""
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(labels[order].astype(np.int64))
    last = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))  # of equal scores
    precision = hits[last] / (last + 1)
    return float(np.dot(np.diff(hits[last], prepend=0), precision) / hits[-1])


def auroc_gain(labels: np.ndarray, plain: np.ndarray, other: np.ndarray) -> Gain:
    """AUROC of `other` less that of `plain`, with the paired standard error.

    DeLong, DeLong and Clarke-Pearson (1988), Biometrics 44: the variance of the mean over defective
    pictures plus that over good ones, of each one's own share of the difference.
    """
    wins = _wins(labels, other) - _wins(labels, plain)  # (bad, good)
    parts = [wins.mean(1), wins.mean(0)]
    variance = sum(float(p.var(ddof=1)) / len(p) for p in parts if len(p) > 1)
    return Gain(float(wins.mean()), math.sqrt(variance))


def resampled_gain(gains: np.ndarray, tested_share: float) -> Gain:
    """Gains (J,) on J overlapping test parts -> their mean and its corrected standard error.

    Nadeau and Bengio (2003), Machine Learning 52: the parts share training pictures, so the
    variance is divided by less than J: (1 / J + tested / trained) times the sample variance.
    """
    spread = float(gains.var(ddof=1)) if len(gains) > 1 else 0.0
    correction = 1 / len(gains) + tested_share / (1 - tested_share)
    return Gain(float(gains.mean()), math.sqrt(correction * spread))


def _wins(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Of each defective one over each good one: 1, a half for a tie, else 0; (bad, good)."""
    bad, good = scores[labels == 1], scores[labels == 0]
    wins: np.ndarray = (bad[:, None] > good) + 0.5 * (bad[:, None] == good)
    return wins

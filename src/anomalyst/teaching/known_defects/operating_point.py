"""The operating point: which threshold costs least, and what it costs on pictures left out."""

import numpy as np

from anomalyst.calibration.operating_rule import Costs


def cost_of(labels: np.ndarray, scores: np.ndarray, threshold: float, costs: Costs) -> float:
    """What a threshold costs on n pictures; labels (n,) of 0 good, 1 defective."""
    missed = int(((labels == 1) & (scores <= threshold)).sum())
    alarms = int(((labels == 0) & (scores > threshold)).sum())
    return costs.missed * missed + costs.alarm * alarms


def best_threshold(labels: np.ndarray, scores: np.ndarray, costs: Costs) -> float:
    """The threshold that costs least on n pictures; anomalous is what scores above it.

    Of all that cost the same, the middle of the widest gap between two scores. Beyond the lowest
    or highest score, where nothing but that costs least, it lies a usual gap away.
    """
    values = np.unique(scores)
    usual = float(np.ptp(values)) / max(1, len(values) - 1) or 1.0
    cuts = np.concatenate(
        [[values[0] - usual], (values[:-1] + values[1:]) / 2, [values[-1] + usual]]
    )
    widths = np.concatenate([[0.0], np.diff(values), [0.0]])
    bad, good = np.sort(scores[labels == 1]), np.sort(scores[labels == 0])
    missed = np.searchsorted(bad, cuts, side="right")
    alarms = len(good) - np.searchsorted(good, cuts, side="right")
    cost = costs.missed * missed + costs.alarm * alarms
    least = np.flatnonzero(np.isclose(cost, cost.min(), rtol=1e-12))
    return float(cuts[least[np.argmax(widths[least])]])


def called_anomalous(labels: np.ndarray, scores: np.ndarray, costs: Costs) -> np.ndarray:
    """Whether each of n pictures scores above the threshold that the others set: bool (n,)."""
    everyone = np.arange(len(labels))
    thresholds = [
        best_threshold(labels[everyone != i], scores[everyone != i], costs) for i in everyone
    ]
    return scores > np.array(thresholds)

"""Whether probabilities mean what they say: of all cases called 80 % sure, are 80 % right?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from anomalyst.evaluation.classifiers.delong import checked_probabilities

NUM_BINS = 15  # Guo et al. 2017, ICML, section 2
SMALLEST = 1e-12  # a probability of 0 for the truth would make the whole mean infinite


@dataclass(frozen=True, slots=True, kw_only=True)
class Reliability:
    """What probabilities are worth beside the truth.

    `ece` in [0, 1]: mean distance of confidence and accuracy, weighted by cases (Guo et al. 2017,
    equation 3; confidence is the largest probability). `brier` in [0, 2]: squared distance from the
    truth summed over all classes (Brier 1950; for two classes twice the form with one probability).
    `nll`: mean negative logarithm of the truth's probability, in nats. `confidence`, `accuracy`
    and `counts` (bins,): the curve, bins of equal width without cases left out.
    """

    ece: float
    brier: float
    nll: float
    confidence: tuple[float, ...]
    accuracy: tuple[float, ...]
    counts: tuple[int, ...]


def reliability(
    labels: Sequence[int] | np.ndarray, probabilities: np.ndarray, *, num_bins: int = NUM_BINS
) -> Reliability:
    """Of labels (N,) of 0 .. K-1 and probabilities (N, K) whose rows sum to 1.

    Raises AnomalystError for shapes or labels that do not fit, and for what is not a number.
    """
    truth, columns = checked_probabilities(labels, probabilities)
    confident, right = columns.max(1), columns.argmax(1) == truth
    # Bins are open below and closed above, as in the source: 0.8 belongs to (0.7333, 0.8].
    bins = np.clip(np.ceil(confident * num_bins - 1e-9).astype(int) - 1, 0, num_bins - 1)
    counts = np.bincount(bins, minlength=num_bins)
    held = counts > 0
    confidence = np.bincount(bins, confident, num_bins)[held] / counts[held]
    accuracy = np.bincount(bins, right, num_bins)[held] / counts[held]
    of_truth = columns[np.arange(len(truth)), truth]
    return Reliability(
        ece=float(np.abs(confidence - accuracy) @ counts[held] / len(truth)),
        brier=float(((columns - np.eye(columns.shape[1])[truth]) ** 2).sum(1).mean()),
        nll=float(-np.log(np.maximum(of_truth, SMALLEST)).mean()),
        confidence=tuple(confidence.tolist()),
        accuracy=tuple(accuracy.tolist()),
        counts=tuple(counts[held].tolist()),
    )

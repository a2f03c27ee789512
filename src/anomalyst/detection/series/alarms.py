"""Combined values of a stream -> when to speak: by what it lately was, and once for each event."""

import numpy as np
from scipy.ndimage import maximum_filter1d

LEAST_PAST = 0.5  # of the mean surprise of the past, or a quiet past would make anything an alarm


def beside_the_past(values: np.ndarray, memory: int) -> np.ndarray:
    """Values (T,) over 0.5 + the mean of those of the last `memory` samples; 0: as they are.

    For streams whose good samples change with the years: what was surprising all along is less so
    now. Causal.
    """
    if not memory:
        return values
    at = np.arange(len(values))
    sums = np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
    first = np.maximum(0, at - memory)
    past = (sums[at] - sums[first]) / np.maximum(1, at - first)
    return values / (LEAST_PAST + past)


def once_each(values: np.ndarray, quiet: int) -> np.ndarray:
    """Values (T,) that exceed all of the `quiet` samples before them, the others 0.

    An alarm is given where something begins or becomes worse, and not again while it lasts.
    """
    if not quiet:
        return values
    padded = np.concatenate([np.zeros(quiet, values.dtype), values[:-1]])
    # `before[t]` is the highest of padded[t] to padded[t + quiet - 1]: the samples before t.
    before = maximum_filter1d(padded, quiet, origin=-(quiet // 2))[: len(values)]
    return np.where(values > before, values, 0)

"""Logistic regression for few pictures: Newton's method, ridge penalty, both kinds alike."""

import numpy as np

from anomalyst.calibration.operating_rule import Head

PENALTY = 10.0  # of the squared weights of standardised figures; sklearn's 1 / C
PLAIN_WORTH = 10.0  # how much larger the score's own figure is made: it is hardly penalised
MOST_STEPS = 50


def fit_logistic(
    figures: np.ndarray, targets: np.ndarray, weights: np.ndarray, penalty: float
) -> tuple[np.ndarray, float]:
    """Figures (n, F), targets (n,) in [0, 1], weights (n,) -> weights (F,) and bias.

    Minimises sum of weights x cross-entropy + penalty / 2 x squared weights; the bias is free.
    """
    wide = np.concatenate([figures, np.ones((len(figures), 1))], 1)
    ridge = np.diag([penalty] * figures.shape[1] + [1e-9])
    found = np.zeros(wide.shape[1])
    value = _objective(wide, targets, weights, ridge, found)
    for _ in range(MOST_STEPS):
        chance = 1 / (1 + np.exp(-np.clip(wide @ found, -500, 500)))
        slope = wide.T @ (weights * (chance - targets)) + ridge @ found
        curve = (wide.T * (weights * chance * (1 - chance))) @ wide + ridge
        step = np.linalg.solve(curve, slope)
        size = 1.0
        while size > 1e-6:  # Newton's step may overshoot far from the minimum
            after = _objective(wide, targets, weights, ridge, found - size * step)
            if after <= value:
                break
            size /= 2
        found, gained = found - size * step, value - after
        value = after
        if gained < 1e-10 * max(1.0, abs(value)):
            break
    return found[:-1], float(found[-1])


def balanced(labels: np.ndarray) -> np.ndarray:
    """Weights (n,) whose sum is n and alike for both kinds."""
    counts = np.bincount(labels, minlength=2)
    weights: np.ndarray = len(labels) / (2 * counts[labels])
    return weights


def fit_head(figures: np.ndarray, labels: np.ndarray, penalty: float = PENALTY) -> Head:
    """Figures (n, F), the score first, and labels (n,) -> a head that reads them as they are."""
    middle, spread = figures.mean(0), figures.std(0)
    scale = np.where(spread > 1e-9, 1 / np.maximum(spread, 1e-9), 0.0)
    scale[0] *= PLAIN_WORTH
    weights, bias = fit_logistic(
        (figures - middle) * scale, labels.astype(float), balanced(labels), penalty
    )
    own = weights * scale
    return Head(weights=tuple(own.tolist()), bias=float(bias - own @ middle))


def left_out_log_odds(figures: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Each picture's log-odds by a head that never saw it: float64 (n,)."""
    everyone = np.arange(len(labels))
    return np.array(
        [
            fit_head(figures[everyone != i], labels[everyone != i]).log_odds(figures[i])
            for i in everyone
        ]
    )


def even_odds(labels: np.ndarray, scores: np.ndarray) -> tuple[float, float]:
    """Slope (0 or more) and middle of the log-odds of "defective" over the score.

    Platt (1999), "Probabilistic outputs for support vector machines": targets a little inside 0
    and 1, so that kinds that do not overlap give no infinite slope. Both kinds weigh alike.
    """
    good, bad = np.bincount(labels, minlength=2)
    targets = np.where(labels == 1, (bad + 1) / (bad + 2), 1 / (good + 2))
    centre, spread = float(scores.mean()), float(scores.std()) or 1.0
    around = ((scores - centre) / spread)[:, None]
    weights, bias = fit_logistic(around, targets, balanced(labels), 1e-3)
    slope = max(0.0, float(weights[0]) / spread)
    return slope, centre - bias / slope if slope > 0 else centre


def _objective(
    wide: np.ndarray, targets: np.ndarray, weights: np.ndarray, ridge: np.ndarray, at: np.ndarray
) -> float:
    odds = wide @ at
    loss = np.logaddexp(0, odds) - targets * odds
    return float(weights @ loss + at @ ridge @ at / 2)

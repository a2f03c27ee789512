"""What known defects are good for: scale shares, a supervised head and a threshold, chosen.

Nothing is taken that does not clearly beat what good pictures alone give, on pictures left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from anomalyst.calibration.operating_rule import Costs, Findings, Rule
from anomalyst.teaching.known_defects.left_out import LeftOutScores
from anomalyst.teaching.known_defects.operating_point import best_threshold, called_anomalous
from anomalyst.teaching.known_defects.ranking import Gain, auroc, auroc_gain, resampled_gain
from anomalyst.teaching.known_defects.regression import even_odds, fit_head, left_out_log_odds

SEED = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceConfig:
    """When a choice counts as better than what good pictures alone give."""

    errors: float = 1.0
    """How many standard errors it must be better by."""
    repeats: int = 10
    """How often the pictures are dealt into folds to choose scale shares."""
    folds: int = 5
    """At most; no more than there are defective pictures."""
    head_least: int = 10
    """The fewest defective pictures with which a head is trained."""


def learn_rule(
    judged: LeftOutScores,
    names: Sequence[str],
    costs: Costs,
    config: ChoiceConfig | None = None,
) -> tuple[Rule, np.ndarray]:
    """What n pictures (good first) set, and their left-out scores, float64 (n,).

    Each score is of a picture that its good pictures and its head never saw. Which shares to take
    is chosen for each from the others, too; whether a head is kept, from all.
    """
    config = config or ChoiceConfig()
    labels = judged.labels
    chosen, reasons = choose_shares(judged, config)
    own = judged.scores[chosen]
    left_out = _each_by_others(judged) if chosen else own
    trained, said = _head_scores(judged, chosen, config)
    if trained is not None:
        own = left_out = trained
    slope, middle = even_odds(labels, own)
    anomalous = called_anomalous(labels, own, costs)
    findings = Findings(
        good=int((labels == 0).sum()),
        bad=int(labels.sum()),
        masked=_masked(judged),
        auroc_plain=auroc(labels, judged.scores[0]),
        auroc=auroc(labels, left_out),
        pixel_ap_plain=_mean(judged.precision[0]),
        pixel_ap=_mean(judged.precision[chosen]),
        missed=_named(names, (labels == 1) & ~anomalous),
        alarms=_named(names, (labels == 0) & anomalous),
        doubtful=_named(names, doubtful(labels, own, slope * (own - middle))),
        reasons=reasons + said,
    )
    rule = Rule(
        shares=judged.shares[chosen] if chosen else (),
        head=None if trained is None else fit_head(judged.figures[chosen], labels),
        threshold=best_threshold(labels, own, costs),
        slope=slope,
        middle=middle,
        costs=costs,
        findings=findings,
    )
    return rule, own


def _head_scores(
    judged: LeftOutScores, chosen: int, config: ChoiceConfig
) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Left-out log-odds of a trained head if it clearly pays, else None; and why, in words."""
    if not judged.figures.shape[2]:
        return None, ()
    labels, plain = judged.labels, judged.scores[chosen]
    if int(labels.sum()) < config.head_least:
        return None, (f"no head: it takes {config.head_least} defective pictures",)
    trained = left_out_log_odds(judged.figures[chosen], labels)
    gain = auroc_gain(labels, plain, trained)
    kept = gain.clear(config.errors)
    said = _said_of_head(auroc(labels, plain), auroc(labels, trained), gain, kept)
    return (trained if kept else None), (said,)


def choose_shares(judged: LeftOutScores, config: ChoiceConfig) -> tuple[int, tuple[str, ...]]:
    """Which candidate of shares to take, 0 for the shipped ones, and why.

    Repeated stratified cross-validation of the act of choosing: the candidate that ranks the
    pictures of all folds but one best is tried on that one, beside the shipped shares. Only if that
    pays by more than `config.errors` standard errors is the best of all pictures taken.
    """
    if len(judged.shares) == 1:
        return 0, ()
    labels = judged.labels
    folds = min(config.folds, int(labels.sum()), int((labels == 0).sum()))
    rng = np.random.default_rng(SEED)
    gains = []
    for _ in range(config.repeats):
        fold_of = dealt(labels, folds, rng)
        for fold in range(folds):
            inside, outside = fold_of == fold, fold_of != fold
            best = int(np.argmax(worth(judged, outside)))
            tried = worth(judged, inside)
            gains.append(tried[best] - tried[0])
    gain = resampled_gain(np.array(gains), 1 / folds)
    best = int(np.argmax(worth(judged, np.ones(len(labels), bool))))
    if best == 0:
        return 0, ("shipped scale shares: none of the others ranks these pictures better",)
    said = f"{gain.mean:+.3f} ± {gain.error:.3f} on folds left out"
    shares = _shown(judged.shares[best])
    if gain.clear(config.errors):
        return best, (f"scale shares {shares} instead of {_shown(judged.shares[0])}: {said}",)
    return 0, (f"shipped scale shares: {shares} would not clearly be better ({said})",)


def worth(judged: LeftOutScores, of: np.ndarray) -> np.ndarray:
    """How good each candidate is on some pictures, bool (n,): float64 (C,).

    AUROC, or where some have masks, the mean of it and their mean pixel AP.
    """
    ranked = np.array([auroc(judged.labels[of], scores[of]) for scores in judged.scores])
    precision = judged.precision[:, of]
    known = ~np.isnan(precision[0])
    return (ranked + precision[:, known].mean(1)) / 2 if known.any() else ranked


def doubtful(labels: np.ndarray, scores: np.ndarray, odds: np.ndarray) -> np.ndarray:
    """Good pictures more like the defective ones: bool (n,).

    More likely defective than good by their score, and above half of the defective ones.
    """
    half = float(np.median(scores[labels == 1]))
    return cast(np.ndarray, (labels == 0) & (odds > 0) & (scores >= half))


def _each_by_others(judged: LeftOutScores) -> np.ndarray:
    """Each picture's score under the shares that the others rank best with, (n,)."""
    everyone = np.arange(len(judged.labels))
    best = [int(np.argmax(worth(judged, everyone != i))) for i in everyone]
    return judged.scores[best, everyone]


def dealt(labels: np.ndarray, folds: int, rng: np.random.Generator) -> np.ndarray:
    """The fold of each picture, (n,); each fold has its part of both kinds."""
    fold_of = np.empty(len(labels), int)
    for kind in (0, 1):
        members = rng.permutation(np.flatnonzero(labels == kind))
        fold_of[members] = np.arange(len(members)) % folds
    return fold_of


def _said_of_head(plain: float, trained: float, gain: Gain, kept: bool) -> str:
    said = f"left-one-out AUROC {plain:.3f} -> {trained:.3f}, {gain.mean:+.3f} ± {gain.error:.3f}"
    return f"head kept: {said}" if kept else f"no head: it is not clearly better ({said})"


def _named(names: Sequence[str], which: np.ndarray) -> tuple[str, ...]:
    return tuple(name for name, one in zip(names, which, strict=True) if one)


def _masked(judged: LeftOutScores) -> int:
    return int((~np.isnan(judged.precision[0])).sum())


def _mean(precision: np.ndarray) -> float | None:
    known = precision[~np.isnan(precision)]
    return float(known.mean()) if len(known) else None


def _shown(shares: Sequence[float]) -> str:
    return " : ".join(f"{share:g}" for share in shares)

"""Pictures that teach, as a fair test: each is judged by a rule that was learnt without it."""

from dataclasses import replace

import numpy as np

from anomalyst.calibration.operating_rule import Costs, HeldOut, Rule
from anomalyst.teaching.known_defects.choice import SEED, ChoiceConfig, dealt, learn_rule
from anomalyst.teaching.known_defects.left_out import LeftOutScores


def held_out(
    looked: LeftOutScores, costs: Costs, config: ChoiceConfig | None = None
) -> tuple[HeldOut, ...]:
    """What is said of each of n pictures by the rule of the other folds.

    Stratified cross-validation of all that `learn_rule` does: shares, head, threshold. A head is
    tried from as many defective pictures on as a fold leaves of the usual number.
    """
    config = config or ChoiceConfig()
    labels = looked.labels
    folds = min(config.folds, int(labels.sum()), int((labels == 0).sum()))
    least = config.head_least * (folds - 1) // folds
    config = replace(config, head_least=max(2, least))
    fold_of = dealt(labels, folds, np.random.default_rng(SEED))
    found: list[HeldOut | None] = [None] * len(labels)
    for fold in range(folds):
        others = looked.some(fold_of != fold)
        rule, _ = learn_rule(others, [""] * len(others.labels), costs, config)
        chosen = looked.shares.index(rule.shares) if rule.shares else 0
        for i in np.flatnonzero(fold_of == fold):
            score = float(looked.scores[chosen, i])
            if rule.head is not None:
                score = rule.head.log_odds(looked.figures[chosen, i])
            found[i] = _said(rule, score, bool(labels[i]))
    return tuple(one for one in found if one is not None)


def _said(rule: Rule, score: float, defective: bool) -> HeldOut:
    return HeldOut(defective=defective, verdict=rule.verdict(score), log_odds=rule.log_odds(score))

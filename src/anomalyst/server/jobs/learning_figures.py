"""What judgements change, in figures, and whether that is taken."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from anomalyst.calibration.conformal import Calibration
from anomalyst.calibration.operating_rule import Costs
from anomalyst.product import Product
from anomalyst.server.jobs.tasks import JudgedPicture
from anomalyst.teaching.known_defects.ranking import auroc
from anomalyst.types import Verdict

CHANGED_MOST = 60  # verdicts that are listed


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A judged picture under the product as it was, and by a rule that was learnt without it."""

    one: JudgedPicture
    spoiled: bool
    before: Verdict
    after: Verdict
    score: float  # before
    log_odds: float  # after


def figures_of(
    before: Product, after: Product, seen: Sequence[Seen], held: int, rate: float
) -> dict[str, Any]:
    """Before and after on the judged pictures, and whether the change is taken."""
    assert after.rule is not None and after.bad is not None
    rule, spoiled = after.rule, sum(one.spoiled for one in seen)
    labels = np.array([int(one.spoiled) for one in seen])
    verdicts = [[one.before for one in seen], [one.after for one in seen]]
    good = [_good_alarms(before, rate), _good_held_out(after)]
    both = [_counts(labels, said) for said in verdicts]
    figures: dict[str, Any] = {
        "spoiled": spoiled,
        "fine": len(seen) - spoiled,
        "masked": len(after.bad.masks),
        "held_out": held,
        "aside": len(seen) - held,
        "taught": len(after.bad.pictures) + len(after.bad.fine) - held,
        "costs": {"missed": rule.costs.missed, "alarm": rule.costs.alarm},
        "head": rule.head is not None,
        "reasons": list(rule.findings.reasons),
        "before": both[0]
        | {
            "auroc": _auroc(labels, [one.score for one in seen]),
            "threshold": before.rule.threshold if before.rule else _limit(before, rate),
            "good_alarms": good[0],
            "calibrates": len(before.calibration.scores),
        },
        "after": both[1]
        | {
            "auroc": _auroc(labels, [one.log_odds for one in seen]),
            "threshold": rule.threshold,
            "good_alarms": good[1],
            "calibrates": len(after.calibration.scores),
        },
        "changed": _changed(seen),
    }
    return figures | _decision(before, after, seen, figures, rate)


def _decision(
    before: Product, after: Product, seen: Sequence[Seen], figures: dict[str, Any], rate: float
) -> dict[str, Any]:
    """Taken if mistakes on pictures left out cost no more; good pictures taught are among them.

    A product that keeps its false-alarm rate gives that up for a threshold, so there the gain must
    be clear: above one standard error, by the pictures that change sides (McNemar 1947).
    """
    rule = after.rule
    assert rule is not None
    kept = before.rule is None and before.calibration.enough_for(rate)
    if before.calibration.enough_for(rate) and not after.calibration.enough_for(rate):
        count = len(after.calibration.scores)
        return {
            "taken": False,
            "reason": f"only {count} good pictures would calibrate, too few for the false-alarm "
            f"rate {rate:g}; teach more good pictures.",
        }
    paid = np.array(
        [[_cost(one, said, rule.costs) for said in (one.before, one.after)] for one in seen]
    )
    alarms = [rule.costs.alarm * figures[side]["good_alarms"][0] for side in ("before", "after")]
    total = paid.sum(0) + alarms
    moved = float((np.diff(paid) ** 2).sum()) + rule.costs.alarm * sum(alarms)
    gain, error = total[0] - total[1], moved**0.5
    said = f"mistakes on pictures left out cost {total[1]:g} with what people judged, {total[0]:g}"
    if gain < 0:
        return {"taken": False, "reason": f"{said} without; the product stays as it was."}
    if kept and gain <= error:
        return {
            "taken": False,
            "reason": f"{said} without: not clearly less ({gain:g} ± {error:.1f}), so the product "
            "keeps its false-alarm rate. Judge more pictures.",
        }
    return {"taken": True, "reason": f"{said} without."}


def _cost(one: Seen, said: Verdict, costs: Costs) -> float:
    """As the threshold counts: a defect that is only unsure is not found."""
    if one.spoiled:
        return 0.0 if said == "anomalous" else costs.missed
    return costs.alarm if said == "anomalous" else 0.0


def _counts(labels: np.ndarray, verdicts: Sequence[Verdict]) -> dict[str, int]:
    pairs = list(zip(labels.tolist(), verdicts, strict=True))
    return {
        "alarms": sum(not bad and said == "anomalous" for bad, said in pairs),
        "missed": sum(bad and said == "normal" for bad, said in pairs),
        "unsure": sum(said == "unsure" for _, said in pairs),
    }


def _good_alarms(product: Product, rate: float) -> tuple[int, int]:
    """Of the good pictures taught, how many are called anomalous when left out; and of how many."""
    if product.rule is not None:
        return len(product.rule.findings.alarms), product.rule.findings.good
    scores, method = product.calibration.scores, product.calibration.method
    alarms = 0
    for i, score in enumerate(scores if len(scores) > 2 else ()):
        others = Calibration(scores=scores[:i] + scores[i + 1 :], method=method)
        enough = others.enough_for(rate)
        p_value = others.p_value(score) if enough else others.estimated_p_value(score)
        alarms += p_value <= rate
    return alarms, len(scores)


def _good_held_out(after: Product) -> tuple[int, int]:
    assert after.rule is not None and after.bad is not None
    others = len(after.bad.fine) + len(after.bad.pictures)
    good = after.rule.findings.held_out[:-others]
    return sum(one.verdict == "anomalous" for one in good), len(good)


def _limit(product: Product, rate: float) -> float | None:
    """The score above which a picture is called anomalous at a rate; None: too few good ones."""
    own = product.calibration
    if not own.enough_for(rate):
        return None
    return max((score for score in own.scores if own.p_value(score) > rate), default=None)


def _auroc(labels: np.ndarray, scores: Sequence[float]) -> float | None:
    if not 0 < labels.sum() < len(labels):
        return None
    return round(auroc(labels, np.array(scores)), 4)


def _changed(seen: Sequence[Seen]) -> list[dict[str, Any]]:
    """Verdicts that change, those that become wrong first."""
    changed = [one for one in seen if one.before != one.after]
    changed.sort(key=lambda one: (one.after == "anomalous") == one.spoiled)
    return [
        {
            "picture": one.one.picture,
            "name": one.one.name,
            "called": "spoiled" if one.spoiled else "fine",
            "before": one.before,
            "after": one.after,
        }
        for one in changed[:CHANGED_MOST]
    ]

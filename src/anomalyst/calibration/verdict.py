"""A score -> p-value, verdict, how sure, and whose calibration that rests on."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from anomalyst.calibration.conformal import Calibration, too_few_note
from anomalyst.calibration.operating_rule import Rule
from anomalyst.detection.scoring import Evidence
from anomalyst.types import Verdict

# Normal real parts stand out by so much more than normal drawn ones, in the units of the contrast;
# and the contrast of a real picture that is as likely defective as normal. Chosen on the sets
# cookie, ballscrew and paper_brown, looked at once on the others (docs/benchmarks.md).
REAL_SHIFT, REAL_MIDDLE = 1.6, 1.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What is made of a score."""

    score: float  # unbounded, higher is more anomalous
    p_value: float
    verdict: Verdict
    confidence: float  # that the verdict is right; of an unsure one, that there is a defect
    guaranteed: bool  # the product's own good pictures calibrate it
    notes: tuple[str, ...] = ()


def decide(
    evidence: Sequence[Evidence],
    rate: float,
    *,
    own: Calibration,
    drawn: Calibration | None,
    product: str,
    num_good: int,
    rule: Rule | None = None,
) -> Decision:
    """The decision on one picture's tiles.

    With enough good pictures the product's own calibration decides. With 2 to 18 their scores are
    a guess; with one or none the contrasts of drawn products (`drawn`, None for an encoder they
    were not made with), by so much higher as real parts vary more. Without a guarantee, a part that
    is no alarm but more likely defective than normal is "unsure": there a person should look. A
    `rule` that known defects set decides in place of all these.
    """
    if rule is not None:
        return _decided_by(rule, rule.score(evidence), own)
    score = max(e.score for e in evidence)
    if own.enough_for(rate):
        p_value = own.p_value(score)
        return _decision(score, p_value, own.verdict(p_value, rate), guaranteed=True)
    note = too_few_note(rate, own, product, num_good)
    if drawn is None:
        return _decision(score, own.p_value(score), "unsure", note)
    contrast = max(e.contrast for e in evidence if e.contrast is not None)
    if num_good == 0:
        p_value = drawn.p_value(contrast - REAL_SHIFT)
        return _decision(score, p_value, drawn.verdict(p_value, rate), note)
    chance = chance_of_defect(contrast)
    if len(own.scores) >= 2:
        p_value = own.estimated_p_value(score)
        alarm = own.verdict(p_value, rate) == "anomalous"
    else:
        p_value = drawn.p_value(contrast - REAL_SHIFT)
        alarm = p_value <= rate
    verdict: Verdict = "anomalous" if alarm else "unsure" if chance >= 0.5 else "normal"
    return _decision(score, p_value, verdict, note, chance=chance)


def decide_alone(
    score: float, rate: float, own: Calibration, product: str, num_good: int
) -> Decision:
    """The decision on a score that only the product's own good parts can calibrate.

    Of 2 to 18 of them their scores are a guess, without a guarantee; of one alone nothing can be
    told but where to look.
    """
    if own.enough_for(rate):
        p_value = own.p_value(score)
        return _decision(score, p_value, own.verdict(p_value, rate), guaranteed=True)
    note = too_few_note(rate, own, product, num_good)
    if len(own.scores) < 2:
        return _decision(score, 1.0, "unsure", note)
    p_value = own.estimated_p_value(score)
    return _decision(score, p_value, own.verdict(p_value, rate), note)


def posed(decision: Decision, aligned: bool, notes: tuple[str, ...]) -> Decision:
    """A decision and what there is to say of the pose: no alarm where nothing was aligned."""
    decision = replace(decision, notes=(*decision.notes, *notes))
    if aligned or decision.verdict != "anomalous":
        return decision
    return replace(decision, verdict="unsure", guaranteed=False)


def chance_of_defect(contrast: float) -> float:
    """How likely a picture beside few good ones is to have a defect, if every second has one.

    From `Evidence.contrast`, which is on a logistic scale; in (0, 1). A fair guess.
    """
    return 1 / (1 + math.exp(REAL_MIDDLE - contrast))


def _decided_by(rule: Rule, score: float, own: Calibration) -> Decision:
    """The p-value stays what it was, for good pictures alone; only the verdict is by the rule.

    The spread of drawn products, behind a p-value from few scores, says nothing of a head's.
    """
    counted = rule.head is not None or own.enough_for(0.05)
    p_value = own.p_value(score) if counted else own.estimated_p_value(score)
    chance = rule.chance(score)
    return _decision(score, p_value, rule.verdict(score), rule.note, chance=chance)


def _decision(
    score: float,
    p_value: float,
    verdict: Verdict,
    note: str = "",
    *,
    chance: float | None = None,
    guaranteed: bool = False,
) -> Decision:
    """Without a chance of a defect, the p-value says how sure: half of it goes to either side."""
    if chance is None:
        chance = 1 - p_value if verdict != "normal" else (1 - p_value) / 2
    return Decision(
        score=score,
        p_value=p_value,
        verdict=verdict,
        confidence=1 - chance if verdict == "normal" else chance,
        guaranteed=guaranteed,
        notes=(note,) if note else (),
    )

"""The verdict of several senses together keeps its false-alarm rate, whatever joins them."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
from scipy.stats import cauchy as cauchy_law

from anomalyst.calibration.fusion import JointCalibration, bonferroni, cauchy
from anomalyst.errors import AnomalystError

SENSES = ("image", "audio", "depth")


def drawn(rng, count: int, dependence: str) -> np.ndarray:
    """Scores of good parts, (count, 3), of senses that depend on each other in some way."""
    noise = rng.normal(size=(count, 3))
    if dependence == "equal":
        noise[:] = noise[:, :1]
    elif dependence == "against":
        noise[:, 1] = -noise[:, 0]
    elif dependence == "bursts":
        noise *= 1 + 5 * (rng.random((count, 1)) < 0.1)
    return noise * (1, 20, 0.01) + (0, 5, -3)


def calibration(scores) -> JointCalibration:
    return JointCalibration(senses=SENSES, scores=tuple(map(tuple, scores.tolist())))


def p_of(joint: JointCalibration, row) -> float:
    return joint.p_value(dict(zip(SENSES, row, strict=True)))


@pytest.mark.parametrize("dependence", ["none", "equal", "against", "bursts"])
def test_the_joint_rate_is_kept_whatever_the_dependence(dependence):
    rng = np.random.default_rng(3)
    alarms = []
    for _ in range(200):  # products, each with 39 calibrating parts and 20 new ones
        scores = drawn(rng, 59, dependence)
        joint = calibration(scores[:39])
        alarms += [p_of(joint, row) <= 0.05 for row in scores[39:]]
    error = np.sqrt(0.05 * 0.95 / len(alarms)) * 2  # parts of one product share its calibration
    assert abs(np.mean(alarms) - 0.05) <= 2 * error


def test_the_joint_p_value_is_exactly_uniform_over_all_orders():
    """Each of 5 parts is the new one in turn: the p-values are 1/5 ... 5/5, each once."""
    scores = drawn(np.random.default_rng(0), 5, "none")
    found = [p_of(calibration(np.delete(scores, i, 0)), scores[i]) for i in range(5)]
    assert sorted(Fraction(p).limit_denominator(10) for p in found) == [
        Fraction(k, 5) for k in range(1, 6)
    ]


def test_one_sense_that_is_sure_is_enough_and_order_does_not_matter():
    scores = drawn(np.random.default_rng(1), 39, "none")
    joint = calibration(scores)
    for sense in range(3):
        row = np.median(scores, axis=0)
        row[sense] += 30 * scores[:, sense].std()
        assert p_of(joint, row) == 1 / 40
    assert p_of(joint, np.median(scores, axis=0)) > 0.5
    row = scores.max(0) * 0.9
    for order in itertools.islice(itertools.permutations(range(39)), 3):
        assert p_of(calibration(scores[list(order)]), row) == p_of(joint, row)


def test_a_sense_that_never_changes_has_no_say_and_a_missing_one_is_named():
    scores = drawn(np.random.default_rng(2), 19, "none")
    scores[:, 2] = 7
    joint = calibration(scores)
    assert p_of(joint, [scores[:, 0].max() * 9, 5, 7]) == 1 / 20
    with pytest.raises(AnomalystError, match="the part has no depth"):
        joint.p_value({"image": 0, "audio": 0})
    assert JointCalibration.from_dict(joint.as_dict()) == joint
    with pytest.raises(AnomalystError, match="rows of other lengths"):
        JointCalibration(senses=SENSES, scores=((1.0,),))


def test_bonferroni_and_cauchy_are_their_formulas():
    assert bonferroni([0.02, 0.3, 1.0]) == pytest.approx(0.06)
    assert bonferroni([0.6, 0.9]) == 1
    p = np.array([0.01, 0.2, 0.7])
    assert cauchy(p) == pytest.approx(cauchy_law.sf(np.mean(cauchy_law.isf(p))))
    assert cauchy([0.03]) == pytest.approx(0.03)
    rng = np.random.default_rng(0)
    assert np.mean([cauchy(rng.random(3)) <= 0.05 for _ in range(20_000)]) == pytest.approx(
        0.05, abs=0.005
    )

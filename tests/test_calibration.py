import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from anomalyst.calibration.conformal import (
    USUAL_SPREAD,
    USUAL_WORTH,
    Calibration,
    procedural_calibration,
    scores_needed,
    too_few_note,
)
from anomalyst.errors import AnomalystError

finite = st.floats(-1e6, 1e6)
several = st.lists(finite, max_size=40)


def calibration(*scores: float) -> Calibration:
    return Calibration(scores=scores, method="split")


def test_p_values_are_those_counted_by_hand() -> None:
    good = calibration(3.0, 1.0, 2.0, 2.0)
    assert good.scores == (1.0, 2.0, 2.0, 3.0)
    assert good.p_value(9.0) == 1 / 5  # none as high
    assert good.p_value(3.0) == 2 / 5  # a tie counts as at least as high
    assert good.p_value(2.0) == 4 / 5
    assert good.p_value(2.5) == 2 / 5
    assert good.p_value(-1.0) == 1.0
    assert calibration().p_value(5.0) == 1.0


def test_the_verdict_changes_at_the_rate_and_at_twice_the_rate() -> None:
    good = calibration()
    assert [good.verdict(p, 0.05) for p in (0.01, 0.05, 0.0501, 0.1, 0.1001, 1.0)] == [
        *("anomalous", "anomalous", "unsure", "unsure", "normal", "normal"),
    ]
    with pytest.raises(AnomalystError, match=r"--false-alarm-rate is 1.5; a share between 0 and 1"):
        good.verdict(0.5, 1.5)


@pytest.mark.parametrize(("rate", "needed"), [(0.01, 99), (0.05, 19), (0.1, 9), (0.3, 3), (0.5, 1)])
def test_as_many_scores_are_needed_as_one_over_the_rate_less_one(rate: float, needed: int) -> None:
    assert scores_needed(rate) == needed
    assert calibration(*range(needed)).enough_for(rate)
    assert not calibration(*range(needed - 1)).enough_for(rate)


@given(st.floats(0.001, 0.999))
def test_enough_is_when_the_highest_score_can_be_called_anomalous(rate: float) -> None:
    needed = scores_needed(rate)
    for count in (needed - 1, needed):
        if count >= 0:
            good = calibration(*range(count))
            possible = good.verdict(good.p_value(math.inf), rate) == "anomalous"
            assert good.enough_for(rate) == possible == (count == needed)


@given(several, finite, finite)
def test_a_higher_score_never_has_a_higher_p_value(
    scores: list[float], one: float, other: float
) -> None:
    good = calibration(*scores)
    low, high = sorted((one, other))
    assert 0 < good.p_value(high) <= good.p_value(low) <= 1


@given(several, finite, st.randoms())
def test_p_values_do_not_depend_on_the_order_and_are_the_counted_share(
    scores: list[float], score: float, random: object
) -> None:
    mixed = list(scores)
    random.shuffle(mixed)  # type: ignore[attr-defined]
    expected = (1 + sum(s >= score for s in scores)) / (len(scores) + 1)
    assert calibration(*mixed).p_value(score) == expected


def nearest(queries: np.ndarray, good: np.ndarray) -> np.ndarray:
    """Distance to the nearest good vector: (Q, D), (n, D) -> (Q,)."""
    return np.linalg.norm(queries[:, None] - good[None], axis=2).min(1)


def split(good: np.ndarray) -> tuple[np.ndarray, Calibration]:
    references, rest = good[:10], good[10:]
    return references, Calibration(scores=tuple(nearest(rest, references)), method="split")


def leave_one_out(good: np.ndarray) -> tuple[np.ndarray, Calibration]:
    scores = [nearest(good[i : i + 1], np.delete(good, i, 0))[0] for i in range(len(good))]
    return good, Calibration(scores=tuple(scores), method="leave-one-out")


@pytest.mark.parametrize(("teach", "count"), [(split, 49), (leave_one_out, 39)])
@pytest.mark.parametrize("rounded", [False, True])  # rounding makes ties
def test_good_pictures_raise_no_more_false_alarms_than_asked_for(
    teach: Callable[[np.ndarray], tuple[np.ndarray, Calibration]], count: int, rounded: bool
) -> None:
    rng = np.random.default_rng(0)
    rates = []
    for _ in range(200):
        spread = rng.uniform(0.2, 2, 6)  # every product varies in its own way
        draws = rng.normal(size=(count + 60, 6)) * spread
        draws = np.round(draws) if rounded else draws
        references, good = teach(draws[:count])
        assert good.enough_for(0.05)
        scores = nearest(draws[count:], references)
        alarms = [good.verdict(good.p_value(s), 0.05) == "anomalous" for s in scores]
        rates.append(np.mean(alarms))
    error = np.std(rates) / math.sqrt(len(rates))
    assert np.mean(rates) <= 0.05 + 2 * error
    if teach is split and not rounded:  # exact, not only at most
        assert np.mean(rates) >= 0.05 - 3 * error


def test_p_values_of_exchangeable_scores_with_ties_are_never_too_small() -> None:
    # All orders of four pictures' scores, two of them equal: each is the inspected one in turn.
    scores = [0.0, 1.0, 1.0, 2.0]
    p_values = [
        calibration(*scores[:i], *scores[i + 1 :]).p_value(score) for i, score in enumerate(scores)
    ]
    for rate in (0.25, 0.5, 0.75, 1.0):
        assert np.mean([p <= rate for p in p_values]) <= rate


def test_the_note_says_what_is_needed_and_what_can_be_asked_for() -> None:
    twelve = Calibration(scores=tuple(range(12)), method="leave-one-out")
    assert too_few_note(0.01, twelve, "bolt", 12) == (
        "--false-alarm-rate 0.01 needs 99 good pictures; product 'bolt' has 12. Teach more, or ask "
        "for 0.08 or higher. Until then the verdict comes with no guarantee."
    )
    one = Calibration(scores=(), method="leave-one-out")
    assert "needs 19 good pictures; product 'nut' has 1. Teach more. Until" in too_few_note(
        0.05, one, "nut", 1
    )
    twenty = Calibration(scores=tuple(range(19)), method="split")
    assert "needs 123 good pictures; product 'cap' has 27, of which 19 calibrate." in too_few_note(
        0.01, twenty, "cap", 27
    )


@given(st.integers(1, 5000))
def test_the_rate_a_note_offers_is_one_the_product_has_enough_for(count: int) -> None:
    good = Calibration(scores=tuple(range(count)), method="leave-one-out")
    note = too_few_note(1e-5, good, "bolt", count)
    offered = float(note.split("ask for ")[1].split()[0])
    assert offered == 1 or good.enough_for(min(offered, 0.999))


@given(several, st.sampled_from(["leave-one-out", "split", "procedural"]))
def test_a_calibration_survives_json(scores: list[float], method: str) -> None:
    good = Calibration(scores=tuple(scores), method=method)  # type: ignore[arg-type]
    assert Calibration.from_dict(json.loads(json.dumps(good.as_dict()))) == good


def test_odd_values_are_refused() -> None:
    with pytest.raises(AnomalystError, match="by 'guess': one of leave-one-out, split, procedural"):
        Calibration.from_dict({"method": "guess", "scores": []})
    with pytest.raises(AnomalystError, match="without a list of scores"):
        Calibration.from_dict({"method": "split", "scores": None})
    with pytest.raises(AnomalystError, match="some that are not numbers"):
        calibration(1.0, math.nan)


def test_the_procedural_calibration_is_read_from_a_file_with_scores(tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    table = Calibration.procedural([2.0, 1.0, 3.0])
    path.write_text(json.dumps(table.as_dict()))
    assert procedural_calibration(path) == table
    assert table.p_value(2.5) == 0.5
    path.write_text(json.dumps(calibration(1.0).as_dict()))
    with pytest.raises(AnomalystError, match="holds no procedural scores"):
        procedural_calibration(path)
    path.write_text("[1, 2")
    with pytest.raises(AnomalystError, match="is not a calibration"):
        procedural_calibration(path)
    with pytest.raises(AnomalystError, match="the calibration is missing"):
        procedural_calibration(tmp_path / "none.json")


def test_a_guess_from_few_scores_is_students_t_and_keeps_the_rate():
    few = Calibration(scores=(-5.0, -4.6, -5.4), method="leave-one-out")
    variance = (USUAL_WORTH * USUAL_SPREAD**2 + 0.32) / (USUAL_WORTH + 2) * (1 + 1 / 3)
    by_hand = scipy.stats.t.sf((-4.0 + 5.0) / math.sqrt(variance), USUAL_WORTH + 2)
    assert few.estimated_p_value(-4.0) == pytest.approx(by_hand)
    rng = np.random.default_rng(0)
    alarms = 0
    for _ in range(4000):  # products whose spread is the usual one, more or less
        spread = USUAL_SPREAD * math.sqrt(USUAL_WORTH / rng.chisquare(USUAL_WORTH))
        *known, new = rng.normal(-5, spread, 5)
        guess = Calibration(scores=tuple(known), method="leave-one-out")
        alarms += guess.estimated_p_value(new) <= 0.05
    assert alarms / 4000 == pytest.approx(0.05, abs=0.01)

"""Areas with their uncertainty, calibration and costs of classifiers, beside plain references."""

import json
import math

import numpy as np
import pytest
from scipy.stats import binomtest, norm

from anomalyst.errors import AnomalystError
from anomalyst.evaluation.classifiers.delong import (
    area,
    difference,
    macro_area,
    macro_difference,
)
from anomalyst.evaluation.classifiers.figures import ClassifierFigures, classifier_figures
from anomalyst.evaluation.classifiers.reliability import reliability


def drawn(seed: int, count: int = 120, shift: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and scores with many ties."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(count) < 0.4).astype(int)
    return labels, np.round(rng.normal(size=count) + shift * labels, 1)


def three_classes(seed: int, count: int = 240, sharp: float = 1.5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(3, size=count)
    logits = rng.normal(size=(count, 3)) + sharp * np.eye(3)[labels]
    raised = np.exp(logits)
    return labels, raised / raised.sum(1, keepdims=True)


def by_pairs(labels: np.ndarray, *columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Areas and DeLong's covariance as he writes them: every pair of cases compared."""
    placed_above, placed_below = [], []
    for scores in columns:
        high, low = scores[labels == 1], scores[labels == 0]
        kernel = np.array([[(x > y) + 0.5 * (x == y) for y in low] for x in high])
        placed_above.append(kernel.mean(1))
        placed_below.append(kernel.mean(0))
    above, below = np.atleast_2d(np.cov(placed_above)), np.atleast_2d(np.cov(placed_below))
    covariance = above / len(placed_above[0]) + below / len(placed_below[0])
    return np.array([one.mean() for one in placed_above]), covariance


def test_area_is_scikit_learns_and_its_variance_that_of_all_pairs():
    metrics = pytest.importorskip("sklearn.metrics")
    for seed in range(5):
        labels, scores = drawn(seed)
        found = area(labels, scores)
        assert found.value == pytest.approx(metrics.roc_auc_score(labels, scores), abs=1e-12)
        assert found.variance == pytest.approx(by_pairs(labels, scores)[1][0, 0], rel=1e-9)
        assert 0 < found.low < found.value < found.high < 1


def test_area_worked_by_hand():
    # Good 1 2 3, bad 2 4: of 6 pairs 4 in order, one tied: 4.5 / 6. Placements of bad 1/2 and 1
    # (variance 1/8), of good 1, 3/4 and 1/2 (variance 1/16): 1/8 / 2 + 1/16 / 3 = 1/12.
    found = area([0, 0, 0, 1, 1], [1, 2, 3, 2, 4])
    assert found.value == pytest.approx(0.75)
    assert found.variance == pytest.approx(1 / 12)
    reach = norm.ppf(0.975) * math.sqrt(1 / 12) / (0.75 * 0.25)
    assert found.low == pytest.approx(1 / (1 + math.exp(reach - math.log(3))))


def test_perfect_order_of_few_cases_promises_little():
    found = area([0] * 50 + [1] * 10, np.arange(60))
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(0.025 ** (1 / 10))  # 10 trials without a failure
    assert area([1] * 10 + [0] * 50, np.arange(60)).high == pytest.approx(1 - 0.025 ** (1 / 10))
    assert math.isnan(area([0, 0, 0, 1], [1, 2, 3, 4]).low)
    assert math.isnan(area([0, 0], [1, 2]).value)


def test_equal_scores_promise_as_little_as_so_many_throws_of_a_coin():
    for labels in ([0] * 50 + [1] * 10, [1] * 50 + [0] * 10):
        found = area(labels, np.zeros(60))
        exact = binomtest(5, 10).proportion_ci(0.95, method="exact")
        assert (found.value, found.variance) == (0.5, 0.0)
        assert (found.low, found.high) == pytest.approx((exact.low, exact.high))
    found = macro_area([0, 0, 1, 1, 1, 2, 2, 2], np.full((8, 3), 1 / 3))
    assert found.low < 0.02 and found.high > 0.98


def test_interval_holds_the_true_area_as_often_as_it_says():
    truth = norm.cdf(1.2 / math.sqrt(2))
    rng, held = np.random.default_rng(0), 0
    for _ in range(600):
        scores = np.concatenate([rng.normal(size=40), rng.normal(1.2, size=30)])
        found = area([0] * 40 + [1] * 30, scores)
        held += found.low <= truth <= found.high
    assert 0.92 < held / 600 < 0.98


def test_difference_is_delongs_paired_test():
    labels, scores = drawn(3)
    other = np.round(0.6 * scores + np.random.default_rng(9).normal(size=len(scores)), 1)
    areas, covariance = by_pairs(labels, scores, other)
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    found = difference(labels, scores, other)
    assert found.z == pytest.approx((areas[0] - areas[1]) / math.sqrt(variance), rel=1e-9)
    assert found.p == pytest.approx(2 * norm.sf(abs(found.z)))
    assert difference(labels, scores, 3 * scores + 1) == type(found)(0.0, 0.0, 1.0)


def test_macro_area_of_two_classes_is_the_area_and_of_three_varies_as_redrawn_sets_do():
    metrics = pytest.importorskip("sklearn.metrics")
    labels, scores = drawn(1)
    sure = 1 / (1 + np.exp(-scores))
    two, one = macro_area(labels, np.stack([1 - sure, sure], 1)), area(labels, sure)
    assert (two.value, two.variance) == pytest.approx((one.value, one.variance), rel=1e-9)
    labels, sure = three_classes(2)
    found = macro_area(labels, sure)
    assert found.value == pytest.approx(
        metrics.roc_auc_score(labels, sure, multi_class="ovr", average="macro")
    )
    redrawn = [macro_area(*three_classes(seed)) for seed in range(100, 500)]
    spread = np.var([one.value for one in redrawn])
    assert np.mean([one.variance for one in redrawn]) == pytest.approx(spread, rel=0.2)


def test_macro_difference_is_the_paired_test_of_the_mean_area():
    labels, scores = drawn(3)
    other = np.round(0.6 * scores + np.random.default_rng(9).normal(size=len(scores)), 1)
    one, two = (np.stack([-column, column], 1) for column in (scores, other))
    assert macro_difference(labels, one, two) == difference(labels, scores, other)

    labels, one = three_classes(2)
    two = three_classes(2, sharp=1.0)[1] + 0.3 * np.random.default_rng(1).random(one.shape)
    found = macro_difference(labels, one, two)
    assert found.value == pytest.approx(
        macro_area(labels, one).value - macro_area(labels, two).value
    )
    # The jackknife's variance: one case left out at a time, within its class.
    variance, sizes = 0.0, np.bincount(labels)

    def gain(kept):
        areas = (macro_area(labels[kept], side[kept]).value for side in (one, two))
        return next(areas) - next(areas)

    for k in range(3):
        without = [gain(np.arange(len(labels)) != case) for case in np.flatnonzero(labels == k)]
        variance += (sizes[k] - 1) * np.var(without)
    assert found.z == pytest.approx(found.value / math.sqrt(variance), rel=0.03)
    assert macro_difference(labels, one, 2 * one) == type(found)(0.0, 0.0, 1.0)
    with pytest.raises(AnomalystError, match="of b"):
        macro_difference(labels, one, np.full((len(labels), 4), 0.25))


def test_reliability_agrees_with_scikit_learn_and_a_case_by_hand():
    metrics = pytest.importorskip("sklearn.metrics")
    labels, sure = three_classes(4)
    found = reliability(labels, sure)
    assert found.nll == pytest.approx(metrics.log_loss(labels, sure))
    by_class = [metrics.brier_score_loss(labels == k, sure[:, k]) for k in range(3)]
    assert found.brier == pytest.approx(sum(by_class))
    assert sum(found.counts) == len(labels)
    # Two at 0.9, one right: |0.9 - 0.5|; two at 0.6, both right: |0.6 - 1|. Half of all each.
    sure = np.array([[0.1, 0.9], [0.1, 0.9], [0.4, 0.6], [0.6, 0.4]])
    found = reliability([1, 0, 1, 0], sure)
    assert found.ece == pytest.approx(0.4)
    assert found.counts == (2, 2) and found.accuracy == (1.0, 0.5)


def test_figures_come_back_as_written_and_their_curve_keeps_the_area():
    rng = np.random.default_rng(5)
    labels, scores = drawn(5, 3000)
    sure = 1 / (1 + np.exp(-scores - 1e-3 * rng.normal(size=3000)))  # no ties: 3000 thresholds
    figures = classifier_figures(labels, np.stack([1 - sure, sure], 1), ["none", "lens"])
    assert ClassifierFigures.from_dict(json.loads(json.dumps(figures.to_dict()))) == figures
    curve = figures.curves["lens"]
    assert len(curve.recall) <= 200 and (curve.recall[0], curve.recall[-1]) == (0.0, 1.0)
    assert np.trapezoid(curve.recall, curve.false_alarms) == pytest.approx(
        figures.area.value, abs=2e-3
    )
    assert list(figures.areas) == ["lens"] and figures.area == figures.areas["lens"]
    assert figures.accuracy == np.trace(figures.confusion) / 3000


def test_figures_of_a_class_without_cases_are_unknown_not_wrong():
    labels, sure = three_classes(6)
    kept = labels < 2
    figures = classifier_figures(labels[kept], sure[kept], ["a", "b", "c"])
    assert math.isnan(figures.area.value) and math.isnan(figures.areas["c"].value)
    assert not math.isnan(figures.areas["a"].value)
    back = ClassifierFigures.from_dict(json.loads(json.dumps(figures.to_dict())))
    assert math.isnan(back.area.low) and back.confusion == figures.confusion


@pytest.mark.parametrize(
    ("labels", "probabilities", "said"),
    [
        ([0, 1], np.ones((3, 2)), "shape"),
        ([0, 5], np.ones((2, 2)), "0 .. 1"),
        ([0, 1], [[0.5, 0.5], [math.nan, 1]], "1 of 2 cases"),
        ([], np.ones((0, 2)), "no case"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(labels, probabilities, said):
    with pytest.raises(AnomalystError, match=said):
        classifier_figures(np.array(labels, int), np.asarray(probabilities), ["a", "b"])


def test_a_class_absent_from_the_mean_is_named():
    with pytest.raises(AnomalystError, match="class number 2"):
        macro_area([0, 1, 0, 1], np.full((4, 3), 1 / 3))


@pytest.mark.usefixtures("one_thread")
def test_costs_of_a_network_counted_by_hand():
    import torch
    from torch import nn

    from anomalyst.evaluation.classifiers.costs import cost_table

    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(4), nn.Flatten(), nn.Linear(512, 3)
    )
    network[0].requires_grad_(False)
    bare = nn.Sequential(nn.Conv2d(1, 3, 32), nn.Flatten())
    rows = cost_table({"small": network, "bare": bare}, 32, examples=torch.rand(16, 1, 32, 32))
    small = rows[0]
    assert (small.parameters, small.trainable) == (80 + 1539, 1539)
    assert small.flops == 2 * (32 * 32 * 9 * 8 + 512 * 3)
    plain, lazy, whole = small.formats
    assert lazy.bytes < plain.bytes and whole.bytes < plain.bytes
    assert (
        plain.agreement == 1
        and whole.farthest < 0.05
        and min(one.milliseconds for one in small.formats) > 0
    )
    assert "joined" in whole.said
    assert rows[1].formats[1].milliseconds is None
    assert "no dense layer" in rows[1].formats[1].said


@pytest.mark.usefixtures("one_thread")
def test_static_8_bit_of_a_network_torch_cannot_trace_goes_layer_by_layer():
    import torch
    from torch import nn

    from anomalyst.evaluation.classifiers.quantised import static

    class Branching(nn.Module):
        """Looks at its input's values, which no tracer can."""

        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = x.to(self.layer.weight.dtype)
            return self.layer(x) if x.sum() > 0 else -self.layer(-x)

    torch.manual_seed(0)
    network, examples = Branching(), torch.rand(32, 4)
    made = static(network, examples)
    assert "float32 between" in made.said
    with torch.no_grad():
        changed = (made.network(examples) - network(examples)).abs().max()
    assert 0 < changed < 0.02

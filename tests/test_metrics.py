"""Metrics against hand-made cases, scikit-learn, and the plain loop over every threshold."""

import math
import time
from dataclasses import asdict

import numpy as np
import pytest
from scipy import ndimage
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from anomalyst.errors import AnomalystError
from anomalyst.evaluation.metrics import (
    auroc,
    image_metrics,
    pixel_metrics,
)


def plain_aupro(maps, masks, limit):
    """One pass over all pixels per distinct score, as the paper tells it."""
    structure = np.ones((3, 3))
    regions = []
    for number, mask in enumerate(masks):
        labels, count = ndimage.label(mask, structure)
        regions += [(number, labels == r) for r in range(1, count + 1)]
    num_good = sum(int((~m).sum()) for m in masks)
    points = [(0.0, 0.0)]
    for threshold in sorted({float(v) for m in maps for v in m.ravel()}, reverse=True):
        alarms = sum(
            int(((m >= threshold) & ~k).sum()) for m, k in zip(maps, masks, strict=True)
        )  # fmt: skip
        overlap = np.mean([(maps[n] >= threshold)[r].mean() for n, r in regions])
        points.append((alarms / num_good, float(overlap)))
    area = 0.0
    for (x0, y0), (x1, y1) in zip(points, points[1:], strict=False):
        if x0 >= limit:
            break
        if x1 > limit:
            y1 = y0 + (y1 - y0) * (limit - x0) / (x1 - x0)
            x1 = limit
        area += (x1 - x0) * (y0 + y1) / 2
    return area / limit


def random_maps(seed, *, digits):
    """Maps of different sizes with ties and negative values; one picture is normal."""
    rng = np.random.default_rng(seed)
    maps, masks = [], []
    for height, width in ((17, 23), (12, 40), (30, 9)):
        mask = ndimage.binary_dilation(rng.random((height, width)) > 0.985, iterations=2)
        maps.append(np.round(rng.normal(size=mask.shape) + mask, digits).astype(np.float32))
        masks.append(mask)
    masks[1][:] = False
    return maps, masks


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("digits", [0, 1, 8])
def test_image_metrics_agree_with_scikit_learn_with_and_without_ties(seed, digits):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, 60)
    scores = np.round(rng.normal(size=60) + labels, digits)
    precision, recall, _ = precision_recall_curve(labels, scores)
    best = np.max(2 * precision * recall / np.maximum(precision + recall, 1e-12))
    found = image_metrics(labels, scores)
    assert found.auroc == auroc(labels, scores)
    assert found.auroc == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert found.ap == pytest.approx(average_precision_score(labels, scores), abs=1e-12)
    assert found.f1_max == pytest.approx(best, abs=1e-12)


def test_image_metrics_of_a_case_by_hand():
    # From the top: anomalous, good, {anomalous, good} tied, good.
    found = image_metrics([1, 0, 1, 0, 0], [9.0, 5.0, 2.0, 2.0, -3.0])
    # 6 pairs: the first beats 3; the second loses one, ties one, beats one: 4.5 of 6.
    assert found.auroc == pytest.approx(4.5 / 6)
    assert found.ap == pytest.approx(0.5 * 1 + 0.5 * 2 / 4)
    assert found.f1_max == pytest.approx(2 / 3)


@pytest.mark.parametrize("digits", [0, 1, 8])
def test_pixel_metrics_agree_with_scikit_learn_and_the_plain_loop(digits):
    maps, masks = random_maps(digits, digits=digits)
    found = pixel_metrics(maps, masks)
    labels = np.concatenate([m.ravel() for m in masks])
    scores = np.concatenate([m.ravel() for m in maps])
    assert found.auroc == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert found.ap == pytest.approx(average_precision_score(labels, scores), abs=1e-12)
    assert found.f1_max == pytest.approx(image_metrics(labels, scores).f1_max, abs=1e-12)
    assert found.aupro_30 == pytest.approx(plain_aupro(maps, masks, 0.3), abs=1e-12)
    assert found.aupro_05 == pytest.approx(plain_aupro(maps, masks, 0.05), abs=1e-12)


def test_aupro_of_one_region_by_hand():
    scores = np.array([[0.9, 0.4, 0.5, 0.3, 0.3], [0.3, 0.3, 0.3, 0.3, 0.3]])
    mask = np.zeros((2, 5), bool)
    mask[0, :2] = True
    # (rate, overlap): (0, 1/2) at 0.9, (1/8, 1/2) at 0.5, (1/8, 1) at 0.4, (1, 1) at 0.3.
    found = pixel_metrics([scores], [mask])
    assert found.aupro_30 == pytest.approx((0.125 * 0.5 + 0.175 * 1) / 0.3)
    assert found.aupro_05 == pytest.approx(0.5)


def test_aupro_is_cut_at_the_limit_inside_a_tie():
    # (0, 0), (1/4, 0), then all others at once: (1, 1). At 0.3 the line has risen to 0.05 / 0.75.
    scores, mask = np.array([[0.1, 0.5, 0.1, 0.1, 0.1]]), np.array([[True] + [False] * 4])
    found = pixel_metrics([scores], [mask])
    assert found.aupro_30 == pytest.approx(0.5 * 0.05 * (0.05 / 0.75) / 0.3)


def test_every_region_weighs_the_same_and_corners_join_pixels():
    mask = np.zeros((10, 10), bool)
    mask[:5, :5] = True
    mask[8, 8] = mask[9, 9] = True  # touch at a corner: one region, not two
    scores = np.zeros((10, 10))
    scores[8, 8] = scores[9, 9] = 1.0
    # Overlap is 1/2 from rate 0 (1 of 2 regions), then a straight line to (1, 1).
    assert pixel_metrics([scores], [mask]).aupro_30 == pytest.approx(0.5 + 0.3 / 4)


def test_pixels_of_normal_pictures_are_good_pixels():
    scores, mask = np.array([[1.0, 0.0]]), np.array([[True, False]])
    alone = pixel_metrics([scores], [mask])
    joined = pixel_metrics([scores, np.full((1, 1), 2.0)], [mask, np.zeros((1, 1), bool)])
    assert alone.auroc == 1.0
    assert joined.auroc == 0.5


def test_pixel_metrics_depend_on_neither_the_order_nor_the_scale():
    maps, masks = random_maps(3, digits=1)
    before = pixel_metrics(maps, masks)
    after = pixel_metrics(
        [4 * m - 8 for m in maps[::-1]], [m.astype(np.uint8) for m in masks[::-1]]
    )
    assert asdict(after) == pytest.approx(asdict(before), abs=1e-12)


def test_minus_zero_and_zero_are_one_score():
    scores, mask = np.array([[0.0, -0.0]], np.float32), np.array([[True, False]])
    assert pixel_metrics([scores], [mask]).auroc == 0.5


def test_a_single_class_has_no_metric():
    assert math.isnan(auroc([1, 1], [0.1, 0.2]))
    assert math.isnan(image_metrics([0, 0], [0.1, 0.2]).ap)
    assert math.isnan(image_metrics([], []).f1_max)
    zeros = np.zeros((4, 4))
    for mask in (zeros > 0, zeros == 0):
        found = pixel_metrics([zeros], [mask])
        assert all(map(math.isnan, asdict(found).values()))
    assert math.isnan(pixel_metrics([], []).aupro_30)


def test_wrong_input_is_refused_with_a_sentence():
    square, wide = np.zeros((4, 4)), np.zeros((4, 5))
    with pytest.raises(AnomalystError, match=r"map 1 has shape \(4, 4\), its mask \(4, 5\)"):
        pixel_metrics([square, square], [square, wide])
    with pytest.raises(AnomalystError, match="2 maps and 1 masks"):
        pixel_metrics([square, square], [square])
    with pytest.raises(AnomalystError, match=r"map 0 has 16 pixels that are not numbers"):
        pixel_metrics([square * np.nan], [square])
    with pytest.raises(AnomalystError, match="one label per score"):
        auroc([0, 1], [0.5])
    with pytest.raises(AnomalystError, match="labels must be 0"):
        auroc([-1, 1], [0.5, 0.6])
    with pytest.raises(AnomalystError, match="1 of 2 scores are not numbers"):
        auroc([0, 1], [0.5, float("nan")])


@pytest.mark.slow
def test_a_hundred_maps_with_two_hundred_regions_take_less_than_three_seconds():
    rng = np.random.default_rng(0)
    maps, masks = [], []
    for _ in range(100):
        mask = np.zeros((256, 256), bool)
        mask[10:40, 20:50] = mask[150:160, 200:230] = True
        masks.append(mask)
        maps.append((rng.normal(size=mask.shape) + mask).astype(np.float32))
    started = time.perf_counter()
    pixel_metrics(maps, masks)
    assert time.perf_counter() - started < 3

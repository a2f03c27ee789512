"""The nearest good patch on the frozen trunk: against a plain loop, and what it adds to a score."""

import math

import pytest
import torch

from anomalyst.detection import similarity
from anomalyst.detection.frozen import FrozenPatches
from anomalyst.detection.scoring import (
    FROZEN_LEAST,
    FROZEN_TOP_SHARE,
    FROZEN_WEIGHT,
    PEAK_WEIGHT,
    evidence_of,
)


def test_distances_are_those_of_a_plain_loop_over_centred_patches():
    torch.manual_seed(0)
    good, query = torch.randn(3, 5, 2, 3) + 2, torch.randn(1, 5, 2, 3) + 2
    found = FrozenPatches.of([good]).distances([query])[0, 0]
    centre = 0.7 * good.mean((0, 2, 3))
    patches = [good[k, :, y, x] - centre for k in range(3) for y in range(2) for x in range(3)]
    for y in range(2):
        for x in range(3):
            own = query[0, :, y, x] - centre
            most = max(float(torch.cosine_similarity(own, patch, dim=0)) for patch in patches)
            assert float(found[y, x]) == pytest.approx(1 - most, abs=1e-6)


def test_levels_add_up_on_the_finest_grid_and_a_good_picture_is_at_no_distance():
    torch.manual_seed(0)
    levels = [torch.rand(2, 4, 6, 8), torch.rand(2, 7, 3, 4)]
    patches = FrozenPatches.of(levels)
    alike = patches.distances([level[1:] for level in levels])
    assert alike.shape == (1, 1, 6, 8) and float(alike.abs().max()) < 1e-5
    other = [torch.rand(1, 4, 6, 8), torch.rand(1, 7, 3, 4)]
    fine = FrozenPatches.of(levels[:1]).distances(other[:1])
    coarse = FrozenPatches.of(levels[1:]).distances(other[1:])
    grown = torch.nn.functional.interpolate(coarse, (6, 8), mode="bilinear")
    torch.testing.assert_close(patches.distances(other), fine + grown)


def test_distances_in_parts_are_those_at_once(monkeypatch):
    torch.manual_seed(0)
    patches = FrozenPatches.of([torch.rand(3, 4, 6, 8)])
    query = [torch.rand(1, 4, 6, 8)]
    once = patches.distances(query)
    monkeypatch.setattr(similarity, "MOST_AT_ONCE", 1_000)  # 6 of 48 rows
    assert len(similarity.row_parts(48, 144)) == 8
    torch.testing.assert_close(patches.distances(query), once)


def test_the_score_gains_the_log_of_the_mean_of_the_highest_distances():
    logits = torch.full((1, 1, 8, 8), -2.0)
    frozen = torch.linspace(0, 1, 400).reshape(1, 1, 20, 20)
    without = evidence_of(logits, logits.sigmoid(), logits, None, None).score
    assert without == pytest.approx(math.log(1 / (1 + math.exp(2))) - 2 * PEAK_WEIGHT)
    score = evidence_of(logits, logits.sigmoid(), logits, frozen, None).score
    highest = frozen.flatten()[-int(400 * FROZEN_TOP_SHARE) :].mean()
    assert score == pytest.approx(without + FROZEN_WEIGHT * math.log(float(highest)))
    same = evidence_of(logits, logits.sigmoid(), logits, frozen * 0, None).score
    assert same == pytest.approx(without + FROZEN_WEIGHT * math.log(FROZEN_LEAST))

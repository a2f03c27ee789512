"""Defects planted on photographs, and fitting the decoder to a product."""

import numpy as np
import pytest
import torch

from anomalyst.backbones.embedded import EmbeddedConfig, EmbeddedEncoder
from anomalyst.detection.detector import Detector
from anomalyst.detection.pair_decoder import DecoderConfig, PairDecoder
from anomalyst.synthetic.anomalies.pasting import with_defects
from anomalyst.synthetic.variation import varied
from anomalyst.teaching.fine_tuning import AdaptationConfig, Lesson, adapt, auroc
from anomalyst.teaching.references import COPIES, SPLIT_LEAST, set_apart, with_copies

SMALL = EmbeddedConfig(detail=(8, 8), levels=(8, 12, 16))
SHORT = AdaptationConfig(steps=3, checked=4)


pytestmark = pytest.mark.usefixtures("one_thread")


def pictures(count, size_hw=(64, 96)):
    """Textures that are alike and not the same."""
    rng = np.random.default_rng(0)
    base = rng.integers(60, 200, (*size_hw, 3))
    return [np.uint8(np.clip(base + rng.integers(-8, 8, base.shape), 0, 255)) for _ in range(count)]


@pytest.fixture
def lesson():
    torch.manual_seed(0)
    decoder = PairDecoder(DecoderConfig(levels=SMALL.levels, width=16, fine_width=8))
    detector = Detector(EmbeddedEncoder(SMALL).eval(), decoder.eval().requires_grad_(False))
    good = pictures(5)
    features = detector.encode(good)
    return detector, Lesson(good, features, detector.remember(features))


@pytest.mark.parametrize("size_hw", [(64, 96), (97, 50), (32, 32)])
def test_planted_defects_change_the_picture_where_the_mask_says(size_hw):
    good = pictures(3, size_hw)
    seen = 0
    for seed in range(60):
        before = good[0].copy()
        defective, mask = with_defects(good[0], good[1:], np.random.default_rng(seed))
        assert defective.shape == good[0].shape and defective.dtype == np.uint8
        assert mask.shape == size_hw and np.array_equal(before, good[0])
        change = np.abs(defective.astype(int) - good[0]).max(2)
        assert change[mask].mean() > 8 if mask.any() else True
        seen += bool(mask.any())
    assert seen > 40
    again, _ = with_defects(good[0], good[1:], np.random.default_rng(59))
    assert np.array_equal(again, defective)


def test_fitting_is_deterministic_and_leaves_the_shipped_decoder_alone(lesson):
    detector, one = lesson
    before = {name: p.clone() for name, p in detector.decoder.state_dict().items()}
    first, second = (adapt(detector, [one], SHORT) for _ in range(2))
    for name, value in detector.decoder.state_dict().items():
        assert torch.equal(value, before[name])
    assert (first is None) == (second is None)
    if first is not None:
        changed = [not torch.equal(p, before[name]) for name, p in first.head().items()]
        assert all(torch.equal(p, second.head()[n]) for n, p in first.head().items())
        assert any(changed)


def test_a_fit_that_does_not_help_is_not_taken(lesson, monkeypatch):
    detector, one = lesson
    monkeypatch.setattr("anomalyst.teaching.fine_tuning._rankings", lambda *_: (0.9, 0.89))
    assert adapt(detector, [one], SHORT) is None
    monkeypatch.setattr("anomalyst.teaching.fine_tuning._rankings", lambda *_: (0.9, 0.9))
    assert adapt(detector, [one], SHORT) is not None


def test_too_few_pictures_are_not_fitted_to(lesson):
    detector, one = lesson
    features = one.features.rows([0, 1, 2])
    few = Lesson(one.canvases[:3], features, detector.remember(features))
    assert adapt(detector, [few], SHORT) is None


def test_pictures_that_calibrate_are_set_apart_unseen():
    assert set_apart(26, 24) == []
    for total in range(27, 200, 7):
        apart = set_apart(total, 24)
        assert len(apart) >= SPLIT_LEAST and 8 <= total - len(apart) <= 24
        assert apart == sorted(set(apart)) and apart == set_apart(total, 24)
    assert len(set_apart(123, 24)) == 99  # what the note about too few pictures promises for 1 %


def test_auroc_by_hand():
    good, bad = torch.tensor([0.0, 1.0, 2.0]), torch.tensor([1.0, 3.0])
    assert auroc(good, bad) == pytest.approx((1 + 0.5 + 3) / 6)
    assert auroc(good, bad[:0]) == 0.5


def test_copies_of_few_good_pictures_go_with_their_pictures(lesson):
    detector, one = lesson
    whole = detector.config.scales.index(1.0)
    good = one.features.rows([0, 1])
    memory = detector.remember(with_copies(detector, good, one.canvases[:2]))
    assert [r.count for r in memory.references] == [2, 2 + 2 * (COPIES // 2)]
    assert memory.references[whole].count == 2
    second = detector.remember_only(memory, good, [1])
    assert [r.count for r in second.references] == [1, 1 + COPIES // 2]
    rows = memory.references[1].patches[2].unflatten(1, (2 + COPIES, -1))[0]
    kept = second.references[1].patches[2].unflatten(1, (1 + COPIES // 2, -1))[0]
    assert torch.equal(kept, rows[[1, 4, 5]])
    assert with_copies(detector, one.features, one.canvases) is one.features  # enough of them


def test_a_varied_picture_is_the_same_part_moved_by_a_little():
    picture = np.zeros((60, 90, 3), np.uint8)
    picture[20:40, 30:60] = 200
    first, again = (varied(picture, np.random.default_rng(3)) for _ in range(2))
    assert np.array_equal(first, again)
    for seed in range(20):
        other = varied(picture, np.random.default_rng(seed))
        assert other.shape == picture.shape and other.dtype == np.uint8
        assert 0.7 < (other > 100).sum() / (picture > 100).sum() < 1.4
        assert not np.array_equal(other, picture)

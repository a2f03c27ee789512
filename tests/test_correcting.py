"""Learning from corrections: what is accepted, what is forgotten, what stays as it was."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anomalyst.calibration.conformal import Calibration
from anomalyst.calibration.drift import ALARM_AT, DriftTest
from anomalyst.errors import AnomalystError
from anomalyst.inspection.nearest_normal import nearest_place
from anomalyst.io.geometry import Frame
from anomalyst.product import Product
from anomalyst.server.records.figures import accepted_scores
from anomalyst.teaching.feedback import covered, kept_mask
from anomalyst.types import Features
from conftest import DEMO

FLANGE = DEMO / "flange"
DEFECT = FLANGE / "test" / "fracture-001.jpg"


@pytest.fixture(scope="module")
def flange(inspector):
    return inspector.teach("flange", sorted((FLANGE / "good").glob("*.jpg"))[:5])


@pytest.fixture(scope="module")
def corrected(inspector, flange, tmp_path_factory):
    found = inspector.inspect(DEFECT, flange)
    boxes = [region.box_xyxy for region in found.regions]
    folder = tmp_path_factory.mktemp("accepted")
    return found, inspector.accept(flange, DEFECT, boxes, name="one", folder=folder)


def test_an_accepted_place_scores_lower_and_good_parts_still_do_not(inspector, flange, corrected):
    found, after = corrected
    again = inspector.inspect(DEFECT, after)
    assert again.score < found.score - 0.5
    good = FLANGE / "test" / "good-000.jpg"
    assert inspector.inspect(good, after).score == pytest.approx(
        inspector.inspect(good, flange).score, abs=0.3
    )


def test_accepted_pictures_are_compared_with_and_never_calibrate(flange, corrected):
    _, after = corrected
    assert len(after.calibration.scores) == len(flange.calibration.scores) == 5
    assert after.features[0].levels[0].shape[0] == 6
    assert after.num_references == 5


def test_a_correction_survives_saving_and_is_undone_without_a_trace(
    inspector, flange, corrected, tmp_path
):
    found, after = corrected
    after.save(tmp_path / "flange")
    loaded = Product.load(tmp_path / "flange")
    assert loaded.accepted[0].name == "one" and loaded.accepted[0].image.exists()
    assert loaded.accepted[0].boxes_xyxy == after.accepted[0].boxes_xyxy
    undone = inspector.withdraw(loaded, "one")
    assert inspector.inspect(DEFECT, undone).score == pytest.approx(found.score, abs=1e-4)
    assert undone.calibration.scores == pytest.approx(flange.calibration.scores, abs=1e-4)
    with pytest.raises(AnomalystError, match="holds no correction 'two'"):
        inspector.withdraw(loaded, "two")


def test_more_good_pictures_keep_what_was_accepted(inspector, corrected):
    _, after = corrected
    more = inspector.teach("flange", [FLANGE / "good" / "007.jpg"], product=after)
    assert [one.name for one in more.accepted] == ["one"]
    assert more.num_references == 6 and more.features[0].levels[0].shape[0] == 7


def test_together_gives_what_one_by_one_gives(inspector, flange, tmp_path):
    (tmp_path / "bad.png").write_text("no picture")
    images = [*sorted((FLANGE / "test").glob("*.jpg"))[:3], tmp_path / "bad.png"]
    together = inspector.inspect_together(images, flange)
    for image, found in zip(images[:3], together[:3], strict=True):
        alone = inspector.inspect(image, flange)
        # Sums are taken in another order in a batch: equal but for rounding, on any processor.
        assert found.score == pytest.approx(alone.score, abs=0.01)
        assert found.verdict == alone.verdict
        assert [r.place for r in found.regions] == [r.place for r in alone.regions]
        assert np.abs(found.map - alone.map).max() < 0.02
    assert "not a picture" in together[3].reason


def test_a_place_of_a_good_picture_is_found_where_it_is(inspector, flange):
    box = (150, 60, 190, 100)
    same = inspector.resembling(flange.references[2], flange, box)
    assert same.image == flange.references[2]
    assert same.similarity > 0.98
    assert np.abs(np.subtract(same.box_xyxy, box)).max() <= 8


def test_nearest_place_finds_a_patch_that_was_moved():
    torch.manual_seed(0)
    good = torch.randn(3, 8, 16, 16)
    query = torch.randn(1, 8, 16, 16)
    query[:, :, 4:7, 8:12] = good[1, :, 10:13, 2:6]
    found = nearest_place(
        Features([query, query], torch.zeros(1, 2)),
        Features([good, good], torch.zeros(3, 2)),
        (8 / 16, 4 / 16, 12 / 16, 7 / 16),
    )
    assert found.view == 1 and found.similarity == pytest.approx(1, abs=1e-5)
    assert found.box == pytest.approx((2 / 16, 10 / 16, 6 / 16, 13 / 16))


def test_only_what_was_vouched_for_or_looked_ordinary_is_kept():
    heat = np.zeros((100, 100), np.float32)
    heat[10:20, 10:20] = 0.9  # accepted
    heat[60:70, 60:70] = 0.8  # not accepted
    kept = kept_mask(heat, [(10, 10, 20, 20)])
    assert kept[15, 15] and not kept[65, 65] and kept[40, 40] and not kept[59, 65]
    picture, good = np.full((100, 100, 3), 200, np.uint8), np.full((50, 50, 3), 10, np.uint8)
    result = covered(picture, kept, good)
    assert result[15, 15, 0] == 200 and result[65, 65, 0] == 10


def test_drift_is_found_soon_and_seldom_where_there_is_none():
    rng = np.random.default_rng(1)
    alarms = 0
    for seed in range(300):
        test = DriftTest(list(rng.normal(size=40)), seed=seed)
        alarms += max(test.see_all(rng.normal(size=200))) >= ALARM_AT
    assert alarms <= 6  # 1 % of 300 expected at most, and chance
    test = DriftTest(list(rng.normal(size=60)))
    before = test.see_all(rng.normal(size=200))
    after = test.see_all(rng.normal(1.5, size=150))
    assert max(before) < ALARM_AT and next(i for i, s in enumerate(after) if s >= ALARM_AT) < 100


def test_conformal_p_values_of_a_stream_are_uniform():
    rng = np.random.default_rng(3)
    test = DriftTest(list(rng.normal(size=20)))
    values = []
    for score in rng.normal(size=4000).round(1):  # ties
        values.append(test._p_value(score))
        test.see(score)
    counts, _ = np.histogram(values, 10, (0, 1))
    assert abs(counts - 400).max() < 80


def test_only_calibration_scores_that_would_be_normal_begin_a_drift_test():
    calibration = Calibration(scores=tuple(float(i) for i in range(39)), method="split")
    kept = accepted_scores(calibration, 0.05)
    for score in (*kept, max(kept) + 0.5):
        p = calibration.p_value(score)
        assert calibration.verdict(p, 0.05) == ("normal" if p > 0.1 else "unsure")
    assert kept == [float(i) for i in range(36)]


@settings(max_examples=60, deadline=None)
@given(
    st.integers(40, 3000), st.integers(40, 3000), st.integers(200, 3000), st.integers(200, 3000),
    st.floats(0, 0.8), st.floats(0, 0.8), st.floats(0.05, 0.2),
)  # fmt: skip
def test_a_box_comes_back_from_the_canvas(height, width, frame_h, frame_w, x, y, side):
    frame = Frame.of((frame_h, frame_w), 256, 32)
    views = frame.cut(np.zeros((height, width, 3), np.uint8))
    x0, y0 = int(x * width), int(y * height)
    box = (x0, y0, min(width, x0 + 1 + int(side * width)), min(height, y0 + 1 + int(side * height)))
    tile, there = views.on_canvas(box)
    back = views.from_canvas(tile, there)
    assert np.abs(np.subtract(back, box)).max() <= 2

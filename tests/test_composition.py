"""Parts that are missing or too many: found beside a good picture, told only when sure."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from anomalyst.detection.classifiers.composition import (
    CHANGES,
    CROP_PX,
    Composition,
    pair_of,
    place_shift,
)
from anomalyst.detection.regions import sentence
from anomalyst.inspector import Inspector
from anomalyst.io.geometry import Frame
from anomalyst.synthetic.procedural.episode import faulty_picture, normal_picture
from anomalyst.synthetic.procedural.families import HELD_OUT, draw_product
from anomalyst.training.tasks.composition import chosen_belief
from anomalyst.types import Region
from anomalyst.vlm.facts import Facts
from anomalyst.vlm.part_questions import about_parts


def textured(seed: int, size: int = 160) -> np.ndarray:
    noise = np.random.default_rng(seed).uniform(0, 255, (size, size, 3)).astype(np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 3)


@pytest.mark.parametrize("moved_xy", [(0, 0), (5, -3), (-11, 8)])
def test_a_place_is_found_by_its_surroundings(moved_xy):
    good = textured(0)
    query = np.roll(good, (-moved_xy[1], -moved_xy[0]), (0, 1))
    query[60:90, 70:100] = 0  # what differs inside the box has no say
    assert place_shift(query, good, (70, 60, 100, 90)) == moved_xy


def test_a_pair_holds_both_pictures_and_the_box():
    pair = pair_of(textured(1), textured(1), (70, 60, 100, 90))
    assert pair.shape == (7, CROP_PX, CROP_PX)
    torch.testing.assert_close(pair[:3], pair[3:6])
    # The box is 30 of the crop's 45 pixels: two thirds of each side.
    assert pair[6].mean().item() == pytest.approx((30 / 45) ** 2, abs=0.03)
    assert pair_of(textured(1), textured(2), (-20, -20, 4, 4)).isfinite().all()


def test_what_is_told_is_right_as_often_as_asked():
    shares = torch.tensor([[0.1, 0.9, 0], [0.2, 0, 0.8], [0.3, 0.7, 0], [0.45, 0.55, 0], [1, 0, 0]])
    truth = torch.tensor([1, 2, 0, 1, 0])
    believed, figures = chosen_belief(shares, truth, 0.9)
    assert 0.7 < believed <= 0.8
    assert figures == {"precision": 1.0, "missing": 0.5, "extra": 1.0}
    assert chosen_belief(shares, truth, 0.7)[0] == 0.4  # three of four


def test_a_region_says_what_is_missing_in_words_and_in_its_record():
    region = Region(
        box_xyxy=(1, 2, 3, 4), area_px=4, peak=0.9, centre_xy=(2, 3), place="upper left",
        kind="hole or break", part="missing",
    )  # fmt: skip
    assert Region.from_dict(region.as_dict()) == region
    old = {name: value for name, value in region.as_dict().items() if name != "part"}
    assert Region.from_dict(old) == replace(region, part=None)
    assert sentence("anomalous", [region], 0.01) == (
        "Anomalous: 1 region at the upper left (p = 0.01). "
        "Upper left: something that the good pictures show is missing."
    )


@pytest.mark.usefixtures("one_thread")
def test_parts_of_families_never_seen_in_training(inspector: Inspector):
    composition = inspector.pipeline.composition
    assert isinstance(composition, Composition)
    told = []
    for seed in range(30):
        rng = np.random.default_rng((91, seed))
        spec = draw_product(rng, only=HELD_OUT, without=())
        good = normal_picture(spec, rng, 256)
        for kind, part in (("missing part", "missing"), ("extra part", "extra")):
            made = faulty_picture(spec, rng, 256, (kind,)) if spec.parts else None
            if made is None:
                continue
            ys, xs = np.nonzero(made[1])
            box = (int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1)
            region = Region(box_xyxy=box, area_px=9, peak=1, centre_xy=(0, 0), place="centre")
            frame = Frame.of((256, 256), 256, 16)
            views = [frame.cut(picture) for picture in (made[0], good)]
            (found,) = composition.with_parts([region], *views)
            told.append((part, found.part))
    right = sum(a == b for a, b in told)
    wrong = sum(b is not None and a != b for a, b in told)
    assert len(told) >= 20
    assert right >= 0.25 * len(told), told
    assert wrong <= 0.1 * len(told), told
    assert None in CHANGES


def facts(*parts, verdict="anomalous", num_good=1) -> Facts:
    regions = tuple(
        Region(box_xyxy=(i, 2, 30, 40), area_px=90, peak=0.9, centre_xy=(9, 9), place="upper left",
               kind="scratch or crack", part=part)
        for i, part in enumerate(parts)
    )  # fmt: skip
    return Facts(
        verdict=verdict, p_value=0.02, confidence=0.9, regions=regions, size_hw=(100, 100),
        num_good=num_good, guaranteed=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("question", "of", "said"),
    [
        ("Is something missing?", facts(None, "missing"),
         "Yes: at the upper left (box 1, 2, 30, 40) something that the good pictures show is "
         "missing."),
        ("Is there an extra part?", facts("extra", verdict="unsure"),
         "Yes, probably: at the upper left (box 0, 2, 30, 40) something lies there that the good "
         "pictures do not show."),
        ("Is a part missing?", facts("extra"),
         "No, not clearly: what I see is a small scratch or crack at the upper left "
         "(box 0, 2, 30, 40)."),
        ("Are any parts missing?", facts(verdict="normal"),
         "No, not as far as I can see. With so few good pictures a missing part can escape me."),
        ("Is anything missing?", facts(verdict="normal", num_good=20),
         "No, not as far as I can see."),
    ],
)  # fmt: skip
def test_a_question_about_parts_is_answered_from_what_was_found(question, of, said):
    answer = about_parts(question, of)
    assert answer is not None
    assert answer.text == said
    assert len(answer.regions) == answer.raw.count("<region")


@pytest.mark.parametrize(
    "question", ["Is something missing or broken?", "Is there a defect?", "What is wrong here?"]
)
def test_other_questions_are_left_to_the_language_model(question):
    assert about_parts(question, facts("missing")) is None
    assert about_parts("Is something missing?", facts(num_good=0, verdict="unsure")) is None

"""Sizes in millimetres, and rules of what is tolerated: maths, boards, words, commands."""

import json
import math
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from anomalyst.cli.main import app
from anomalyst.errors import AnomalystError, PictureError
from anomalyst.evaluation.benchmarks.measuring import bench_measuring
from anomalyst.inspection.measured import kind_words, measured, told_apart
from anomalyst.inspector import Inspector
from anomalyst.io.masks import packed
from anomalyst.measuring.figures import Edge, measure
from anomalyst.measuring.rules import UNITS, judge, parse_rule, parse_rules
from anomalyst.measuring.scale import Scale, scale_by_board, scale_by_points
from anomalyst.measuring.settings import Measuring
from anomalyst.product import Product
from anomalyst.types import SIZE_NAMES, Dialogue, Inspection, Measure, Measures, Region, Sizes
from anomalyst.vlm.facts import Facts, facts_of
from anomalyst.vlm.measure_questions import about_measures, with_tolerance
from conftest import DEMO

FLANGE = DEMO / "flange"
SCALE = Scale(mm_per_px=0.1)


@pytest.fixture(scope="module")
def figures():
    return {(one.kind, one.figure): one for one in bench_measuring(20, seed=3)}


@pytest.mark.parametrize("kind", ["thin rectangle", "arc", "scratch", "world's scratch", "disc"])
def test_drawn_lengths_are_right_and_their_intervals_hold(figures, kind):
    found = figures[kind, "length"]
    assert found.near >= 0.9 and found.held >= 0.95, found


def test_areas_perimeters_and_widths_lie_within_what_is_stated(figures):
    for (kind, figure), found in figures.items():
        if figure != "length":
            assert found.held >= 0.9, (kind, figure, found)


def test_pieces_of_a_scratch_are_one_length():
    mask = np.zeros((20, 60), np.uint8)
    cv2.line(mask, (5, 10), (54, 10), 1, 3)
    broken = mask.copy()
    broken[:, 28:32] = 0
    whole, parts = measure(mask > 0).px, measure(broken > 0).px
    assert parts.length.value == pytest.approx(whole.length.value, abs=1)
    assert parts.area.value < whole.area.value


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (1, 9), (9, 1), (2, 2)])
def test_the_smallest_masks_are_measured(shape):
    sizes = measure(np.ones(shape, bool)).px
    assert sizes.area.value == np.prod(shape)
    assert max(shape) - 0.6 <= sizes.length.value <= math.hypot(*shape) + 0.3


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 3))
def test_where_a_thing_lies_and_how_it_is_turned_does_not_matter(x, y, quarter):
    mask = np.zeros((24, 70), np.uint8)
    cv2.polylines(mask, [np.array([[6, 5], [30, 17], [62, 9]])], False, 1, 3)
    turned = np.rot90(mask > 0, quarter)
    here, there = measure(mask > 0), measure(turned, corner_xy=(x, y))
    assert there.px.length.value == pytest.approx(here.px.length.value, abs=0.75)
    assert there.px.area == here.px.area and here.thin and there.thin


def test_millimetres_are_pixels_times_the_scale_and_doubts_add_as_squares():
    mask = np.zeros((12, 80), bool)
    mask[4:8, 5:75] = True
    px = measure(mask).px
    mm = measure(mask, scale=replace(SCALE, relative_sd=0.05)).mm
    for name in SIZE_NAMES:
        power = 2 if name == "area" else 1
        own, there = getattr(px, name), getattr(mm, name)
        assert there.value == pytest.approx(own.value * 0.1**power)
        scaled = 1.96 * power * 0.05 * there.value
        assert there.plus_minus == pytest.approx(math.hypot(own.plus_minus * 0.1**power, scaled))


def test_a_poor_mask_is_measured_with_more_doubt():
    mask = np.zeros((40, 40), bool)
    mask[10:30, 10:30] = True
    sure, poor = measure(mask), measure(mask, edge=Edge.of_iou(0.6, mask))
    assert poor.px.length.plus_minus > 2 * sure.px.length.plus_minus


def test_two_points_make_a_scale_with_its_doubt():
    scale = scale_by_points((10, 10, 110, 10), 50, (200, 200))
    assert scale.mm_per_px == pytest.approx(0.5)
    assert scale.relative_sd == pytest.approx(math.sqrt(2) * 0.5 / 100)
    assert Scale.from_dict(json.loads(json.dumps(scale.as_dict()))) == scale
    for points, length, said in (
        ((5, 5, 5, 5), 50, "the same"),
        ((5, 5, 500, 5), 50, "outside"),
        ((5, 5, 50, 5), 0, "above 0"),
        ((5, 5, 50, 5), float("nan"), "above 0"),
    ):
        with pytest.raises(AnomalystError, match=said):
            scale_by_points(points, length, (200, 200))
    for wrong in (0, -1, float("inf")):
        with pytest.raises(AnomalystError, match="above 0"):
            Scale(mm_per_px=wrong)


CAMERA = np.array([[900.0, 0, 320], [0, 900, 240], [0, 0, 1]])
BENT = np.array([-0.25, 0.05, 0.0, 0.0, 0.0])


def board(tilt: tuple[float, float, float], far_mm: float = 110.0) -> np.ndarray:
    """9 x 6 squares of 5 mm before a camera with barrel distortion, uint8 (480, 640, 3)."""
    y, x = (np.mgrid[0:960, 0:1280] + 0.5) / 2  # four looks a pixel
    pixels = np.stack([x.ravel(), y.ravel()], 1)[:, None]
    rays = cv2.undistortPoints(pixels, CAMERA, BENT)[:, 0]
    turn = cv2.Rodrigues(np.array(tilt, float))[0]
    plane = np.stack([turn[:, 0], turn[:, 1], [0, 0, far_mm]], 1)
    where = np.linalg.solve(plane, np.concatenate([rays, np.ones((len(rays), 1))], 1).T)
    u, v = (where[:2] / where[2]).reshape(2, 960, 1280) + np.array([22.5, 15.0])[:, None, None]
    inside = (u > 0) & (u < 45) & (v > 0) & (v < 30)
    dark = inside & ((np.floor(u / 5) + np.floor(v / 5)) % 2 == 0)
    grey = cv2.GaussianBlur(np.where(dark, 30, 220).astype(np.uint8), (5, 5), 0)
    grey = cv2.resize(grey, (640, 480), interpolation=cv2.INTER_AREA)
    return np.repeat(grey[..., None], 3, 2)


def seen_at(points_mm: np.ndarray, far_mm: float = 110.0) -> np.ndarray:
    """Where points of the plane of parts lie on its picture, px."""
    flat = np.concatenate([points_mm, np.zeros((len(points_mm), 1))], 1)
    there = cv2.projectPoints(flat, np.zeros(3), np.array([0, 0, far_mm]), CAMERA, BENT)[0]
    return there[:, 0]


@pytest.mark.parametrize(
    "tilts", [[(0, 0, 0)], [(0, 0, 0), (0.3, 0, 0.1), (0, -0.35, 0), (0.2, 0.25, 0)]]
)
def test_a_board_takes_the_lens_out(tilts):
    boards = {Path(f"{i}.png"): board(tilt) for i, tilt in enumerate(tilts)}
    scale = scale_by_board(boards, (9, 6), 5.0)
    assert scale.lens and scale.lens.rms_px < 0.3 and scale.residual_px < 0.2
    ends = np.array([[-20.0, -13.0], [20.0, -13.0], [-20.0, 13.0], [0.0, 0.0]])
    found = scale.straightened(seen_at(ends))
    pixels = np.hypot(*(seen_at(ends)[0] - seen_at(ends)[1])) * scale.mm_per_px
    assert np.hypot(*(found[0] - found[1])) == pytest.approx(40, abs=0.08)
    assert np.hypot(*(found[0] - found[2])) == pytest.approx(26, abs=0.08)
    assert abs(pixels - 40) > 0.3  # which the lens would have cost
    assert Scale.from_dict(json.loads(json.dumps(scale.as_dict()))) == scale


def test_boards_that_cannot_be_used_are_named():
    blank = np.full((480, 640, 3), 200, np.uint8)
    with pytest.raises(PictureError, match=r"b\.png: no checker board of 9 x 6"):
        scale_by_board({Path("a.png"): board((0, 0, 0)), Path("b.png"): blank}, (9, 6), 5)
    with pytest.raises(PictureError, match="9 x 6: squares are counted, not corners"):
        scale_by_board({Path("a.png"): board((0, 0, 0))}, (8, 5), 5)
    with pytest.raises(PictureError, match=r"b\.png: is 320 x 240"):
        small = {Path("a.png"): board((0, 0, 0)), Path("b.png"): blank[:240, :320]}
        scale_by_board(small, (9, 6), 5)
    with pytest.raises(AnomalystError, match="above 0"):
        scale_by_board({Path("a.png"): blank}, (9, 6), 0)


WORDS = kind_words()
KIND = st.sampled_from(["any", *WORDS])
LENGTHS = st.sampled_from(sorted(UNITS))
SIGNS = st.sampled_from(["<", "<=", "≤"])


@settings(deadline=None)
@given(KIND, st.sampled_from(["length", "width", "perimeter"]), SIGNS,
       st.floats(0.001, 1e5), LENGTHS, st.sampled_from(["", " ", "  "]))  # fmt: skip
def test_a_rule_says_what_was_written(word, figure, sign, number, unit, space):
    text = f"{space}{word}{space}:{space}{figure}{space}{sign}{space}{number!r} {unit}"
    rule = parse_rule(text, WORDS)
    own, factor = UNITS[unit]
    assert (rule.word, rule.figure, rule.unit) == (word, figure, own)
    assert rule.limit == pytest.approx(number * factor)
    assert rule.inclusive == (sign != "<") and (rule.kinds == () or WORDS[word] in rule.kinds)
    assert parse_rule(rule.text, WORDS) == rule


@settings(deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_a_rule_or_a_sentence_about_it(text):
    try:
        parse_rule(text, WORDS)
    except AnomalystError as error:
        assert str(error).startswith("rule ")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("skratch: none", "'skratch' is no kind of defect; the nearest is 'scratch'"),
        ("scratch: lenght < 2 mm", "'lenght' is no limit; the nearest is 'length'"),
        ("scratch: length < 2 mmm", "'mmm' is no unit of length; the nearest is 'mm'"),
        ("any: area < 2 mm", "'mm' is a length, and area needs the other"),
        ("scratch: length > 2 mm", "'>' tells what is not tolerated"),
        ("scratch: length < two mm", "'two' is no number"),
        ("scratch: length < 2", "lacks its unit"),
        ("spots: at most some", "'some' is no whole number"),
        ("scratch: length < 0 mm", "write none"),
        ("scratch length < 2 mm", "has no colon"),
        ("scratch: length < 2 mm please", "'please' is one word too many"),
    ],
)
def test_a_rule_that_cannot_be_read_points_at_the_word(text, said):
    with pytest.raises(AnomalystError, match=said.replace("(", r"\(")):
        parse_rule(text, WORDS)


def region(length: float = 1.4, off: float = 0.05, **more) -> Region:
    one = Sizes(**{name: Measure(length, off) for name in SIZE_NAMES})
    known = {"kind": "scratch or crack", "measures": Measures(px=one, mm=one, thin=True)}
    return Region(box_xyxy=(10, 5, 30, 9), area_px=60, peak=0.9, centre_xy=(20, 7),
                  place="upper left", **known | more)  # fmt: skip


@pytest.mark.parametrize(
    ("rules", "regions", "before", "verdict", "words"),
    [
        (["scratch: length < 2 mm"], [region()], "anomalous", "normal",
         "within tolerance: scratch of 1.4 mm (limit 2 mm)"),
        (["scratch: length < 2 mm"], [region(1.98)], "anomalous", "unsure", "too near the limit"),
        (["scratch: length < 2 mm"], [region(1.98)], "unsure", "unsure", "too near the limit"),
        (["scratch: length < 2 mm"], [region(3)], "unsure", "anomalous", "out of tolerance"),
        (["scratch: length < 2 mm"], [region(), region(kind=None)], "anomalous", "anomalous", ""),
        (["any: length < 2 mm"], [region(), region(kind=None)], "anomalous", "normal", "anomaly"),
        (["spots: at most 1"], [region(kind="discolouration")], "unsure", "normal", "1 spots"),
        (["spots: at most 1"], [region(kind="discolouration")] * 2, "unsure", "anomalous", "2 sp"),
        (["crack: none", "any: length < 9 mm"], [region()], "unsure", "anomalous", "none is all"),
        (["any: length < 2 mm"], [region(part="missing")], "anomalous", "anomalous", "missing"),
        (["any: length < 2 mm"], [region(measures=None)], "anomalous", "anomalous", "needs a sc"),
    ],
)  # fmt: skip
def test_rules_change_a_verdict_only_as_they_say(rules, regions, before, verdict, words):
    ruling = judge(parse_rules(rules, WORDS), regions, before)
    assert ruling is not None and ruling.verdict == verdict
    assert words in "; ".join(ruling.words)


def test_rules_do_not_touch_what_they_are_not_about():
    rules = parse_rules(["dent: none"], WORDS)
    assert judge(rules, [region()], "anomalous") is None
    assert judge(parse_rules(["any: none"], WORDS), [], "normal") is None


def found_on(mask: np.ndarray, **more) -> Inspection:
    """An alarm at a scratch with a crisp mask."""
    rows, columns = np.nonzero(mask)
    box = int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1
    one = Region(box_xyxy=box, area_px=len(rows), peak=0.9, centre_xy=(30, 20),
                 place="upper left", kind="scratch or crack", mask=packed(mask))  # fmt: skip
    known = {"image": Path("a.png"), "size_hw": mask.shape, "map": mask.astype(np.float32),
             "score": 1.0, "p_value": 0.02, "verdict": "anomalous", "regions": (one,),
             "answer": "", "seconds": {}, "guaranteed": True, "num_good": 20}  # fmt: skip
    return Inspection(**known | more)


@pytest.fixture
def scratched() -> np.ndarray:
    mask = np.zeros((80, 120), np.uint8)
    cv2.line(mask, (20, 30), (80, 50), 1, 2)
    return mask > 0


def test_rules_know_the_kinds_that_a_product_was_taught():
    burr = region(called="Burr")
    assert judge(parse_rules(["scratch: none"], WORDS), [burr], "unsure") is None
    own = kind_words(("Burr", "crack"))
    rules = parse_rules(["burrs: length < 2 mm"], own)
    assert judge(rules, [burr], "anomalous").verdict == "normal"
    assert judge(parse_rules(["scratch: none"], own), [region(called="crack")], "unsure") is None
    forgotten = parse_rules(["burrs: none"], WORDS, kept=True)  # no inspection stops at it
    assert judge(forgotten, [region()], "anomalous") is None
    with pytest.raises(AnomalystError, match="is no kind of defect"):
        parse_rules(["burrs: none"], WORDS)
    assert told_apart(["scratch: none", "crack: none"]) and not told_apart(
        ["scratch: none", "crack: none"], ("Burr", "crack")
    )


def test_a_tolerated_scratch_is_normal_and_the_first_verdict_stays(scratched):
    measuring = Measuring(
        scale=replace(SCALE, size_hw=(80, 120)), rules=("scratch: length < 9 mm",)
    )
    found = measured(found_on(scratched), measuring)
    assert (found.verdict, found.verdict_before_rules, found.p_value) == (
        "normal",
        "anomalous",
        0.02,
    )
    assert found.guaranteed and "within tolerance: scratch of 6." in found.answer
    assert found.regions[0].measures.mm.length.value == pytest.approx(6.5, abs=0.3)
    assert measured(found, measuring) == found
    back = Inspection.from_dict(json.loads(json.dumps(found.as_dict())), found.map, {})
    assert back.regions[0].measures.mm == Sizes.from_dict(found.regions[0].measures.mm.as_dict())
    assert back.ruled == found.ruled and back.verdict_before_rules == "anomalous"


def test_an_alarm_that_a_rule_raised_has_no_guarantee(scratched):
    measuring = Measuring(scale=SCALE, rules=("scratch: length < 2 mm",))
    found = measured(found_on(scratched, verdict="unsure"), measuring)
    assert found.verdict == "anomalous" and not found.guaranteed
    assert any("twice the rate" in note for note in found.notes)


def test_a_picture_of_another_size_is_not_measured_in_mm(scratched):
    measuring = Measuring(scale=replace(SCALE, size_hw=(480, 640)), rules=("any: length < 9 mm",))
    found = measured(found_on(scratched), measuring)
    assert found.verdict == "anomalous" and found.regions[0].measures.mm is None
    assert any("640 x 480" in note for note in found.notes)


def test_without_a_mask_the_blurred_map_is_measured_and_said(scratched):
    blurred = cv2.GaussianBlur(scratched.astype(np.float32), (9, 9), 0)
    found = found_on(scratched, map=blurred / blurred.max())
    found = replace(found, regions=(replace(found.regions[0], mask=None),))
    measures = measured(found, Measuring(scale=SCALE)).regions[0].measures
    crisp = measured(found_on(scratched), Measuring(scale=SCALE)).regions[0].measures
    assert "blurred map" in measures.note and not crisp.note
    assert measures.mm.length.plus_minus > 3 * crisp.mm.length.plus_minus


def test_a_record_of_before_has_no_measures():
    values = region(measures=None).as_dict()
    del values["measures"]
    assert Region.from_dict(values).measures is None
    assert not Measuring.from_dict(None)


def facts(*regions: Region, **more) -> Facts:
    known = {"verdict": "anomalous", "p_value": 0.02, "confidence": 0.98, "regions": regions,
             "size_hw": (80, 120), "num_good": 20, "guaranteed": True}  # fmt: skip
    return Facts(**known | more)


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ("How long is it?", "1.4 mm long, give or take 0.05"),
        ("How large is the scratch?", "1.4 mm long"),
        ("What is its area?", "its area is 1.4 mm2"),
        ("Is it longer than 2 mm?", "No: "),
        ("Is it shorter than 2 mm?", "Yes: "),
        ("Is it longer than 1000 um?", "Yes: "),
        ("Is it longer than 1.38 mm?", "too near to tell"),
    ],
)
def test_sizes_are_answered_from_measures(question, said):
    answer = about_measures(question, facts(region()))
    assert answer is not None and said in answer.text and answer.regions


def test_other_questions_and_regions_not_measured_are_left_to_the_model():
    assert about_measures("How many defects are there?", facts(region())) is None
    assert about_measures("How large is it?", facts(region(measures=None))) is None
    assert about_measures("Where is it?", facts(region())) is None


def test_words_about_a_tolerated_part_do_not_contradict_the_rules(scratched, inspector):
    measuring = Measuring(scale=SCALE, rules=("scratch: length < 9 mm",))
    known = facts_of(measured(found_on(scratched), measuring))
    assert known.regions == () and len(known.tolerated) == 1
    assert Facts.from_dict(json.loads(json.dumps(known.as_dict()))).ruled == known.ruled
    assert "6." in about_measures("How long is the scratch?", known).text
    assert about_measures("Is it within tolerance?", known).text.startswith("Yes, by the accept")
    shown = inspector.inspect(FLANGE / "test" / "good-000.jpg", inspector.untaught()).shown
    found = replace(measured(found_on(scratched), measuring), shown=shown)
    for question in ("Is there a defect?", "Is it sound?"):
        heard = []
        text = inspector.ask(question, Dialogue(found), heard.append).text
        assert "tolerated: Within tolerance: scratch of 6." in text, text
        assert "tolerated" in heard[-1]
    assert with_tolerance(inspector.ask("Is it sound?", Dialogue(found)), facts())[1] == ""


def run(*words: object):
    return CliRunner().invoke(app, [str(w) for w in words])


def test_commands_set_scale_and_rules_and_inspect_by_them(
    tmp_path, inspector, monkeypatch, refused
):
    monkeypatch.setattr(Inspector, "load", classmethod(lambda *_: inspector))
    products, test = tmp_path / "products", FLANGE / "test" / "fracture-001.jpg"
    good = sorted((FLANGE / "good").glob("*.jpg"))[:2]
    assert run("teach", "flange", *good, "--products", products).exit_code == 0
    at = ("flange", "--products", products)
    done = run("scale", *at, "--points", "20,128,220,128", "--length-mm", 50)
    assert done.exit_code == 0 and "0.25 mm a pixel, by two points" in done.output
    done = run("rules", *at, "any: length < 90 mm", "spots: at most 3")
    assert done.output.splitlines()[:2] == ["any: length < 90 mm", "spots: at most 3"]
    assert run("rules", *at, "--remove", "spots: at most 3").output.strip() == "any: length < 90 mm"
    out = tmp_path / "out"
    done = run("inspect", test, "--product", "flange", "--products", products, "--out", out)
    assert done.exit_code == 0 and "mm long" in done.output.replace("\n", " ")
    record = json.loads((out / "fracture-001.json").read_text())
    assert record["regions"][0]["measures"]["mm"]["length"][0] > 1
    assert record["verdict_before_rules"] in ("anomalous", "unsure") and record["ruled"]
    # Regions of a product with a scale are drawn crisp by themselves, where that is believed.
    blurred = any(region["fit"] is None for region in record["regions"])
    assert blurred == ("blurred map" in (out / "report.html").read_text())
    kept = Product.load(products / "flange").measuring  # more pictures change nothing of it
    assert run("teach", "flange", FLANGE / "good" / "002.jpg", *at[1:]).exit_code in (0, 2)
    assert Product.load(products / "flange").measuring == kept
    assert "the same" in refused("scale", *at, "--points", "5,5,5,5", "--length-mm", 5)
    assert "above 0" in refused("scale", *at, "--mm-per-px", "-1")
    assert "exactly one" in refused("scale", *at)
    board_file = tmp_path / "board.png"
    cv2.imwrite(str(board_file), board((0, 0, 0)))
    said = refused("scale", *at, "--checkerboard", board_file, "--squares", "9x6", "--square-mm", 5)
    assert "board.png: is 640 x 480 px" in said and "same camera" in said
    assert "no rule" in refused("rules", *at, "--remove", "crack: none")
    assert "no scale" in run("scale", *at, "--remove").output
    assert "no acceptance rules" in run("rules", *at, "--remove").output

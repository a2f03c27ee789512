"""Areas that count: polygons, the zone that follows the part, what is judged and what is not."""

import dataclasses
import json

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from anomalyst.detection.counted import Counted, Counting
from anomalyst.errors import AnomalystError, PictureError
from anomalyst.inspection.config import InspectorConfig
from anomalyst.inspector import Inspector
from anomalyst.io.areas import Area, Areas, area_of, areas_from
from anomalyst.io.geometry import Frame
from anomalyst.io.masks import packed, unpacked
from anomalyst.io.pictures import encoded, open_picture
from anomalyst.io.polygons import checked_points, crossing, filled
from anomalyst.product import Product
from anomalyst.synthetic.procedural.episode import normal_picture
from anomalyst.synthetic.procedural.families import draw_product
from anomalyst.teaching.known_defects.defects import KnownDefects
from sensed import sound

SIDE = 192
ZONE = ((40.0, 40.0), (100.0, 40.0), (100.0, 100.0), (40.0, 100.0))
CABLE = Area(name="cable", use="ignore", points_xy=ZONE)
INSIDE, OUTSIDE = (70, 70), (135, 130)


# Polygons


def star(radii: list[float]) -> list[tuple[float, float]]:
    """Round the middle of a picture of 40 x 40 pixels: such a polygon never crosses itself."""
    turns = np.arange(len(radii)) * 2 * np.pi / len(radii)
    return [(20 + r * np.cos(t), 20 + r * np.sin(t)) for r, t in zip(radii, turns, strict=True)]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(3, 19), min_size=3, max_size=9))
def test_a_polygon_holds_the_pixels_whose_middle_lies_in_it(radii):
    points = np.array(star(radii))
    found = filled(points.tolist(), (40, 40))
    for y, x in np.ndindex(40, 40):
        # By the angle under which the polygon is seen: a whole turn inside, none outside.
        seen = points - (x + 0.5, y + 0.5)
        after = np.roll(seen, -1, 0)
        cross = seen[:, 0] * after[:, 1] - seen[:, 1] * after[:, 0]
        turn = np.arctan2(cross, (seen * after).sum(1)).sum()
        if np.abs(cross).min() > 1e-6:
            assert found[y, x] == (abs(turn) > np.pi)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(3, 19), min_size=4, max_size=9), st.data())
def test_a_polygon_that_crosses_itself_is_told_from_one_that_does_not(radii, data):
    points = star(radii)
    assert crossing(points) is None
    even = star([10.0] * len(radii))  # convex: two neighbours swapped cross
    at = data.draw(st.integers(0, len(even) - 2))
    even[at], even[at + 1] = even[at + 1], even[at]
    assert crossing(even) is not None


@pytest.mark.parametrize(
    ("points", "sentence"),
    [
        ([[1, 1], [9, 1]], "2 points; a polygon needs 3"),
        ([[1, 1], [9, 1], [5, 99]], "outside the first good picture, which is 50x40"),
        ([[1, 1], [9, 9], [9, 1], [1, 9]], "crosses itself, side 1 meets side 3"),
        ([[1, 1], [9, 1], [5, 1]], "crosses itself"),
        ([[1, 1], [9, 1], [1, 1], [5, 9]], "crosses itself"),
        ([[1, 1], [9, "x"], [5, 9]], "a list of points"),
        ([[1, 1], [9, float("nan")], [5, 9]], "a list of points"),
        ({"points": []}, "a list of points"),
    ],
)
def test_what_is_no_polygon_is_refused_in_a_sentence(points, sentence):
    with pytest.raises(AnomalystError, match=sentence):
        checked_points(points, (40, 50), "zone.json")
    assert len(checked_points([[0, 0], [50, 0], [50, 40], [0, 0]], (40, 50), "closed")) == 3


# Areas


def test_what_counts_lies_in_a_region_of_interest_and_in_no_ignore_zone():
    left = Area(name="left", use="roi", points_xy=((0, 0), (10, 0), (10, 20), (0, 20)))
    right = Area(name="right", use="roi", points_xy=((15, 0), (20, 0), (20, 20), (15, 20)))
    top = Area(name="top", use="ignore", points_xy=((0, 0), (20, 0), (20, 5), (0, 5)))
    counted = Areas(size_hw=(20, 20), drawn=(left, right, top)).counted
    expected = np.zeros((20, 20), bool)
    expected[5:, :10] = expected[5:, 15:] = True
    assert (counted == expected).all()
    assert Areas(size_hw=(20, 20), drawn=(top,)).sentence == "1 area is ignored: top."


@pytest.mark.parametrize(
    ("drawn", "sentence"),
    [
        ([CABLE, CABLE], "there is an area 'cable' already"),
        ([Area(name="a", use="roi", mask=packed(np.ones((99, 99), bool)))], "covers everything"),
        ([Area(name="a", use="roi", mask=packed(np.zeros((99, 99), bool)))], "covers nothing"),
        ([dataclasses.replace(CABLE, name="b", use="roi"), CABLE], "leave nothing that counts"),
    ],
)
def test_areas_that_make_no_sense_are_refused(drawn, sentence):
    with pytest.raises(AnomalystError, match=sentence):
        Areas(size_hw=(99, 99), drawn=tuple(drawn))


def test_files_of_another_form_or_size_are_refused(tmp_path):
    (tmp_path / "mask.png").write_bytes(encoded(np.eye(30, dtype=bool)))
    with pytest.raises(PictureError, match="30x30 pixels, its picture is 50x40"):
        area_of("a", "ignore", tmp_path / "mask.png", (40, 50))
    with pytest.raises(AnomalystError, match="no such file"):
        area_of("a", "ignore", tmp_path / "none.json", (40, 50))
    for wrong, sentence in (
        ([{"name": "a", "use": "blind", "points_xy": []}], "one of ignore, roi"),
        ([{"name": "../a", "use": "roi", "points_xy": []}], "area name"),
        ([{"name": "a", "use": "roi"}], "either points_xy or mask"),
        ([{"name": "a", "use": "roi", "mask": {"size": [9, 9], "counts": "11"}}], "9x9"),
        ([{"name": "a", "use": "roi", "mask": {"counts": 3}}], "no compressed COCO"),
    ):
        with pytest.raises(AnomalystError, match=sentence):
            areas_from(wrong, (40, 50))


# Zones follow the part


def drawn_part(seed: int = 3):
    rng = np.random.default_rng(seed)
    spec = draw_product(rng, only=["machined part"])
    return spec, rng


@pytest.mark.parametrize(
    ("shift", "turn", "zoom"), [((0.05, -0.04), 0, 1), ((0.02, 0.03), 7, 1), ((-0.04, 0), -4, 1.03)]
)
@pytest.mark.parametrize("tiles", [1, 4])
def test_a_zone_stays_on_its_feature_when_the_part_moves(shift, turn, zoom, tiles):
    spec, rng = drawn_part()
    picture = normal_picture(spec, rng, SIDE)
    frame = Frame.of((SIDE, SIDE), 256, 32)
    if tiles > 1:
        frame = Frame.at_scale((SIDE, SIDE), 2.0, 32, 256)
        assert len(frame.boxes_xyxy) == tiles
    views = frame.cut(picture)
    areas = Areas(size_hw=(SIDE, SIDE), drawn=(dataclasses.replace(CABLE, use="roi"),))
    counting = Counting.of(areas, frame, views.canvases, views.placements[0])

    matrix = cv2.getRotationMatrix2D((SIDE / 2, SIDE / 2), turn, zoom)
    matrix[:, 2] += np.array(shift) * SIDE
    query = cv2.warpAffine(picture, matrix, (SIDE, SIDE), borderMode=cv2.BORDER_REFLECT_101)
    query = np.clip(query * 0.9 + rng.normal(8, 3, query.shape), 0, 255).astype(np.uint8)
    moved = frame.cut(query)
    on = counting.on(moved.canvases, moved.placements)
    whole = moved.join([part.kept.astype(np.float32) for part in on.parts]) > 0.5

    true = cv2.warpAffine(areas.counted.astype(np.uint8), matrix, (SIDE, SIDE)) > 0
    assert on.movement.found and (whole & true).sum() / (whole | true).sum() > 0.9
    still = areas.counted
    assert (still & true).sum() / (still | true).sum() < 0.85  # it did move


def test_a_picture_of_something_else_leaves_the_zone_where_it_was_drawn():
    spec, rng = drawn_part()
    frame = Frame.of((SIDE, SIDE), 256, 32)
    views = frame.cut(normal_picture(spec, rng, SIDE))
    areas = Areas(size_hw=(SIDE, SIDE), drawn=(CABLE,))
    counting = Counting.of(areas, frame, views.canvases, views.placements[0])
    noise = rng.integers(0, 255, (256, 256, 3)).astype(np.uint8)
    on = counting.on([noise], [None])
    assert not on.movement.found
    assert (on.parts[0].kept == counting.still(1)[0].kept).all()


# Judged and not judged


@pytest.fixture(scope="module")
def small():
    """The shipped inspector at a small side and on one thread: quick on a busy machine, too."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield Inspector.load(config=InspectorConfig(side_px=128))
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def part(small, tmp_path_factory):
    """A drawn part with its cable ignored, and further good pictures of it."""
    folder = tmp_path_factory.mktemp("part")
    spec, rng = drawn_part()
    paths = []
    for number in range(7):
        paths.append(folder / f"{number}.png")
        paths[-1].write_bytes(encoded(normal_picture(spec, rng, SIDE)))
    plain = small.teach("part", paths[:4], adapted=False)
    return plain, small.with_areas(plain, Areas(size_hw=(SIDE, SIDE), drawn=(CABLE,))), paths[4:]


def spoiled(path, at, name):
    """The picture with a red spot at a place."""
    picture = open_picture(path)
    cv2.ellipse(picture, at, (8, 5), 30, 0, 360, (230, 30, 30), -1, cv2.LINE_AA)
    target = path.with_name(name)
    target.write_bytes(encoded(picture))
    return target


def test_a_defect_in_an_ignore_zone_raises_no_alarm_and_the_same_one_outside_does(small, part):
    plain, ignoring, fresh = part
    inside, outside = (
        spoiled(fresh[0], at, f"{name}.png") for name, at in (("in", INSIDE), ("out", OUTSIDE))
    )
    assert small.inspect(inside, plain).verdict == "anomalous"
    quiet, loud = (small.inspect(one, ignoring) for one in (inside, outside))
    assert quiet.verdict == "normal" and loud.verdict == "anomalous"
    good = small.inspect(fresh[0], ignoring)
    assert abs(quiet.score - good.score) < 1 < loud.score - good.score
    for found in (quiet, loud):
        assert found.answer.endswith("1 area is ignored: cable.")
        assert "1 area is ignored: cable." in found.notes
    # On both at once nothing is said of the one that is ignored.
    both = small.inspect(spoiled(outside, INSIDE, "both.png"), ignoring)
    ignored = unpacked(both.ignored)
    assert ignored[INSIDE[::-1]] and not ignored[OUTSIDE[::-1]]
    assert not both.map[ignored].any() and both.map[~ignored].max() > 0.5
    assert len(both.regions) == len(loud.regions)
    x, y = both.regions[0].centre_xy
    assert abs(x - OUTSIDE[0]) < 15 and abs(y - OUTSIDE[1]) < 15


def test_nothing_but_a_region_of_interest_is_looked_at(small, part):
    plain, _, fresh = part
    wanted = Areas(size_hw=(SIDE, SIDE), drawn=(dataclasses.replace(CABLE, use="roi"),))
    looking = small.with_areas(plain, wanted)
    inside, outside = (
        spoiled(fresh[1], at, f"{name}.png") for name, at in (("roi-in", INSIDE), ("r-o", OUTSIDE))
    )
    assert small.inspect(inside, looking).verdict == "anomalous"
    assert small.inspect(outside, looking).verdict == "normal"
    away = open_picture(fresh[1])
    gone = fresh[1].with_name("gone.png")
    gone.write_bytes(encoded(np.roll(away, -SIDE // 4, axis=(0, 1)) // 2))
    assert small.inspect(gone, looking).notes  # it is judged, or refused in a sentence, not lost


def test_changed_areas_calibrate_as_if_taught_with_them(small, part):
    plain, ignoring, _ = part
    taught = small.teach("part", plain.references, areas=ignoring.areas, adapted=False)
    assert taught.calibration == ignoring.calibration != plain.calibration
    assert small.with_areas(ignoring, None).calibration == plain.calibration
    more = small.teach("part", [], product=ignoring, adapted=False)
    assert more.areas == ignoring.areas


def test_a_part_that_lies_turned_keeps_its_zone(small, part, tmp_path):
    plain, _, fresh = part
    areas = Areas(size_hw=(SIDE, SIDE), drawn=(CABLE,))
    free = small.teach("part", plain.references[:1], pose="free", areas=areas, adapted=False)
    turned = tmp_path / "turned.png"
    inside = spoiled(fresh[2], INSIDE, "turn-in.png")
    Image.open(inside).rotate(90).save(turned)
    upright, found = (small.inspect(one, free) for one in (inside, turned))
    assert any("turned" in note for note in found.notes)
    there = np.rot90(unpacked(upright.ignored))  # counter-clockwise, as the picture
    ignored = unpacked(found.ignored)
    assert (ignored & there).sum() / (ignored | there).sum() > 0.8
    assert not found.map[ignored].any() and "1 area is ignored" in found.answer


def test_areas_survive_saving_and_older_products_have_none(small, part, tmp_path):
    plain, ignoring, fresh = part
    mask = Area(name="label", use="ignore", mask=packed(np.tri(SIDE, dtype=bool)))
    product = dataclasses.replace(
        ignoring,
        areas=dataclasses.replace(ignoring.areas, drawn=(*ignoring.areas.drawn, mask)),
        counting=None,
    )
    product.save(tmp_path / "part")
    loaded = Product.load(tmp_path / "part")
    assert loaded.areas == product.areas
    assert (tmp_path / "part" / "areas" / "02.png").exists()
    assert small.inspect(fresh[0], loaded).answer.endswith("2 areas are ignored: cable, label.")
    record = json.loads((tmp_path / "part" / "product.json").read_text())
    del record["areas"]
    (tmp_path / "part" / "product.json").write_text(json.dumps(record))
    assert Product.load(tmp_path / "part").areas is None


def test_what_cannot_be_set_anew_is_refused(small, part, tmp_path):
    plain, ignoring, fresh = part
    bad = KnownDefects(pictures=tuple(fresh))
    with pytest.raises(AnomalystError, match="threshold that known defects set"):
        small.teach("part", [], product=ignoring, bad=bad)
    with pytest.raises(AnomalystError, match="99x99 pixels; the first good picture"):
        small.with_areas(plain, Areas(size_hw=(99, 99), drawn=(CABLE,)))
    speck = ((50.0, 50.0), (52.0, 50.0), (51.0, 52.0))
    tiny = Area(name="speck", use="roi", points_xy=speck)
    with pytest.raises(AnomalystError, match="less than one cell of the map"):
        small.with_areas(plain, Areas(size_hw=(SIDE, SIDE), drawn=(tiny,)))
    hidden = dataclasses.replace(ignoring, references=[tmp_path / "x.png", *plain.references[1:]])
    with pytest.raises(AnomalystError, match="first good picture, which its areas are drawn on"):
        small.teach("part", [], product=hidden)


# Evaluation


def test_what_is_ignored_is_in_no_figure_of_an_evaluation(small, part, tmp_path):
    from anomalyst.evaluation.protocols.areas import areas_for, read_areas
    from anomalyst.evaluation.protocols.protocol import ProtocolConfig, evaluate
    from anomalyst.evaluation.protocols.run_records import read_rows
    from anomalyst.types import Sample

    _, _, fresh = part
    good = part[0].references
    samples = [Sample(image=one, label="normal", split="train") for one in good[:2]]
    samples += [Sample(image=fresh[0], label="normal")]
    for name, at in (("ev-in", INSIDE), ("ev-out", OUTSIDE)):
        truth = np.zeros((SIDE, SIDE), bool)
        truth[at[1] - 5 : at[1] + 5, at[0] - 5 : at[0] + 5] = True
        mask = tmp_path / f"{name}-mask.png"
        mask.write_bytes(encoded(truth))
        bad = spoiled(fresh[0], at, f"{name}.png")
        samples.append(Sample(image=bad, label="anomalous", mask=mask, defect="spot"))
    file = tmp_path / "areas.json"
    said = {"picture": str(good[0]), "areas": [{"name": "cable", "use": "ignore",
                                                "points_xy": ZONE}]}  # fmt: skip
    file.write_text(json.dumps(said))
    config = ProtocolConfig(shots=2, seeds=1, areas=read_areas(file, {""}))
    [run] = evaluate(small, samples, config, out=tmp_path / "out").runs
    labels = {row.path.rsplit("/", 1)[1]: row.label for row in read_rows(tmp_path / "out", run)}
    assert labels["ev-in.png"] == "normal" and labels["ev-out.png"] == "anomalous"
    assert run.metrics["image_auroc"] == 1 and run.metrics["pixel_auroc"] > 0.95

    moved = tmp_path / "moved.png"  # drawn on one picture, laid on another
    moved.write_bytes(encoded(np.roll(open_picture(good[0]), 10, axis=1)))
    covered = ~areas_for(config.areas, "", moved).counted
    xs = np.nonzero(covered.any(0))[0]
    assert (xs[0], xs[-1]) == (pytest.approx(50, abs=2), pytest.approx(109, abs=2))
    for wrong, sentence in (
        ({"bolt": said}, "'bolt' is none of the categories"),
        ([1], "is needed"),
        ({"areas": [{"name": "a", "use": "roi", "points_xy": [[0, 0]]}], "picture": str(good[0])},
         "needs 3"),
    ):  # fmt: skip
        file.write_text(json.dumps(wrong))
        with pytest.raises(AnomalystError, match=sentence):
            read_areas(file, {""})


# Commands


def test_areas_are_taught_listed_drawn_changed_and_refused(tmp_path, part, refused):
    from typer.testing import CliRunner

    from anomalyst.cli.main import app

    _, ignoring, fresh = part
    (tmp_path / "zone.json").write_text(json.dumps(ZONE))
    here = ["--products", str(tmp_path / "products")]

    def run(*words):
        found = CliRunner().invoke(app, [*map(str, words), *here])
        assert found.exit_code == 0, found.output
        return found.output

    zone = f"cable={tmp_path / 'zone.json'}"
    first = [*ignoring.references[:2], "--side", 96]
    assert "1 area is ignored: cable." in run("teach", "part", *first, "--ignore", zone)
    assert "ignore cable: 4 points, 9.8%" in run("areas", "part")
    told = run("areas", "part", "--remove", "cable", "--on-product", "--show", tmp_path / "a.png")
    assert "What lies beside the product is ignored." in told
    assert Image.open(tmp_path / "a.png").size == (SIDE, SIDE)
    assert "all of a picture counts" in run("areas", "part", "--everywhere")
    assert "there is no 'q'" in refused("areas", "part", "--remove", "q", *here)
    assert "the nearest is 'part'" in refused("areas", "prat", *here)
    sounds = tmp_path / "hum.wav"
    sound(sounds, np.random.default_rng(0))
    run("teach", "pump", "--audio", sounds)
    assert "photographs alone" in refused("areas", "pump", "--ignore", zone, *here)
    run("areas", "part", "--ignore", zone)
    out = ["--out", str(tmp_path / "out")]
    assert "an export cannot move" in refused("export", "part", *here, *out)


def test_a_bank_tells_how_a_part_lies_where_nothing_counts(tmp_path):
    from transformers import ResNetConfig, ResNetModel

    torch.manual_seed(0)
    sizes = {"embedding_size": 8, "hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]}
    ResNetModel(ResNetConfig(layer_type="basic", **sizes)).save_pretrained(tmp_path / "tiny")
    detector = Inspector.load(f"hf:{tmp_path / 'tiny'}", InspectorConfig(side_px=64)).detector
    canvas = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    memory = detector.remember(detector.encode([np.ascontiguousarray(canvas[::-1])]))
    query = detector.encode([canvas])
    all_of_it = detector.judge(query, memory, None)
    nothing = detector.judge(query, memory, Counted(None, np.zeros((64, 64), bool)))
    assert nothing.score == -np.inf and nothing.whole == all_of_it.score > 0

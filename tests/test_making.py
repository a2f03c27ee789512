"""Sets made from sets: nothing leaks, nothing is lost, the same command goes on."""

import csv
import errno
import hashlib
import json
import shutil
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from anomalyst.cli.main import app
from anomalyst.datasets import read_dataset
from anomalyst.datasets.builders import build_job as filling
from anomalyst.datasets.builders.augment import plan_augmentation
from anomalyst.datasets.builders.build_job import fill
from anomalyst.datasets.builders.convert import plan_aebad
from anomalyst.datasets.builders.poisson import in_turn, plan_transplants
from anomalyst.datasets.builders.source_set import read_originals
from anomalyst.datasets.builders.synthesize import plan_synthesis
from anomalyst.datasets.splits import by_column
from anomalyst.errors import AnomalystError
from anomalyst.io.pictures import list_pictures, open_mask, open_picture
from anomalyst.synthetic.anomalies.methods import make_anomaly
from anomalyst.synthetic.anomalies.moves import draw_move
from anomalyst.synthetic.anomalies.transplant import TransplantConfig
from anomalyst.synthetic.augmentation import Operation, Plan, Plans
from anomalyst.synthetic.procedural.dataset import SetConfig, write_dataset
from anomalyst.synthetic.product_constants import estimated
from small_aebad import KINDS, write_small_aebad

ROOT = Path(__file__).parents[1]
TURNED = Plans(default=Plan(operations=(Operation(do="rotate", low=-20, high=20),)))


def run(*words: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["data", *words])
    refused = isinstance(result.exception, AnomalystError)  # `main` says it and ends with 2
    assert code == (2 if refused else result.exit_code), result.output
    return " ".join((str(result.exception) if refused else result.output).split())


def fingerprint(folder: Path) -> dict[str, str]:
    """Every picture, mask and table below a folder, by its bytes."""
    return {
        p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.suffix in (".png", ".jpg", ".csv") and p.name != "sheet.png"
    }


def pixels(path: Path) -> str:
    return hashlib.sha256(open_picture(path).tobytes()).hexdigest()


@pytest.fixture
def small(cookie, tmp_path) -> Path:
    """Eight good biscuits to train, four to test, five cracked ones with masks."""
    for folder, count in (("train/good", 8), ("test/good", 4), ("test/cracked", 5)):
        for path in list_pictures(cookie / folder)[:count]:
            target = tmp_path / "set" / "cookie" / folder / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
            if folder == "test/cracked":
                mask = target.parents[2] / "ground_truth/cracked" / f"{path.stem}_mask.png"
                mask.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(cookie / "ground_truth/cracked" / mask.name, mask)
    return tmp_path / "set"


# AeBAD-S


@pytest.fixture
def blades(tmp_path) -> Path:
    return write_small_aebad(tmp_path / "AeBAD_S")


def test_blades_become_four_categories_with_their_domains(blades, tmp_path):
    before, out = fingerprint(blades), tmp_path / "mvtec"
    run("convert", "aebad", str(blades), str(out), "--train-share", "0.7", "--seed", "0")
    samples = read_dataset(out)
    assert {s.category for s in samples} == set(KINDS)
    counts = Counter((s.category, s.split, s.label) for s in samples)
    for kind in KINDS:
        assert counts[kind, "train", "normal"] == 21  # 70 % of 3 domains x 10
        assert counts[kind, "test", "normal"] == 9 + 8  # the other 30 %, and the set's own
        assert counts[kind, "test", "anomalous"] == 8
    assert {s.extra["domain"] for s in samples if s.split == "test"} == {
        "same", "background", "illumination", "view"}  # fmt: skip
    assert fingerprint(blades) == before, "the source is never touched"


def test_no_good_test_picture_is_one_that_trains(blades, tmp_path):
    shutil.copy(blades / "train/good/view/N3.png", blades / "test/good/view/T9.png")
    plan = plan_aebad(blades, tmp_path / "out")
    fill(tmp_path / "out", plan.jobs, plan.settings)
    for kind in KINDS:
        train, test = (
            {pixels(p) for p in list_pictures(tmp_path / "out" / kind / split / "good")}
            for split in ("train", "test")
        )
        assert len(train) == 21 and not train & test


def test_pairs_go_by_name_and_what_is_lost_is_reported(blades, tmp_path):
    (blades / "ground_truth/groove/same/D0.png").unlink()  # by sort order all pairs would shift
    (blades / "test/groove/view/D1.png").write_bytes(b"not a picture")
    shutil.copy(
        blades / "ground_truth/groove/same/D1.png", blades / "ground_truth/groove/same/D7.png"
    )
    (blades / "test/fracture/same/D0.png").unlink()
    cv2.imwrite(str(blades / "ground_truth/ablation/same/D0.png"), np.zeros((48, 48), np.uint8))
    out = tmp_path / "out"
    said = run("convert", "aebad", str(blades), str(out), code=2)
    for left_out, reason in (
        ("test/groove/same/D0.png", "has no mask"),
        ("test/groove/view/D1.png", "is not a picture"),
        ("ground_truth/groove/same/D7.png", "belongs to no picture"),
        ("ground_truth/fracture/same/D0.png", "belongs to no picture"),
        ("test/ablation/same/D0.png", "its mask marks nothing"),
    ):
        assert f"Left out {left_out}: {reason}" in said
    for sample in read_dataset(out):
        if sample.label == "anomalous":
            picture = open_picture(sample.image)
            mask = open_mask(sample.mask, picture.shape[:2])
            assert np.array_equal(picture.max(2) < 40, mask), "the damage is where its mask says"
    assert len(list_pictures(out / "groove/test/groove")) == 6


def test_a_conversion_goes_on_is_a_no_op_when_done_and_dry_when_asked(blades, tmp_path):
    out = tmp_path / "out"
    said = run("convert", "aebad", str(blades), str(out), "--dry-run")
    assert "Nothing was written" in said and not out.exists()
    run("convert", "aebad", str(blades), str(out))
    times = {p: p.stat().st_mtime_ns for p in out.rglob("*/*.png")}
    (out / "groove/train/good/003.png").unlink()
    assert "1 of them now" in run("convert", "aebad", str(blades), str(out))
    for path, time in times.items():
        assert path.exists() and (path.stat().st_mtime_ns == time or path.name == "003.png")
    said = run("convert", "aebad", str(blades), str(out), "--seed", "1", code=2)
    assert "holds a set made with seed = 0, now it is 1" in said


def test_a_folder_of_another_layout_is_refused(cookie, tmp_path):
    said = run("convert", "aebad", str(cookie), str(tmp_path / "out"), code=2)
    assert "is not kept as AeBAD-S is; looked for train/good/DOMAIN" in said
    assert "There is no conversion from 'coco'" in run("convert", "coco", "a", "b", code=2)
    assert not (tmp_path / "out").exists()


def test_evaluation_goes_by_domain(blades, tmp_path):
    out = tmp_path / "out"
    run("convert", "aebad", str(blades), str(out))
    groove = read_dataset(out, category="groove")
    parts = by_column(groove, "domain")
    assert {s.category for s in parts} == {
        f"groove, domain {d}" for d in ("same", "background", "illumination", "view")}  # fmt: skip
    view = [s for s in parts if s.category == "groove, domain view"]
    assert {s.extra["domain"] for s in view if s.split == "test"} == {"view"}
    assert sum(s.split == "train" for s in view) == 21
    with pytest.raises(AnomalystError, match="have no 'colour' in index.csv"):
        by_column(groove, "colour")
    words = ["evaluate", str(out), "--category", "groove", "--by", "domain", "--seeds", "1",
             "--max-pictures", "4", "--worst", "0", "--out", str(tmp_path / "judged")]  # fmt: skip
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    table = (tmp_path / "judged/results.md").read_text()
    assert table.count("groove, domain ") == 4


# Augmentation


def test_augmentation_reaches_its_target_exactly_on_real_pictures(small, tmp_path):
    out = tmp_path / "out"
    plan = tmp_path / "plan.yaml"
    plan.write_text("default: {operations: [{do: rotate, low: -30, high: 30}]}\n")
    said = run("augment", str(small), "--plan", str(plan), "--target", "21", "--defects", "9",
               "--out", str(out))  # fmt: skip
    assert "cookie 8 21 5 9" in said
    samples = read_dataset(out)
    counts = Counter((s.split, s.label) for s in samples)
    assert counts == {("train", "normal"): 21, ("test", "normal"): 4, ("test", "anomalous"): 9}
    train = [s for s in samples if s.split == "train"]
    assert len({pixels(s.image) for s in train}) == 21, "no picture counts twice"
    made = [s for s in samples if s.extra["method"] == "augment"]
    assert all(s.extra["seed"] == "0" and "rotate" in s.extra["description"] for s in made)
    for sample in made:
        if sample.mask:
            assert open_mask(sample.mask, open_picture(sample.image).shape[:2]).any()
    assert (out / "sheet.png").stat().st_size > 10_000
    assert "rotate" in (out / "sheet.html").read_text()


def test_every_shipped_plan_reads_and_keeps_to_its_bans():
    from anomalyst.synthetic.augmentation import read_plans

    plans = read_plans(ROOT / "recipes/augment/mvtec.yaml")
    assert len(plans.categories) == 15 and plans.default is not None
    assert "flip_vertical" in plans.of("metal_nut").never
    for name, plan in plans.categories.items():
        done = {operation.do for operation in plan.operations}
        assert not done & {"translate", "blur", *plan.never}, name
    assert len(read_plans(ROOT / "recipes/augment/predecessor.yaml").categories) == 15


@pytest.mark.parametrize(
    ("plans", "target", "says"),
    [
        (TURNED, 5, "has 8 good training pictures, the target is 5"),
        (Plans(categories=TURNED.categories), 20, "no category 'cookie' and no default"),
        (Plans(default=Plan(operations=(Operation(do="flip_vertical"),))), 40,
         "no 40 different pictures in it"),
        (Plans(default=Plan(operations=(Operation(do="rotate_right", angles=(90,)),))), 20,
         "would turn its 384x512 pictures into 512x384"),
    ],
)  # fmt: skip
def test_what_cannot_be_augmented_is_refused(small, tmp_path, plans, target, says):
    originals = read_originals(small, tmp_path / "out")
    with pytest.raises(AnomalystError, match=says):
        plan_augmentation(originals, plans, target=target, defects=None, seed=0)


def test_a_half_turn_and_both_flips_are_one_picture(small, tmp_path):
    flips = (Operation(do="flip_vertical", chance=0.5), Operation(do="flip_horizontal", chance=0.5))
    turn = Operation(do="rotate_right", angles=(180,), chance=0.5)
    plans = Plans(default=Plan(operations=(*flips, turn)))
    originals = read_originals(small, tmp_path / "out")
    plan = plan_augmentation(originals, plans, target=32, defects=None, seed=0)
    fill(tmp_path / "out", plan.jobs, plan.settings)
    made = list_pictures(tmp_path / "out/cookie/train/good")
    # Compared by their looks: originals are JPEG, and there are four ways to turn each over.
    assert len({pixels(path) for path in made}) == 32
    with pytest.raises(AnomalystError, match="no 33 different pictures"):
        plan_augmentation(originals, plans, target=33, defects=None, seed=0)


# Poisson editing


def test_poisson_doubles_the_defects_with_exact_masks_on_real_pictures(small, tmp_path):
    out = tmp_path / "out"
    said = run("poisson", str(small), "--factor", "2", "--out", str(out))
    assert "Kolmogorov-Smirnov distance" in said
    samples = read_dataset(out)
    made = [s for s in samples if s.extra["method"] == "poisson"]
    assert len(made) == 5 and all(s.mask and s.defect == "cracked" for s in made)
    for sample in made:
        picture = open_picture(sample.image)
        good = open_picture(small / sample.extra["source"])
        mask = open_mask(sample.mask, picture.shape[:2])
        assert sample.extra["source"].startswith("cookie/test/good/")
        assert sample.extra["defect_from"].startswith("cookie/test/cracked/")
        assert mask.any() and not (picture != good).any(2)[~mask].any(), "the mask error is 0"
    originals = {s.image.name: pixels(s.image) for s in read_dataset(small)}
    assert {n: pixels(p) for n, p in ((s.image.name, s.image) for s in samples if s not in made)
            } == originals  # fmt: skip


def test_moved_blends_are_the_plain_ones_and_their_masks_moved_by_the_same(tmp_path):
    """On drawn discs in square pictures, which any right angle keeps."""
    write_dataset(tmp_path / "set", SetConfig(family="pill", size_px=96, train=2, test_good=3,
                                              test_bad=6))  # fmt: skip
    for name, more in (
        ("plain", ()),
        ("moved", ("--flip", "--turn")),
        ("again", ("--turn", "--flip")),
    ):
        said = run("poisson", str(tmp_path / "set"), "--factor", "3", *more, "--out",
                   str(tmp_path / name))  # fmt: skip
        assert ("all of them are defective" in said) is bool(more)
    assert fingerprint(tmp_path / "moved") == fingerprint(tmp_path / "again")
    assert "moved" not in read_dataset(tmp_path / "plain")[0].extra
    settings = json.loads((tmp_path / "plain/made.json").read_text())
    assert not {"flip", "turn"} & settings.keys()
    both = [[s for s in read_dataset(tmp_path / name) if s.extra["method"] == "poisson"]
            for name in ("plain", "moved")]  # fmt: skip
    seen = Counter(moved.extra["moved"] for moved in both[1])
    assert len(both[0]) == len(both[1]) >= 10 and len(seen) >= 4, seen
    for plain, moved in zip(*both, strict=True):
        how = moved.extra["moved"]
        turns = next((k for k in (1, 2, 3) if f"turned left by {90 * k}" in how), 0)
        for before, after in ((plain.image, moved.image), (plain.mask, moved.mask)):
            expected = np.rot90(open_picture(before), turns)
            expected = expected[:, ::-1] if "mirrored" in how else expected
            assert np.array_equal(open_picture(after), expected), how
        mask = open_mask(moved.mask, (96, 96))
        for x, y in json.loads(moved.extra["centres"]):
            assert mask[round(y) - 4 : round(y) + 5, round(x) - 4 : round(x) + 5].any(), how
    said = run("poisson", str(tmp_path / "set"), "--factor", "3", "--flip", "--out",
               str(tmp_path / "moved"), code=2)  # fmt: skip
    assert "turn = True" in said


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("turn", [False, True])
@pytest.mark.parametrize("square", [False, True])
def test_a_move_is_lossless_takes_points_along_and_keeps_the_sides(flip, turn, square):
    size_hw = (5, 5) if square else (4, 6)
    picture = np.arange(size_hw[0] * size_hw[1]).reshape(size_hw)
    rng, seen = np.random.default_rng(0), set()
    for _ in range(100):
        move = draw_move(rng, flip=flip, turn=turn, square=square)
        moved = move.array(picture)
        assert moved.shape == size_hw and sorted(moved.flat) == sorted(picture.flat)
        for (y, x), value in np.ndenumerate(picture):
            to_x, to_y = move.point((x, y), size_hw)
            assert moved[int(to_y), int(to_x)] == value, move
        seen.add(moved.tobytes())
    expected = {(0, 0): 1, (1, 0): 3, (0, 1): 4 if square else 2, (1, 1): 8 if square else 4}
    assert len(seen) == expected[flip, turn], "every way to lay it, and none twice"


def test_part_of_a_round_takes_defects_from_all_over_the_set():
    assert [in_turn(i, 7, 5) for i in range(7)] == [0, 1, 2, 3, 4, 0, 2]
    assert [in_turn(i, 3, 10) for i in range(3)] == [0, 3, 6]
    assert [in_turn(i, 4, 2) for i in range(4)] == [0, 1, 0, 1]


def test_a_category_without_masks_is_left_as_it_is_and_a_set_without_any_refused(small, tmp_path):
    plain = small / "plain"
    shutil.copytree(small / "cookie", plain)
    shutil.rmtree(plain / "ground_truth")
    said = run("poisson", str(small), "--factor", "1.4", "--out", str(tmp_path / "a"))
    assert "plain: none of its 5 defective pictures has a mask, so it is left as it is" in said
    said = run("poisson", str(plain), "--out", str(tmp_path / "b"), code=2)
    assert "no defective picture has a mask" in said and not (tmp_path / "b").exists()
    assert "--factor is 0.5" in run("poisson", str(small), "--factor", "0.5", "--out",
                                    str(tmp_path / "b"), code=2)  # fmt: skip


def test_grey_pictures_among_coloured_ones_are_refused(small, tmp_path):
    one = list_pictures(small / "cookie/test/good")[0]
    cv2.imwrite(str(one), cv2.imread(str(one), cv2.IMREAD_GRAYSCALE))
    said = run("poisson", str(small), "--out", str(tmp_path / "out"), code=2)
    assert "cookie: 1 of its 9 pictures are grey and the others in colour" in said
    assert one.name in said


def test_a_wrong_mask_is_left_out_and_the_others_go_on(small, tmp_path):
    masks = list_pictures(small / "cookie/ground_truth/cracked")
    cv2.imwrite(str(masks[0]), np.full((20, 20), 255, np.uint8))  # of another size
    touching = np.zeros(open_picture(list_pictures(small / "cookie/test/cracked")[1]).shape[:2])
    touching[:30, :30] = 255  # at the border, where no outline is known
    cv2.imwrite(str(masks[1]), touching)
    said = run("poisson", str(small), "--out", str(tmp_path / "out"), code=2)
    assert "this mask is 20x20 pixels, its picture is" in said
    samples = read_dataset(tmp_path / "out")
    made = [s for s in samples if s.extra["method"] == "poisson"]
    assert len(made) == 4, "another defect of its kind stands in for the one at the border"
    assert not any(masks[1].stem.removesuffix("_mask") in s.extra["defect_from"] for s in made)


def test_training_pictures_carry_defects_only_where_there_are_no_others(small, tmp_path):
    shutil.rmtree(small / "cookie/test/good")
    originals = read_originals(small, tmp_path / "out")
    plan = plan_transplants(
        originals, factor=1.2, seed=0, config=TransplantConfig(), segmenter="default"
    )
    said = "cookie: has no good test picture, so defects lie on training ones."
    assert list(plan.notes) == [said]


# Planted defects


@pytest.mark.parametrize("method", ["patch-blend", "cutpaste", "perlin", "world"])
def test_synthesis_writes_a_set_to_train_on_from_real_pictures(method, small, tmp_path):
    out = tmp_path / "out"
    said = run("synthesize", str(small), "--method", method, "--count", "6", "--out", str(out))
    assert "23 pictures, 23 of them now" in said
    made = [s for s in read_dataset(out) if s.split == "train" and s.label == "anomalous"]
    assert len(made) == 6 and {s.defect for s in made} == {method}
    for sample in made:
        size_hw = open_picture(sample.image).shape[:2]
        mask = open_mask(sample.mask, size_hw)
        assert mask.any()
        for x, y in json.loads(sample.extra["centres"]):
            near = mask[max(0, int(y) - 60) : int(y) + 60, max(0, int(x) - 60) : int(x) + 60]
            assert near.any()
        assert json.loads(sample.extra["parameters"])["method"] == method


def test_a_set_is_the_same_whatever_made_it_and_goes_on_after_a_stop(small, tmp_path, monkeypatch):
    def plan(out: Path):
        originals = read_originals(small, out)
        return plan_synthesis(originals, method="world", count=10, constants="estimated", seed=3)

    one = plan(tmp_path / "one")
    fill(tmp_path / "one", one.jobs, one.settings, workers=1)
    two = plan(tmp_path / "two")
    monkeypatch.setattr(filling, "FEW", 0)
    fill(tmp_path / "two", two.jobs, two.settings, workers=2)
    assert fingerprint(tmp_path / "one") == fingerprint(tmp_path / "two")

    stopped = plan(tmp_path / "three")
    make, calls = filling._make, []

    def interrupted(job, out):
        calls.append(job)
        if len(calls) == 21:
            raise KeyboardInterrupt
        return make(job, out)

    monkeypatch.setattr(filling, "_make", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fill(tmp_path / "three", stopped.jobs, stopped.settings, workers=1)
    with (tmp_path / "three/.rows.jsonl").open("a") as journal:
        journal.write('["cookie", {"file": "cut')
    monkeypatch.setattr(filling, "_make", make)
    again = plan(tmp_path / "three")
    filled = fill(tmp_path / "three", again.jobs, again.settings, workers=1)
    assert filled.made_now == len(again.jobs) - 20
    assert fingerprint(tmp_path / "three") == fingerprint(tmp_path / "one")
    assert not list((tmp_path / "three").glob(".*"))


def test_every_picture_carries_its_provenance(small, tmp_path):
    out = tmp_path / "out"
    run("synthesize", str(small), "--count", "2", "--seed", "7", "--out", str(out))
    rows = list(csv.DictReader((out / "cookie/index.csv").open()))
    assert len(rows) == 19
    made = [row for row in rows if row["method"] != "copied"]
    for row in made:
        assert (small / row["source"]).is_file() and (small / row["defect_from"]).is_file()
        assert row["description"] and json.loads(row["parameters"])
        seed = tuple(map(int, row["seed"].split()))
        assert seed[0] == 7 and len(seed) == 3
        pair = [open_picture(small / row[name]) for name in ("source", "defect_from")]
        good = [open_picture(p) for p in list_pictures(small / "cookie/train/good")]
        again = make_anomaly(row["method"], pair, seed, estimated(good))
        assert np.array_equal(again.picture, open_picture(out / "cookie" / row["file"]))
    note = json.loads((out / "made.json").read_text())
    assert note["method"] == made[0]["method"] and note["pictures"] == 19


def test_a_table_may_call_its_categories_and_defects_as_it_likes(small, tmp_path):
    table, bad = tmp_path / "table.csv", list_pictures(small / "cookie/test/cracked")[0]
    mask = small / f"cookie/ground_truth/cracked/{bad.stem}_mask.png"
    rows = [f"{p},normal,train,,../line/1,\n" for p in list_pictures(small / "cookie/train/good")]
    rows.append(f"{bad},anomalous,test,{mask},../line/1,crack/deep\n")
    table.write_text("image,label,split,mask,category,defect\n" + "".join(rows))
    run("synthesize", str(table), "--count", "2", "--out", str(tmp_path / "out"))
    samples = read_dataset(tmp_path / "out")
    assert {s.category for s in samples} == {"_line_1"} and len(samples) == 11
    assert {s.defect for s in samples if s.split == "test"} == {"crack_deep"}
    assert not (tmp_path / "line").exists()


def test_a_made_mask_never_takes_the_place_of_one_that_is_there(small, tmp_path):
    cookie = small / "cookie"
    (cookie / "test/cracked").rename(cookie / "test/world")  # a defect called as the method is
    (cookie / "ground_truth/cracked").rename(cookie / "ground_truth/world")
    bad = list_pictures(cookie / "test/world")[0]
    bad.rename(bad.with_name("0000.jpg"))
    mask = cookie / f"ground_truth/world/{bad.stem}_mask.png"
    mask = mask.rename(mask.with_name("0000_mask.png"))
    run("synthesize", str(small), "--method", "world", "--count", "1", "--out",
        str(tmp_path / "out"))  # fmt: skip
    samples = [s for s in read_dataset(tmp_path / "out") if s.mask]
    assert len({s.mask for s in samples}) == len(samples) == 6
    old = next(s for s in samples if s.image.name == "0000.jpg")
    assert old.mask.read_bytes() == mask.read_bytes()


def test_broken_pictures_are_left_out_and_the_others_go_on(small, tmp_path):
    list_pictures(small / "cookie/train/good")[0].write_bytes(b"\xff\xd8 cut short")
    said = run("synthesize", str(small), "--count", "3", "--out", str(tmp_path / "out"), code=2)
    assert "Left out cookie/train/good/" in said
    assert len(list_pictures(tmp_path / "out/cookie/train/good")) == 7


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--method", "magic"), "There is no method 'magic'"),
        (("--constants", "mvtec"), "The constants of mvtec hold no product 'cookie'"),
        (("--category", "biscuit"), "has no category 'biscuit'; it has 'cookie'"),
        (("--count", "0"), "--count is 0"),
    ],
)
def test_wrong_words_are_answered_with_one_sentence(small, tmp_path, words, says):
    said = run("synthesize", str(small), *words, "--out", str(tmp_path / "out"), code=2)
    assert says in said and not (tmp_path / "out").exists()


def test_the_new_set_may_not_lie_on_or_in_the_old_one(small, tmp_path):
    for out, says in (
        (small, "is the set itself"),
        (small / "more", "lies within"),
        (tmp_path, "holds"),
    ):
        said = run("synthesize", str(small), "--count", "1", "--out", str(out), code=2)
        assert says in said
    assert "there is no such folder" in run("synthesize", str(tmp_path / "none"), "--out",
                                            str(tmp_path / "o"), code=2)  # fmt: skip
    (tmp_path / "full").mkdir()
    (tmp_path / "full/note.txt").write_text("mine")
    said = run("synthesize", str(small), "--count", "1", "--out", str(tmp_path / "full"), code=2)
    assert "holds files already" in said


def test_a_full_disk_ends_the_making_with_a_sentence_and_nothing_half_written(
    small, tmp_path, monkeypatch
):
    originals = read_originals(small, tmp_path / "out")
    plan = plan_synthesis(originals, method="world", count=3, constants="estimated", seed=0)
    written, limit = [], 20
    replace = Path.replace

    def full(self: Path, target: Path) -> Path:
        written.append(target)
        if len(written) > limit:
            raise OSError(errno.ENOSPC, "No space left on device")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(AnomalystError, match="the disk is full"):
        fill(tmp_path / "out", plan.jobs, plan.settings, workers=1)
    assert not list((tmp_path / "out").rglob(".part-*"))
    monkeypatch.setattr(Path, "replace", replace)
    fill(tmp_path / "out", plan.jobs, plan.settings, workers=1)
    for sample in read_dataset(tmp_path / "out"):
        open_picture(sample.image)


# What made defects are for


@pytest.mark.usefixtures("one_thread")
def test_a_decoder_learns_from_a_made_set_and_a_set_without_defects_is_refused(small, tmp_path):
    from anomalyst.training.loop import train
    from anomalyst.training.tasks.text_aligned import TextAlignedRecipe, pictures_of

    out = tmp_path / "out"
    run("synthesize", str(small), "--count", "5", "--out", str(out))
    train_some, kept = pictures_of([str(out)], 0, hold_out=True)
    good, bad = next(iter(train_some.values()))
    held_good, held_bad = next(iter(kept.values()))
    assert (len(good), len(bad)) == (6, 4) and (len(held_good), len(held_bad)) == (2, 1)
    assert not {s.image for s in good} & {s.image for s in held_good}
    recipe = TextAlignedRecipe(steps=3, batch=4, data=(str(out),), workers=0, log_every=1)
    weights = train(recipe, tmp_path / "run")
    assert weights is not None and weights.exists()
    losses = [json.loads(line)["loss"] for line in (tmp_path / "run/log.jsonl").open()]
    assert len(losses) == 3 and all(np.isfinite(losses))
    with pytest.raises(AnomalystError, match="'cookie' has 8 good training pictures and 0 def"):
        pictures_of([str(small)], 0, hold_out=False)


@pytest.mark.slow
def test_the_benches_of_making_print_their_tables(small, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("task: text_aligned\nsteps: 2\nbatch: 4\nworkers: 0\n")
    words = ["bench", "defects", str(small), "--recipe", str(recipe), "--seeds", "1", "--count",
             "3", "--out", str(tmp_path / "defects")]  # fmt: skip
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    for method in ("mixed", "patch-blend", "cutpaste", "perlin", "world", "all methods", "drawn"):
        assert f"| {method}" in result.output
    result = CliRunner().invoke(app, ["bench", "making", str(small), "--count", "20"])
    assert result.exit_code == 0 and "| poisson | 20 |" in result.output

"""Good pictures that look odd beside the others, and copies among them."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from anomalyst.cli.main import app
from anomalyst.errors import AnomalystError
from anomalyst.inspector import Inspector
from anomalyst.io.files import write_bytes
from anomalyst.io.pictures import encoded, open_mask
from anomalyst.product import Product
from anomalyst.synthetic.procedural.episode import normal_picture
from anomalyst.synthetic.procedural.families import draw_product
from anomalyst.teaching.duplicates import distinct, near_copies
from anomalyst.teaching.odd import SET_RATE, odd_note, odd_ones

SPOT = (20, 24, 44, 44)  # x0, y0, x1, y1 of what is planted, in pictures of 96 px


def write_good(folder: Path) -> Path:
    """Eight pictures of a drawn part, and one of it with a red spot: defective.png."""
    rng = np.random.default_rng(7)
    spec = draw_product(rng, only=["biscuit"])
    for number in range(9):
        picture = normal_picture(spec, rng, 96)
        name = f"g{number}"
        if number == 8:
            x0, y0, x1, y1 = SPOT
            middle = (x0 + x1) // 2, (y0 + y1) // 2
            cv2.ellipse(picture, middle, (12, 10), 0, 0, 360, (220, 40, 40), -1)
            name = "defective"
        write_bytes(folder / f"{name}.png", encoded(picture, ".png"))
    return folder


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Path:
    return write_good(tmp_path_factory.mktemp("good"))


@pytest.fixture
def shipped(inspector, monkeypatch):
    """Commands in this process share one inspector, loaded once."""
    monkeypatch.setattr(Inspector, "load", classmethod(lambda *_: inspector))


def run(*words: object):
    return CliRunner().invoke(app, [str(w) for w in words])


def scores(*values: float) -> dict[int, float]:
    return dict(enumerate(values))


def test_the_odd_ones_are_found_whatever_their_order_and_do_not_hide_each_other():
    plain = (0.1, -0.3, 0.2, 0.0, -0.2, 0.3, -0.1)
    assert list(odd_ones([scores(*plain, 9.0)], usual=True)) == [7]
    assert list(odd_ones([scores(9.0, *plain)], usual=True)) == [0]
    assert list(odd_ones([scores(9.0, *plain, 8.0)], usual=False)) == [0, 8]
    assert odd_ones([scores(*plain)], usual=True) == {}
    assert odd_ones([scores(*plain, -9.0)], usual=True) == {}  # more ordinary than any is not odd
    assert odd_ones([scores(0.0, 0.1, 9.0)], usual=True) == {}  # of three nobody can say
    assert odd_ones([scores(1.0, 1.0, 1.0, 1.0)], usual=False) == {}
    both = odd_ones([scores(*plain, 9.0), {n + 20: s for n, s in enumerate(plain)}], usual=True)
    assert list(both) == [7]  # groups are judged by themselves


@pytest.mark.parametrize("count", [4, 9, 20])
def test_clean_sets_of_normal_scores_are_called_odd_no_more_often_than_promised(count):
    rng = np.random.default_rng(count)
    sets = 1500
    odd = sum(
        bool(odd_ones([scores(*rng.normal(0, 0.75, count))], usual=True)) for _ in range(sets)
    )
    assert odd / sets < SET_RATE + 2.6 * (SET_RATE * (1 - SET_RATE) / sets) ** 0.5


def test_the_note_says_which_pictures_where_and_what_to_do():
    told = odd_note([("a.png", "centre (box 1, 2, 3, 4)")], 9)
    assert "1 of the 9 good pictures looks odd" in told
    assert "a.png at the centre (box 1, 2, 3, 4)" in told and "--leave-odd-out" in told
    assert "anomalyst teach" not in odd_note([("a.png", "centre")], 9, kept=False)


@pytest.mark.usefixtures("one_thread")
def test_a_defective_good_picture_is_named_with_its_place_left_out_or_kept(
    inspector, good, tmp_path
):
    product = inspector.teach("bolt", sorted(good.glob("*.png")))
    [odd] = product.odd
    assert odd.image.name == "defective.png" and odd.spreads > 2 and not odd.kept
    x0, y0, x1, y1 = odd.regions[0].box_xyxy
    assert x0 < SPOT[2] and x1 > SPOT[0] and y0 < SPOT[3] and y1 > SPOT[1]
    assert (
        "defective.png at the" in product.remarks[-1] and product.remarks[-1] not in product.notes
    )
    product.save(tmp_path / "bolt")
    loaded = Product.load(tmp_path / "bolt")
    assert loaded.odd == product.odd and loaded.odd[0].image in loaded.references
    assert "look" in inspector.inspect(good / "g0.png", loaded).notes[0]
    loaded.tolerance = inspector.tolerance(loaded)
    without = inspector.without(loaded, [loaded.odd[0].image])
    assert (without.tolerance is None) == (loaded.tolerance is None)
    assert without.num_references == 8 and not without.odd and without.remarks == without.notes
    again = inspector.teach("bolt", sorted(good.glob("g*.png")))
    assert without.calibration.scores == pytest.approx(again.calibration.scores, abs=1e-3)
    with pytest.raises(AnomalystError, match="is no good picture of product 'bolt'"):
        inspector.without(loaded, [good / "g0.png"])
    with pytest.raises(AnomalystError, match="one good picture at least must stay"):
        inspector.without(loaded, loaded.references)


@pytest.mark.usefixtures("shipped", "one_thread")
def test_a_script_is_told_and_decides_then_or_later(good, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = run("teach", "bolt", good)
    assert found.exit_code == 2 and "9 good pictures" in found.output
    assert "defective.png looks odd beside the other 8 good pictures" in found.output
    [drawn] = (tmp_path / "out/teach/bolt").glob("*.png")
    assert drawn.name == "0001-defective.png"  # by its number among the good ones
    picture, plain = cv2.imread(str(drawn)), cv2.imread(str(good / "defective.png"))
    assert picture.shape == plain.shape and (picture != plain).any()
    assert run("teach", "bolt").exit_code == 2  # still undecided, and nobody can be asked
    both = run("teach", "bolt", "--keep-odd", "--leave-odd-out")
    assert "give one of the two" in str(both.exception)
    aside = run("teach", "bolt", "--keep-odd", "--adapt")
    assert "decide on the odd ones alone" in str(aside.exception)
    kept = run("teach", "bolt", "--keep-odd", "--describe", "a drawn bolt")
    assert kept.exit_code == 0 and "Kept as good: defective.png" in kept.output
    product = Product.load(tmp_path / "products/bolt")
    assert product.remarks == () and product.description == "a drawn bolt"
    left = run("teach", "bolt", good, "--leave-odd-out", "--replace")
    assert left.exit_code == 0 and "8 good pictures" in left.output
    assert "Left out: defective.png." in left.output


@pytest.mark.usefixtures("shipped", "one_thread")
def test_the_same_picture_counts_once_and_copies_are_named(good, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    some = sorted(good.glob("g*.png"))[:4]
    assert run("teach", "nut", *some).exit_code == 0
    again = run("teach", "nut", *some)
    assert again.exit_code == 2 and "4 good pictures" in again.output
    assert "the same picture is taught already" in again.output and "(as g0.png)" in again.output
    picture = cv2.imread(str(some[0]))
    copy = cv2.convertScaleAbs(
        cv2.resize(picture, (80, 80), interpolation=cv2.INTER_AREA), alpha=0.9
    )
    write_bytes(
        tmp_path / "copy.jpg", cv2.imencode(".jpg", copy, [cv2.IMWRITE_JPEG_QUALITY, 80])[1]
    )
    near = run("teach", "nut", *some, tmp_path / "copy.jpg", "--replace")
    assert near.exit_code == 2 and "(g0.png, copy.jpg)" in near.output


def test_copies_are_told_from_other_parts():
    rng = np.random.default_rng(1)
    pictures = [rng.integers(0, 256, (40, 40, 3), np.uint8) for _ in range(4)]
    brighter = cv2.convertScaleAbs(pictures[1], alpha=0.7, beta=20)
    assert near_copies([*pictures, brighter]) == [[1, 4]]
    assert near_copies(pictures) == [] and near_copies(pictures[:1]) == []
    flat = [np.full((8, 8, 3), 9, np.uint8), np.full((8, 8, 3), 99, np.uint8)]
    assert near_copies(flat) == []  # nothing is on them that could be the same
    named = {Path("a"): pictures[0], Path("b"): pictures[1], Path("c"): pictures[0]}
    kept, told = distinct(named, {Path("a"): "first"})
    assert list(kept) == [Path("a"), Path("b")] and "c (as first)" in told[0]


@pytest.mark.usefixtures("one_thread")
def test_a_cracked_biscuit_among_eight_good_ones_is_found(inspector, cookie):
    paths = sorted((cookie / "train/good").iterdir())[:8]
    cracked = sorted((cookie / "test/cracked").iterdir())[0]
    product = inspector.teach("biscuit", [*paths, cracked])
    [odd] = product.odd  # one of the good ones has a higher score than most, and no such place
    assert odd.image == cracked
    x0, y0, x1, y1 = odd.regions[0].box_xyxy
    truth = open_mask(cookie / f"ground_truth/cracked/{cracked.stem}_mask.png", (512, 384))
    assert truth[y0:y1, x0:x1].any()

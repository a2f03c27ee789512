"""The look over a data set: what is wrong is found, what is right is left in peace."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from anomalyst.cli.datasets.data import app
from anomalyst.datasets.checks import check
from anomalyst.datasets.findings import CategoryReport, Shortcut

REAL = Path(__file__).parents[2] / "shared" / "data"
real = pytest.mark.skipif(not REAL.is_dir(), reason="the real sets are not beside this checkout")


def noise(seed: int, size_hw: tuple[int, int] = (16, 20)) -> np.ndarray:
    """60 to 199 with 0 and 255 in two corners, so that no statistic tells pictures apart."""
    picture = np.random.default_rng(seed).integers(60, 200, size_hw, np.uint8)
    picture[0, 0], picture[-1, -1] = 0, 255
    return picture


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def bolt(tmp_path: Path) -> Path:
    """A category in order: 12 train good, 12 test good, 12 bent with masks."""
    for n in range(12):
        save(tmp_path / f"bolt/train/good/{n:02}.bmp", noise(n))
        save(tmp_path / f"bolt/test/good/{n:02}.bmp", noise(100 + n))
        save(tmp_path / f"bolt/test/bent/{n:02}.bmp", noise(200 + n))
        save(tmp_path / f"bolt/ground_truth/bent/{n:02}_mask.png", noise(n) > 180)
    return tmp_path / "bolt"


def only(root: Path) -> CategoryReport:
    report = check(root)
    assert len(report.categories) == 1
    return report.categories[0]


def test_a_set_in_order_has_nothing_to_look_at(bolt):
    report = check(bolt)
    assert report.findings() == []
    (category,) = report.categories
    assert category.counts == {"train": {"normal": 12}, "test": {"anomalous": 12, "normal": 12}}
    assert category.defects == {"test": {"bent": 12}}
    assert category.sizes == {"20x16": 36}
    assert (category.grey, category.colour, category.masks_read) == (36, 0, 12)
    assert report.as_text().endswith("Nothing to look at.")


def test_broken_pictures_are_listed_with_the_reason_and_the_check_goes_on(bolt):
    whole = (bolt / "train/good/00.bmp").read_bytes()
    (bolt / "train/good/00.bmp").write_bytes(whole[:200])
    (bolt / "test/bent/03.bmp").write_text("not a picture")
    report = check(bolt)
    cut, text = report.categories[0].broken
    assert (cut.path, text.path) == ("train/good/00.bmp", "test/bent/03.bmp")
    assert "cut short" in cut.reason
    assert "not a picture we can read" in text.reason
    assert report.categories[0].pictures == 36
    assert report.categories[0].sizes == {"20x16": 34}
    assert "2 pictures cannot be used" in report.as_text()


def test_masks_missing_left_over_empty_and_of_another_size_are_told_apart(bolt):
    truth = bolt / "ground_truth" / "bent"
    (truth / "00_mask.png").unlink()
    save(truth / "01_mask.png", np.zeros((16, 20), np.uint8))
    save(truth / "02_mask.png", noise(0, (20, 16)))
    save(truth / "99_mask.png", noise(0))
    report = check(bolt)
    (category,) = report.categories
    assert category.masks_missing == ("test/bent/00.bmp",)
    assert category.masks_empty == ("ground_truth/bent/01_mask.png",)
    (odd,) = category.masks_broken
    assert odd.path == "ground_truth/bent/02_mask.png"
    assert "16x20 pixels, its picture is 20x16" in odd.reason
    assert report.masks_orphaned == ("ground_truth/bent/99_mask.png",)
    assert category.masks_read == 9
    assert len(report.findings()) == 4


def test_masks_that_are_inverted_or_grey_are_told(bolt):
    truth = bolt / "ground_truth" / "bent"
    inverted = np.full((16, 20), 255, np.uint8)
    inverted[4:6, 4:6] = 0
    save(truth / "00_mask.png", inverted)
    smooth = np.zeros((16, 20), np.uint8)
    smooth[4:8, 4:8], smooth[8, 4:8] = 255, 100
    save(truth / "01_mask.png", smooth)
    category = only(bolt)
    assert category.masks_large == ("ground_truth/bent/00_mask.png",)
    assert category.masks_grey == ("ground_truth/bent/01_mask.png",)
    assert len(category.findings()) == 2


def test_a_set_without_any_mask_misses_none(bolt):
    for mask in (bolt / "ground_truth" / "bent").iterdir():
        mask.unlink()
    assert check(bolt).findings() == []


def test_the_same_pixels_are_found_across_splits_labels_and_file_formats(bolt):
    save(bolt / "test/good/copy.png", noise(0))  # of train/good/00.bmp
    save(bolt / "test/bent/twin.tif", noise(101))  # of test/good/01.bmp
    leak, both = only(bolt).duplicates
    assert leak.paths == ("train/good/00.bmp", "test/good/copy.png")
    assert (leak.in_train_and_test, leak.labels_differ) == (True, False)
    assert both.paths == ("test/bent/twin.tif", "test/good/01.bmp")
    assert (both.in_train_and_test, both.labels_differ) == (False, True)


def test_the_same_bytes_in_another_shape_are_no_duplicate(bolt):
    save(bolt / "test/good/turned.bmp", noise(0).reshape(20, 16))
    assert only(bolt).duplicates == ()


def test_a_shortcut_is_named_and_half_a_shortcut_is_not(bolt):
    for n in range(12):
        path = bolt / f"test/bent/{n:02}.bmp"
        save(path, noise(200 + n) // 2 + 100)  # brighter, flatter, and no black pixel
    found = {s.statistic: s.auroc for s in only(bolt).shortcuts}
    assert found == {
        "mean brightness": 1.0,
        "spread of brightness": 0.0,
        "darkest pixel": 1.0,
        "brightest pixel": 0.0,
    }
    assert "mean brightness (AUROC 1.00, anomalous is higher)" in only(bolt).findings()[0]


def test_too_few_pictures_are_not_called_a_shortcut(bolt):
    for n in range(3, 12):
        (bolt / f"test/bent/{n:02}.bmp").unlink()
        (bolt / f"ground_truth/bent/{n:02}_mask.png").unlink()
    for n in range(3):
        save(bolt / f"test/bent/{n:02}.bmp", np.full((16, 20), 255, np.uint8) - noise(n) // 9)
    assert only(bolt).shortcuts == ()


def test_mixed_sizes_and_mixed_colour_are_named(bolt):
    save(bolt / "train/good/wide.bmp", noise(50, (16, 24)))
    save(bolt / "train/good/red.bmp", np.dstack([noise(51), noise(52), noise(53)]))
    sizes, colours = only(bolt).findings()
    assert sizes == "pictures have 2 sizes: 20x16 (37), 24x16 (1)."
    assert colours == "37 pictures are grey and 1 are in colour."


def test_a_manifest_with_unknown_labels_is_counted_as_such(tmp_path):
    save(tmp_path / "a.png", noise(0))
    (tmp_path / "set.csv").write_text("image\na.png\n")
    assert only(tmp_path / "set.csv").counts == {"test": {"unknown": 1}}


@real
def test_the_real_sets_show_the_shortcuts_their_readme_tells_of():
    report = check(REAL)
    found = {
        (c.name, s.statistic): s.auroc for c in report.categories for s in c.shortcuts
    }  # README: bytes 0.91 for ballscrew, brightness 0.88 for toy_alien, darkest pixel for paper
    assert found["ballscrew", "file size in bytes"] == pytest.approx(0.91, abs=0.005)
    assert found["toy_alien", "mean brightness"] == pytest.approx(0.88, abs=0.005)
    assert found["paper_brown", "darkest pixel"] <= 0.01
    assert found["paper_speck", "darkest pixel"] <= 0.01
    assert not any(name in ("cookie", "pcb_bare", "circuitboard") for name, _ in found)
    assert not any(c.broken or c.masks_missing or c.masks_broken for c in report.categories)
    assert report.masks_orphaned == ()
    assert sum(c.pictures for c in report.categories) == 1592


def test_a_shortcut_reads_which_way_it_points():
    assert str(Shortcut(statistic="width", auroc=0.04)) == "width (AUROC 0.04, anomalous is lower)"


def test_progress_is_told_after_each_picture(bolt):
    told = []
    check(bolt, on_progress=lambda done, total: told.append((done, total)))
    assert told == [(n, 36) for n in range(1, 37)]


def test_the_command_prints_text_or_json_alone_and_writes_the_same_json(bolt, tmp_path):
    run = CliRunner()
    text = run.invoke(app, ["check", str(bolt)])
    assert text.exit_code == 0
    assert "Nothing to look at." in text.stdout
    out = tmp_path / "report.json"
    answer = run.invoke(app, ["check", str(bolt), "--json", "--out", str(out)])
    assert answer.exit_code == 0
    assert json.loads(answer.stdout) == json.loads(out.read_text()) == check(bolt).as_dict()
    assert json.loads(answer.stdout)["categories"][0]["counts"]["train"] == {"normal": 12}


def test_the_command_ends_with_2_and_a_sentence_where_there_is_no_set(tmp_path, refused):
    assert "is an empty folder. Looked for" in refused("data", "check", tmp_path)

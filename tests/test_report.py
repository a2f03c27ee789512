"""Overlays and the report: a fixed scale, nothing from outside, complete after an interruption."""

import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from anomalyst.errors import AnomalystError, PictureError
from anomalyst.report.overlay import overlay, tint
from anomalyst.report.page import ReportWriter
from anomalyst.report.record import Records
from anomalyst.types import Inspection, Region


def made(image: Path, heat: np.ndarray, verdict: str = "normal", regions=()) -> Inspection:
    return Inspection(
        image=image,
        size_hw=heat.shape,
        map=heat.astype(np.float32),
        score=1.5,
        p_value=0.25,
        verdict=verdict,
        regions=tuple(regions),
        answer="No anomaly found.",
        seconds={},
    )


REGION = Region(
    box_xyxy=(10, 5, 20, 15), area_px=100, peak=0.9, centre_xy=(15, 10), place="upper left"
)


@pytest.fixture
def picture():
    return np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)


def test_a_sound_part_stays_as_it_is(picture):
    assert np.array_equal(overlay(picture, made(Path("a.png"), np.zeros((40, 60)))), picture)
    faint = np.full((40, 60), 0.1)
    assert np.array_equal(overlay(picture, made(Path("a.png"), faint)), picture)


def test_the_colour_scale_is_fixed_and_not_stretched_to_the_pictures_own_range(picture):
    weak, strong = np.zeros((40, 60), np.float32), np.zeros((40, 60), np.float32)
    weak[5:15, 10:20], strong[5:15, 10:20] = 0.3, 1.0
    change = [np.abs(tint(picture, m).astype(int) - picture).mean() for m in (weak, strong)]
    assert 0 < change[0] < 0.5 * change[1]


def test_regions_are_outlined_and_large_pictures_are_shown_smaller(picture):
    heat = np.zeros((40, 60), np.float32)
    heat[5:15, 10:20] = 0.9
    drawn = overlay(picture, made(Path("a.png"), heat, "anomalous", [REGION]))
    assert drawn.shape == picture.shape and not np.array_equal(drawn, tint(picture, heat))
    large = np.zeros((2000, 4000, 3), np.uint8)
    shown = overlay(large, made(Path("a.png"), np.zeros((2000, 4000))))
    assert shown.shape == (800, 1600, 3)


def test_records_never_collide_and_never_overwrite_a_picture(picture, tmp_path):
    source = tmp_path / "a.png"
    cv2.imwrite(str(source), picture)
    before = source.read_bytes()
    records = Records(tmp_path)
    heat = np.zeros((40, 60))
    first = records.add(made(source, heat), picture)
    second = records.add(made(tmp_path / "b" / "a.png", heat), picture)
    third = records.add(made(tmp_path / "b" / "a.png", heat), picture)
    assert source.read_bytes() == before
    assert len({source, first, second, third}) == 4
    assert all(p.with_suffix(".json").exists() for p in (first, second, third))


def test_the_page_is_self_contained_escaped_and_lists_what_was_skipped(picture, tmp_path):
    page = tmp_path / "report.html"
    with ReportWriter(page, product="<bolt>", references=[], encoder="embedded") as report:
        heat = np.full((40, 60), 0.8)
        report.add(made(Path("x<y>.png"), heat, "anomalous", [REGION]), picture)
        report.add(made(Path("z.png"), np.zeros((40, 60))), picture)
        report.skip(PictureError("cut.jpg", "is broken or cut short; copy it again."))
    text = page.read_text()
    assert not re.search(r"(src|href)=[\"']?https?://", text) and "@import" not in text
    assert "&lt;bolt&gt;" in text and "x&lt;y&gt;.png" in text and "<bolt>" not in text
    assert "cut.jpg: is broken" in text and text.count("<tr>") == 3
    assert "upper left" in text and text.rstrip().endswith("</html>")
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_an_interrupted_batch_leaves_a_complete_page(picture, tmp_path):
    page = tmp_path / "report.html"
    with (
        pytest.raises(KeyboardInterrupt),
        ReportWriter(page, product="bolt", references=[], encoder="embedded") as report,
    ):
        report.add(made(Path("a.png"), np.zeros((40, 60))), picture)
        raise KeyboardInterrupt
    assert "a.png" in page.read_text() and page.read_text().rstrip().endswith("</html>")


def test_a_full_disk_is_a_sentence_and_leaves_nothing(picture, tmp_path, monkeypatch):
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(AnomalystError, match="disk is full"):
        Records(tmp_path).add(made(Path("a.png"), np.zeros((40, 60))), picture)
    assert not list(tmp_path.iterdir())


def test_a_region_too_small_to_be_seen_gets_a_box_around_it():
    large, heat = np.zeros((1600, 1600, 3), np.uint8), np.zeros((1600, 1600), np.float32)
    heat[800, 900] = 0.9
    speck = Region(
        box_xyxy=(900, 800, 901, 801), area_px=1, peak=0.9, centre_xy=(900.5, 800.5), place="centre"
    )
    drawn = overlay(large, made(Path("a.png"), heat, "anomalous", [speck]))
    rows, columns = np.nonzero((drawn == (64, 224, 255)).all(axis=2))
    assert np.ptp(rows) >= 40 and np.ptp(columns) >= 40
    assert rows.min() < 800 < rows.max() and columns.min() < 900 < columns.max()


def test_records_leave_other_pictures_and_other_peoples_notes_alone(picture, tmp_path):
    cv2.imwrite(str(tmp_path / "b.png"), picture)
    (tmp_path / "c.json").write_text('{"shapes": []}')
    before = (tmp_path / "b.png").read_bytes()
    records = Records(tmp_path)
    for name in ("b.jpg", "c.jpg"):
        records.add(made(tmp_path / name, np.zeros((40, 60))), picture)
    assert (tmp_path / "b.png").read_bytes() == before
    assert (tmp_path / "c.json").read_text() == '{"shapes": []}'


def test_the_same_batch_again_replaces_its_own_records(picture, tmp_path):
    found = made(Path("in/a.jpg"), np.zeros((40, 60)))
    first, second = (Records(tmp_path / "out").add(found, picture) for _ in range(2))
    assert first == second and len(list((tmp_path / "out").iterdir())) == 2


def test_a_sound_picture_is_embedded_once_and_its_note_told_once(picture, tmp_path):
    page = tmp_path / "report.html"
    with ReportWriter(page, product="bolt", references=[], encoder="embedded") as report:
        for name in ("a.png", "b.png"):
            normal = replace(made(Path(name), np.zeros((40, 60))), notes=("Few were taught.",))
            report.add(normal, picture)
    text = page.read_text()
    assert text.count("data:image/jpeg") == 2
    assert text.count("Few were taught.") == 1 and text.count('href="#note-1"') == 2


def test_a_name_that_is_no_utf8_does_not_stop_the_report(picture, tmp_path):
    page = tmp_path / "report.html"
    with ReportWriter(page, product="bolt", references=[], encoder="embedded") as report:
        report.add(made(Path("schraube-\udcfc.png"), np.zeros((40, 60))), picture)
    assert "schraube-?.png" in page.read_text(encoding="utf-8")


def test_a_report_that_has_no_place_is_one_sentence(tmp_path):
    (tmp_path / "out").write_text("a file is in the way")
    page = tmp_path / "out" / "report.html"
    with (
        pytest.raises(AnomalystError, match="cannot be written .*--out"),
        ReportWriter(page, product="bolt", references=[], encoder="embedded"),
    ):
        pass


def test_a_second_run_keeps_the_report_of_the_first(picture, tmp_path):
    page = tmp_path / "report.html"
    for name in ("first.png", "second.png"):
        with ReportWriter(page, product="bolt", references=[], encoder="embedded") as report:
            report.add(made(Path(name), np.zeros((40, 60))), picture)
    assert report.kept is not None and "first.png" in report.kept.read_text()
    assert "second.png" in page.read_text() and "first.png" not in page.read_text()
    assert sorted(tmp_path.iterdir()) == sorted([page, report.kept])

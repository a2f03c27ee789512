"""How bad a part is, where the p-value cannot say."""

import csv
import math
from pathlib import Path

import cv2
import numpy as np
import pytest

from anomalyst.calibration.conformal import Calibration
from anomalyst.calibration.severity import middle_and_spread, severest, severity_of
from anomalyst.io.files import write_bytes
from anomalyst.io.pictures import encoded
from anomalyst.report.listing import write_listing
from anomalyst.report.page import ReportWriter
from anomalyst.types import Inspection, Region, Severity

SIZE = (10, 20)


def calibration(*scores: float) -> Calibration:
    return Calibration(scores=scores, method="leave-one-out")


def region(area_px: int) -> Region:
    return Region(
        box_xyxy=(0, 0, 5, 5), area_px=area_px, peak=0.9, centre_xy=(2.0, 2.0), place="upper left"
    )


def test_spreads_are_those_counted_by_hand():
    good = calibration(
        1, 2, 3, 4, 100
    )  # median 3, median absolute deviation 1: no outlier moves it
    assert middle_and_spread(good.scores) == (3, pytest.approx(1.4826))
    found = severity_of(3 + 2 * 1.4826, good, [region(20), region(30)], SIZE, contrast=1.5)
    assert found == Severity(
        spreads=pytest.approx(2.0), beside="own", area_share=0.25, contrast=1.5
    )
    # With what is known of drawn products, four scores' worth of a spread of 0.75.
    drawn = calibration(*range(9))
    spread = math.sqrt((4 * 0.75**2 + 5 * 1.4826**2) / 9)
    assert severity_of(4, good, [], SIZE, drawn=drawn).spreads == pytest.approx(1 / spread)


def test_beside_one_good_picture_the_contrast_counts_among_drawn_ones():
    drawn = calibration(*range(9))  # median 4, spread 2 * 1.4826
    found = severity_of(5, calibration(), [], SIZE, contrast=10, drawn=drawn, shift=3)
    assert found.spreads == pytest.approx(3 / 2.9652) and found.beside == "drawn"
    assert found.text == "~1.0"
    assert severity_of(5, calibration(), [], SIZE).spreads is None  # nothing to compare with
    assert severity_of(5, calibration(2, 2, 2), [], SIZE).spreads is None  # and no spread at all
    assert severity_of(5, calibration(2, 2, 2), [], SIZE).text == "-"


def test_what_is_not_known_is_ranked_last_and_several_senses_by_the_worst():
    some = [Severity(spreads=None, area_share=1.0), Severity(spreads=-2.0), Severity(spreads=3.0)]
    assert sorted(some, key=lambda one: one.rank) == some
    assert severest([*some, None], [region(20)], SIZE) == Severity(spreads=3.0, area_share=0.1)
    assert severest([None], [], SIZE) is None


def test_severity_is_kept_in_the_record_and_older_records_are_read():
    values = Severity(spreads=12.34567, beside="drawn", area_share=0.25, contrast=None)
    found = Inspection(
        image="a.png", size_hw=SIZE, map=np.zeros((1, 1)), score=1.0, p_value=0.05,
        verdict="anomalous", answer="Anomalous.", seconds={}, regions=(), severity=values,
    )  # fmt: skip
    record = found.as_dict()
    again = Inspection.from_dict(record, found.map, {})
    assert again.severity == Severity(spreads=12.3457, beside="drawn", area_share=0.25)
    del record["severity"]
    assert Inspection.from_dict(record, found.map, {}).severity is None


def test_the_table_of_a_batch_has_the_most_severe_first_and_keeps_an_earlier_one(tmp_path):
    mild, bad = Severity(spreads=1.5), Severity(spreads=20.0, beside="drawn", contrast=2.0)
    row = (0.05, 1.25, None, "=cmd()")
    rows = [(Path(name), "anomalous", *row[:2], one, row[3]) for name, one in
            (("a.png", None), ("b.png", mild), ("c.png", bad))]  # fmt: skip
    write_listing(tmp_path, rows[:1])
    target = write_listing(tmp_path, rows)
    with target.open() as file:
        found = list(csv.DictReader(file))
    assert [one["picture"] for one in found] == ["c.png", "b.png", "a.png"]
    assert found[0]["severity"] == "20.0000" and found[0]["beside"] == "drawn"
    assert found[2]["severity"] == "" and found[2]["answer"] == "'=cmd()"
    assert len(list(tmp_path.glob("inspections-*.csv"))) == 1


def disc(rng: np.random.Generator, *, scratched: bool = False, broken: bool = False) -> np.ndarray:
    """A bright disc on a dark ground, RGB; perhaps with a fine scratch, or half of it gone."""
    picture = np.full((128, 128, 3), 60, np.uint8)
    x, y = (int(v) for v in rng.integers(62, 67, 2))
    cv2.circle(picture, (x, y), 45, (170, 165, 150), -1, cv2.LINE_AA)
    if scratched:
        cv2.line(picture, (x - 20, y - 10), (x + 12, y + 18), (80, 80, 80), 2, cv2.LINE_AA)
    if broken:
        picture[:, x:] = 60
    return np.clip(picture + rng.normal(0, 4, picture.shape), 0, 255).astype(np.uint8)


@pytest.mark.usefixtures("one_thread")
def test_a_broken_half_ranks_above_a_scratch_of_the_same_p_value(inspector, tmp_path):
    rng = np.random.default_rng(26)
    good = [disc(rng) for _ in range(19)]
    names = {"scratch": disc(rng, scratched=True), "broken": disc(rng, broken=True)}
    paths = [tmp_path / f"{i}.png" for i in range(len(good))]
    for path, picture in zip(paths, good, strict=True):
        write_bytes(path, encoded(picture, ".png"))
    product = inspector.teach("bolt", paths, pose="fixed")
    found = {}
    for name, picture in names.items():
        write_bytes(tmp_path / f"{name}.png", encoded(picture, ".png"))
        found[name] = inspector.inspect(tmp_path / f"{name}.png", product)
    scratch, broken = found["scratch"], found["broken"]
    assert scratch.p_value == broken.p_value == pytest.approx(1 / 20)
    assert broken.severity.rank > scratch.severity.rank
    assert broken.severity.spreads > 3 and broken.severity.beside == "own"
    with ReportWriter(
        tmp_path / "report.html", product="bolt", references=[], encoder="embedded"
    ) as report:
        for name, one in found.items():
            report.add(one, names[name])
    page = (tmp_path / "report.html").read_text()
    assert f"<strong>{broken.severity.text}</strong>" in page

"""Yield, control chart and rules against published numbers; the page, PDF and tables of them."""

import csv
import io
import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from typer.testing import CliRunner

from anomalyst.cli.main import app
from anomalyst.errors import AnomalystError
from anomalyst.report.production.control_chart import RULES, p_chart, western_electric
from anomalyst.report.production.facts import Part, heat_of, production_of, width_for
from anomalyst.report.production.page import heat_picture, production_page, production_pdf
from anomalyst.report.production.tables import csv_of, excel_of
from anomalyst.report.shift.facts import Defect, Seen
from anomalyst.report.shift.period import Period
from anomalyst.server.config import ServingConfig
from anomalyst.server.storage.store import Store
from anomalyst.server.storage.tables import InspectionRow

DAY = Period(
    datetime(2026, 11, 27, tzinfo=UTC), datetime(2026, 11, 28, tzinfo=UTC), ZoneInfo("UTC")
)

# Montgomery, Introduction to Statistical Quality Control: frozen orange juice concentrate cans,
# 30 samples of 50; and purchase orders, 25 weeks of varying size.
CANS = [12, 15, 8, 10, 4, 7, 16, 9, 14, 10, 5, 6, 17, 12, 22, 8, 10, 5, 13, 11, 20, 18, 24, 15, 9,
        12, 7, 13, 9, 6]  # fmt: skip
ORDERS = [100, 80, 80, 100, 110, 110, 100, 100, 90, 90, 110, 120, 120, 120, 110, 80, 80, 80, 90,
          100, 100, 100, 100, 90, 90]  # fmt: skip
WRONG = [12, 8, 6, 9, 10, 12, 11, 16, 10, 6, 20, 15, 9, 8, 6, 8, 10, 7, 5, 8, 5, 8, 10, 6, 9]


def test_limits_of_equal_samples_are_montgomerys():
    chart = p_chart(np.array(CANS), np.full(30, 50))
    assert chart.centre == pytest.approx(0.2313, abs=5e-5)
    assert chart.upper[0] == pytest.approx(0.4102, abs=1e-4)
    assert chart.lower[0] == pytest.approx(0.0524, abs=1e-4)
    assert [one.sample + 1 for one in chart.signals if one.rule == "beyond 3 sigma"] == [15, 23]


def test_limits_of_samples_of_varying_size_are_montgomerys():
    chart = p_chart(np.array(WRONG), np.array(ORDERS))
    assert chart.centre == pytest.approx(234 / 2450)
    eleventh = 10
    assert chart.upper[eleventh] == pytest.approx(0.180, abs=5e-4)
    assert chart.z[eleventh] == pytest.approx(3.08, abs=0.02)
    assert chart.upper[0] == pytest.approx(0.1838, abs=5e-4)  # of 100
    assert chart.upper[1] == pytest.approx(0.1943, abs=5e-4)  # of 80
    assert [one.sample for one in chart.signals if one.rule == "beyond 3 sigma"] == [eleventh]


@pytest.mark.parametrize(
    ("z", "rule", "at"),
    [
        ([0, 3.1], "beyond 3 sigma", [1]),
        ([0, 3.0], "beyond 3 sigma", []),
        ([2.1, 0, 2.1], "2 of 3 beyond 2 sigma", [2]),
        ([2.1, 2.1, 0], "2 of 3 beyond 2 sigma", [1]),  # where it is complete, not where it lingers
        ([2.1, 0, 0, 2.1], "2 of 3 beyond 2 sigma", []),
        ([2.1, 0, -2.1], "2 of 3 beyond 2 sigma", []),  # on one side
        ([1.1, 1.1, -0.5, 1.1, 1.1], "4 of 5 beyond 1 sigma", [4]),
        ([1.1, 1.1, -0.5, 1.1, 0.9], "4 of 5 beyond 1 sigma", []),
        ([0.1] * 8, "8 on one side", [7]),
        ([-0.1] * 9, "8 on one side", [7, 8]),
        ([0.1] * 7 + [-0.1] + [0.1], "8 on one side", []),
        ([2.1, np.nan, np.nan, 2.1], "2 of 3 beyond 2 sigma", [3]),  # empty samples are none
    ],
)
def test_the_four_rules(z, rule, at):
    found = western_electric(np.array(z, float))
    assert [one.sample for one in found if one.rule == rule] == at


def test_the_rules_are_the_same_as_said_plainly():
    def plainly(z: list[float]) -> set[tuple[int, str, bool]]:
        return {
            (i, rule, high)
            for i in range(len(z))
            for rule, (least, of, beyond) in RULES.items()
            for high in (True, False)
            if (out := [v > beyond if high else v < -beyond for v in z[max(0, i + 1 - of) : i + 1]])
            and out[-1]
            and sum(out) >= least
        }

    z = np.random.default_rng(0).normal(0.4, 1.3, 600)
    found = {(one.sample, one.rule, one.high) for one in western_electric(z)}
    assert found == plainly(z.tolist()) and {rule for _, rule, _ in found} == set(RULES)


def test_a_process_that_does_not_change_signals_about_as_often_as_published():
    """Champ and Woodall 1987: the four rules together signal first after some 92 points."""
    rng, first = np.random.default_rng(1), []
    for _ in range(300):
        found = western_electric(rng.normal(0, 1, 1500))
        first.append(found[0].sample + 1)
    assert np.mean(first) == pytest.approx(91.75, rel=0.15)


def part(minute: int, verdict: str = "normal", **more) -> Part:
    defects = (Defect(kind="scratch", place="centre"),) if verdict == "anomalous" else ()
    at = DAY.start + timedelta(minutes=minute)
    return Part(seen=Seen(at=at, product="bolt", verdict=verdict, defects=defects), **more)


def made_parts() -> list[Part]:
    """Ten parts an hour; one in ten is bad, from 18 o'clock on four."""
    box = ((0.5, 0.25, 0.75, 0.5),)
    return [
        part(6 * n, "anomalous", boxes=box, signal_ms=100.0 + n)
        if n % 10 == 0 or (n >= 180 and n % 10 < 4)
        else part(6 * n, "unsure" if n == 1 else "normal", late=n == 2)
        for n in range(240)
    ]


def test_a_day_adds_up_and_the_change_is_found():
    made = production_of(DAY, made_parts(), product="bolt", line="3", width=timedelta(hours=1))
    assert made.inspected == 240 and made.verdicts["anomalous"] == 18 + 24 and made.late == 1
    assert made.first_pass_yield == pytest.approx((240 - 42 - 1) / 240)
    assert made.samples[3].first_pass_yield == 0.9 and made.kinds == {"scratch": 42}
    first = made.alarms[0]  # eight hours below what is usual for the whole day
    assert first["at"].hour == 7 and first["direction"] == "fewer defects"
    late = [one for one in made.alarms if one["at"].hour >= 18]
    assert any(one["rule"] == "4 of 5 beyond 1 sigma" and one["at"].hour == 21 for one in late)
    assert made.signal_at(0.5) == 283.0 and made.heat.max() == 42
    assert made.heat[12, 24] == 42 and made.heat[11, 24] == made.heat[12, 23] == 0
    known = production_of(DAY, made_parts(), width=timedelta(hours=1), centre=0.1)
    assert known.chart.centre == 0.1 and known.alarms[0]["at"].hour == 18
    with pytest.raises(AnomalystError, match="at most 1000"):
        production_of(DAY, [], width=timedelta(seconds=30))


def test_samples_are_as_long_as_the_time_asks():
    assert width_for(DAY) == timedelta(hours=1)
    for length in (timedelta(hours=8), timedelta(days=30), timedelta(days=366)):
        found = length / width_for(Period(DAY.start, DAY.start + length, DAY.zone))
        assert 15 <= found <= 60
    assert heat_of([[(0.999, 0.999, 1.0, 1.0)], [(0.0, 0.0, 0.01, 0.01)] * 2]).sum() == 2


def test_page_pdf_and_tables_show_the_same():
    made = production_of(DAY, made_parts(), product="=bolt", line="3", width=timedelta(hours=1))
    good = np.full((80, 120, 3), 90, np.uint8)
    page = production_page(made, good)
    assert "82.1 %" in page and "4 of 5 beyond 1 sigma" in page and "://" not in page
    assert len(re.findall(r'class="(?:dot|out)"', page)) == 2 * 24
    picture = heat_picture(made, good).astype(int)
    assert picture.shape == (80, 120, 3)
    assert abs(picture[30, 75] - 90).max() > 60 and (picture[70, 10] == 90).all()
    rows = list(csv.DictReader(io.StringIO(csv_of(made).decode())))
    assert len(rows) == 24 and float(rows[19]["share anomalous"]) == 0.4
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.load_workbook(io.BytesIO(excel_of(made)))
    assert book.sheetnames == ["Summary", "Over time", "Kinds", "Places", "Alarms"]
    assert book["Over time"].max_row == 25 and book["Kinds"]["B2"].value == 42
    told = {row[0].value: row[1].value for row in book["Summary"].iter_rows()}
    assert told["product"] == "'=bolt" and told["inspected"] == 240
    empty = production_of(DAY, [])
    assert "first-pass yield" in production_page(empty) and csv_of(empty) and excel_of(empty)


def test_the_paper_is_a_pdf():
    pytest.importorskip("weasyprint")
    assert production_pdf(production_of(DAY, made_parts())).startswith(b"%PDF")


def test_rest_gives_the_same_and_refuses_odd_times(tmp_path):
    from serving import client_of, service_over

    with service_over(tmp_path) as service, client_of(service) as client:
        path = "/api/v1/production"
        page = client.get(path, params={"product": "none", "form": "html"})
        assert page.status_code == 200 and "first-pass yield" in page.text
        table = client.get(path, params={"form": "csv", "since": "2026-11-27T00:00:00Z",
                                         "until": "2026-11-28T00:00:00"})  # fmt: skip
        assert table.text.count("\n") == 25
        for odd in ({"until": "0001-01-01T00:00:00"}, {"since": "2026-11-28T00:00:00"} |
                    {"until": "2026-11-27T00:00:00"}, {"minutes": 10**12}):  # fmt: skip
            assert 400 <= client.get(path, params=odd).status_code < 500
        assert client.get("/api/v1/lines").json() == []


def test_the_command_reads_the_record_by_product_and_line(tmp_path):
    store = Store.open(ServingConfig(home=tmp_path))
    region = {"box_xyxy": [10, 10, 20, 20], "kind": "scratch or crack", "place": "centre"}
    record = {"regions": [region], "width_px": 40, "height_px": 40}
    for n in range(60):
        bad = n % 6 == 0
        store.keep(InspectionRow(
            product="bolt", picture="x", name=f"{n}.png", source="watch", by="w", owner="w",
            false_alarm_rate=0.05, state="done", verdict="anomalous" if bad else "normal",
            p_value=0.5, record=record if bad else {}, line="3" if n % 2 else "4",
            created_at=DAY.start + timedelta(minutes=20 * n), signal_ms=float(n),
        ))  # fmt: skip
    store.engine.dispose()
    start = ["report", "production", "--home", str(tmp_path), "--from", "2026-11-27", "--to",
             "2026-11-28", "--product", "bolt", "--products", str(tmp_path)]  # fmt: skip
    page, table = tmp_path / "p.html", tmp_path / "p.csv"
    ended = CliRunner().invoke(app, [*start, "--out", str(page), "--out", str(table)])
    assert ended.exit_code == 0, ended.output
    assert "inspected: 60" in ended.stdout and "anomalous: 10" in ended.stdout
    assert "scratch or crack" in page.read_text() and table.read_bytes().count(b"\n") > 20
    fourth = CliRunner().invoke(app, [*start, "--line", "4", "--out", str(table)])
    assert "inspected: 30" in fourth.stdout and "signal ms, 50 % within: 30" in fourth.stdout
    for given, said in (("x.doc", ".html, .pdf, .xlsx or .csv"),):
        wrong = CliRunner().invoke(app, [*start, "--out", given])
        assert said in str(wrong.exception)

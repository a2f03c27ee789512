"""Shift reports: every number of the record, clocks that change, and sent once at shift ends."""

import json
import re
import sqlite3
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from sqlalchemy import select
from typer.testing import CliRunner

from anomalyst.cli.main import app
from anomalyst.errors import AnomalystError
from anomalyst.report.shift.checked import conflict, summarised
from anomalyst.report.shift.drawn import drawn_shift
from anomalyst.report.shift.facts import Defect, Said, Seen, facts_of, over_time
from anomalyst.report.shift.page import shift_page
from anomalyst.report.shift.period import Period, last_ended, period_of, shift_ends, zone_of
from anomalyst.server.config import ServingConfig
from anomalyst.server.records.shift_bench import bench_shifts, write_rows
from anomalyst.server.storage import messages
from anomalyst.server.storage.store import Store
from anomalyst.server.storage.tables import DeliveryRow, InspectionRow
from anomalyst.server.streaming.shift_ends import ShiftEnds, ShiftReports
from serving import until

BERLIN = ZoneInfo("Europe/Berlin")
MORNING = Period(
    datetime(2026, 11, 27, 5, tzinfo=UTC), datetime(2026, 11, 27, 13, tzinfo=UTC), BERLIN
)


def seen(hour: int, verdict: str | None = "normal", product: str = "bolt", **more) -> Seen:
    at = datetime(2026, 11, 27, hour, 12, tzinfo=UTC)
    return Seen(at=at, product=product, verdict=verdict, p_value=0.5, **more)


DEFECT = Defect(kind="scratch or crack", place="upper left")
ROWS = [
    *(seen(6) for _ in range(5)),
    seen(7, "anomalous", defects=(DEFECT, Defect(kind="2 mm burr", place="centre", own=True))),
    seen(8, "anomalous", "cap 3", defects=(DEFECT,)),
    seen(9, "unsure", alarm=True),
    seen(10, None, failed=True),
    seen(14),  # after the shift
]
SAID = [Said(at=MORNING.start, product="bolt", kind="wrong")]


@pytest.fixture
def home(tmp_path):
    store = Store.open(ServingConfig(home=tmp_path))
    write_rows(store, ROWS, SAID)
    store.engine.dispose()
    return tmp_path


def test_the_summary_says_what_was_counted_by_hand():
    assert summarised(facts_of(MORNING, ROWS, SAID)).sentences == (
        "From 06:00 to 14:00 on 27 November 2026 (8 hours) 8 parts were inspected: 5 normal, "
        "1 unsure and 2 anomalous; 1 could not be inspected.",
        "On the 2 anomalous parts 3 defects were found: 2 of scratch or crack and "
        "1 of '2 mm burr'.",
        "The place with most defects is the upper left, 2 of 3.",
        "Of 2 products 'cap 3' has the largest share of anomalous parts, 1 of 1 (100.0 %).",
        "1 drift alarm was raised for 'bolt' at 10:12.",
        "People gave 1 judgement: 1 verdict called wrong.",
    )


def test_no_number_of_40_drawn_shifts_is_wrong_and_none_could_be(tmp_path):
    found = bench_shifts(tmp_path, 40)
    assert found.shifts == 40 and found.numbers > 500
    assert not found.wrong, found.examples
    assert found.altered == found.numbers and found.swapped > 200 and not found.unnoticed
    assert all(n <= 6 for n in found.lengths) and found.lengths[1] == found.empty


@pytest.mark.parametrize(
    ("sentence", "why"),
    [
        ("9 parts were inspected.", "9"),
        ("Eight parts were inspected.", "Eight"),
        ("On the 2 anomalous parts 3 defects were found: 3 of scratch or crack.", "3"),
        ("On the 2 anomalous parts 3 defects were found, all of deformation.", "deformation"),
        ("The place with most defects is the centre, 2 of 3.", "2"),
        ("Of 2 products 'bolt' has the largest share of anomalous parts, 1 of 1.", "1"),
        ("No drift alarm was raised.", "no"),
        ("1 drift alarm was raised for 'cap 3' at 10:12.", "3"),
        ("8 parts were inspected, half of them anomalous.", "half"),
        ("All went well.", "all"),
        ("2 anomalous parts came from bolt.", "bolt"),
        ("The product Bolt had 2 anomalous parts.", "Bolt"),
        ("The 2 anomalous parts were bolts.", "bolts"),
        ("Deformation was seen on the 2 anomalous parts with 3 defects.", "Deformation"),
        ("Upper right is where the 3 defects lie.", "Upper right"),
        ("The 4 defects were found on the flash over-mould.", "flash over-mould"),
    ],
)
def test_what_the_record_does_not_bear_out_is_refused(sentence, why):
    own = Defect(kind="flash over-mould", place="", own=True)
    rows = [*ROWS, seen(8, "anomalous", defects=(own,))] if "flash" in sentence else ROWS
    said = conflict(sentence, facts_of(MORNING, rows, SAID))
    assert said is not None and re.search(rf"\b{why}\b", said)


def test_names_may_read_like_claims():
    odd = Defect(kind="2 normal, 9 of 'most' parts", place="centre", own=True)
    rows = [*ROWS, *[seen(11, "anomalous", "no 5 <i>", defects=(odd,))] * 2]
    facts = facts_of(MORNING, rows, SAID)
    found = summarised(facts)
    assert "2 of '2 normal, 9 of 'most' parts'" in found.text and "'no 5 <i>' has" in found.text
    assert "<i>" not in shift_page(facts, rows, found)
    assert conflict(found.sentences[1].replace("2 normal", "3 normal"), facts)


@pytest.mark.parametrize(
    "name", ["the", "From", "on", "had", "a", "people", "part", "place", "As-of", "Defects"]
)
def test_names_may_be_words_of_the_templates(name):
    own = Defect(kind=name, place="centre", own=True)
    rows = [*ROWS, seen(9, "anomalous", name, defects=(own,), alarm=True)]
    assert f"1 of '{name}'" in summarised(facts_of(MORNING, rows, SAID)).text


def test_a_models_sentence_is_taken_where_it_holds_and_replaced_where_not():
    facts = facts_of(MORNING, ROWS, SAID)
    held = "8 parts were inspected: 5 normal, 1 unsure and 2 anomalous."
    found = summarised(facts, f"{held} On the 2 anomalous parts 7 defects were found. Good day.")
    assert found.sentences[0] == held and found.kept == 1
    assert found.sentences[1].startswith("On the 2 anomalous parts 3 defects")
    assert [why for _, why in found.refused] == [
        "it says 7, which the record does not bear out", "it tells no figure of the record"
    ]  # fmt: skip


def test_charts_hold_every_part_once():
    rng = np.random.default_rng(8)
    for _ in range(10):
        period, rows, said = drawn_shift(rng)
        facts = facts_of(period, rows, said)
        assert sum(c.total() for _, c in over_time(period, rows)) == facts.inspected
        page = shift_page(facts, rows, summarised(facts))
        dots = page.count("<circle")
        assert dots == facts.inspected and "<script" not in page


def test_an_empty_shift_says_so_in_one_sentence(home, tmp_path):
    out = tmp_path / "empty.html"
    run = CliRunner().invoke(
        app,
        ["report", "shift", "--from", "2026-01-01", "--to", "2026-01-02", "--home", str(home),
         "--out", str(out)],
    )  # fmt: skip
    assert run.exit_code == 0, run.output
    assert run.stdout == (
        "From 00:00 on 1 January 2026 to 00:00 on 2 January 2026 (24 hours) nothing was "
        "inspected.\n"
    )
    assert "nothing was inspected" in out.read_text()


def test_the_command_reports_in_local_time_of_one_product(home, tmp_path):
    out = tmp_path / "shift.html"
    run = CliRunner().invoke(
        app,
        ["report", "shift", "--from", "2026-11-27T06:00", "--to", "2026-11-27T14:00", "--timezone",
         "Europe/Berlin", "--home", str(home), "--product", "bolt", "--out", str(out), "--json"],
    )  # fmt: skip
    assert run.exit_code == 0, run.output
    found = json.loads(run.stdout)
    assert found["verdicts"] == {"normal": 5, "unsure": 1, "anomalous": 1}
    assert found["places"] == {"upper left": 1, "centre": 1} and found["minutes"] == 480
    assert found["drift_alarms"] == [{"at": "2026-11-27T09:12:00+00:00", "product": "bolt"}]
    page = out.read_text()
    assert all(sentence.replace("'", "&#39;") in page for sentence in found["summary"])


TIMES = ("--from", "2026-11-27T06:00", "--to", "2026-11-27T14:00", "--timezone", "Europe/Berlin")


def test_a_shift_of_one_line_counts_its_parts_and_what_was_said_of_them(home, tmp_path, refused):
    store = Store.open(ServingConfig(home=home))
    with store.session() as session:  # the parts of bolt came from NORTH, the others from SOUTH
        for row in session.scalars(select(InspectionRow)):
            row.line = "NORTH" if row.product == "bolt" else "SOUTH"
    store.engine.dispose()

    def told(line):
        out = ["--line", line, "--out", str(tmp_path / f"{line}.html"), "--json"]
        run = CliRunner().invoke(app, ["report", "shift", *TIMES, "--home", str(home), *out])
        assert run.exit_code == 0, run.output
        return json.loads(run.stdout)

    north, south = told("NORTH"), told("SOUTH")
    assert north["verdicts"] == {"normal": 5, "unsure": 1, "anomalous": 1}
    assert south["verdicts"] == {"normal": 0, "unsure": 0, "anomalous": 1}
    assert (north["judgements"], south["judgements"]) == ({"wrong": 1}, {})
    assert "<h1>Shift report, line NORTH</h1>" in (tmp_path / "NORTH.html").read_text()
    said = refused("report", "shift", *TIMES, "--home", home, "--line", "NORD")
    assert "--line 'NORD': is none of NORTH, SOUTH; the nearest is 'NORTH'" in said
    assert "the nearest is 'SOUTH'" in refused(
        "report", "production", *TIMES, "--home", home, "--line", "SUTH"
    )


def test_a_line_is_refused_where_no_part_came_from_one(home, refused):
    said = refused("report", "shift", *TIMES, "--home", home, "--line", "NORTH")
    assert "no part of this record came from a line that has a name" in said


@pytest.mark.parametrize(
    ("start", "end", "length"),
    [
        ("2026-10-24T22:00", "2026-10-25T06:00", "9 hours, as clocks were set back"),
        ("2026-03-28T22:00", "2026-03-29T06:00", "7 hours, as clocks were set forward"),
        ("2026-11-26T22:00", "2026-11-27T06:00", "8 hours"),
    ],
)
def test_a_night_of_changed_clocks_has_its_real_length(start, end, length):
    period = period_of(start, end, BERLIN)
    rows = [
        Seen(at=period.start + timedelta(minutes=10 * n), product="bolt", verdict="normal")
        for n in range(period.minutes // 10)
    ]
    found = summarised(facts_of(period, rows, []))
    assert f"({length}) {len(rows)} parts were inspected" in found.text


def test_an_alarm_in_the_hour_that_comes_twice_tells_which():
    period = period_of("2026-10-24T22:00", "2026-10-25T06:00", BERLIN)
    at = datetime(2026, 10, 25, 1, 30, tzinfo=UTC)
    row = Seen(at=at, product="bolt", verdict="normal", alarm=True)
    assert "at 02:30 CET on 25 October 2026" in summarised(facts_of(period, [row], [])).text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("2026-11-27T14:00", "2026-11-27T06:00"), "--to .* is not after --from"),
        (("2026-11-27T14:00", "2026-11-27T14:00"), "--to .* is not after --from"),
        (("yesterday", "2026-11-27"), "--from 'yesterday': is no time; write it as"),
        (("2026-13-01", "2026-11-27"), "is no time"),
        (("0001-01-01", "2026-11-27"), "lies at the end|are 73\\d+ days|days; a report"),
        (("2026-11-27", "9999-12-31T23:59"), "days; a report is of at most 366"),
        (("2026-10-25T02:30", "2026-10-25T06:00"), "comes twice in Europe/Berlin.*\\+02:00"),
        (("2026-03-29T02:30", "2026-03-29T06:00"), "is no time of Europe/Berlin"),
    ],
)
def test_times_that_make_no_shift_are_refused(refused, home, words, said):
    options = ("--timezone", "Europe/Berlin", "--home", home)
    told = refused("report", "shift", "--from", words[0], "--to", words[1], *options)
    assert re.search(said, told)


def test_zones_ends_and_homes_that_are_none_are_refused(refused, tmp_path):
    times = ("--from", "2026-11-27", "--to", "2026-11-28")
    assert "Mars/Base: is not known" in refused(
        "report", "shift", *times, "--timezone", "Mars/Base"
    )
    assert "holds no record" in refused("report", "shift", *times, "--home", tmp_path)
    assert "holds no config.json" in refused(
        "report", "shift", *times, "--home", tmp_path, "--model", tmp_path
    )
    watch = ("watch", tmp_path, "--product", "bolt")
    assert "are no clock times" in refused(*watch, "--shift-ends", "6 o'clock")
    assert "is that of --shift-ends" in refused(*watch, "--timezone", "Europe/Berlin")


def test_shifts_end_by_local_clocks_over_a_change():
    ends = shift_ends("22:00, 06:00,14:00")
    found = last_ended(datetime(2026, 10, 25, 5, 0, tzinfo=UTC), ends, BERLIN)
    assert found.length == "9 hours" and found.words.endswith("to 06:00 on 25 October 2026")
    one_a_day = last_ended(datetime(2026, 11, 27, 5, tzinfo=UTC), shift_ends("06:00"), BERLIN)
    assert one_a_day.length == "24 hours" and one_a_day.end.hour == 5


def test_a_shift_is_reported_once_to_each_sink_over_restarts(home):
    shifts = ShiftEnds(ends=shift_ends("06:00,14:00,22:00"), zone=BERLIN, folder=home / "shifts")
    store = Store.open(ServingConfig(home=home))
    clock = [MORNING.end - timedelta(minutes=1)]

    def reports(*sinks: str) -> ShiftReports:
        return ShiftReports(store, "bolt", shifts, sinks, lambda: clock[0])

    first = reports("http://mes/in")
    first.close()
    assert messages.count_waiting(store) == 0 and not list((home / "shifts").glob("*"))
    for _ in range(3):  # it ends while nobody watches, and the watch is begun again and again
        clock[0] = MORNING.end + timedelta(minutes=2)
        again = reports("http://mes/in", "mqtt://broker")
        again.look()
        again.close()
    assert (
        messages.count_waiting(store, "http://mes/in") == 1
        and messages.count_waiting(store, "mqtt://broker") == 1
    )
    [page] = (home / "shifts").glob("*.html")
    assert "6 parts were inspected" not in page.read_text() and "7 parts" in page.read_text()
    store.engine.dispose()


def test_a_shift_waits_for_parts_in_hand_but_not_for_ever(home):
    shifts = ShiftEnds(ends=shift_ends("14:00,22:00"), zone=BERLIN, folder=home / "shifts")
    store = Store.open(ServingConfig(home=home))
    write_rows(store, [seen(12, None)], [])
    clock = [MORNING.end + timedelta(seconds=5)]
    reports = ShiftReports(store, "bolt", shifts, (), lambda: clock[0])
    assert not reports.look() and not list((home / "shifts").glob("*"))
    clock[0] += timedelta(seconds=60)
    reports.close()
    [page] = (home / "shifts").glob("*.html")
    assert "1 waits" in page.read_text()
    store.engine.dispose()


@pytest.fixture
def reports(home):
    """Begins watches of bolt's shifts at a time in UTC; `.store` is where messages wait."""
    shifts = ShiftEnds(ends=shift_ends("06:00,14:00,22:00"), zone=BERLIN, folder=home / "shifts")
    store = Store.open(ServingConfig(home=home))
    begun = []

    def begin(moment: datetime) -> ShiftReports:
        clock = [moment]
        found = ShiftReports(store, "bolt", shifts, ("mqtt://broker",), lambda: clock[0])
        found.now = clock
        begun.append(found)
        return found

    begin.store, begin.folder = store, shifts.folder
    yield begin
    for one in begun:
        one.close()
    store.engine.dispose()


def test_every_shift_missed_while_down_is_reported_oldest_first(reports):
    days = [Seen(at=one.at + timedelta(days=n), product="bolt", verdict="normal")
            for n in (-20, 1, 2) for one in ROWS[:3]]  # fmt: skip
    write_rows(reports.store, days[:3], [])
    reports(MORNING.end - timedelta(hours=6)).close()  # begins before any of them has ended
    assert messages.count_waiting(reports.store) == 0
    write_rows(reports.store, days[3:], [])
    back = reports(MORNING.end + timedelta(days=3, minutes=2))
    back.close()
    pages = sorted(one.name for one in reports.folder.iterdir())
    assert pages == [
        f"bolt-202611{day}.html" for day in ("27T1300Z", "27T2100Z", "28T1300Z", "29T1300Z")
    ]  # 22:00 to 06:00, and other shifts without parts, are passed over
    with reports.store.session() as session:
        sent = [one.payload["to"] for one in session.scalars(select(DeliveryRow))]
    assert sent == sorted(sent) and len(sent) == 4


@pytest.mark.parametrize(("hours", "reported"), [(14 * 24 - 1, 2), (14 * 24 + 1, 1), (9000, 0)])
def test_shifts_that_ended_over_two_weeks_ago_are_let_be(reports, hours, reported):
    reports(MORNING.end - timedelta(hours=6)).close()
    reports(MORNING.end + timedelta(hours=hours)).close()
    assert messages.count_waiting(reports.store) == reported


def test_a_page_that_could_not_be_written_is_tried_again(reports):
    reports.folder.write_text("a file where the folder should be")
    watch = reports(MORNING.end + timedelta(minutes=2))
    watch.close()  # its last look fails, too
    assert messages.count_waiting(reports.store) == 0
    with pytest.raises(AnomalystError):
        watch.look()
    reports.folder.unlink()
    assert len(watch.look()) == 1 and not watch.look()
    assert messages.count_waiting(reports.store) == 1


def test_a_database_that_fails_for_a_while_does_not_end_the_reports(reports, monkeypatch, caplog):
    monkeypatch.setattr("anomalyst.server.streaming.shift_ends.AGAIN_SECONDS", 0.05)
    whole = reports.store.engine.url.database
    watch = reports(MORNING.end - timedelta(minutes=1))
    watch.look()
    with sqlite3.connect(whole) as other:
        other.execute("ALTER TABLE inspections RENAME TO gone")
    watch.now[0] = MORNING.end + timedelta(minutes=2)
    assert until(lambda: "no such table" in caplog.text, 10)
    with sqlite3.connect(whole) as other:
        other.execute("ALTER TABLE gone RENAME TO inspections")
    assert until(lambda: messages.count_waiting(reports.store) == 1, 10)


def test_a_zone_is_known_by_its_name():
    assert zone_of("Asia/Kolkata").key == "Asia/Kolkata"

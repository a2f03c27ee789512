"""`anomalyst watch` on sensors: windows of a growing CSV or a topic, none lost and none twice."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion
from sqlalchemy import select

import anomalyst.server.streaming.journal as journal_file
from anomalyst.errors import AnomalystError
from anomalyst.inspection.signals import learn_signals
from anomalyst.senses.sense import SignalSense
from anomalyst.server.config import ServingConfig
from anomalyst.server.load_test import free_port
from anomalyst.server.service import Service
from anomalyst.server.storage.filters import Filter
from anomalyst.server.storage.store import Store
from anomalyst.server.storage.tables import DeliveryRow
from anomalyst.server.streaming.growing import GrowingTable
from anomalyst.server.streaming.journal import Journal, Kept
from anomalyst.server.streaming.messages import NotUnderstood, rows_of, table_of
from anomalyst.server.streaming.opening import open_for
from anomalyst.server.streaming.sinks import Webhook
from anomalyst.server.streaming.sources import Source, Taken
from anomalyst.server.streaming.watch import Watch
from anomalyst.server.streaming.windows import Cut, Cutter
from sensed import curve, sound
from serving import MOSQUITTO, Hook, broker_at, until

HEAD = "time,torque,temperature"
SENSE = SignalSense(kind="series", rate_hz=10, channels=("torque", "temperature"))


@pytest.fixture(scope="module")
def taught(tmp_path_factory) -> Path:
    """Products taught from 21 curves of 160 samples, and from as many sounds."""
    folder, rng = tmp_path_factory.mktemp("taught"), np.random.default_rng(1)
    for name, sense, draw, ending in (
        ("pump", SignalSense(kind="series"), curve, "csv"),
        ("fan", SignalSense(kind="audio"), sound, "wav"),
    ):
        good = [draw(folder / f"{name}{i:02d}.{ending}", rng) for i in range(21)]
        learn_signals(name, good, sense).save(folder / "products" / name)
    return folder / "products"


@pytest.fixture
def config(taught, tmp_path) -> ServingConfig:
    return ServingConfig(home=tmp_path / "home", products=taught)


def rows(first: int, end: int, *, step: int | None = None, warmer: float = 0) -> list[str]:
    """What a pump's logger writes; two seconds after sample `step` the torque is too high."""
    rng = np.random.default_rng(first)
    t = np.arange(first, end) / 10
    torque = np.sin(2 * np.pi * t / 4) + 0.1 * rng.normal(size=t.size)
    if step is not None:
        torque[step - first : step - first + 20] += 3
    return [
        f"{a:.1f},{b:.4f},{c:.3f}"
        for a, b, c in zip(t, torque, 20 + warmer + 0.1 * rng.normal(size=t.size), strict=True)
    ]


def windows(table: GrowingTable) -> list[tuple[str, str]]:
    return [(one.mark, one.open().read().decode()) for one in table.new()]


def cut(length: int, stride: int | None = None) -> Cut:
    return Cut(rows=length, stride=stride or length, rate_hz=10)


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_rows_split_at_any_byte_give_the_same_windows(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("t") / "sensors.csv"
    length = data.draw(st.integers(2, 9))
    stride = data.draw(st.integers(1, length))
    end = data.draw(st.sampled_from(["\n", "\r\n", "\n\n"]))
    lines = rows(0, data.draw(st.integers(0, 40)))
    whole = ("\ufeff" + end.join([HEAD, *lines[:3], HEAD, *lines[3:], ""])).encode()
    places = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=12)))
    path.touch()
    table, found = GrowingTable(path, SENSE, cut(length, stride)), []
    for begin, stop in zip([0, *places], [*places, len(whole)], strict=True):
        with path.open("ab") as file:
            file.write(whole[begin:stop])
        found += windows(table)
    begins = range(0, len(lines) - length + 1, stride)
    assert [text for _, text in found] == [
        "\n".join([HEAD, *lines[i : i + length], ""]) for i in begins
    ]
    assert found == windows(GrowingTable(path, SENSE, cut(length, stride)))  # after a restart
    assert [mark.split("|")[1] for mark, _ in found] == [lines[i].split(",")[0] for i in begins]


def test_a_rotated_or_emptied_file_is_read_to_its_end_and_the_next_one_from_its_beginning(
    tmp_path, caplog
):
    path, lines = tmp_path / "sensors.csv", rows(0, 50)
    path.write_text("\n".join([HEAD, *lines[:25], ""]))
    table = GrowingTable(path, SENSE, cut(10))
    assert len(windows(table)) == 2 and table.waiting == 5
    with path.open("a") as file:
        file.write(f"{lines[25]}\nhalf a li")
    path.rename(tmp_path / "sensors.csv.1")
    assert windows(table) == []  # the next file is not there yet
    path.write_text("\n".join([*lines[26:40], ""]))  # without a header: the columns are known
    last, first = (text.splitlines()[1:] for _, text in windows(table))
    assert last == lines[16:26] and first == lines[26:36]  # the last window reaches back
    assert "in the middle of a line, which is lost" in caplog.text
    path.write_text("\n".join([HEAD, *lines[40:], ""]))  # emptied, and written anew
    last, first = (text.splitlines()[1:] for _, text in windows(table))
    assert last == lines[30:40] and first == lines[40:]
    path.write_text("\n".join([HEAD, *lines[40:43], ""]))
    assert windows(table) == [] and table.waiting == 3


@pytest.mark.parametrize(
    ("line", "header"),
    [
        ("0.1,1.5,20", "time,torque,temperature"),
        ("1,5;20,25", "torque;temperature"),
        ("2026-01-01 00:00:00;1,5;20", "time;torque;temperature"),
        ("sensor1;sensor2", None),  # words: columns that the product does not know
    ],
)
def test_a_table_that_begins_with_data_has_the_channels_in_the_order_taught(tmp_path, line, header):
    path = tmp_path / "s.csv"
    path.write_text(f"{line}\n" * 9)
    found = windows(GrowingTable(path, SENSE, cut(9)))
    assert [text.splitlines()[0] for _, text in found] == ([header] if header else [])


def test_without_times_equal_rows_of_another_file_are_another_window(tmp_path):
    path, sense = tmp_path / "s.csv", SignalSense(kind="series", rate_hz=10, channels=("a",))
    text = "a\n" + "0,5\n" * 8
    path.write_text(text.replace("a\n", "a;b\n").replace("5\n", "5;1\n"))
    [(mark, _)] = windows(table := GrowingTable(path, sense, cut(8)))
    assert "|row 1|" in mark
    path.rename(tmp_path / "s.1")
    path.write_text(text.replace("a\n", "a;b\n").replace("5\n", "5;1\n"))
    [(other, _)] = windows(table)
    assert other != mark


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 60))
def test_windows_and_the_last_one_hold_every_row(length, stride, count):
    stride = min(stride, length)
    cutter: Cutter[int] = Cutter(cut(length, stride))
    found = [window for i in range(count) if (window := cutter.add(i))]
    expected = [
        (i, list(range(i, i + length))) for i in range(0, max(0, count - length + 1), stride)
    ]
    assert found == expected
    seen = {row for _, held in found for row in held}
    assert cutter.waiting == count - len(seen)
    last = cutter.end()
    assert (last is None) == (count < length or len(seen) == count)
    if last is not None:
        assert last == (count - length, list(range(count - length, count)))


def test_messages_are_objects_lists_of_them_or_lines_in_the_order_taught():
    channels = ("torque", "temperature")
    one = {"time": "0.5", "torque": "1.5", "temperature": "NaN"}
    for sent in (
        '{"time": 0.5, "torque": 1.5, "temperature": NaN}',
        ' [{"time": 0.5, "torque": 1.5, "temperature": NaN}]',
        "0.5,1.5,NaN\n",
        "0.5; 1.5; NaN",
    ):
        assert rows_of(sent.encode(), channels) == [one]
    assert rows_of(b"1,5;20,25\r\n1,6;20", channels)[0] == {"torque": "1,5", "temperature": "20,25"}
    mixed = rows_of(b'[{"t": 1, "torque": null}, {"t": 2, "x": true, "torque": "a,b"}]', channels)
    assert table_of(mixed) == b't,torque,x\n1,,\n2,"a,b",true\n'
    for sent, said in [
        (b"\xff\xfe", "no text"), (b"  ", "nothing"), (b"{1", "not whole"),
        (b"[1, 2]", "neither an object"), (b"[]", "neither an object"),
        (b"1,2,3,4", "neither torque, temperature"), (b"[" * 9000, "not whole"),
    ]:  # fmt: skip
        with pytest.raises(NotUnderstood, match=said):
            rows_of(sent, channels)


@given(st.binary(max_size=60) | st.text("[]{},:;\"'\n 01.eNa", max_size=60).map(str.encode))
def test_any_message_is_rows_of_text_or_not_understood(payload):
    try:
        found = rows_of(payload, ("a", "b"))
    except NotUnderstood:
        return
    assert all(isinstance(cell, str) for row in found for cell in row.values())
    table_of(found)


def test_a_journal_holds_what_no_window_has_yet_over_restarts(tmp_path, monkeypatch):
    monkeypatch.setattr(journal_file, "REWRITTEN_AT", 2000)
    path, rng = tmp_path / "in" / "topic.jsonl", np.random.default_rng(3)
    journal = Journal(path)
    cutter: Cutter[dict[str, str]] = Cutter(cut(7, 5))
    sent, found, mid = 0, [], 0
    for turn in range(60):
        for _ in range(int(rng.integers(4))):
            some = [{"a": str(sent + i)} for i in range(int(rng.integers(1, 4)))]
            sent, mid = sent + len(some), mid + 1
            journal.append([message := Kept(mid, json.dumps(some).encode(), some)])
            again = replace(message, again=True)  # its acknowledgement was lost
            journal.append([again, again])
        for _, row in journal.read():
            if window := cutter.add(row):
                found.append([int(one["a"]) for one in window[1]])
                journal.forget(cutter.first)
        if turn % 7 == 6:  # the process dies, once in the middle of a line
            journal.close()
            with path.open("ab") as file:
                file.write(b'[[9999, "ab' * (turn % 2))
            journal = Journal(path)
            journal.append([again])
            assert journal.begin <= cutter.first
            cutter = Cutter(cut(7, 5), journal.begin)
    begins = [one[0] for one in found]
    assert all(one == list(range(one[0], one[0] + 7)) for one in found)
    assert sorted(set(begins)) == list(range(0, sent - 6, 5))  # each, and again only after a death
    assert path.stat().st_size < 4000
    with pytest.raises(AnomalystError, match="another process watches this topic"):
        Journal(path)
    journal.close()


def run_once(watch: Watch):
    try:
        return watch.run(once=True)
    finally:
        watch.close()


def watched(config: ServingConfig, path: Path, *sinks) -> Watch:
    return Watch(config, "pump", open_for(str(path), "pump", config), str(path), sinks)


def test_sigkill_loses_no_window_and_each_is_told_with_sense_and_time(config, tmp_path):
    from anomalyst.server.ui.components import rows_of as rows_of_page

    path, hook = tmp_path / "sensors.csv", Hook(free_port())
    lines = rows(0, 1340, step=200)
    lines[990] = "99.0,oops,20"
    del lines[1190:1210]  # the sensor was away
    path.write_text("\n".join([HEAD, *lines[:960], ""]))
    address = f"http://127.0.0.1:{hook.server.server_port}/"
    command = [sys.executable, "-m", "anomalyst", "watch", str(path), "--product", "pump"]
    command += ["--products", str(config.products), "--home", str(config.home)]
    command += ["--webhook", address, "--allow-internal-webhooks"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert b"sensors 0.0.csv" in process.stdout.readline()  # the others are under way
    process.kill()
    process.wait()
    with path.open("a") as file:
        file.write("\n".join([*lines[960:], ""]))
    again = watched(config, path, Webhook(address, internal=True))
    assert again.source.how == "in windows of 160 samples (16 s)"
    tally = run_once(again)
    assert tally.failed == 2 and again.source.waiting == 40
    found = Store.open(config).history(Filter())
    assert sorted(one.name for one in found) == sorted(f"sensors {16.0 * i}.csv" for i in range(8))
    failed = {one.name: one.problem for one in found if one.state == "failed"}
    assert "'torque' holds 'oops'" in failed["sensors 96.0.csv"]
    assert "a gap of" in failed["sensors 112.0.csv"]
    assert rows_of_page(again.service, found).count("src='data:image") == 6  # on the page Live
    told = {body["picture"]: body for _, body in hook.taken}
    assert len(told) == 8 and told["sensors 96.0.csv"]["problem"]
    step = told["sensors 16.0.csv"]
    assert step["verdict"] == "anomalous" and step["sense"] == "series"
    where = step["regions"][0]["where"]
    assert "torque" in where and abs(float(where.split(" to ")[0]) - 4) < 1  # 4 s after 16 s
    hook.server.shutdown()


@pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed")
def test_a_topic_is_read_over_outages_of_watch_and_broker(config, tmp_path, caplog):
    port, sender = free_port(), Client(CallbackAPIVersion.VERSION2)
    address = f"mqtt://me:secret@127.0.0.1:{port}/line3/pump"

    def send(first: int, end: int) -> None:
        for line in rows(first, end):
            told = dict(zip(HEAD.split(","), map(float, line.split(",")), strict=True))
            sender.publish("line3/pump", json.dumps(told), qos=1)
        for odd in (b"\xff", b"\xfe", b"{"):
            sender.publish("line3/pump", odd, qos=1).wait_for_publish(10)

    topic = open_for(address, "pump", config)
    assert until(lambda: "cannot be reached; it is tried again" in caplog.text, 40)
    broker = broker_at(port, tmp_path)
    try:
        assert until(lambda: "the broker is there again" in caplog.text, 40)
        sender.connect("127.0.0.1", port)
        sender.loop_start()
        time.sleep(0.3)  # for the subscription
        send(0, 200)
        first = read(topic, waiting=40)
        topic.close()
        send(200, 400)  # while no watch is there
        sender.disconnect()
        sender.loop_stop()
        broker.terminate()
        broker.wait()
        broker = broker_at(port, tmp_path)
        topic = open_for(address, "pump", config)
        found = read(topic, waiting=80)
        assert topic.dropped == 3
    finally:
        topic.close()
        broker.kill()
        broker.wait()
    assert [one.name for one in found] == ["pump 0.0.csv", "pump 16.0.csv"]
    assert [one.mark for one in first] == [found[0].mark]  # by which the store knows it
    times = [line.split(b",")[0] for one in found for line in one.open().readlines()[1:]]
    assert times == [f"{k / 10:.1f}".encode() for k in range(320)]
    assert caplog.text.count("it holds bytes that are no text") == 2  # once each watch
    assert b"secret" not in b"".join(p.read_bytes() for p in config.home.rglob("*.jsonl"))


def read(topic: Source, waiting: int) -> list[Taken]:
    found: list[Taken] = []
    assert until(lambda: bool(found.extend(topic.new()) or topic.waiting == waiting), 40)
    return found


@contextmanager
def service_with_sink(config: ServingConfig) -> Iterator[Service]:
    service = Service(config, sinks=["http://mes/in"])
    try:
        yield service
    finally:
        service.close()


def worn_pump(path: Path, rng: np.random.Generator) -> Path:
    """It runs a little warmer."""
    first = int(rng.integers(9000))
    path.write_text("\n".join([HEAD, *rows(first, first + 160, warmer=0.045)]))
    return path


def worn_fan(path: Path, rng: np.random.Generator) -> Path:
    """Its microphone hears a little less."""
    values, rate = soundfile.read(sound(path, rng))
    soundfile.write(path, values * 0.953, rate)
    return path


def test_drift_of_sounds_and_sensors_raises_the_alarm_and_is_told(config, tmp_path):
    rng = np.random.default_rng(8)
    with service_with_sink(config) as service:
        for name, draw, ending in (("pump", worn_pump, "csv"), ("fan", worn_fan, "wav")):
            service.set_false_alarm_rate(name, 0.0001, "test")  # nearly all are accepted
            files = [draw(tmp_path / f"{name}{i:02d}.{ending}", rng) for i in range(60)]
            [sense] = service.senses(name)
            sent = [service.take(path.open("rb"), path.name, sense) for path in files]
            for id in service.acknowledge(sent, name, by="test", source="watch"):
                service.wait(id, 60)
            found = service.store.history(Filter(product=name), limit=60)
            alarms = [row.alarm for row in found if row.alarm]
            assert len(alarms) == 1 and "have changed" in alarms[0]
            assert "light" not in alarms[0] and "teach recordings" in alarms[0]
        with service.store.session() as session:
            told = [row.payload for row in session.scalars(select(DeliveryRow))]
    assert {(one["product"], one["sense"]) for one in told} == {
        ("pump", "series"),
        ("fan", "audio"),
    }
    assert sum(one["drift_alarm"] is not None for one in told) == 2


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ("gone.csv", {}, "gone.csv: cannot be read"),
        ("a.npy", {}, "is written as a whole; watch the folder"),
        ("a.csv", {"window": 0.5}, "--window 0.5 holds 5 samples at 10 a second; 8 or more"),
        ("a.csv", {"window": float("nan")}, "--window nan: a number of seconds"),
        ("a.csv", {"stride": 17}, "--stride 17 is 170 samples"),
        (".", {"window": 5}, "--window and --stride are for growing tables"),
        ("mqtt://u:secret@h/a/+/b", {}, "^mqtt://h:1883/a/[+]/b: names several topics"),
        ("mqtt://u:secret@h:1x/a", {}, "^'mqtt://h:1x/a': a topic is mqtt://HOST"),
        ("mqtt://h", {}, "names no topic"),
    ],
)
def test_a_source_that_cannot_be_watched_is_refused_in_a_sentence(
    config, tmp_path, monkeypatch, text, options, said
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.csv").write_text(HEAD)
    (tmp_path / "a.npy").touch()
    with pytest.raises(AnomalystError, match=said):
        open_for(text, "pump", config, **options)
    with pytest.raises(AnomalystError, match="was taught with audio; teach one with --series"):
        open_for("a.csv", "fan", config)

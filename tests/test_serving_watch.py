"""`anomalyst watch`: nothing lost over outages and restarts; a real broker, a real webhook."""

import json
import shutil
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import cv2
import numpy as np
import pytest

from anomalyst.errors import AnomalystError
from anomalyst.server.config import ServingConfig
from anomalyst.server.errors import Conflict, NotFound
from anomalyst.server.jobs.watches import Watches
from anomalyst.server.load_test import free_port
from anomalyst.server.storage import messages
from anomalyst.server.storage.filters import Filter
from anomalyst.server.storage.tables import now
from anomalyst.server.streaming.cameras import Camera
from anomalyst.server.streaming.shift_ends import ShiftEnds
from anomalyst.server.streaming.sinks import Mqtt, Webhook
from anomalyst.server.streaming.sources import Folder
from anomalyst.server.streaming.watch import Watch
from serving import FLANGE, MOSQUITTO, Hook, broker_at, service_over, teach_flange, until


@pytest.fixture(scope="module")
def taught(tmp_path_factory) -> Path:
    """A folder with the bundled product taught."""
    home = tmp_path_factory.mktemp("taught")
    with service_over(home) as service:
        teach_flange(service)
    return home / "products"


@pytest.fixture
def config(taught, tmp_path) -> ServingConfig:
    return ServingConfig(home=tmp_path / "home", products=taught)


@pytest.fixture
def pictures(tmp_path) -> Path:
    """A folder with four pictures and a file that is none."""
    folder = tmp_path / "in"
    folder.mkdir()
    for path in sorted((FLANGE / "test").glob("*.jpg"))[:4]:
        shutil.copyfile(path, folder / path.name)
    (folder / "bad.png").write_text("no picture")
    time.sleep(0.6)
    return folder


@pytest.fixture
def hook():
    found = Hook(free_port())
    yield found
    found.server.shutdown()


def watched(config, pictures, *sinks) -> Watch:
    return Watch(config, "flange", Folder(pictures), str(pictures), sinks)


def run_once(watch: Watch):
    try:
        return watch.run(once=True)
    finally:
        watch.close()


def test_each_picture_is_inspected_once_over_restarts(config, pictures):
    first = run_once(watched(config, pictures))
    assert (first.done, first.refused) == (4, 1)
    again = watched(config, pictures)
    assert run_once(again).done == 0
    shutil.copyfile(FLANGE / "test" / "good-001.jpg", pictures / "new.jpg")
    time.sleep(0.6)
    assert run_once(watched(config, pictures)).done == 1
    with service_over(config.home) as service:
        assert service.store.count(Filter(source="watch", state="done")) == 5


def test_a_webhook_gets_everything_after_an_outage_and_a_restart(config, pictures, hook):
    address = f"http://127.0.0.1:{hook.server.server_port}/in?token=secret"
    hook.broken = True
    run_once(watched(config, pictures, Webhook(address, internal=True)))
    assert hook.taken == []
    hook.broken = False
    second = watched(config, pictures, Webhook(address, internal=True))
    deadline = time.monotonic() + 20
    while messages.count_waiting(second.service.store) and time.monotonic() < deadline:
        time.sleep(0.05)
    second.close()
    names = [body["picture"] for _, body in hook.taken]
    assert sorted(names) == sorted(p.name for p in pictures.glob("*.jpg"))
    assert len({key for key, _ in hook.taken}) == 4
    defect = next(body for _, body in hook.taken if body["picture"].startswith("fracture"))
    assert defect["verdict"] == "anomalous" and defect["regions"][0]["box_xyxy"]
    assert "secret" not in (config.home / "anomalyst.db").read_bytes().decode("latin-1")


def test_a_shift_report_reaches_the_webhook_once_over_restarts(config, pictures, hook):
    address = f"http://127.0.0.1:{hook.server.server_port}/in"
    soon = (now() + timedelta(minutes=1)).time().replace(second=0, microsecond=0)
    shifts = ShiftEnds(ends=(soon,), zone=ZoneInfo("UTC"), folder=config.home / "shifts")
    for _ in range(2):
        sinks = [Webhook(address, internal=True)]
        watch = Watch(config, "flange", Folder(pictures), str(pictures), sinks, shifts=shifts)
        watch.run(once=True)  # which ends when nothing is in flight any more
        watch.reports.clock = lambda: now() + timedelta(hours=23)
        watch.reports.look()
        watch.close()
    reports = [body for _, body in hook.taken if body.get("kind") == "shift report"]
    assert len(reports) == 1 and reports[0]["product"] == "flange"
    assert reports[0]["inspected"] == 4 and "4 parts were inspected" in reports[0]["summary"]
    [page] = (config.home / "shifts").glob("flange-*.html")
    assert reports[0]["summary"].replace("'", "&#39;") in page.read_text()


def test_sigkill_in_the_middle_loses_nothing(config, pictures, hook):
    for i in range(30):
        shutil.copyfile(FLANGE / "test" / "good-001.jpg", pictures / f"{i:02d}.jpg")
    address = f"http://127.0.0.1:{hook.server.server_port}/"
    command = [sys.executable, "-m", "anomalyst", "watch", str(pictures), "--product", "flange"]
    command += ["--products", str(config.products), "--home", str(config.home), "--json"]
    command += ["--webhook", address, "--allow-internal-webhooks"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 40
    while len(hook.taken) < 8 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert len(hook.taken) < 34
    done = subprocess.run([*command, "--once"], capture_output=True, text=True, timeout=90)
    assert done.returncode == 2 and "bad.png" in done.stderr  # it could not be read
    told = {body["id"]: body["picture"] for _, body in hook.taken}
    assert sorted(told.values()) == sorted(p.name for p in pictures.glob("*.jpg"))


@pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed")
def test_a_real_broker_gets_everything_over_its_outage(config, pictures, tmp_path):
    port = free_port()
    taken: list[dict] = []
    subscribed = threading.Event()

    def listen():
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion

        # The broker keeps for it what comes while it is away.
        client = Client(CallbackAPIVersion.VERSION2, client_id="mes", clean_session=False)
        client.on_message = lambda *given: taken.append(
            json.loads(given[2].payload) | {"topic": given[2].topic, "again": given[2].dup}
        )
        client.on_connect = lambda own, *_: own.subscribe("factory/#", qos=1)
        client.on_subscribe = lambda *_: subscribed.set()
        client.connect("127.0.0.1", port)
        client.loop_start()
        return client

    process = broker_at(port, tmp_path)
    listener = listen()
    assert subscribed.wait(20)
    process.terminate()
    process.wait()
    watch = watched(config, pictures, Mqtt(f"mqtt://127.0.0.1:{port}/factory"))
    running = threading.Thread(target=watch.run)
    running.start()
    while watch.tally.done < 4:  # all are done while no broker is there
        time.sleep(0.05)
    assert messages.count_waiting(watch.service.store) == 4
    process = broker_at(port, tmp_path)
    try:
        await_count(taken, 4)
        assert until(lambda: not messages.count_waiting(watch.service.store))
        process.terminate()
        process.wait()
        shutil.copyfile(FLANGE / "test" / "good-002.jpg", pictures / "during.jpg")
        while watch.tally.done < 5:
            time.sleep(0.05)
        process = broker_at(port, tmp_path)
        await_count(taken, 5)
    finally:
        watch.ended.set()
        running.join(20)
        watch.close()
        listener.loop_stop()
        process.kill()
        process.wait()
    assert {one["topic"] for one in taken} == {"factory/flange/inspections"}
    assert {one["picture"] for one in taken} >= {"during.jpg"}
    # A broker that ended before it heard that we have one sends it again, and says so.
    assert len([one for one in taken if not one["again"]]) <= 5
    assert len({one["id"] for one in taken}) == 5


def await_count(taken: list, count: int) -> None:
    deadline = time.monotonic() + 40
    while len({one["id"] for one in taken}) < count and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len({one["id"] for one in taken}) == count


def test_a_watch_is_started_and_stopped_from_the_workbench(config, pictures):
    watches = Watches(config)
    with pytest.raises(AnomalystError, match="the nearest is 'flange'"):
        watches.start(str(pictures), "flanje")
    name = watches.start(str(pictures), "flange")
    with pytest.raises(Conflict, match="is watched for 'flange' already"):
        watches.start(str(pictures), "flange")
    deadline = time.monotonic() + 30
    while watches.all()[0]["console"].count("p = ") < 4 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert watches.all()[0]["state"] == "running"
    watches.stop(name)
    while watches.all()[0]["state"] == "running" and time.monotonic() < deadline:
        time.sleep(0.1)
    [ended] = watches.all()
    assert ended["state"] == "ended" and "4 inspected" in ended["console"]
    with pytest.raises(NotFound):
        watches.stop(name)


def test_a_film_gives_its_newest_frames_and_counts_the_others(tmp_path):
    film = str(tmp_path / "film.avi")
    writer = cv2.VideoWriter(film, cv2.VideoWriter_fourcc(*"MJPG"), 25, (320, 240))
    for i in range(40):
        writer.write(np.full((240, 320, 3), i, np.uint8))
    writer.release()
    camera = Camera(film)
    time.sleep(0.5)
    [taken] = camera.new()
    with taken.open() as stream:
        assert stream.read(8) == b"\x89PNG\r\n\x1a\n"
    assert camera.dropped > 10
    camera.close()


def test_a_file_that_is_still_written_waits(tmp_path):
    folder = Folder(tmp_path)
    (tmp_path / "a.png").write_bytes(b"beginning")
    assert list(folder.new()) == []
    time.sleep(0.6)
    assert [one.name for one in folder.new()] == ["a.png"]
    assert list(folder.new()) == []


def test_a_part_between_the_beginning_and_the_first_look_counts_as_come(tmp_path):
    shutil.copyfile(FLANGE / "test" / "good-000.jpg", tmp_path / "old.jpg")
    folder = Folder(tmp_path, prompt=True)
    folder.begin()
    shutil.copyfile(FLANGE / "test" / "good-001.jpg", tmp_path / "new.jpg")
    assert {one.name: one.came_at is None for one in folder.new()} == {
        "old.jpg": True, "new.jpg": False
    }  # fmt: skip


def test_a_whole_picture_is_taken_at_once_and_came_when_it_was_written(tmp_path):
    shutil.copyfile(FLANGE / "test" / "good-000.jpg", tmp_path / "old.jpg")
    folder = Folder(tmp_path, prompt=True)
    assert [(one.name, one.came_at) for one in folder.new()] == [("old.jpg", None)]
    time.sleep(0.3)  # as while the watch waits for a place
    wrote = time.monotonic()
    shutil.copyfile(FLANGE / "test" / "good-001.jpg", tmp_path / "new.jpg")
    (tmp_path / "half.jpg").write_bytes((tmp_path / "new.jpg").read_bytes()[:-9])
    time.sleep(0.3)
    [new] = folder.new()
    assert new.name == "new.jpg" and abs(new.came_at - wrote) < 0.1
    assert list(folder.new()) == []  # the half one is not


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Folder(Path("/no/such/folder")), "there is no such folder"),
        (lambda: Camera("usb:63"), "camera usb:63: cannot be opened"),
        (lambda: Mqtt("ftp://x"), "mqtt://USER:PASSWORD"),
        (lambda: Webhook("example.org"), "http://"),
    ],
)
def test_what_cannot_be_watched_or_told_is_refused(make, said):
    with pytest.raises(AnomalystError, match=said):
        make()


@pytest.mark.slow
def test_a_changed_camera_raises_a_drift_alarm(config, tmp_path):
    from PIL import Image, ImageEnhance

    folder = tmp_path / "line"
    folder.mkdir()
    rng = np.random.default_rng(0)
    good = sorted((FLANGE / "good").glob("*.jpg"))
    for i in range(110):
        picture = Image.open(good[int(rng.integers(len(good)))])
        if i >= 40:  # a lamp has failed
            picture = ImageEnhance.Brightness(picture).enhance(0.7)
        picture.save(folder / f"{i:03d}.png")
    time.sleep(0.6)
    watch = watched(config, folder)
    watch.service.set_false_alarm_rate("flange", 0.001, "test")  # all are accepted
    tally = run_once(watch)
    assert tally.done == 110
    assert tally.alarms and "have changed" in tally.alarms[0]
    assert "what has moved: light" in tally.alarms[0] and "darker" in tally.alarms[0]

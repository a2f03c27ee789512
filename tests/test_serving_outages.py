"""What passes is waited for: no memory, no database, no share; nothing is lost meanwhile."""

import errno
import shutil
import sqlite3
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from sqlalchemy.exc import OperationalError
from typer.testing import CliRunner

from anomalyst.cli.main import app
from anomalyst.errors import AnomalystError
from anomalyst.server.breakable import postgres
from anomalyst.server.config import ServingConfig
from anomalyst.server.errors import Busy
from anomalyst.server.jobs import in_flight
from anomalyst.server.jobs import queue as queues
from anomalyst.server.jobs.lanes import Lanes
from anomalyst.server.jobs.tasks import Accept, Segment
from anomalyst.server.load_test import free_port
from anomalyst.server.service import Service
from anomalyst.server.storage import messages, requests
from anomalyst.server.storage.store import Store
from anomalyst.server.storage.tables import DeliveryRow
from anomalyst.server.streaming import watch as watches
from anomalyst.server.streaming.addresses import keep_in_file, kept_in_file
from anomalyst.server.streaming.line import tell_of_late
from anomalyst.server.streaming.outbox import Outbox
from anomalyst.server.streaming.signals.gate import LatePart
from anomalyst.server.streaming.sinks import RefusedForGood, Webhook
from anomalyst.server.streaming.sources import Folder
from anomalyst.server.streaming.watch import Watch
from serving import (
    DEFECT,
    FLANGE,
    Hook,
    bolt_known,
    client_of,
    service_over,
    teach_flange,
    until,
    work_unless_short,
)
from test_serving_store import done, skip_without_postgres

LOCKED = OperationalError("UPDATE", {}, sqlite3.OperationalError("database is locked"))


@pytest.fixture(scope="module")
def taught(tmp_path_factory) -> Path:
    """A folder with the bundled product taught."""
    home = tmp_path_factory.mktemp("taught")
    with service_over(home) as service:
        teach_flange(service)
    return home / "products"


@pytest.fixture
def hook():
    found = Hook(free_port())
    yield found
    found.server.shutdown()


def failing(work: Callable, *errors: Exception) -> Callable:
    """`work`, which fails so often before it is done."""
    left = list(errors)

    def tried(*args, **kwargs):
        if left:
            raise left.pop()
        return work(*args, **kwargs)

    return tried


def test_inspections_wait_until_the_model_can_be_read(taught, tmp_path, monkeypatch):
    monkeypatch.setattr(queues, "work", work_unless_short)
    monkeypatch.setattr(queues, "FIRST_PAUSE", 0.1)
    # What they are forked from may end, too, as while it reads torch.
    monkeypatch.setattr(queues, "spawned", failing(queues.spawned, EOFError(), BrokenPipeError()))
    shutil.copytree(taught, tmp_path / "products")
    (tmp_path / "short").touch()
    with service_over(tmp_path) as service:
        [id] = service.acknowledge([service.take_file(DEFECT)], "flange", by="test", source="test")
        assert until(lambda: service.queue.problem is not None)
        said = client_of(service).get("/api/v1/ready")
        assert said.status_code == 503 and "ended while it read the model" in said.text
        with pytest.raises(Busy, match="cannot be used now"):
            service.run_task(Segment(image=DEFECT, ahead=True))  # for this somebody waits
        assert service.store.inspection(id).state == "queued"
        (tmp_path / "short").unlink()
        assert service.wait(id, 90).verdict == "anomalous"
        assert client_of(service).get("/api/v1/ready").is_success


def test_a_change_that_nobody_waits_for_any_more_is_not_made_later(tmp_path):
    lanes = Lanes(ServingConfig(home=tmp_path))
    lanes.first.start = lambda: None  # a thousand inspections are before it
    task = Accept(product="flange", image=DEFECT, boxes=(), name="a")
    doing = lanes.submit(task)
    assert lanes.cancel(doing) and isinstance(doing.exception(0), AnomalystError)
    assert lanes.waiting == 0 and not lanes.cancel(doing)


def test_a_result_waits_for_the_database_and_everyone_is_told(taught, tmp_path, monkeypatch):
    monkeypatch.setattr(in_flight, "FIRST_PAUSE", 0.05)
    shutil.copytree(taught, tmp_path / "products")
    told = []

    def deaf(row):
        told.append(row.verdict)
        raise ValueError("nobody listens")

    with service_over(tmp_path) as service:
        kept = service.store.finish
        service.store.finish = failing(kept, LOCKED, LOCKED)
        sent = [service.take_file(DEFECT)] * 2
        first, second = service.acknowledge(sent, "flange", by="test", source="test", on_done=deaf)
        assert service.wait(first, 90).state == service.wait(second, 90).state == "done"
        assert until(lambda: told == ["anomalous"] * 2)
        # No outage: it is told, and whoever counts places is, too.
        service.store.finish = failing(kept, ValueError("our fault"))
        service.acknowledge(sent[:1], "flange", by="test", source="test", on_done=deaf)
        assert until(lambda: told == ["anomalous", "anomalous", None])


class Trying(Folder):
    """A folder of which each file meets an error of its own, twice."""

    errors: dict[str, Exception]

    def new(self):
        for taken in super().new():
            error = self.errors.pop(taken.name, None)
            yield replace(taken, open=failing(taken.open, error, error)) if error else taken


def test_a_watch_passes_over_nothing_that_can_be_read_later(taught, tmp_path, monkeypatch):
    monkeypatch.setattr(watches, "FIRST_PAUSE", 0.05)
    folder = tmp_path / "in"
    folder.mkdir()
    pictures = sorted((FLANGE / "test").glob("*.jpg"))[:5]
    for path in pictures:
        shutil.copyfile(path, folder / path.name)
    (folder / "bad.png").write_text("no picture")
    time.sleep(0.6)
    source = Trying(folder)
    errors = (OSError(errno.EIO, "I/O error"), PermissionError("locked"),
              OSError(errno.ENOSPC, "disk full"), Busy("too much waits"), LOCKED)  # fmt: skip
    source.errors = dict(zip([path.name for path in pictures], errors, strict=True))
    config = ServingConfig(home=tmp_path / "home", products=taught)
    watch = Watch(config, "flange", source, str(folder))
    acknowledge, lost = watch.service.store.acknowledge, [LOCKED]

    def kept_and_not_told(*given):
        """The first one is committed, and the answer is lost with the database."""
        acknowledge(*given)
        watch.service.store.acknowledge = acknowledge
        raise lost.pop()

    watch.service.store.acknowledge = kept_and_not_told
    try:
        tally = watch.run(once=True)
        assert (tally.done, tally.refused, lost) == (5, 1, [])
        folder.rename(tmp_path / "away")  # as a network share may be for a while
        assert list(source.new()) == []
        (tmp_path / "away").rename(folder)
        shutil.copyfile(pictures[0], folder / "new.jpg")
        time.sleep(0.6)
        store = watch.service.store
        store.request = failing(store.request, LOCKED)  # of one that was done long ago
        assert watch.run(once=True).done == 6
        assert watch._places._value == watches.AT_ONCE
    finally:
        watch.close()


def test_one_message_refused_for_good_holds_up_no_other(tmp_path, hook, monkeypatch):
    address = f"http://127.0.0.1:{hook.server.server_port}/in"
    config = ServingConfig(home=tmp_path, products=tmp_path / "products")
    store = Store.open(config)
    for name in ("1", "2", "3"):
        store.keep(DeliveryRow(sink=address, payload={"picture": name, "product": "flange"}))
    store.keep(DeliveryRow(sink=address, payload={"picture": "4", "score": float("nan")}))
    hook.refused = {"2"}
    monkeypatch.setattr(messages, "waiting", failing(messages.waiting, LOCKED))
    outbox = Outbox(store, Webhook(address, internal=True), tmp_path)
    assert until(lambda: messages.count_waiting(store) == 0)
    assert [body["picture"] for _, body in hook.taken] == ["1", "3"]
    ours = ["--home", str(tmp_path)]
    listed = CliRunner().invoke(app, ["store", "messages", *ours]).output
    assert "answered 422" in listed and "JSON" in listed and "2 refused for good, 0 wait" in listed
    hook.refused = set()
    replayed = CliRunner().invoke(app, ["store", "messages", "--replay", *ours]).output
    assert "2 messages wait to be sent again" in replayed
    assert until(lambda: messages.count_waiting(store) == 0)
    outbox.close()
    assert [body["picture"] for _, body in hook.taken] == ["1", "3", "2"]
    assert messages.count_refused(store) == 1  # which cannot be written as JSON


def test_two_that_tell_one_sink_send_everything_once_and_in_order(tmp_path, hook):
    address = f"http://127.0.0.1:{hook.server.server_port}/in"
    config = ServingConfig(home=tmp_path, products=tmp_path / "products")
    stores = [Store.open(config) for _ in range(2)]  # as two watches have them
    both = [Outbox(one, Webhook(address, internal=True), tmp_path) for one in stores]
    # A message was taken while the database went away: its mark is written later, and not its twin.
    for one in stores:
        one.set_values = failing(one.set_values, LOCKED)
    names = [f"{number:02d}" for number in range(40)]
    for name in names:
        stores[0].keep(DeliveryRow(sink=address, payload={"picture": name, "product": "flange"}))
    assert until(lambda: messages.count_waiting(stores[0]) == 0)
    for outbox in both:
        outbox.close()
    assert [body["picture"] for _, body in hook.taken] == names


def test_that_a_part_was_late_is_told_once_the_database_is_back(tmp_path):
    with service_over(tmp_path) as service:
        service.store.session = failing(service.store.session, LOCKED, LOCKED)
        part = LatePart(name="7.jpg", why="no verdict in time", rejected=False, stops=False)
        tell_of_late(service, "flange", "3", ["mqtt://b:1/x"], part)
        store = Store.open(service.config)
        assert until(lambda: messages.count_waiting(store) == 1, 10)
        [told] = messages.waiting(store, "mqtt://b:1/x", 9)
        assert told.payload["picture"] == "7.jpg" and told.payload["line"] == "3"


def test_a_database_that_is_away_is_told_as_that_and_nothing_is_said_twice():
    skip_without_postgres()
    with postgres() as database, TemporaryDirectory() as home:
        service = Service(bolt_known(Path(home), database=database.url))
        client, feedback = client_of(service), f"/api/v1/inspections/{done(service.store)}/feedback"
        answered = requests.answered

        def say(key: str):
            return client.post(feedback, json={"kind": "right"}, headers={"Idempotency-Key": key})

        def away_first(*given):
            database.away()
            requests.answered = answered
            answered(*given)

        try:
            database.away()
            for told in (say("a"), client.get("/api/v1/inspections")):
                assert told.status_code == 503 and "takes nothing now" in told.json()["detail"]
                assert int(told.headers["Retry-After"]) > 0
            assert client.get("/api/v1/health").is_success
            database.back()
            assert say("a").status_code == 201
            # It goes away between what was done and the note that it was.
            requests.answered = away_first
            assert say("b").status_code == 201
            database.back()
            assert until(lambda: say("b").headers.get("Idempotent-Replayed") == "true")
            assert len(service.store.corrections()) == 2
        finally:
            requests.answered = answered
            service.close()


def test_what_no_address_can_be_is_refused_at_once(hook):
    for address in ("http://[::1", "http://a:b/", "ftp://mes/in", "http://"):
        with pytest.raises(AnomalystError, match="http"):
            Webhook(address, internal=True)
    hook.refused = {"1"}
    sink = Webhook(f"http://127.0.0.1:{hook.server.server_port}/", internal=True)
    with pytest.raises(RefusedForGood, match="422"):
        sink.send("id", {"picture": "1"})
    hook.broken = True
    with pytest.raises(OSError, match="500"):
        sink.send("id", {"picture": "1"})


def test_an_address_with_a_password_lies_in_a_file_of_its_owner(tmp_path):
    secret = "mqtt://line3:pass word@broker:1883/x"
    told = keep_in_file(secret, tmp_path / "address")
    assert "line3:" not in told and kept_in_file(told) == secret
    assert (tmp_path / "address").stat().st_mode & 0o077 == 0
    assert keep_in_file("mqtt://broker/x", tmp_path / "none") == "mqtt://broker/x"
    with pytest.raises(AnomalystError, match="cannot be read"):
        kept_in_file(f"@{tmp_path / 'none'}")

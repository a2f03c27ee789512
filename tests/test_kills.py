"""kill -9 at random points of real work: nothing acknowledged lost, nothing half-written."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Future
from pathlib import Path

import psutil
import pytest

from anomalyst.product_index import RECORD
from anomalyst.server.config import ServingConfig
from anomalyst.server.corrections import Corrections
from anomalyst.server.errors import Busy
from anomalyst.server.kill_test.report import HEADS, row, under_way
from anomalyst.server.kill_test.rounds import bench_kills
from anomalyst.server.service import Service
from anomalyst.server.storage.left_behind import clear_left_behind
from anomalyst.server.storage.retention import back_up
from anomalyst.server.storage.tables import CorrectionRow, InspectionRow
from serving import until

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="a warm process cannot be forked here"),
]


def test_five_kills_lose_nothing():
    found = list(bench_kills(["inspect", "correct"], 5, seed=3))
    assert [one.problems for one in found] == [[]] * 5
    assert len(row("all", found)) == len(HEADS)


@pytest.mark.slow
def test_two_hundred_kills_lose_nothing():
    names = ["teach", "inspect", "correct", "backup", "migrate"]
    seed = int(time.time())
    found = list(bench_kills(names, 200, seed=seed))
    assert [(seed, one) for one in found if one.problems] == []
    going = [one for one in found if not one.finished]
    assert len(going) > 180 and sum(one.acknowledged for one in found) > 80
    assert {"pictures", "product", "database", "backup"} <= {under_way(one) for one in going}


@pytest.mark.slow
def test_a_broken_promise_is_seen(monkeypatch):
    """A backup that is written in its place, as a careless program does it."""
    from anomalyst.server.kill_test import commands

    def careless(config, target):
        """The first half, and a while later the whole."""
        whole = target.with_name("whole.tar.gz")
        back_up(config, whole)
        target.write_bytes(whole.read_bytes()[:2000])
        time.sleep(3)
        whole.replace(target)

    monkeypatch.setattr(commands, "back_up", careless)
    found = list(bench_kills(["backup"], 1, seed=0))
    assert any("is no backup that can be read" in text for text in found[0].problems)


BUSY_SERVER = """
import multiprocessing, os, sys, time
from pathlib import Path
from anomalyst.server.config import ServingConfig
from anomalyst.server.jobs.queue import ProcessQueue, work

class Slow:
    def do(self, tasks, say):
        Path(sys.argv[1], "part").write_text(str(os.getpid()))
        Path(sys.argv[1], "part").rename(Path(sys.argv[1], "begun"))
        time.sleep(30)

def started(config, ours, theirs, aside):
    fork, args = multiprocessing.get_context("fork"), (config, theirs, Slow())
    process = fork.Process(target=work, args=args)
    process.start()
    return process

queue = ProcessQueue(ServingConfig(), starter=started)
queue.submit(None)
time.sleep(60)
"""


def test_the_model_process_ends_with_a_killed_server(tmp_path):
    """Else it goes on to write a product that the next server is changing, too."""
    server = subprocess.Popen([sys.executable, "-c", BUSY_SERVER, str(tmp_path)])
    assert until((tmp_path / "begun").exists)
    server.send_signal(signal.SIGKILL)
    server.wait()
    model = int((tmp_path / "begun").read_text())
    assert until(lambda: not running(model), 20)


def running(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_what_a_kill_left_is_cleared_once_it_is_old(tmp_path):
    config = ServingConfig(home=tmp_path / "home", products=tmp_path / "products")
    left = [
        config.home / ".part-tables" / "inspections.jsonl",
        config.home / "pictures" / ".part-abc",
        config.products / ".part-bolt" / RECORD,
        config.products / ".old-nut" / RECORD,
        config.products / ".versions" / "nut" / ".part-0003" / RECORD,
    ]
    kept = [
        config.home / "pictures" / "ab" / "abc.png",
        config.products / "nut" / RECORD,
        config.products / ".old-screw" / RECORD,  # all there is of it
        config.products / ".versions" / "nut" / "0002" / RECORD,
    ]
    for path in [*left, *kept]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    assert clear_left_behind(config) == 0  # somebody may be writing it
    assert all(path.exists() for path in [*left, *kept])
    age(config.home, config.products)
    assert clear_left_behind(config) == len(left)
    assert not any(path.parent.exists() for path in left if ".part-abc" not in str(path))
    assert not (config.home / "pictures" / ".part-abc").exists()
    assert all(path.exists() for path in kept)


def age(*folders: Path) -> None:
    then = time.time() - 7200
    for folder in folders:
        for path in folder.rglob("*"):
            os.utime(path, (then, then))


def test_a_backup_clears_those_that_were_killed(tmp_path):
    config = ServingConfig(home=tmp_path / "home", products=tmp_path / "products")
    (tmp_path / ".part-x.gz").write_text("half of one")
    age(tmp_path)
    back_up(config, tmp_path / "backup.tar.gz")
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]


class AwayAtFirst:
    """A queue whose model cannot be used at first, and then does whatever it is asked."""

    ready, problem, waiting = False, None, 0

    def __init__(self, times: int):
        self.times, self.done = times, []

    def submit(self, task, say=None):  # noqa: ARG002
        if self.times:
            self.times -= 1
            raise Busy("the model cannot be used now; it is tried again.")
        self.done.append(task.name)
        future = Future()
        future.set_result({})
        return future

    def close(self, seconds):
        """Nothing to end."""


def test_a_correction_waits_for_the_model_and_behind_many_others(tmp_path, monkeypatch):
    monkeypatch.setattr("anomalyst.server.corrections.AGAIN_SECONDS", 0.01)
    queue = AwayAtFirst(2)
    service = Service(ServingConfig(home=tmp_path / "home", products=tmp_path / "products"), queue)
    store = service.store
    kept = store.pictures.keep(b"a picture", ".png")
    seen = InspectionRow(
        product="bolt", picture=kept, name="a.png", source="api", by="line", owner="server",
        false_alarm_rate=0.05, state="done", verdict="anomalous",
    )  # fmt: skip
    [id] = store.acknowledge([seen], None)
    said = {"inspection": id, "product": "bolt", "by": "engineer"}
    fine = CorrectionRow(kind="fine", detail={"boxes_xyxy": [[0, 0, 9, 9]]}, **said)
    store.add_correction(fine, None)
    with store.session() as session:
        session.add_all(CorrectionRow(kind="right", detail={}, **said) for _ in range(600))
    assert Corrections(service).resume() == 1  # not undone because the model was away for a moment
    assert queue.done == [fine.id]
    found = store.correction(fine.id)
    assert found.applied_at is not None and found.undone_at is None
    assert [change.kind for change in store.changes("bolt")] == ["accepted"]
    assert Corrections(service).resume() == 0
    service.close()

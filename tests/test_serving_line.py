"""A line end to end: pictures into a folder, signals to a real controller, the record of both."""

import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("pymodbus")

from typer.testing import CliRunner

from anomalyst.cli.main import app
from anomalyst.errors import AnomalystError
from anomalyst.io.whole_files import PNG_END
from anomalyst.server.config import ServingConfig
from anomalyst.server.jobs.watches import LineGiven
from anomalyst.server.load_test import free_port
from anomalyst.server.records.lines import late_parts, line_names
from anomalyst.server.storage.filters import Filter
from anomalyst.server.streaming.line import Line
from anomalyst.server.streaming.signals.gate import Budget, Gate
from anomalyst.server.streaming.signals.outputs import Modbus
from anomalyst.server.streaming.signals.pulses import Signal, SignalRule
from anomalyst.server.streaming.sinks import Webhook
from anomalyst.server.streaming.sources import Folder
from anomalyst.server.streaming.watch import Watch
from controllers import ModbusController
from serving import DEFECT, GOOD, Hook, client_of, service_over, teach_flange


@pytest.fixture(scope="module")
def taught(tmp_path_factory) -> Path:
    home = tmp_path_factory.mktemp("taught")
    with service_over(home) as service:
        teach_flange(service)
    return home / "products"


@pytest.fixture
def plc():
    return ModbusController(free_port())


@pytest.fixture
def hook():
    found = Hook(free_port())
    yield found
    found.server.shutdown()


def line_watch(config, folder, plc, hook, **budget) -> Watch:
    pulses = Signal(Modbus(f"127.0.0.1:{plc.port}/coil/3", 0.5), SignalRule(pulse_ms=100))
    line = Line(name="north", gate=Gate(Budget(**budget), [pulses]))
    source = Folder(folder, prompt=True)
    sinks = [Webhook(f"http://127.0.0.1:{hook.server.server_port}/in", internal=True)]
    return Watch(config, "flange", source, str(folder), sinks, line=line)


def put(folder: Path, picture: Path, name: str) -> None:
    """As a camera's program leaves it: written beside, then renamed."""
    shutil.copyfile(picture, folder / f".{name}")
    (folder / f".{name}").rename(folder / name)


@contextmanager
def hanging(watch: Watch) -> Iterator[None]:
    """The model process does nothing meanwhile, as when the machine swaps."""
    os.kill(watch.service.queue.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(watch.service.queue.pid, signal.SIGCONT)


def run_with(watch: Watch, plc, work) -> None:
    running = threading.Thread(target=watch.run)
    running.start()
    try:
        deadline = time.monotonic() + 120
        while (not plc.edges(3) or plc.edges(3)[-1][1]) and time.monotonic() < deadline:
            time.sleep(0.02)  # until it can judge, the signal stands
        work()
    finally:
        watch.ended.set()
        running.join(60)
        watch.close()


def test_signals_come_in_time_and_the_record_says_when(taught, tmp_path, plc, hook):
    config, folder = ServingConfig(home=tmp_path / "home", products=taught), tmp_path / "in"
    folder.mkdir()
    put(folder, DEFECT, "old.jpg")  # it lay there before: a signal would hit another part
    watch = line_watch(config, folder, plc, hook, ms=30_000)

    def parts() -> None:
        for name, picture in (("good.jpg", GOOD), ("bad.jpg", DEFECT)):
            put(folder, picture, name)
            while watch.tally.done < 2 + (name == "bad.jpg"):
                time.sleep(0.01)
        time.sleep(0.3)

    run_with(watch, plc, parts)
    assert [value for _, value in plc.edges(3)] == [1, 0, 1, 0, 1]  # start, pulse, stop
    told = {body["picture"]: body for _, body in hook.taken}
    assert told["bad.jpg"]["line"] == "north" and told["bad.jpg"]["late"] is None
    assert 0 < told["bad.jpg"]["signal_ms"] < 30_000
    with service_over(config.home) as service:
        rows = service.store.history(Filter(line="north", late=False))
        assert {row.name: row.verdict for row in rows} == {
            "good.jpg": "normal", "bad.jpg": "anomalous"
        }  # fmt: skip
        [old] = service.store.history(Filter(late=True))
        assert (old.name, old.late) == ("old.jpg", "it came before the watch began")
        assert line_names(service.store) == ["north"]
        shown = client_of(service).get("/api/v1/metrics").text
    assert 'anomalyst_late_parts{line="north",product="flange"} 1.0' in shown
    assert 'anomalyst_signal_milliseconds{line="north",product="flange",quantile="0.95"}' in shown


def test_a_late_part_is_rejected_told_and_kept(taught, tmp_path, plc, hook):
    config, folder = ServingConfig(home=tmp_path / "home", products=taught), tmp_path / "in"
    folder.mkdir()
    watch = line_watch(config, folder, plc, hook, ms=600, late="reject")

    def parts() -> None:
        with hanging(watch):
            put(folder, GOOD, "good.jpg")
            (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(50) + PNG_END)
            while watch.tally.late < 2:
                time.sleep(0.01)
        while not watch.tally.done:
            time.sleep(0.01)
        time.sleep(0.3)

    run_with(watch, plc, parts)
    pulses = [value for _, value in plc.edges(3)][2:-1]
    assert pulses in ([1, 0], [1, 0, 1, 0])  # the second may fall into the first
    late = {body["picture"]: body for _, body in hook.taken if body.get("kind") == "late part"}
    assert late["good.jpg"]["rejected"] and "no verdict within 600 ms" in late["good.jpg"]["why"]
    assert "could not be inspected" in late["broken.png"]["why"]
    assert late["broken.png"]["rejected"] and late["broken.png"]["line"] == "north"
    with service_over(config.home) as service:
        [row] = service.store.history(Filter(late=True))
        assert row.name == "good.jpg" and "no verdict within 600 ms" in row.late
        assert row.verdict == "normal"  # it came, too late
        assert late_parts(service.store) == {("flange", "north"): 1}


def test_stop_ends_the_watch_and_the_signal_stays(taught, tmp_path, plc, hook):
    config, folder = ServingConfig(home=tmp_path / "home", products=taught), tmp_path / "in"
    folder.mkdir()
    watch = line_watch(config, folder, plc, hook, ms=300, late="stop")

    def parts() -> None:
        with hanging(watch):
            put(folder, GOOD, "good.jpg")
            assert watch.ended.wait(60)

    run_with(watch, plc, parts)
    assert plc.edges(3)[-1][1] == 1 and watch.tally.done == 1  # what was under way is finished
    assert watch.line.gate.stopped == "good.jpg: there was no verdict within 300 ms"
    [told] = [body for _, body in hook.taken if body.get("kind") == "late part"]
    assert told["line_stopped"] and not told["rejected"]


def test_a_line_of_the_workbench_goes_on_the_command_line(tmp_path):
    opc_ua = "opc.tcp://u:secret@plc:4840/#ns=2;s=Reject"
    given = LineGiven(name="3", budget_ms=250, late="reject", signal=opc_ua)
    given.check()
    words = given.arguments(tmp_path)
    assert words[:6] == ["--line", "3", "--budget-ms", "250", "--late", "reject"]
    assert words[6:] == ["--opcua", f"@{tmp_path / 'signal'}"]
    assert (tmp_path / "signal").read_text().strip() == opc_ua
    with pytest.raises(AnomalystError, match="need the milliseconds"):
        LineGiven(signal="plc/coil/1").check()
    with pytest.raises(AnomalystError, match="begin with no dash"):
        LineGiven(name="--help").check()


def test_options_that_do_not_fit_are_refused(tmp_path):
    start = ["watch", str(tmp_path), "--product", "flange", "--products", str(tmp_path)]
    for given, said in (
        (["--modbus", "plc/coil/1"], "--budget-ms: is needed"),
        (["--budget-ms", "100", "--late", "reject"], "--late reject: needs a signal"),
        (["--budget-ms", "100", "--modbus", "plc"], "HOST[:PORT]/coil/N"),
        (["--budget-ms", "0"], "--budget-ms 0"),
        (["--line", " "], "--line: 1 to 60 letters"),
    ):
        ended = CliRunner().invoke(app, [*start, "--home", str(tmp_path / "home"), *given])
        assert said in str(ended.exception)

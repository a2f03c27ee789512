"""On Ray, with two workers on one machine; slow, and skipped where Ray is not installed."""

import subprocess
import sys
import threading
import time

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

from anomalyst.io.pictures import open_picture
from anomalyst.server.client import Client
from anomalyst.server.load_test import Server, free_port
from serving import DEFECT, FLANGE, GOOD, service_over, teach_flange

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    pytest.importorskip("ray")
    folder = tmp_path_factory.mktemp("ray")
    with service_over(folder) as service:
        teach_flange(service)
    return folder


def test_a_job_gives_what_inspect_gives_and_goes_on_where_it_stopped(home, tmp_path, inspector):
    from anomalyst.product import find_product

    pictures = tmp_path / "in"
    pictures.mkdir()
    for i, source in enumerate([DEFECT, GOOD] * 10):
        (pictures / f"{i:02d}.jpg").write_bytes(source.read_bytes())
    (pictures / "bad.png").write_text("no picture")
    (pictures / "dark.png").write_bytes(dark())
    command = [sys.executable, "-m", "anomalyst", "inspect", str(pictures), "--product", "flange"]
    command += ["--products", str(home / "products"), "--out", str(tmp_path / "out"), "--ray"]
    first = subprocess.run(command, capture_output=True, text=True, timeout=180)
    assert first.returncode == 2 and "bad.png: is not a picture" in first.stderr, first.stderr
    table = pq.read_table(tmp_path / "out" / "part-00000.parquet").to_pylist()
    assert [row["image"].rpartition("/")[2] for row in table] == sorted(
        p.name for p in pictures.iterdir()
    )
    own = inspector.inspect(DEFECT, find_product("flange", home / "products"))
    assert table[0]["score"] == pytest.approx(own.score, abs=1e-4) and table[0]["unfit"] is None
    unread, unjudged = table[-2:]
    assert unread["problem"] and unread["unfit"] is None and unjudged["verdict"] == "unsure"
    assert unjudged["unfit"] == "dark" and "too dark to judge" in unjudged["unfit_said"]
    assert "neither good nor defective: 1 dark" in first.stdout
    second = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert "22 were done before" in second.stdout


def test_the_app_runs_on_ray_serve_with_two_replicas(home):
    from anomalyst.server.cluster.app import MODEL

    server = Server(home, free_port(), "--ray", "--replicas", "2")
    try:
        server.await_page()
        ids: list[str] = []

        def work() -> None:
            with Client(server.address) as client:
                deadline = time.monotonic() + 60
                while len(replicas(server)) < 2 and time.monotonic() < deadline:
                    ids.append(client.inspect(GOOD, "flange").id)

        threads = [threading.Thread(target=work) for _ in range(16)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        assert len(replicas(server)) == 2, MODEL
        with Client(server.address) as client:
            kept = {one.id for one in client.history(limit=500)}
            assert len(set(ids)) == len(ids) and set(ids) <= kept
            (home / "dark.png").write_bytes(dark())
            unjudged = client.inspect(home / "dark.png", "flange")
            assert unjudged.verdict == "unsure" and unjudged.unfit["cause"] == "dark"
            found = client.inspect(DEFECT, "flange")
            assert found.unfit is None
            assert " ".join(client.hear(found.id, "Is there a defect?")).startswith("Yes")
            said = client.feedback(found.id, "fine")
            assert client.inspect(DEFECT, "flange").score < found.score - 0.5
            client.undo(said["id"])
            scores = {round(client.inspect(DEFECT, "flange").score, 4) for _ in range(6)}
            assert scores == {round(found.score, 4)}  # whichever replica answers
            assert client.teach("two", [FLANGE / "good" / "000.jpg"])["name"] == "two"
    finally:
        server.stop()
        subprocess.run([sys.executable, "-m", "ray.scripts.scripts", "stop", "--force"], timeout=60)


def dark() -> bytes:
    """A picture behind a lens cap, nearly."""
    grey = (open_picture(GOOD) * 0.08).astype(np.uint8)
    return cv2.imencode(".png", grey)[1].tobytes()


def replicas(server: Server) -> set[str]:
    """The processes of the model that have come up, by what they said."""
    log = (server.home / "server.log").read_text(encoding="utf-8", errors="replace")
    return {
        line.split("pid=")[1].split(")")[0] for line in log.splitlines() if "Model pid=" in line
    }

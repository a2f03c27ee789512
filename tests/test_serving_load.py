"""A real server under load, killed on the way, and under requests that make no sense."""

import random
import subprocess
import sys
import time

import httpx
import numpy as np
import pytest

from anomalyst.errors import AnomalystError
from anomalyst.server.client import Client, ServerError
from anomalyst.server.load_test import PRODUCT, Server, free_port, measure, served
from sensed import curve
from serving import DEFECT, GOOD, odd_files

API = "/api/v1"


def test_the_client_does_what_the_server_does(server, tmp_path):
    with Client(server.address) as client:
        found = client.inspect(DEFECT, PRODUCT, question="Is there a defect?", key="mine")
        assert found.verdict == "anomalous" and found.regions and found.answer.startswith("Yes")
        assert (
            client.inspect(DEFECT, PRODUCT, question="Is there a defect?", key="mine").id
            == found.id
        )
        assert client.inspection(found.id).score == found.score
        assert [one.state for one in client.inspect_many([GOOD, GOOD], PRODUCT)] == ["done"] * 2
        assert found.id in [one.id for one in client.history(product=PRODUCT)]
        assert " ".join(client.hear(found.id, "How large is it?"))
        assert client.ask(found.id, "How sure are you?")
        assert client.picture(found.id).startswith(b"\x89PNG")
        assert client.report(found.id).startswith(b"%PDF")
        assert client.undo(client.feedback(found.id, "right")["id"])["undone_at"]
        told: list[dict] = []
        assert client.teach("one", [GOOD], on_progress=told.append)["name"] == "one"
        assert told[-1]["state"] == "done" and told[-1]["product"] == "one"
        assert client.teach("one", [GOOD])["references"] == [GOOD.name]  # known already
        assert client.statistics(PRODUCT)["counts"]["anomalous"] >= 1
        client.delete_product("one")
        rng = np.random.default_rng(0)
        wheel = {"series": [curve(tmp_path / f"p{i}.csv", rng) for i in range(2)]}
        assert client.teach("wheel", wheel, method="limits")["senses"] == ["series"]
        assert client.inspect({"series": wheel["series"][0]}, "wheel").state == "done"
        client.delete_product("wheel")
        (tmp_path / "bad.png").write_text("nothing")
        with pytest.raises(ServerError, match="bad.png: is not a picture") as caught:
            client.inspect(tmp_path / "bad.png", PRODUCT)
        assert caught.value.status == 422
        with pytest.raises(ServerError, match="the nearest: flange"):
            client.product("flansch")


def test_a_server_that_is_not_there_is_told(monkeypatch):
    monkeypatch.setattr("anomalyst.server.client.FIRST_WAIT_SECONDS", 0.01)
    with (
        Client("http://127.0.0.1:9") as client,
        pytest.raises(AnomalystError, match="is `anomalyst"),
    ):
        client.products()


@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_requests_that_make_no_sense_break_nothing(server, count):
    with Client(server.address) as client:
        client.inspect(DEFECT, PRODUCT, question="Is there a defect?")  # the words are read, too
    before, said = server.idle_mb(), (server.home / "server.log").stat().st_size
    statuses = fuzz(server, count)
    assert sum(statuses.values()) == count
    assert not [status for status in statuses if status >= 500], statuses
    assert server.idle_mb() < before + 100
    with Client(server.address) as client:
        assert client.inspect(DEFECT, PRODUCT).verdict == "anomalous"
    log = (server.home / "server.log").read_text()[said:]
    assert "Traceback" not in log and '"level": "error"' not in log


def fuzz(server, count: int) -> dict[int, int]:
    """Odd files, odd names, odd fields and odd paths; the statuses and how often each came."""
    rng = random.Random(count)
    files, jpeg = list(odd_files().values()), DEFECT.read_bytes()
    names = [
        "../../etc/passwd",
        "a\x00b.png",
        "\u202egnp.exe",
        "x" * 5000,
        "",
        "CON",
        "%2e%2e/",
        "ü.jpg",
    ]
    texts = [
        "",
        "x" * 600,
        "\x00",
        "'; DROP TABLE inspections;--",
        "{{7*7}}",
        "\ud7ff",
        "flange",
        "∞",
    ]
    paths = ["..%2f..%2fetc%2fpasswd", "%00", "a" * 3000, "none", "0" * 24, "flange/../flange", "✓"]
    statuses: dict[int, int] = {}
    with httpx.Client(base_url=server.address + API, timeout=60) as client:
        for _ in range(count):
            kind = rng.randrange(6)
            damaged = bytearray(jpeg)
            for _ in range(rng.randrange(1, 40)):
                damaged[rng.randrange(len(damaged))] = rng.randrange(256)
            data = rng.choice([*files, bytes(damaged), rng.randbytes(rng.randrange(3000))])
            name, text, path = rng.choice(names), rng.choice(texts), rng.choice(paths)
            if kind < 2:
                answer = client.post(
                    "/inspections",
                    data={"product": rng.choice([PRODUCT, text]), "question": text},
                    files={"picture": (name, data)},
                )
            elif kind == 2:
                where = rng.choice(["products", "products/import", "inspections/batch"])
                field = rng.choice(["file", "pictures"])
                answer = client.post(f"/{where}", data={"name": text}, files={field: (name, data)})
            elif kind == 3:
                where = rng.choice(["inspections", "products", "runs", "feedback"])
                tail = rng.choice(["", "/turns", "/overlay.png", "/report.pdf", "/statistics"])
                answer = client.get(f"/{where}/{path}{tail}")
            elif kind == 4:
                where = rng.choice(
                    ["inspections/x/turns", "inspections/x/feedback", "runs", "keys"]
                )
                body = rng.choice([b"{", b"[]", b'{"question": 1}', b"\xff\xfe", rng.randbytes(50)])
                headers = {"Content-Type": rng.choice(["application/json", "text/plain", "x"])}
                answer = client.post(f"/{where}", content=body, headers=headers)
            else:
                query = {
                    "limit": text,
                    "before": text,
                    "since": text,
                    "verdict": text,
                    "text": text,
                }
                some = dict(rng.sample(sorted(query.items()), rng.randrange(1, 5)))
                answer = client.get("/inspections", params=some)
            assert "Traceback" not in answer.text and server.home.as_posix() not in answer.text
            statuses[answer.status_code] = statuses.get(answer.status_code, 0) + 1
    return statuses


@pytest.mark.parametrize("examples", [2, pytest.param(120, marks=pytest.mark.slow)])
def test_the_api_answers_as_its_openapi_says(examples, tmp_path):
    """On a server of its own: what is drawn deletes the product, too."""
    pytest.importorskip("schemathesis")
    with served() as server:
        server.await_ready()
        _fuzz(server, examples, tmp_path)


def _fuzz(server, examples, tmp_path):
    command = [
        sys.executable, "-m", "schemathesis.cli", "run", f"{server.address}/openapi.json",
        "--max-examples", str(examples), "--phases", "fuzzing", "--seed", "1",
        "--checks", "not_a_server_error,status_code_conformance,content_type_conformance",
        "--exclude-path-regex", "/runs|/keys|/export|stream|feedback", "--continue-on-failure",
        "--request-timeout", "60", "--report-junit-path", str(tmp_path / "report.xml"),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=1500, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


@pytest.mark.parametrize(
    ("count", "clients"), [(16, 4), pytest.param(1000, 16, marks=pytest.mark.slow)]
)
def test_a_killed_server_loses_nothing_and_makes_nothing_twice(count, clients):
    load = measure(count, clients, kills=1)
    assert (load.acknowledged, load.kept, load.lost, load.doubled) == (count, count, 0, 0)
    assert load.kills == 1
    assert load.idle_mb <= 1200  # 982 alone on two cores (docs/benchmarks.md)


@pytest.mark.slow
def test_ctrl_c_finishes_what_is_in_hand_and_the_next_start_the_rest(tmp_path):
    server = Server(tmp_path, free_port())
    server.await_ready()
    with Client(server.address) as client:
        data = {"product": PRODUCT}
        files = [("pictures", (f"{i}.jpg", GOOD.open("rb"))) for i in range(40)]
        sent = client.request("POST", "inspections/batch", data=data, files=files)
        server.stop()
        server.restart()
        try:
            server.await_ready()
            ids, deadline = [one["id"] for one in sent["items"]], time.monotonic() + 60
            while any(client.inspection(id).state != "done" for id in ids):
                assert time.monotonic() < deadline
                time.sleep(0.2)
            assert len(set(ids)) == 40 == len(list(client.history(limit=500)))
        finally:
            server.stop()

"""The REST API over a real model process: what it does, and what it refuses."""

import io
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest
from PIL import Image

from anomalyst.server.auth import Caller, make_key, revoke_key
from anomalyst.server.storage.filters import Filter
from anomalyst.server.storage.tables import InspectionRow
from serving import (
    DEFECT,
    FLANGE,
    GOOD,
    client_of,
    job_of,
    odd_files,
    send,
    service_over,
    taught,
    teach_flange,
    with_limits,
    zip_of,
)

API = "/api/v1"


@pytest.fixture(scope="module")
def found(client) -> dict:
    answer = send(client, DEFECT.read_bytes(), "../../fracture.jpg")
    assert answer.status_code == 201, answer.text
    return answer.json()


def test_an_inspection_says_what_the_inspector_says(client, found, inspector, service):
    from anomalyst.product import find_product

    own = inspector.inspect(DEFECT, find_product("flange", service.config.products))
    assert found["name"] == "fracture.jpg" and found["verdict"] == own.verdict == "anomalous"
    assert found["score"] == pytest.approx(own.score, abs=1e-4)
    regions = client.get(f"{API}/inspections/{found['id']}/regions").json()
    assert regions == [region.as_dict() for region in own.regions]
    heat = Image.open(
        io.BytesIO(client.get(f"{API}/inspections/{found['id']}/heatmap.png").content)
    )
    assert np.abs(np.asarray(heat) / 255 - own.map).max() < 0.003


def test_pictures_and_papers_of_an_inspection(client, found):
    path = f"{API}/inspections/{found['id']}"
    for what in ("overlay", "picture"):
        picture = Image.open(io.BytesIO(client.get(f"{path}/{what}.png").content))
        assert picture.size == (256, 256)
    page = client.get(f"{path}/report.html").text
    assert "fracture.jpg" in page and "<img" in page
    paper = client.get(f"{path}/report.pdf").content
    assert paper.startswith(b"%PDF") and len(paper) > 5000


def test_answers_come_sentence_by_sentence_and_are_kept(client, found):
    path = f"{API}/inspections/{found['id']}/turns"
    with client.stream("POST", f"{path}/stream", json={"question": "Is there a defect?"}) as said:
        events = [line for line in said.iter_lines() if line]
    assert events[0] == "event: sentence" and "event: turn" in events
    first = json.loads(events[1].removeprefix("data: "))["text"]
    kept = client.get(path).json()
    assert first in kept[-1]["answer"]["text"] and kept[-1]["answer"]["regions"]
    second = client.post(path, json={"question": "How sure are you?"})
    assert second.status_code == 201 and len(client.get(path).json()) == len(kept) + 1


def test_a_question_with_the_picture_becomes_the_first_turn(client):
    answer = client.post(
        f"{API}/inspections",
        data={"product": "flange", "question": "Is there a defect, and where?"},
        files={"picture": ("a.jpg", DEFECT.read_bytes())},
    ).json()
    assert answer["record"]["words"]["text"].startswith("Yes")
    turns = client.get(f"{API}/inspections/{answer['id']}/turns").json()
    assert [turn["question"] for turn in turns] == ["Is there a defect, and where?"]


def test_a_place_called_fine_is_learnt_at_once_and_forgotten_when_undone(client, found):
    path = f"{API}/inspections/{found['id']}"
    said = client.post(f"{path}/feedback", json={"kind": "fine"})
    assert said.status_code == 201 and said.json()["applied_at"], said.text
    again = send(client, DEFECT.read_bytes()).json()
    assert again["score"] < found["score"] - 0.5 and again["revision"] != found["revision"]
    assert client.get(path).json()["reviewed"] == "wrong"
    assert len(client.get(f"{API}/products/flange").json()["corrections"]) == 1
    pairs = client.get(f"{API}/feedback/preferences").text.splitlines()
    pair = json.loads(pairs[-1])
    assert pair.keys() >= {"prompt", "chosen", "rejected", "images", "margin", "by", "product"}
    assert pair["prompt"][0]["content"][0]["type"] == "image"
    assert client.post(f"{API}/feedback/{said.json()['id']}/undo").json()["undone_at"]
    back = send(client, DEFECT.read_bytes()).json()
    assert back["score"] == pytest.approx(found["score"], abs=1e-4)
    assert client.get(path).json()["reviewed"] is None
    kinds = [one["kind"] for one in client.get(f"{API}/products/flange/changes").json()]
    assert kinds[:2] == ["withdrawn", "accepted"]


def test_feedback_of_every_kind(client, found):
    path = f"{API}/inspections/{found['id']}"
    for kind in ("right", "wrong"):
        assert client.post(f"{path}/feedback", json={"kind": kind}).status_code == 201
    assert client.get(path).json()["reviewed"] == "wrong"
    mask = np.zeros((256, 256), np.uint8)
    mask[40:60, 40:90] = 255
    painted = io.BytesIO()
    Image.fromarray(mask).save(painted, format="PNG")
    kept = client.post(f"{path}/mask", files={"mask": ("m.png", painted.getvalue())}).json()
    assert kept["detail"]["boxes_xyxy"] == [[40, 40, 90, 60]]
    small = io.BytesIO()
    Image.fromarray(mask[:100]).save(small, format="PNG")
    wrong = client.post(f"{path}/mask", files={"mask": ("m.png", small.getvalue())})
    assert wrong.status_code == 422 and "256x100" in wrong.json()["detail"]
    client.post(f"{path}/turns", json={"question": "Is there a defect?"})
    turn = client.get(f"{path}/turns").json()[-1]["id"]
    better = {"kind": "answer", "turn": turn, "better": "Yes, a crack."}
    assert (
        client.post(f"{path}/feedback", json=better).json()["detail"]["chosen"] == "Yes, a crack."
    )
    outside = {"kind": "fine", "boxes_xyxy": [[0, 0, 9999, 10]]}
    assert client.post(f"{path}/feedback", json=outside).status_code == 422


def test_the_same_key_makes_one_inspection_however_often_it_is_sent(client, service):
    before = service.store.count(Filter())
    headers = {"Idempotency-Key": "once"}

    def one(_) -> str:
        return send(client, GOOD.read_bytes(), headers=headers).json()["id"]

    with ThreadPoolExecutor(8) as pool:
        ids = set(pool.map(one, range(16)))
    assert len(ids) == 1 and service.store.count(Filter()) == before + 1
    other = send(client, DEFECT.read_bytes(), headers=headers)
    assert other.status_code == 409 and "'once'" in other.json()["detail"]


def test_a_batch_goes_on_past_what_is_no_picture(client):
    files = [("pictures", (f"{i}.jpg", GOOD.read_bytes())) for i in range(3)]
    files.insert(1, ("pictures", ("bad.png", b"nothing")))
    data = {"product": "flange", "wait": "true"}
    answer = client.post(f"{API}/inspections/batch", data=data, files=files).json()
    assert [one["state"] for one in answer["items"]] == ["done"] * 3
    assert answer["refused"] == ["bad.png: " + answer["refused"][0].removeprefix("bad.png: ")]


def test_history_is_paged_and_exported(client, service):
    total = service.store.count(Filter())
    page = client.get(f"{API}/inspections", params={"limit": 2}).json()
    assert len(page["items"]) == 2 and page["total"] == total
    following = client.get(f"{API}/inspections", params={"limit": 2, "before": page["next"]}).json()
    assert not {one["id"] for one in page["items"]} & {one["id"] for one in following["items"]}
    table = client.get(f"{API}/inspections/export", params={"form": "csv"}).text.splitlines()
    assert table[0].startswith("id,created_at") and len(table) >= total + 1
    parquet = client.get(f"{API}/inspections/export", params={"form": "parquet"}).content
    assert pq.read_table(io.BytesIO(parquet)).num_rows == total


def test_a_product_travels_as_one_file(client, found):
    packed = client.get(f"{API}/products/flange/export").content
    files = {"file": ("flange.zip", packed)}
    taken = client.post(f"{API}/products/import", files=files, data={"name": "copy"})
    assert taken.status_code == 201 and len(taken.json()["references"]) == 4
    same = send(client, DEFECT.read_bytes(), product="copy").json()
    assert same["score"] == pytest.approx(found["score"], abs=1e-4)
    assert client.post(f"{API}/products/import", files=files).status_code == 409
    assert client.delete(f"{API}/products/copy").status_code == 204
    assert client.get(f"{API}/products/copy").status_code == 404
    assert client.get(f"{API}/inspections/{same['id']}").status_code == 200


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"../evil": b"x"}, "it holds '../evil'"),
        ({"product.json": b"{}", "references/../../x": b"x"}, "this is no product file"),
        ({"product.json": b"[]"}, "another format"),
        ({"product.json": b'{"format": 2, "name": "x", "references": []}'}, "damaged"),
        ({"bank.safetensors": bytes(10)}, "holds no product.json"),
    ],
)
def test_a_file_that_is_no_product_is_refused_and_leaves_nothing(client, service, files, said):
    answer = client.post(f"{API}/products/import", files={"file": ("x.zip", zip_of(files))})
    assert answer.status_code == 422 and said in answer.json()["detail"]
    there = {p.name for p in service.config.products.iterdir()} - {".versions", ".locks"}
    assert there == {"flange"}


def test_more_pictures_description_and_rate(client):
    more = sorted((FLANGE / "good").glob("*.jpg"))[3:5]
    files = [("pictures", (path.name, path.read_bytes())) for path in more]
    known = taught(client, client.post(f"{API}/products/flange/references", files=files))
    assert known["references"] == ["000.jpg", "001.jpg", "002.jpg", "003.jpg", "004.jpg"]
    set_to = {"description": "the print should read LX81", "false_alarm_rate": 0.1}
    assert client.patch(f"{API}/products/flange", json=set_to).json()["false_alarm_rate"] == 0.1
    told = send(client, GOOD.read_bytes()).json()["record"]["told"]
    assert told == "the print should read LX81"
    figures = client.get(f"{API}/products/flange/statistics").json()
    assert figures["false_alarm_rate"] == 0.1 and len(figures["calibration"]["scores"]) == 5
    client.patch(f"{API}/products/flange", json={"false_alarm_rate": 0.05})


def test_a_new_product_and_the_refusal_of_a_second_one(client):
    files = [("pictures", ("g.jpg", GOOD.read_bytes())), ("pictures", ("bad.png", b"x"))]
    bad = client.post(f"{API}/products", data={"name": "one"}, files=files)
    assert bad.status_code == 422 and bad.json()["detail"].startswith("bad.png: ")
    made = client.post(f"{API}/products", data={"name": "one"}, files=files[:1])
    assert taught(client, made)["references"] == ["g.jpg"]
    assert client.post(f"{API}/products", data={"name": "one"}, files=files[:1]).status_code == 409
    odd = client.post(f"{API}/products", data={"name": "../x"}, files=files[:1])
    assert odd.status_code == 422 and "letters, digits" in odd.json()["detail"]
    client.delete(f"{API}/products/one")


def test_an_unknown_product_is_told_with_near_names(client):
    answer = send(client, GOOD.read_bytes(), product="flanje")
    assert answer.status_code == 404 and answer.json()["near"] == ["flange"]
    assert answer.headers["content-type"] == "application/problem+json"
    assert client.get(f"{API}/inspections/none").status_code == 404


@pytest.mark.parametrize("what", sorted(odd_files()))
def test_an_odd_file_is_refused_with_its_reason(client, what):
    answer = send(client, odd_files()[what], "../../odd.png")
    assert answer.status_code == 422, answer.text
    body = answer.json()
    assert body["detail"].startswith("odd.png: ") and "Traceback" not in answer.text
    assert "/" not in body["detail"].split("odd.png: ")[1].split(".")[0].replace("and/or", "")


def test_a_dead_model_process_is_replaced_and_its_work_done(client, service):
    model = psutil.Process(service.queue.pid)
    threading.Timer(0.15, model.kill).start()
    files = [("pictures", (f"{i}.jpg", GOOD.read_bytes())) for i in range(12)]
    data = {"product": "flange", "wait": "true"}
    items = client.post(f"{API}/inspections/batch", data=data, files=files).json()["items"]
    assert [one["state"] for one in items] == ["done"] * 12
    assert service.queue.ready and service.queue.pid != model.pid


def test_what_was_acknowledged_is_done_after_a_restart(tmp_path):
    with service_over(tmp_path) as first:
        teach_flange(first, 1)
        sent = [first.take(DEFECT.open("rb"), "a.jpg") for _ in range(3)]
        first.queue.close(5)  # as if it ended here: what comes is acknowledged and not done
        rows = [
            InspectionRow(
                product="flange", picture=one.picture, name=one.name, source="api", by="me",
                owner="server", false_alarm_rate=0.05, state="queued",
            )
            for one in sent
        ]  # fmt: skip
        ids = first.store.acknowledge(rows, None)
    with service_over(tmp_path) as second:
        assert second.resume() == 3
        assert [second.wait(id).state for id in ids] == ["done"] * 3


def test_health_readiness_and_metrics(client):
    send(client, DEFECT.read_bytes())
    assert client.get(f"{API}/health").json()["status"] == "ok"
    assert client.get(f"{API}/ready").status_code == 200
    text = client.get(f"{API}/metrics").text
    assert 'anomalyst_inspections_total{product="flange",source="api",verdict="anomalous"}' in text
    assert "anomalyst_inspection_seconds_bucket" in text


@pytest.fixture(scope="module")
def locked(tmp_path_factory):
    """A server that needs keys, takes 1 MB and 60 requests a minute; and a key for each role."""
    limits = with_limits(upload_mb=1, requests_per_minute=60)
    with service_over(tmp_path_factory.mktemp("locked"), keys=True, **limits) as service:
        keys = {
            role: make_key(service.store, role, role) for role in ("operator", "engineer", "admin")
        }
        with client_of(service) as client:
            yield client, keys


def as_role(keys, role):
    return {"headers": {"X-API-Key": keys[role]}}


def test_without_a_key_nothing_is_told(locked):
    client, keys = locked
    for headers in ({}, {"X-API-Key": "any_wrong"}, {"Authorization": "Bearer nonsense"}):
        answer = client.get(f"{API}/products", headers=headers)
        assert answer.status_code == 401
        assert answer.json() == {"type": "about:blank", "title": "Unauthorized", "status": 401}
    bearer = {"Authorization": f"Bearer {keys['operator']}"}
    assert client.get(f"{API}/products", headers=bearer).status_code == 200
    assert client.get(f"{API}/health").status_code == 200


def test_each_role_may_do_its_own(locked):
    client, keys = locked
    files = [("pictures", ("g.jpg", GOOD.read_bytes()))]
    data = {"name": "part"}
    refused = client.post(f"{API}/products", data=data, files=files, **as_role(keys, "operator"))
    assert refused.json() == {"type": "about:blank", "title": "Forbidden", "status": 403}
    begun = client.post(f"{API}/products", data=data, files=files, **as_role(keys, "engineer"))
    job_of(client, begun, pause=2, **as_role(keys, "engineer"))  # requests are limited here
    assert client.delete(f"{API}/products/part", **as_role(keys, "engineer")).status_code == 403
    assert client.delete(f"{API}/products/part", **as_role(keys, "admin")).status_code == 204
    made = client.post(
        f"{API}/keys", json={"name": "n", "role": "operator"}, **as_role(keys, "admin")
    )
    fresh = {"headers": {"X-API-Key": made.json()["key"]}}
    assert client.get(f"{API}/products", **fresh).status_code == 200
    assert client.delete(f"{API}/keys/n", **as_role(keys, "admin")).status_code == 204
    assert client.get(f"{API}/products", **fresh).status_code == 401
    assert keys["admin"] not in client.get(f"{API}/keys", **as_role(keys, "admin")).text


def test_a_ticket_opens_what_is_read_and_nothing_else(locked):
    client, _ = locked
    service = client.app.state.service
    make_key(service.store, "page", "operator")
    ticket = service.tickets.give(Caller(name="page", role="operator"))
    assert client.get(f"{API}/products", params={"ticket": ticket}).status_code == 200
    assert client.get(f"{API}/products", params={"ticket": ticket + "x"}).status_code == 401
    path = f"{API}/inspections/x/turns?ticket={ticket}"
    assert client.post(path, json={"question": "?"}).status_code == 401
    revoke_key(service.store, "page")
    assert client.get(f"{API}/products", params={"ticket": ticket}).status_code == 401


def test_too_large_is_told_with_the_limit_however_it_comes(locked):
    client, keys = locked
    big = bytes(1_200_000)
    said = send(client, big, **as_role(keys, "operator"))
    assert said.status_code == 413 and "1 MB" in said.json()["detail"]

    def stream():
        yield b'--x\r\nContent-Disposition: form-data; name="picture"; filename="a"\r\n\r\n'
        for _ in range(12):
            yield bytes(100_000)

    headers = {"Content-Type": "multipart/form-data; boundary=x", "X-API-Key": keys["operator"]}
    answer = client.post(f"{API}/inspections", content=stream(), headers=headers)
    assert answer.status_code == 413 and answer.json()["title"] == "Too large"


def test_too_many_requests_are_told_when_to_come_back(locked):
    client, keys = locked
    answers = [client.get(f"{API}/products", **as_role(keys, "engineer")) for _ in range(80)]
    refused = [one for one in answers if one.status_code == 429]
    assert refused and refused[0].headers["Retry-After"]
    assert client.get(f"{API}/products", **as_role(keys, "admin")).status_code == 200


def test_guesses_are_limited_and_figures_need_a_key(locked):
    client, keys = locked
    assert client.get(f"{API}/metrics").status_code == 401
    assert client.get(f"{API}/metrics", **as_role(keys, "admin")).status_code == 200
    wrong = {"headers": {"X-API-Key": "any_wrong"}}
    answers = [client.get(f"{API}/products", **wrong).status_code for _ in range(80)]
    assert answers[-1] == 429


def test_other_sites_cannot_use_a_visitors_browser(client):
    assert client.get(f"{API}/products", headers={"Host": "evil.example"}).status_code == 403
    foreign = {"Origin": "https://evil.example"}
    assert client.post(f"{API}/products/import", headers=foreign).status_code == 403
    own = {"Origin": "http://127.0.0.1:7860"}
    assert client.post(f"{API}/products/import", headers=own).status_code == 422


def test_too_many_waiting_are_told_to_come_back(tmp_path):
    with service_over(tmp_path, **with_limits(queued=2, batch=10)) as service:
        teach_flange(service, 1)
        with client_of(service) as client:
            files = [("pictures", (f"{i}.jpg", GOOD.read_bytes())) for i in range(3)]
            answer = client.post(
                f"{API}/inspections/batch", data={"product": "flange"}, files=files
            )
            assert answer.status_code == 503 and answer.headers["Retry-After"]
            assert service.store.count(Filter()) == 0
            files *= 4
            answer = client.post(
                f"{API}/inspections/batch", data={"product": "flange"}, files=files
            )
            assert answer.status_code == 413 and "the limit is 10" in answer.json()["detail"]


def test_runs_are_read_started_and_stopped(tmp_path):
    folder = tmp_path / "runs" / "first"
    folder.mkdir(parents=True)
    (folder / "recipe.json").write_text('{"task": "detector"}')
    lines = [{"step": i, "steps": 50, "loss": 1 / i} for i in range(1, 6)]
    (folder / "log.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines) + '{"step"')
    (folder / "watch.jsonl").write_text('{"stopped": "gradient has vanished"}\n')
    recipes = tmp_path / "recipes"
    recipes.mkdir()
    (recipes / "odd.yaml").write_text("task: detector\nno_such_key: 1\n")
    with (
        service_over(tmp_path, runs=tmp_path / "runs", recipes=recipes) as service,
        client_of(service) as client,
    ):
        [listed] = client.get(f"{API}/runs").json()
        assert listed["step"] == 5 and listed["state"] == "unfinished"
        run = client.get(f"{API}/runs/first").json()
        assert len(run["lines"]) == 5 and run["watchdog"] == ["gradient has vanished"]
        assert client.get(f"{API}/recipes").json() == ["odd"]
        wrong = client.post(f"{API}/runs", json={"recipe": "none", "name": "x"})
        assert wrong.status_code == 404 and "odd" in wrong.json()["detail"]
        started = client.post(f"{API}/runs", json={"recipe": "odd", "name": "second"})
        assert started.status_code == 201
        for _ in range(200):
            state = client.get(f"{API}/runs/second").json()
            if state["state"] != "running":
                break
            time.sleep(0.1)
        assert "no_such_key" in state["console"]  # its own sentence, as it was said
        assert client.post(f"{API}/runs/second/stop").status_code == 409
        assert client.get(f"{API}/runs/..%2Ffirst").status_code == 404

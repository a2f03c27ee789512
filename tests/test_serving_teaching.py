"""Teaching in the background: inspections go on, it can be cancelled, versions can be had back."""

import json
import logging
import os
import threading

import pytest

from anomalyst.errors import AnomalystError
from anomalyst.io.files import exchanged
from anomalyst.server.app import _begin
from anomalyst.server.config import ServingConfig
from anomalyst.server.errors import NotFound
from anomalyst.server.records import versions
from anomalyst.server.storage import audit
from anomalyst.server.storage.filters import Filter
from anomalyst.server.storage.jobs import jobs
from anomalyst.server.storage.retention import back_up, restore
from serving import (
    DEFECT,
    FLANGE,
    GOOD,
    client_of,
    job_of,
    send,
    service_over,
    taught,
    teach_flange,
    until,
)

API = "/api/v1"
GOODS = sorted((FLANGE / "good").glob("*.jpg"))


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with service_over(tmp_path_factory.mktemp("bench")) as found:
        teach_flange(found, 2)
        yield found


@pytest.fixture(scope="module")
def client(service):
    with client_of(service) as found:
        yield found


def begin(client, pictures, name: str = "flange", new: bool = False):
    """POST good pictures."""
    files = [("pictures", (path.name, path.read_bytes())) for path in pictures]
    path = "products" if new else f"products/{name}/references"
    return client.post(f"{API}/{path}", data={"name": name} if new else {}, files=files)


def test_a_server_stopped_during_its_first_teaching_says_so_calmly_and_goes_on_next_time(
    tmp_path, caplog
):
    caplog.set_level(logging.INFO)
    ended = threading.Event()
    with service_over(tmp_path) as first:
        app = client_of(first).app
        beginning = threading.Thread(target=_begin, args=(app, first, ended))
        beginning.start()
        assert until(lambda: jobs(first.store))
    ended.set()
    beginning.join(10)
    assert not beginning.is_alive() and first.product_names() == []
    assert [r.getMessage() for r in caplog.records if r.exc_info or r.levelno >= 40] == []
    with service_over(tmp_path) as second:
        [job] = jobs(second.store)
        assert job.state in ("queued", "running") and second.resume() == 1
        assert second.background.wait(job.id, 300).state == "done"
        assert second.product_names() == ["flange"]


def test_inspections_go_on_while_a_product_is_taught_and_the_old_one_serves(client, service):
    before = send(client, DEFECT.read_bytes()).json()
    fine = f"{API}/inspections/{before['id']}/feedback"
    began = begin(client, GOODS[2:7])
    place = began.headers["Location"]
    during = send(client, DEFECT.read_bytes())
    assert client.get(place).json()["state"] in ("queued", "running"), "it was too quick to tell"
    assert during.status_code == 201 and during.json()["revision"] == before["revision"]
    assert during.json()["score"] == before["score"]
    lanes = service.queue  # it has a process of its own, which steps back behind the other
    first, aside = (os.getpriority(os.PRIO_PROCESS, one.pid) for one in (lanes.first, lanes.aside))
    assert aside == first + 10
    assert client.post(f"{API}/products/flange/versions/1/restore").status_code == 409
    assert client.delete(f"{API}/products/flange").status_code == 409  # it is being taught
    # What is said of the same product meanwhile is learnt after it, and is not lost.
    said = client.post(fine, json={"kind": "fine"}).json()
    assert said["applied_at"]
    job = job_of(client, began)
    assert job["total"] == 7 and job["result"]["product"] == "flange"
    now = client.get(f"{API}/products/flange").json()
    assert len(now["references"]) == 7 and len(now["corrections"]) == 1
    after = send(client, DEFECT.read_bytes()).json()
    assert after["revision"] != before["revision"] and after["score"] != before["score"]
    kinds = [one["kind"] for one in client.get(f"{API}/products/flange/changes").json()]
    assert kinds[:2] == ["accepted", "extended"]
    assert client.post(f"{API}/feedback/{said['id']}/undo").json()["undone_at"]


def test_a_teaching_is_cancelled_and_leaves_nothing(client, service):
    began = begin(client, GOODS, "other", new=True)
    waits = begin(client, GOODS[:1], "third", new=True)
    again = begin(client, GOODS[:1], "other", new=True)
    assert again.status_code == 409 and "there is a product 'other' already" in again.text
    place = began.headers["Location"]
    assert until(lambda: client.get(place).json()["state"] == "running")
    assert client.delete(waits.headers["Location"]).json()["state"] == "cancelled"
    assert client.delete(place).json()["state"] == "cancelled"
    assert service.product_names() == ["flange"]
    assert client.delete(place).status_code == 409
    assert client.delete(f"{API}/jobs/none").status_code == 404
    assert taught(client, begin(client, GOODS[:1], "other", new=True))["references"] == ["000.jpg"]
    assert client.delete(f"{API}/products/other").status_code == 204


def test_a_bad_picture_fails_the_job_with_its_name(client):
    bad = client.post(f"{API}/products", data={"name": "x"}, files={"pictures": ("a.png", b"x")})
    assert bad.status_code == 422 and bad.json()["detail"].startswith("a.png: ")


def test_versions_are_compared_and_one_is_brought_back(client):
    first = send(client, GOOD.read_bytes()).json()
    for picture, is_it in ((DEFECT, "anomalous"), (GOOD, "normal")):
        found = send(client, picture.read_bytes()).json()
        assert found["verdict"] != "unsure"  # else right and wrong do not say which
        kind = "right" if found["verdict"] == is_it else "wrong"
        client.post(f"{API}/inspections/{found['id']}/feedback", json={"kind": kind})
    taught(client, begin(client, GOODS[7:8]))
    kept = client.get(f"{API}/products/flange/versions").json()
    assert [one["references"] for one in kept] == [7, 2]  # calling a place fine keeps none
    path = f"{API}/products/flange/versions"
    answer = client.post(f"{path}/compare", params={"before": kept[-1]["number"]})
    told = job_of(client, answer)["result"]
    assert told["pictures"] == 2 == told["judged"] and told["before_version"] == 1
    assert sum(told["after"]["verdicts"].values()) == 2 and told["after"]["auroc"] == 1.0
    back = client.post(f"{path}/{kept[0]['number']}/restore").json()
    assert len(back["references"]) == 7 and back["revision"] == kept[0]["revision"]
    assert send(client, GOOD.read_bytes()).json()["score"] == pytest.approx(first["score"])
    newest = client.get(path).json()[0]
    assert newest["references"] == 8  # what served before is a version now
    odd = client.post(f"{path}/99/restore")
    assert odd.status_code == 404 and "has no version 99; kept: " in odd.json()["detail"]
    same = client.post(f"{path}/compare", params={"before": 1, "after": 1})
    assert same.status_code == 422 and "compared with itself" in same.text


def test_a_backup_of_a_bench_that_serves_works_on_another_machine(client, service, tmp_path):
    sent = send(client, DEFECT.read_bytes()).json()
    ended, seen = threading.Event(), []

    def go_on() -> None:
        while not ended.is_set():
            seen.append(send(client, GOOD.read_bytes()).status_code)

    serving = threading.Thread(target=go_on)
    serving.start()
    back_up(service.config, tmp_path / "all.tar.gz")
    ended.set()
    serving.join()
    assert seen and set(seen) == {201}
    home = tmp_path / "elsewhere"
    count = restore(ServingConfig(home=home, products=home / "products"), tmp_path / "all.tar.gz")
    assert count >= service.store.count(Filter()) - len(seen)
    with service_over(home) as other, client_of(other) as there:
        assert there.get(f"{API}/inspections/{sent['id']}").json()["record"] == sent["record"]
        again = send(there, DEFECT.read_bytes()).json()
        assert again["score"] == pytest.approx(sent["score"], abs=1e-6)
        kept = there.get(f"{API}/products/flange/versions").json()
        assert [one["number"] for one in kept] == [
            one["number"] for one in client.get(f"{API}/products/flange/versions").json()
        ]
        with other.store.session() as session:
            found = audit.verify(session)
        assert found.broken is None and found.entries >= 5


def product_of(folder, words: str) -> None:
    """Something that looks like a product's folder."""
    part = folder.with_name("new")
    (part / "references").mkdir(parents=True)
    (part / "references" / "0001.png").write_text(words)
    record = {"format": 2, "references": [{}] * len(words), "notes": [words]}
    (part / "product.json").write_text(json.dumps(record))
    if folder.exists():
        assert exchanged(part, folder)
        (part / "product.json").unlink()
        (part / "references" / "0001.png").unlink()
        (part / "references").rmdir()
        part.rmdir()
    else:
        part.rename(folder)


def test_the_last_five_versions_are_kept_and_a_change_that_was_not_made_is_none(tmp_path):
    folder = tmp_path / "bolt"
    tmp_path.mkdir(exist_ok=True)
    for count in range(1, 9):
        product_of(folder, "x" * count)
        versions.keep("bolt", tmp_path)
        versions.keep("bolt", tmp_path)  # what was to follow failed
    kept = versions.versions("bolt", tmp_path)
    assert [one.references for one in kept] == [8, 7, 6, 5, 4]
    product_of(folder, "x" * 9)
    versions.bring_back("bolt", tmp_path, kept[-1].number)  # the oldest, which is forgotten by it
    assert (folder / "references" / "0001.png").read_text() == "xxxx"
    assert [one.references for one in versions.versions("bolt", tmp_path)] == [9, 8, 7, 6, 5]
    with pytest.raises(NotFound, match="has no version 1; kept: "):
        versions.bring_back("bolt", tmp_path, 1)
    assert not list(tmp_path.rglob(".part-*"))
    with pytest.raises(AnomalystError, match="there is no product 'nut'"):
        versions.versions("nut", tmp_path)


def test_folders_change_places_and_are_never_away(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "is").write_text(name)
    seen, done = set(), threading.Event()

    def look() -> None:
        while not done.is_set():
            seen.add((tmp_path / "a" / "is").exists())

    looking = threading.Thread(target=look)
    looking.start()
    for _ in range(501):
        assert exchanged(tmp_path / "a", tmp_path / "b")
    done.set()
    looking.join()
    assert (tmp_path / "a" / "is").read_text() == "b" and seen == {True}
    assert not exchanged(tmp_path / "a", tmp_path / "none")

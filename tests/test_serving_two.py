"""Two servers on one database and one home, and what each leaves when it is killed."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from anomalyst.errors import AnomalystError
from anomalyst.io.locks import Lock
from anomalyst.product import Product
from anomalyst.server import service as services
from anomalyst.server.client import Client, ServerError
from anomalyst.server.config import ServingConfig
from anomalyst.server.errors import Busy, Conflict
from anomalyst.server.load_test import PRODUCT, Server, free_port
from anomalyst.server.records.turns import LOCKS
from anomalyst.server.service import Service
from anomalyst.server.storage import audit
from anomalyst.server.storage.filters import Filter
from anomalyst.server.storage.jobs import jobs
from anomalyst.server.storage.store import Store
from anomalyst.server.storage.tables import InspectionRow, JobRow
from anomalyst.server.streaming import load_test
from serving import DEFECT, FLANGE, GOOD, bolt_known, client_of, send
from test_serving_store import empty, postgres  # noqa: F401 - a fixture, by name

API = "/api/v1"


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A home whose product is taught."""
    found = tmp_path_factory.mktemp("home")
    load_test.teach_flange(found / "products", 2)
    return found


@pytest.fixture(scope="module")
def two(home) -> Iterator[tuple[Service, Service]]:
    """Two services over one home, as two servers have them."""
    config = ServingConfig(home=home, products=home / "products")
    first, second = Service(config), Service(config)
    yield first, second
    second.close()
    first.close()


def waiting_row(service: Service) -> InspectionRow:
    one = service.take_file(DEFECT)
    return InspectionRow(
        product="flange", picture=one.picture, name=one.name, source="api", by="me",
        owner=service.owner, false_alarm_rate=0.05, state="queued",
    )  # fmt: skip


def test_a_lock_is_one_s_until_it_lets_go(tmp_path):
    one, other = Lock(tmp_path / "a" / "1.lock"), Lock(tmp_path / "a" / "1.lock")
    assert one.take() and one.take() and not other.take()
    with other.within(0.1) as ours:
        assert not ours
    threading.Timer(0.2, one.release).start()
    with other.within(5) as ours:
        assert ours and not one.take()
    assert one.take()


def test_who_changes_a_product_waits_for_its_turn_or_is_told(tmp_path):
    service = Service(bolt_known(tmp_path))
    lock = Lock(tmp_path / "products" / LOCKS / "bolt.lock")
    assert lock.take()
    with pytest.raises(Busy, match="'bolt' is being changed by another"):
        service.delete_product("bolt", "me")
    threading.Timer(0.3, lock.release).start()
    service.delete_product("bolt", "me")
    service.close()


def test_a_key_makes_one_inspection_at_two_servers_and_an_etag_holds_at_both(two, home):
    first, second = two
    clients = client_of(first), client_of(second)
    data, key = DEFECT.read_bytes(), {"Idempotency-Key": "one"}
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda one: send(one, data, headers=key), clients * 2))
    assert [one.status_code for one in answers] == [201] * 4
    assert len({one.json()["id"] for one in answers}) == 1 == first.store.count(Filter())
    tag = clients[0].get(f"{API}/products/flange").headers["ETag"]
    assert clients[1].get(f"{API}/products/flange").headers["ETag"] == tag

    def set_rate(client, rate):
        body = {"false_alarm_rate": rate}
        return client.patch(f"{API}/products/flange", json=body, headers={"If-Match": tag})

    with ThreadPoolExecutor(2) as pool:
        told = list(pool.map(set_rate, clients, (0.1, 0.2)))
    assert sorted(one.status_code for one in told) == [200, 412]
    # A correction of each, at once: the product has learnt both.
    ids = [send(clients[0], data, name=f"{n}.jpg").json()["id"] for n in range(2)]

    def fine(client, id):
        return client.post(f"{API}/inspections/{id}/feedback", json={"kind": "fine"})

    with ThreadPoolExecutor(2) as pool:
        said = list(pool.map(fine, clients, ids))
    for n, answer in enumerate(said):
        if answer.status_code == 503:  # the other's change took longer than a turn
            assert "is being changed" in answer.json()["detail"]
            said[n] = fine(clients[n], ids[n])
    assert [one.status_code for one in said] == [201] * 2
    learnt = {one.name for one in Product.load(home / "products" / "flange").accepted}
    assert learnt == {one.json()["id"] for one in said}
    with first.store.session() as session:
        assert audit.verify(session).broken is None


def test_what_a_server_leaves_that_is_gone_is_done_by_another(two, monkeypatch):
    first, second = two
    assert (first.owner, second.owner) == ("server", "server 2")
    [mine] = first.store.acknowledge([waiting_row(first)], None)
    job = JobRow(kind="teach", product="flange", by="me", owner=first.owner, asked={})
    first.store.keep(job)
    assert second.look_around() == 0  # its server is there
    with pytest.raises(Conflict, match="is done by server, another one"):
        second.background.cancel(job.id)
    second.background.handlers["teach"] = lambda *_: {"done": "here"}
    assert first.place is not None
    first.place.leave()  # as when it is killed
    assert second.look_around() == 2
    assert second.wait(mine, 120).state == "done"
    assert second.background.wait(job.id, 30).result == {"done": "here"}
    assert [row.owner for row in jobs(second.store)] == ["server 2"]
    assert second.look_around() == 0
    # What was committed while its answer was lost is done, too, after a while.
    monkeypatch.setattr(services, "ORPHAN_SECONDS", 0.0)
    [orphan] = second.store.acknowledge([waiting_row(second)], None)
    assert second.look_around() == 1
    assert second.wait(orphan, 60).state == "done"


@dataclass
class Pair:
    """Two servers of their own processes on one PostgreSQL and one home."""

    servers: tuple[Server, Server]
    store: Store


@pytest.fixture
def pair(postgres, tmp_path):  # noqa: F811 - the fixture
    config = ServingConfig(home=tmp_path, products=tmp_path / "products", database=postgres)
    empty(postgres)
    load_test.teach_flange(config.products, 4)
    servers = tuple(Server(tmp_path, free_port(), "--database", postgres) for _ in range(2))
    try:
        for one in servers:
            one.await_ready()
        store = Store.open(config)
        yield Pair(servers, store)
        store.engine.dispose()
    finally:
        for one in servers:
            one.stop()


@pytest.mark.slow
@pytest.mark.alone
def test_two_servers_on_one_postgresql_share_products_keys_and_the_log(pair):
    with Client(pair.servers[0].address) as one, Client(pair.servers[1].address) as two:
        both = (one, two)
        # Each key is sent to both at once.
        keys = [f"k{n}" for n in range(6)]
        with ThreadPoolExecutor(6) as pool:
            found = list(
                pool.map(
                    lambda n: both[n % 2].inspect(DEFECT, PRODUCT, key=keys[n // 2]), range(12)
                )
            )
        ids = sorted({item.id for item in found})
        assert len(ids) == 6 == len(list(one.history(source="api")))
        assert {item.state for item in found} == {"done"}
        # Both correct the same product at once; nothing said is missing in what it has learnt.
        with ThreadPoolExecutor(4) as pool:
            said = list(pool.map(lambda n: patient(both[n % 2].feedback, ids[n], "fine"), range(4)))
        folder = pair.servers[0].home / "products" / PRODUCT
        learnt = {item.name for item in Product.load(folder).accepted}
        assert learnt == {item["id"] for item in said}
        # One teaches, the other inspects meanwhile with the product as it was.
        before = two.product(PRODUCT)
        more = sorted((FLANGE / "test").glob("good-*.jpg"))[:2]
        with ThreadPoolExecutor(1) as pool:
            teaching = pool.submit(one.teach, PRODUCT, more)
            meanwhile = 0
            while not teaching.done():
                assert two.inspect(GOOD, PRODUCT).state == "done"
                meanwhile += 1
            assert len(teaching.result()["references"]) == len(before["references"]) + 2
        assert meanwhile > 0
        assert two.product(PRODUCT)["version"] == one.product(PRODUCT)["version"]
        # Changes of a version that the other server has changed since are refused.
        path = f"{API}/products/{PRODUCT}"
        tag = httpx.get(f"{pair.servers[0].address}{path}").headers["ETag"]
        with ThreadPoolExecutor(2) as pool:
            told = list(
                pool.map(
                    lambda server: httpx.patch(
                        f"{server.address}{path}", json={"false_alarm_rate": 0.07},
                        headers={"If-Match": tag}, timeout=60,
                    ).status_code,
                    pair.servers,
                )
            )  # fmt: skip
        assert sorted(told) == [200, 412]
    with pair.store.session() as session:
        whole = audit.verify(session)
        what = [entry.what for entry in audit.entries(session)]
    assert whole.broken is None and whole.entries == len(what)
    # Who was told to come back said "fine" anew: each time is in the log, and learnt once.
    assert what.count("fine") >= what.count("accepted") == 4 and what.count("extended") == 1


@pytest.mark.slow
@pytest.mark.alone
def test_one_of_two_servers_is_killed_and_the_other_does_what_it_left(pair):
    first, second = pair.servers
    with Client(first.address) as one, Client(second.address) as two:
        data, files = (
            {"product": PRODUCT},
            [("pictures", (f"{n}.jpg", GOOD.open("rb"))) for n in range(20)],
        )
        left = one.request("POST", "inspections/batch", data=data, files=files)
        first.kill()
        own = [two.inspect(DEFECT, PRODUCT, key=f"own-{n}").id for n in range(3)]  # it goes on
        ids = [item["id"] for item in left["items"]]
        end = time.monotonic() + 120
        while any(two.inspection(id).state != "done" for id in ids) and time.monotonic() < end:
            time.sleep(0.5)
        assert [two.inspection(id).state for id in ids] == ["done"] * 20
        first.restart()
        first.await_ready()
        kept = [item.id for item in one.history(source="api", limit=500)]
        assert sorted(kept) == sorted({*ids, *own})
    assert pair.store.count(Filter(state="queued")) == 0
    with pair.store.session() as session:
        assert audit.verify(session).broken is None


def patient(work, *given):
    """As a client does that is told to come back."""
    for _ in range(20):
        try:
            return work(*given)
        except ServerError as error:
            if error.status != 503:
                raise
            time.sleep(1)
    raise AnomalystError("it was busy all the time")

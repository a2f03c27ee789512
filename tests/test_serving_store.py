"""The store: acknowledged, written down, pruned, backed up; and its schema."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import numpy as np
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import MetaData, create_engine, inspect, text, update

from anomalyst.errors import AnomalystError
from anomalyst.server import breakable
from anomalyst.server.client import Client
from anomalyst.server.config import ServingConfig
from anomalyst.server.errors import Conflict
from anomalyst.server.load_test import PRODUCT, Server, free_port
from anomalyst.server.storage import audit, messages, retention
from anomalyst.server.storage.database import migrate, open_database
from anomalyst.server.storage.filters import Filter
from anomalyst.server.storage.jobs import jobs
from anomalyst.server.storage.pictures import Pictures
from anomalyst.server.storage.preferences import preference_pairs
from anomalyst.server.storage.retention import back_up, prune, restore
from anomalyst.server.storage.store import IdempotentRequest, Store
from anomalyst.server.storage.tables import (
    CorrectionRow,
    InspectionRow,
    JobRow,
    Table,
    TurnRow,
    new_id,
    now,
)
from anomalyst.types import Inspection, Region
from serving import DEFECT


def skip_without_postgres() -> None:
    if breakable.postgres_programs() is None:
        pytest.skip("PostgreSQL is not installed; `apt-get install postgresql` brings it")
    pytest.importorskip("psycopg")


@pytest.fixture(scope="session")
def postgres():
    """A PostgreSQL of our own, as Debian packages it."""
    skip_without_postgres()
    with breakable.postgres() as found:  # not where each run of pytest shuts the folder again
        yield found.url


def empty(database: str) -> None:
    """Forget what an earlier test left in a PostgreSQL."""
    engine = create_engine(database)
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    engine.dispose()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def config(request, tmp_path) -> ServingConfig:
    database = None
    if request.param == "postgresql":
        database = request.getfixturevalue("postgres")
        empty(database)
    return ServingConfig(home=tmp_path, products=tmp_path / "products", database=database)


@pytest.fixture
def store(config):
    found = Store.open(config)
    yield found
    found.engine.dispose()


def row(store: Store, **values) -> InspectionRow:
    with DEFECT.open("rb") as file:
        picture = store.pictures.take(file, "part.jpg")
    plain = {
        "product": "bolt", "picture": picture, "name": "part.jpg", "source": "api", "by": "me",
        "owner": "server", "false_alarm_rate": 0.05, "state": "queued",
    }  # fmt: skip
    return InspectionRow(**(plain | values))


def done(store: Store, **values) -> str:
    [id] = store.acknowledge([row(store)], None)
    record = Inspection(
        image=DEFECT, size_hw=(256, 256), map=np.zeros((1, 1)), score=1.0, p_value=0.01,
        verdict="anomalous", answer="Anomalous.", seconds={},
        regions=(Region(
            box_xyxy=(10, 10, 30, 30), area_px=400, peak=0.9, centre_xy=(20.0, 20.0),
            place="upper left",
        ),),
    ).as_dict()  # fmt: skip
    plain = {"state": "done", "verdict": "anomalous", "score": 1.0, "record": record}
    store.finish(id, **(plain | values))
    return id


def test_a_key_makes_one_inspection_and_belongs_to_one_request(store):
    asked = IdempotentRequest(by="me", key="k", fingerprint="f")
    first = store.acknowledge([row(store)], asked)
    assert store.acknowledge([row(store)], asked) == first
    assert (
        store.acknowledge([row(store)], IdempotentRequest(by="you", key="k", fingerprint="f"))
        != first
    )
    with pytest.raises(Conflict, match="was used for another request"):
        store.acknowledge([row(store)], IdempotentRequest(by="me", key="k", fingerprint="other"))
    assert store.count(Filter()) == 2


def test_history_pages_filters_and_counts(store):
    ids = [done(store, verdict="normal" if i % 3 else "anomalous") for i in range(12)]
    first = store.history(Filter(), limit=5)
    second = store.history(Filter(), before=first[-1].id, limit=50)
    assert [one.id for one in (*first, *second)] == ids[::-1]
    assert store.count(Filter(verdict="anomalous")) == 4
    assert store.count(Filter(text="PART")) == 12 and store.count(Filter(text="p_rt")) == 0
    assert store.count(Filter(since=now() - timedelta(minutes=1))) == 12
    assert store.count(Filter(until=now() - timedelta(minutes=1))) == 0
    assert store.verdicts() == {("bolt", "normal"): 8, ("bolt", "anomalous"): 4}


def test_the_least_certain_come_first_to_be_reviewed(store):
    ids = {u: done(store, uncertainty=u) for u in (0.2, 0.9, 0.5)}
    assert [one.id for one in store.to_review(None)] == [ids[0.9], ids[0.5], ids[0.2]]
    store.set_reviewed(ids[0.9], "right")
    assert [one.id for one in store.to_review("bolt")] == [ids[0.5], ids[0.2]]


def test_old_inspections_are_forgotten_and_corrected_ones_are_not(store):
    old, corrected, new = done(store), done(store), done(store)
    store.add_correction(
        CorrectionRow(inspection=corrected, product="bolt", kind="wrong", detail={}, by="me"),
        "wrong",
    )
    lonely = store.pictures.keep(b"nobody names this", ".bin")
    taught = store.pictures.keep(b"a job that waits does", ".bin")
    for state in ("queued", "done"):
        part = {"image": [taught, "a.png"]}
        job = JobRow(kind="teach", product="bolt", by="me", owner="server", state=state,
                     asked={"parts": [part]}, created_at=now() - timedelta(days=40))  # fmt: skip
        store.keep(job)
    past = now() - timedelta(days=40)
    with store.session() as session:
        session.execute(
            update(InspectionRow)
            .where(InspectionRow.id.in_([old, corrected]))
            .values(created_at=past)
        )
    for name in (lonely, taught):
        os.utime(store.pictures.path(name), (past.timestamp(), past.timestamp()))
    assert prune(store, None) == 0
    assert prune(store, 30) == 1
    assert {one.id for one in store.history(Filter())} == {corrected, new}
    assert [one.state for one in jobs(store)] == ["queued"] and taught in store.pictures
    with store.session() as session:
        *_, last = audit.entries(session)
        assert (last.what, last.detail) == ("forgotten", {"count": 1, "days": 30})
    assert lonely not in store.pictures and store.inspection(new).picture in store.pictures


def test_a_backup_brings_everything_back_even_into_another_database(
    store, config, tmp_path, monkeypatch
):
    id = done(store, uncertainty=0.5)
    store.add_turn(id, "Is it?", {"text": "Yes.", "raw": "Yes."}, "me")
    store.add_correction(
        CorrectionRow(
            inspection=id, product="bolt", kind="wrong", detail={"verdict": "normal"}, by="me"
        ),
        "wrong",
    )
    (config.products / "bolt").mkdir(parents=True)
    (config.products / "bolt" / "product.json").write_text("{}")
    back_up(config, tmp_path / "all.tar.gz")
    other = ServingConfig(home=tmp_path / "other", products=tmp_path / "other" / "products")
    assert restore(other, tmp_path / "all.tar.gz") == 1
    again = Store.open(other)
    for table in ("inspection", "correction"):
        pairs = (id, id) if table == "inspection" else (store.corrections()[0].id,) * 2
        mine, theirs = (getattr(s, table)(i) for s, i in zip((store, again), pairs, strict=True))
        columns = mine.__table__.columns.keys()
        assert {c: getattr(mine, c) for c in columns} == {c: getattr(theirs, c) for c in columns}
    assert again.inspection(id).picture in again.pictures
    assert (other.products / "bolt" / "product.json").exists()
    assert list(preference_pairs(again))[0]["chosen"][0]["content"][0]["text"].startswith("No,")
    with pytest.raises(Conflict, match="holds inspections already"):
        restore(other, tmp_path / "all.tar.gz")
    (tmp_path / "none.tar.gz").write_bytes(b"nothing")
    empty = ServingConfig(home=tmp_path / "e", products=tmp_path / "e" / "products")
    with pytest.raises(AnomalystError, match="is no backup"):
        restore(empty, tmp_path / "none.tar.gz")
    monkeypatch.setattr(retention, "revisions", lambda: ["0001"])  # of a version before this one
    with pytest.raises(AnomalystError, match="made by a newer version .schema 00..; .* up to 0001"):
        restore(empty, tmp_path / "all.tar.gz")
    assert not list(Store.open(empty).pictures.names()) and not empty.products.exists()


def test_migrations_make_the_schema_that_the_tables_say(store):
    with store.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Table.metadata) == []


def test_a_store_of_before_gets_the_new_schema_and_one_of_a_newer_version_is_refused(tmp_path):
    url = f"sqlite:///{tmp_path / 'anomalyst.db'}"
    engine = create_engine(url)
    with engine.begin() as connection:
        migrate(connection, "0001")
    open_database(url).dispose()
    with engine.begin() as connection:
        assert {"candidates"} <= set(inspect(connection).get_table_names())
        connection.execute(text("UPDATE alembic_version SET version_num = '0999'"))
    with pytest.raises(AnomalystError, match="newer version .schema 0999; .* update Anomalyst"):
        open_database(url)


def test_writers_of_many_threads_lose_nothing(store):
    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(lambda _: done(store), range(80)))
    assert len(set(ids)) == 80 == store.count(Filter(state="done"))


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("nonsense", "Could not parse"),
        ("mysql://me@here/x", "Give sqlite"),
        ("sqlite:////proc/nowhere/x.db", "cannot be written"),
        ("postgresql+psycopg://me:secret@127.0.0.1:1/x", "cannot be used"),
    ],
)
def test_a_database_that_cannot_be_used_is_told_without_its_password(url, said):
    with pytest.raises(AnomalystError, match=said) as caught:
        open_database(url)
    assert "secret" not in str(caught.value)


def test_pictures_are_kept_once_and_by_content(tmp_path):
    pictures = Pictures(tmp_path)
    names = set()
    for shown in ("a.jpg", "../../etc/passwd", "b.png"):
        with DEFECT.open("rb") as file:
            names.add(pictures.take(file, shown))
    [name] = names
    assert name.endswith(".jpg") and pictures.path(name).read_bytes() == DEFECT.read_bytes()
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == [name]
    assert time.time() - pictures.path(name).stat().st_mtime < 60


@pytest.mark.slow
def test_a_whole_server_works_on_postgresql(postgres, tmp_path):
    server = Server(tmp_path, free_port(), "--database", postgres)
    try:
        server.await_ready()
        with Client(server.address) as client, ThreadPoolExecutor(8) as pool:
            before = len(list(client.history()))
            keys = [f"pg-{i}" for i in range(40)] * 2  # each is sent twice
            found = list(pool.map(lambda key: client.inspect(DEFECT, PRODUCT, key=key), keys))
            assert len({one.id for one in found}) == 40
            server.kill()
            server.restart()
            server.await_ready()
            kept = {one.id for one in client.history(limit=500)}
            assert len(kept) == before + 40 and {one.id for one in found} <= kept
            said = client.feedback(found[0].id, "fine")
            assert client.undo(said["id"])["undone_at"]
    finally:
        server.stop()
    assert not (tmp_path / "anomalyst.db").exists()


def test_the_most_severe_come_first_and_rows_of_before_last(store):
    ids = {s: done(store, severity=s) for s in (None, 2.0, 30.0, -1.0)}
    order = [ids[s] for s in (30.0, 2.0, -1.0, None)]
    assert [one.id for one in store.severest(Filter())] == order
    assert [one.id for one in store.severest(Filter(), skip=1, limit=2)] == order[1:3]
    assert [one.id for one in store.to_review(None, severest=True)] == order


def test_a_store_of_an_older_schema_keeps_its_rows_when_it_is_brought_up(config):
    """From a database at 0004 with rows in its tables."""
    engine = create_engine(config.database_url)
    at = now()
    with engine.begin() as connection:
        migrate(connection, "0004")
        tables = MetaData()
        tables.reflect(connection)

        def put(table: str, /, **values) -> None:
            connection.execute(tables.tables[table].insert().values(values))

        for number in range(3):
            about = {"product": "bolt", "picture": "p", "name": f"{number}.jpg", "source": "api",
                     "by": "me", "owner": "server", "false_alarm_rate": 0.05}  # fmt: skip
            record = {"verdict": "normal", "regions": []} if number else None
            put("inspections", id=f"{number:024x}", created_at=at, record=record,
                state="done" if number else "queued", **about)  # fmt: skip
        put(
            "turns", id="t", created_at=at, inspection=f"{1:024x}", question="Q?", answer={}, by="x"
        )
        put("corrections", id="c", created_at=at, inspection=f"{1:024x}", product="bolt",
            kind="wrong", detail={"verdict": "anomalous"}, by="me")  # fmt: skip
        put("requests", by="me", key="k", fingerprint="f", made=[f"{1:024x}"], created_at=at)
        put("settings", product="bolt", false_alarm_rate=0.1)
        put("changes", id="g", created_at=at, product="bolt", kind="taught", detail={}, by="me")
        put("deliveries", id="d", created_at=at, sink="mqtt://b:1/x", payload={"id": "1"},
            attempts=0, next_at=at)  # fmt: skip
        put("keys", id="k", created_at=at, name="anna", role="operator", digest="0")
    engine.dispose()
    store = Store.open(config)
    with store.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Table.metadata) == []
    ids = [one.id for one in store.history(Filter())]
    assert ids == [f"{number:024x}" for number in (2, 1, 0)]
    one = store.inspection(ids[0])
    assert one.record == {"verdict": "normal", "regions": []} and one.created_at == at
    assert one.line is None and one.severity is None and one.late is None
    assert store.count(Filter(state="queued", owner="server")) == 1
    assert store.false_alarm_rate("bolt") == 0.1 and store.version("bolt") == 0
    assert store.request("me", "k").made == [f"{1:024x}"]
    assert [one.kind for one in store.corrections()] == ["wrong"]
    assert [one.question for one in store.turns(f"{1:024x}")] == ["Q?"]
    assert [one.id for one in messages.waiting(store, "mqtt://b:1/x", 9)] == ["d"]
    # What came with the newer schema works on it: jobs, versions, the audit log.
    store.note("bolt", "described", "me", describe="x")
    assert store.version("bolt") == 1 and store.finish(f"{0:024x}", state="done", severity=2.0)
    store.keep(JobRow(kind="teach", product="bolt", by="me", owner="server", asked={}))
    with store.session() as session:
        assert audit.verify(session).entries == 1
    store.engine.dispose()


def test_what_is_written_down_is_written_once_and_what_is_left_is_taken_over_by_one(store):
    ids = [store.acknowledge([row(store, owner=owner)], None)[0] for owner in ("server", "w 2")]
    said = TurnRow(inspection=ids[0], question="Q?", answer={}, by="me")
    assert store.finish(ids[0], beside=[said], state="done", verdict="normal")
    again = TurnRow(inspection=ids[0], question="Q?", answer={}, by="me")
    assert not store.finish(ids[0], beside=[again], state="done", verdict="anomalous")
    assert store.inspection(ids[0]).verdict == "normal" and len(store.turns(ids[0])) == 1
    assert store.waiting_owners() == {"w 2"}
    with ThreadPoolExecutor(2) as pool:
        taken = list(pool.map(lambda who: store.take_over("w 2", who), ("server 2", "server 3")))
    assert sorted(taken) == [0, 1]


def test_ids_sort_as_they_were_made_within_a_millisecond_too():
    made = [new_id() for _ in range(2000)]
    assert made == sorted(made) and len(set(made)) == 2000 and {len(one) for one in made} == {24}
    assert f"{time.time_ns() // 1_000_000 + 1:012x}" > made[-1]

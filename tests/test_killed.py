"""kill -9 before each step on the disk: what was there is there, and the next run works.

The quick form kills at every seventh step, the slow one at each.
"""

import json
import shutil
import tarfile
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from anomalyst.cli.batch import Outcome, _take, _writers
from anomalyst.io.pictures import open_picture
from anomalyst.product import Product
from anomalyst.product_index import product_names
from anomalyst.server.config import ServingConfig
from anomalyst.server.errors import Conflict
from anomalyst.server.storage.database import migrate, open_database, revisions
from anomalyst.server.storage.filters import Filter
from anomalyst.server.storage.retention import back_up, restore
from anomalyst.server.storage.store import Store
from anomalyst.server.storage.tables import InspectionRow
from conftest import DEMO
from killing import killed_at_each_step, visible

GOOD = sorted((DEMO / "flange" / "good").glob("*.jpg"))[:2]
NEW = sorted((DEMO / "flange" / "test").glob("*.jpg"))[:2]

pytestmark = pytest.mark.usefixtures("one_thread")
each_stride = pytest.mark.parametrize(
    "stride", [7, pytest.param(1, marks=pytest.mark.slow)], ids=["quick", "every"]
)


@pytest.fixture(scope="module")
def flange(inspector):
    return inspector.teach("flange", GOOD, adapted=False)


@each_stride
def test_a_product_is_the_old_one_or_the_new_one(flange, tmp_path, stride):
    products, count = tmp_path / "products", 0
    flange.description = "old"
    flange.save(products / "flange")
    flange.description = "new"
    for step in killed_at_each_step(lambda: flange.save(products / "flange"), stride):
        count += 1
        assert product_names(products) == ["flange"], f"step {step}"
        found = Product.load(products / "flange")
        assert found.description in ("old", "new"), f"step {step}"
        assert all(path.is_file() for path in found.references)
    assert count > 40 // stride
    assert Product.load(products / "flange").description == "new"
    assert [p.name for p in products.iterdir()] == ["flange"]  # the next save took it away
    print(f"product: killed {count} times")


@each_stride
def test_a_product_that_was_never_there_is_whole_or_absent(flange, tmp_path, stride):
    products, count = tmp_path / "products", 0
    flange.description = "first"
    for step in killed_at_each_step(lambda: flange.save(products / "flange"), stride):
        count += 1
        if product_names(products):
            assert Product.load(products / "flange").description == "first", f"step {step}"
            shutil.rmtree(products / "flange")
    assert product_names(products) == ["flange"]
    print(f"first product: killed {count} times")


@each_stride
def test_reports_and_records_are_whole(inspector, flange, tmp_path, stride):
    results = list(inspector.inspect_many(NEW, flange))
    out, count = tmp_path / "out", 0

    def write() -> None:
        with ExitStack() as stack:
            writers = _writers(inspector, [(flange, NEW)], out, stack)
            for one in results:
                _take(one, Outcome(), writers, as_json=False)

    def check(where: str) -> None:
        for path in visible(out):
            if path.suffix == ".json":
                assert json.loads(path.read_text())["verdict"], where
            elif path.suffix == ".png":
                open_picture(path)
            else:
                assert path.suffix == ".html" and path.read_text().rstrip().endswith("</html>")

    write()
    before = {p.name for p in visible(out)}
    for step in killed_at_each_step(write, stride):
        count += 1
        check(f"step {step}")
        assert before <= {p.name for p in visible(out)} | {"report.html"}
    check("at the end")
    assert count > 14 // stride
    print(f"inspection: killed {count} times")


def bench(folder: Path, pictures: int = 3) -> ServingConfig:
    """A home with inspections that wait, their pictures, and a product's folder."""
    config = ServingConfig(home=folder / "home", products=folder / "products")
    store = Store.open(config)
    rows = []
    for path in sorted((DEMO / "flange" / "good").glob("*.jpg"))[:pictures]:
        with path.open("rb") as stream:
            kept = store.pictures.take(stream, path.name)
        rows.append(
            InspectionRow(
                product="flange", picture=kept, name=path.name, source="api", by="test",
                owner="server", false_alarm_rate=0.05,
            )
        )  # fmt: skip
    store.acknowledge(rows, None)
    store.engine.dispose()
    (config.products / "flange").mkdir(parents=True)
    (config.products / "flange" / "product.json").write_text("{}")
    return config


@each_stride
def test_a_backup_is_the_old_one_or_the_new_one(tmp_path, stride):
    config, target, count = bench(tmp_path), tmp_path / "backup.tar.gz", 0
    back_up(config, target)
    for step in killed_at_each_step(lambda: back_up(config, target), stride):
        count += 1
        with tarfile.open(target) as packed:
            assert "tables/inspections.jsonl" in packed.getnames(), f"step {step}"
    again = ServingConfig(home=tmp_path / "again", products=tmp_path / "again" / "products")
    assert restore(again, target) == 3
    assert count > 14 // stride
    print(f"backup: killed {count} times")


@each_stride
def test_a_restore_that_was_killed_is_done_or_can_be_begun_again(tmp_path, stride):
    target, folder, count = tmp_path / "backup.tar.gz", tmp_path / "new", 0
    back_up(bench(tmp_path), target)
    new = ServingConfig(home=folder, products=folder / "products")
    for step in killed_at_each_step(lambda: restore(new, target), stride):
        count += 1
        try:
            assert restore(new, target) == 3, f"step {step}"
        except Conflict as told:  # it was killed when all was in
            assert "holds inspections already" in str(told)
        store = Store.open(new)
        rows = store.history(Filter())
        assert len(rows) == 3 and all(row.picture in store.pictures for row in rows)
        assert product_names(new.products) == ["flange"]
        assert (new.products / "flange" / "product.json").read_text() == "{}"
        store.engine.dispose()
        shutil.rmtree(folder)
    assert count > 14 // stride
    print(f"restore: killed {count} times")


@each_stride
def test_a_start_that_migrates_is_done_or_undone(tmp_path, stride):
    import alembic.command  # noqa: F401  here, so that no fork has to

    file, count = tmp_path / "old" / "anomalyst.sqlite", 0
    file.parent.mkdir()
    engine = create_engine(f"sqlite:///{file}")
    with engine.begin() as connection:
        migrate(connection, revisions()[0])
    with engine.connect() as connection:
        tables = text("select name, sql from sqlite_master order by name")
        old = connection.execute(tables).all()
    engine.dispose()
    started = tmp_path / "new" / file.name
    shutil.copytree(file.parent, started.parent)
    url = f"sqlite:///{started}"
    for step in killed_at_each_step(lambda: open_database(url), stride):
        count += 1
        engine = create_engine(url)
        with engine.connect() as connection:
            found = connection.execute(text("select version_num from alembic_version")).scalar()
            assert found in (revisions()[0], revisions()[-1]), f"step {step}"
            if found == revisions()[0]:
                assert connection.execute(tables).all() == old, f"step {step}"
        engine.dispose()
        shutil.rmtree(started.parent)
        shutil.copytree(file.parent, started.parent)
    open_database(url).dispose()
    assert count > 20 // stride
    print(f"migrating start: killed {count} times")

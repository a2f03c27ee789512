"""kill -9 before each step on the disk: what was there is there, and the next run works.

The quick form kills at every seventh step, the slow one at each.
"""

import shutil
import tarfile
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from anomalyst.server.config import ServingConfig
from anomalyst.server.storage.database import migrate, open_database, revisions
from anomalyst.server.storage.retention import back_up, restore
from anomalyst.server.storage.store import Store
from anomalyst.server.storage.tables import InspectionRow
from conftest import DEMO
from killing import killed_at_each_step

each_stride = pytest.mark.parametrize(
    "stride", [7, pytest.param(1, marks=pytest.mark.slow)], ids=["quick", "every"]
)


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
    assert count > 14 // stride
    print(f"migrating start: killed {count} times")

"""Commands that are killed: a backup, and a start that brings a database to the newest schema."""

import json
import shutil
import sqlite3
from pathlib import Path

from sqlalchemy import create_engine, text

from anomalyst.server.kill_test.acts import FIRST, Acknowledge, After, Said
from anomalyst.server.kill_test.workplace import PRODUCT, Workplace, checked_files, config_in
from anomalyst.server.storage import audit
from anomalyst.server.storage.database import migrate, open_database, revisions
from anomalyst.server.storage.filters import Filter
from anomalyst.server.storage.retention import back_up, restore
from anomalyst.server.storage.store import Store

OLD_ROWS = 500


class BackUp:
    """A backup takes the place of yesterday's, which knew one inspection less."""

    name = "backup"

    def work(self, place: Workplace, acknowledge: Acknowledge) -> None:
        """As the command does."""
        back_up(place.config, place.now / "backup.tar.gz")
        acknowledge("backup")

    def found(self, place: Workplace, said: Said) -> list[str]:
        """It is restored elsewhere, and that installation is whole."""
        config, wrong = config_in(place.now / "restored"), []
        held = restore(config, place.now / "backup.tar.gz")
        if held not in ((FIRST,) if said else (FIRST - 1, FIRST)):
            wrong.append(f"the backup holds {held} inspections")
        store = Store.open(config)
        wrong += [f"restored: {one}" for one in record_faults(store)]
        wrong += [f"restored: picture {name[:8]} is damaged" for name in checked_files(config.home)]
        if store.count(Filter()) != held:
            wrong.append("restored: inspections are missing")
        missing = [
            row.picture for row in store.history(Filter()) if row.picture not in store.pictures
        ]
        wrong += [f"restored: picture {name} is missing" for name in missing]
        store.engine.dispose()
        if place.judged(config.products / PRODUCT) != place.judged_now():
            wrong.append("restored: the product judges otherwise")
        return wrong

    def next_start(self, place: Workplace, said: Said) -> After:  # noqa: ARG002
        """The next backup takes its place."""
        self.work(place, lambda *_: None)
        shutil.rmtree(place.now / "restored", ignore_errors=True)
        return After(problems=self.found(place, [["backup"]]))


class Migrate:
    """A database of the first version is opened by this one."""

    name = "migrate"

    def work(self, place: Workplace, acknowledge: Acknowledge) -> None:
        """As each start does."""
        open_database(f"sqlite:///{_older(place)}").dispose()
        acknowledge("migrated")

    def found(self, place: Workplace, said: Said) -> list[str]:
        """It is the old one or the new one, with every row."""
        with sqlite3.connect(_older(place)) as connection:
            wrong = _old_rows(connection)
            [(revision,)] = connection.execute("SELECT version_num FROM alembic_version")
        connection.close()
        if revision not in ((revisions()[-1],) if said else (revisions()[0], revisions()[-1])):
            wrong.append(f"it is at revision {revision}")
        return wrong

    def next_start(self, place: Workplace, said: Said) -> After:  # noqa: ARG002
        """The next start makes it the new one, with every row."""
        self.work(place, lambda *_: None)
        return After(problems=self.found(place, [["migrated"]]))


def make_older(folder: Path) -> None:
    """A database of the first version with inspections in it."""
    folder.mkdir(parents=True)
    engine = create_engine(f"sqlite:///{folder / 'anomalyst.db'}")
    with engine.begin() as connection:
        migrate(connection, revisions()[0])
    insert = text(
        "INSERT INTO inspections (id, product, picture, name, source, by, owner, state, "
        "false_alarm_rate, created_at, record) VALUES (:id, 'bolt', 'p', 'n', 'api', 'line', "
        "'server', 'done', 0.05, '2026-01-01', :record)"
    )
    record = json.dumps({"severity": {"spreads": 2.5}, "view": None})
    with engine.begin() as connection:
        rows = [{"id": f"{number:026d}", "record": record} for number in range(OLD_ROWS)]
        connection.execute(insert, rows)
    engine.dispose()


def record_faults(store: Store) -> list[str]:
    """What is wrong with a database: damage, a broken chain of the audit log."""
    with store.session() as session:
        chain = audit.verify(session)
        [(state,)] = session.execute(text("PRAGMA integrity_check")).all()
        dangling = session.execute(text("PRAGMA foreign_key_check")).all()
    wrong = [] if chain.broken is None else [f"audit log: {chain.broken}"]
    wrong += [] if state == "ok" else [f"database: {state}"]
    return wrong + [f"database: a row points nowhere ({row})" for row in dangling]


def _older(place: Workplace) -> Path:
    return place.now / "older" / "anomalyst.db"


def _old_rows(connection: sqlite3.Connection) -> list[str]:
    asked = "SELECT count(*), count(DISTINCT id), count(record) FROM inspections"
    [counted] = connection.execute(asked)
    wrong = [] if counted == (OLD_ROWS,) * 3 else [f"{counted} of {OLD_ROWS} rows are there"]
    [(state,)] = connection.execute("PRAGMA integrity_check")
    return wrong + ([] if state == "ok" else [f"it is damaged: {state}"])

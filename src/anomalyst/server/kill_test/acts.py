"""The work that is killed: teach, inspect, correct, back up, migrate; what must hold after it."""

import json
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from sqlalchemy import create_engine, text

from anomalyst.product import Product
from anomalyst.server.corrections import Corrections
from anomalyst.server.kill_test.workplace import PRODUCT, Workplace, checked_files, config_in
from anomalyst.server.records.documents import as_png
from anomalyst.server.storage import audit
from anomalyst.server.storage.database import migrate, open_database, revisions
from anomalyst.server.storage.filters import Filter
from anomalyst.server.storage.jobs import jobs
from anomalyst.server.storage.retention import back_up, restore
from anomalyst.server.storage.store import Store

Said = Sequence[Sequence[Any]]  # what was acknowledged: a word, and what it is about
Acknowledge = Callable[..., None]
BOX = (30, 30, 50, 52)
BY = "engineer"
OLD_ROWS = 500
FIRST = 2  # inspections of the beginning


class Act(Protocol):
    """One kind of work."""

    name: str

    def work(self, place: Workplace, acknowledge: Acknowledge) -> None:
        """Do it; `acknowledge` is called when somebody would hear that it is done."""

    def found(self, place: Workplace, said: Said) -> list[str]:
        """What is wrong with what the kill left, before anything starts."""

    def settled(self, place: Workplace, corrections: Corrections, said: Said) -> list[str]:
        """What is wrong after the next start took it up; this may ask again for what is missing."""

    def changed(self, corrections: Corrections, said: Said) -> bool:
        """Whether the product must now be the changed one."""


class _Untouched:
    """Nothing of a product is changed."""

    def found(self, place: Workplace, said: Said) -> list[str]:  # noqa: ARG002
        """Nothing but what holds for all."""
        return []

    def changed(self, corrections: Corrections, said: Said) -> bool:  # noqa: ARG002
        """Never."""
        return False


class TeachMore:
    """A further good picture is taught, as a job."""

    name = "teach"

    def work(self, place: Workplace, acknowledge: Acknowledge) -> None:
        """From the upload to the new product."""
        with place.served() as corrections:
            service = corrections.service
            sent = [service.take_file(place.good[2])]
            row = service.teaching.start(PRODUCT, sent, by=BY, pose="fixed")
            acknowledge("job", row.id)
            service.background.wait(row.id)
            acknowledge("taught", row.id)

    def found(self, place: Workplace, said: Said) -> list[str]:
        """A product that was said to be taught is there."""
        known = Product.load(place.config.products / PRODUCT).num_references
        wanted = (3,) if any(word == "taught" for word, *_ in said) else (2, 3)
        return [] if known in wanted else [f"{known} good pictures"]

    def settled(self, place: Workplace, corrections: Corrections, said: Said) -> list[str]:  # noqa: ARG002
        """Every job that was acknowledged is done, once, and told once."""
        store = corrections.store
        rows = {row.id: row for row in jobs(store) if row.product == PRODUCT}
        wrong = [f"job {id} is lost" for word, id in said if word == "job" and id not in rows]
        wrong += [
            f"a job is {row.state}: {row.problem}" for row in rows.values() if row.state != "done"
        ]
        told = sum(row.kind == "extended" for row in store.changes(PRODUCT))
        asked = sum(not row.asked["new"] for row in rows.values())
        if told != asked:
            wrong.append(f"{asked} jobs are done, told of {told} times")
        return wrong

    def changed(self, corrections: Corrections, said: Said) -> bool:  # noqa: ARG002
        """If the job is there."""
        return any(not row.asked["new"] for row in jobs(corrections.store))


class InspectThree(_Untouched):
    """Three pictures are sent one after the other, each under an idempotency key."""

    name = "inspect"

    def work(self, place: Workplace, acknowledge: Acknowledge) -> None:
        """From the upload to the result."""
        with place.served() as corrections:
            for path in place.new[1:]:
                [id] = self._sent(corrections, path)
                acknowledge("inspection", path.stem, id)
                row = corrections.service.wait(id)
                acknowledge("result", path.stem, id, row.verdict, row.score)

    def settled(self, place: Workplace, corrections: Corrections, said: Said) -> list[str]:
        """Each is there once, with the result that was told; a client asks again for all."""
        service, wrong = corrections.service, []
        told = {(word, key): what for word, key, *what in said}
        for path in place.new[1:]:
            [id] = self._sent(corrections, path)
            row = service.wait(id)
            kept = told.get(("inspection", path.stem))
            if kept and kept != [id]:
                wrong.append(f"{path.stem} was acknowledged as {kept[0]} and is now {id}")
            if row.state != "done" or row.heat not in service.pictures:
                wrong.append(f"{path.stem} is {row.state}: {row.problem}")
            result = told.get(("result", path.stem))
            if result and result != [id, row.verdict, row.score]:
                wrong.append(f"{path.stem} was {result} and is {row.verdict}, {row.score}")
        if (count := service.store.count(Filter())) != FIRST + len(place.new) - 1:
            wrong.append(f"{count} inspections in the store")
        return wrong

    @staticmethod
    def _sent(corrections: Corrections, path: Path) -> list[str]:
        service = corrections.service
        return service.acknowledge(
            [service.take_file(path)], PRODUCT, by="line", source="api", key=f"of {path.stem}"
        )


class CorrectThree:
    """A verdict is judged, a mask painted, a place called fine, which the product learns."""

    name = "correct"

    def work(self, place: Workplace, acknowledge: Acknowledge) -> None:
        """As a person does it."""
        with place.served() as corrections:
            newest, oldest = corrections.store.history(Filter())
            acknowledge("right", corrections.judge(oldest.id, True, by=BY).id)
            mask = np.zeros(newest.size_hw, bool)
            mask[20:40, 20:40] = True
            acknowledge("mask", corrections.repaint(newest.id, as_png(mask), by=BY).id)
            acknowledge("fine", corrections.fine(newest.id, [BOX], by=BY).id)

    def found(self, place: Workplace, said: Said) -> list[str]:
        """What was said to be learnt is."""
        product = Product.load(place.config.products / PRODUCT)
        names = {one.name for one in product.accepted}
        return [f"{id} is not learnt" for word, id in said if word == "fine" and id not in names]

    def settled(self, place: Workplace, corrections: Corrections, said: Said) -> list[str]:
        """What was acknowledged is there and not undone; what is there is learnt, and told once."""
        store = corrections.store
        rows = {row.id: row for row in store.every_correction(PRODUCT)}
        wrong = [f"{word} {id} is lost" for word, id in said if id not in rows]
        wrong += [
            f"{row.kind} is undone: {row.detail.get('problem')}"
            for row in store.corrections(product=PRODUCT)
            if row.undone_at
        ]
        fine = {row.id for row in rows.values() if row.kind == "fine"}
        wrong += [f"{id} waits for ever" for id in fine if rows[id].applied_at is None]
        product = Product.load(place.config.products / PRODUCT)
        if sorted(one.name for one in product.accepted) != sorted(fine):
            wrong.append(f"the product knows {len(product.accepted)} of {len(fine)} corrections")
        told = [
            row.detail["correction"] for row in store.changes(PRODUCT) if row.kind == "accepted"
        ]
        if sorted(told) != sorted(fine):
            wrong.append(f"{len(fine)} corrections are learnt, told of {len(told)} times")
        wrong += _without_mask(rows.values(), place)
        return wrong

    def changed(self, corrections: Corrections, said: Said) -> bool:  # noqa: ARG002
        """If the correction is there."""
        return any(row.kind == "fine" for row in corrections.store.every_correction(PRODUCT))


def _without_mask(rows: Any, place: Workplace) -> list[str]:
    masks = [str(row.detail["mask"]) for row in rows if row.kind == "mask"]
    there = place.config.home / "pictures"
    return [f"mask {name} is lost" for name in masks if not (there / name[:2] / name).exists()]


class BackUp(_Untouched):
    """A backup takes the place of yesterday's, which knew one inspection less."""

    name = "backup"

    def work(self, place: Workplace, acknowledge: Acknowledge) -> None:
        """As the command does."""
        back_up(place.config, place.now / "backup.tar.gz")
        acknowledge("backup")

    def settled(self, place: Workplace, corrections: Corrections, said: Said) -> list[str]:  # noqa: ARG002
        """It is restored elsewhere, and that installation is whole."""
        config, wrong = config_in(place.now / "restored"), []
        held = restore(config, place.now / "backup.tar.gz")
        if held not in ((FIRST,) if said else (FIRST - 1, FIRST)):
            wrong.append(f"the backup holds {held} inspections")
        store = Store.open(config)
        wrong += [f"restored: {one}" for one in record_faults(store)]
        wrong += [f"restored: {name} is damaged" for name in checked_files(config.home)]
        if store.count(Filter()) != held:
            wrong.append("restored: inspections are missing")
        missing = [
            row.picture for row in store.history(Filter()) if row.picture not in store.pictures
        ]
        wrong += [f"restored: picture {name} is missing" for name in missing]
        store.engine.dispose()
        if place.judged(config.products / PRODUCT) != place.judged(place.config.products / PRODUCT):
            wrong.append("restored: the product judges otherwise")
        return wrong


class Migrate(_Untouched):
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

    def settled(self, place: Workplace, corrections: Corrections, said: Said) -> list[str]:  # noqa: ARG002
        """The next start makes it the new one, with every row."""
        self.work(place, lambda *_: None)
        return self.found(place, [["migrated"]])


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


ACTS: dict[str, Act] = {
    act.name: act for act in (TeachMore(), InspectThree(), CorrectThree(), BackUp(), Migrate())
}

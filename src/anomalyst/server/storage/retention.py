"""Retention, backup and restore of a store, whatever database it lies in."""

import json
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import DateTime, Table, delete, func, select
from sqlalchemy.exc import SQLAlchemyError

from anomalyst.errors import AnomalystError
from anomalyst.io.files import PART, make_folder, written_whole
from anomalyst.server.config import ServingConfig
from anomalyst.server.errors import Conflict
from anomalyst.server.records.versions import VERSIONS
from anomalyst.server.storage import audit
from anomalyst.server.storage.database import revisions
from anomalyst.server.storage.left_behind import clear_parts
from anomalyst.server.storage.store import Store
from anomalyst.server.storage.tables import (
    ACTIVE,
    CorrectionRow,
    InspectionRow,
    JobRow,
    RequestRow,
    now,
)
from anomalyst.server.storage.tables import Table as Base
from anomalyst.version import __version__

FORMAT = 1
ROWS_AT_ONCE = 1000
BROKEN = (OSError, tarfile.TarError, ValueError, EOFError, LookupError, RecursionError, zlib.error)
BESIDE = ("language", "gate")  # folders of the home: versions of the language model, their gate
MOVING = "restoring"  # is in the home while a restore moves files to their places
Told = Callable[[int, int], None]


def prune(store: Store, keep_days: int | None) -> int:
    """Forget inspections older than so many days, with their dialogue; returns how many.

    One that a person corrected stays: it is what the product and later trainings learn from.
    Pictures that nothing names any more are deleted.
    """
    if keep_days is None:
        return 0
    oldest = now() - timedelta(days=keep_days)
    with store.session() as session:
        audit.alone(session)
        corrected = select(CorrectionRow.inspection).where(CorrectionRow.undone_at.is_(None))
        gone = session.execute(
            delete(InspectionRow).where(
                InspectionRow.created_at < oldest,
                InspectionRow.state != "queued",
                InspectionRow.id.not_in(corrected),
            )
        )
        # What a watch took is remembered, or it would take its old files again.
        old = (RequestRow.created_at < oldest, RequestRow.by.not_like("watch %"))
        session.execute(delete(RequestRow).where(*old))
        session.execute(
            delete(JobRow).where(JobRow.created_at < oldest, JobRow.state.not_in(ACTIVE))
        )
        count = int(getattr(gone, "rowcount", 0))
        if count:
            audit.append(
                session, "retention", "forgotten", "inspections", count=count, days=keep_days
            )
    forget_pictures(store, before=oldest)
    return count


def forget_pictures(store: Store, before: datetime) -> None:
    """Delete files that no row names and that are older than `before`."""
    row = InspectionRow
    with store.session() as session:
        view = row.record["view"].as_string()
        kept = session.execute(select(row.picture, row.heat, row.shown, view))
        named = {name for some in kept for name in some}
        named |= {
            name for files in session.scalars(select(row.beside)) for name in (files or {}).values()
        }
        waiting = session.scalars(select(JobRow.asked).where(JobRow.state.in_(ACTIVE)))
        named |= {
            name
            for asked in waiting
            for part in asked.get("parts", ())
            for name, _ in part.values()
        }
        named |= {detail.get("mask") for detail in session.scalars(select(CorrectionRow.detail))}
    oldest = before.timestamp()
    for name in set(store.pictures.names()) - named:
        with suppress(FileNotFoundError):  # another server forgets it, too
            if store.pictures.path(name).stat().st_mtime < oldest:
                store.pictures.forget(name)


def back_up(config: ServingConfig, target: Path, told: Told = lambda *_: None) -> int:
    """Write store, pictures and products as one .tar.gz; returns how many files it holds.

    The tables are written as one moment has them; the server may go on meanwhile.
    """
    store = Store.open(config)
    clear_parts(target.parent)
    with written_whole(target) as part, tarfile.open(part, "w:gz", compresslevel=1) as packed:
        beside = tempfile.TemporaryDirectory(prefix=PART, dir=target.parent)
        with beside as folder, store.session() as session:
            if store.engine.dialect.name == "postgresql":
                session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
            else:  # SQLite begins none for what is only read
                session.connection().exec_driver_sql("BEGIN")
            about = Path(folder) / "about.json"
            held = {"format": FORMAT, "version": __version__, "schema": revisions()[-1]}
            about.write_text(json.dumps(held))
            packed.add(about, about.name)
            for table in Base.metadata.sorted_tables:
                lines = Path(folder) / f"{table.name}.jsonl"
                with lines.open("w", encoding="utf-8") as file:
                    for row in session.execute(select(table)).mappings():
                        file.write(json.dumps(dict(row), default=datetime.isoformat) + "\n")
                packed.add(lines, f"tables/{lines.name}")
        files = [
            *_files(config.home / "pictures", "pictures"),
            *_files(config.products, "products"),
            *(file for name in BESIDE for file in _files(config.home / name, name)),
        ]
        for number, (path, name) in enumerate(files, start=1):
            if path.exists():  # the server may have pruned it
                packed.add(path, name, recursive=False)
            told(number, len(files))
    store.engine.dispose()
    return len(files)


def restore(config: ServingConfig, source: Path, told: Told = lambda *_: None) -> int:
    """Bring a backup into an empty installation; returns how many inspections it holds.

    Files are unpacked beside their places and moved there when all rows are in. One that is killed
    leaves an installation as empty as it was; killed while it moves them, it can be begun again.
    Raises Conflict if something is there already, AnomalystError for a file that is no backup.
    """
    store, moving = Store.open(config), config.home / MOVING
    _check_empty(store, config, begun=moving.exists())
    make_folder(config.home)
    with tempfile.TemporaryDirectory(prefix=PART, dir=config.home) as folder:
        unpacked = Path(folder)
        _unpack(source, unpacked)
        make_folder(config.products)
        with tempfile.TemporaryDirectory(prefix=PART, dir=config.products) as beside:
            products = Path(beside) / "products"  # their folder may lie on another disk
            if (unpacked / "products").exists():
                shutil.copytree(unpacked / "products", products)

            def put_in_place() -> None:
                moving.touch()
                for name in ("pictures", *BESIDE):
                    _move(unpacked / name, config.home / name)
                _move(products, config.products)

            count = _fill(store, unpacked / "tables", told, put_in_place)
    moving.unlink()
    store.engine.dispose()
    return count


def _check_empty(store: Store, config: ServingConfig, *, begun: bool) -> None:
    """`begun`: a restore was killed while it moved files, which lie there now."""
    with store.session() as session:
        if session.scalar(select(func.count(InspectionRow.id))):
            raise Conflict(
                f"{config.home}: holds inspections already; restore into an empty --home, or "
                "another --database."
            )
    if begun:
        return
    for name in BESIDE:
        if (config.home / name).exists():
            raise Conflict(
                f"{config.home / name}: is there already and would be mixed with the backup's; "
                "restore into an empty --home."
            )
    if config.products.exists() and any(
        not one.name.startswith(PART) for one in config.products.iterdir()
    ):
        raise Conflict(f"{config.products}: holds products already; give an empty --products.")


def _unpack(source: Path, folder: Path) -> None:
    try:
        with tarfile.open(source, "r:gz") as packed:
            packed.extractall(folder, filter="data")
        about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    except BROKEN as error:
        why = " ".join(str(error).split())
        raise AnomalystError(f"{source}: is no backup that can be read ({why}).") from error
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise AnomalystError(f"{source}: is of another format; this version reads {FORMAT}.")
    # A table or column that this version does not know would be lost without a word.
    if str(about.get("schema", "")) > (newest := revisions()[-1]):
        raise AnomalystError(
            f"{source}: was made by a newer version (schema {about['schema']}; this one knows "
            f"up to {newest}); update Anomalyst, then restore it."
        )


def _move(path: Path, target: Path) -> None:
    """Files of a folder into another one, which may be there already, on the same disk."""
    for file in sorted(path.rglob("*")):
        if file.is_file():
            place = target / file.relative_to(path)
            make_folder(place.parent)
            file.replace(place)


def _fill(store: Store, folder: Path, told: Told, at_last: Callable[[], None]) -> int:
    """All rows in one transaction, tables that others point to first; `at_last` before its end."""
    tables = Base.metadata.sorted_tables
    try:
        with store.session() as session:
            for number, table in enumerate(tables, start=1):
                rows = _rows(folder / f"{table.name}.jsonl", table)
                while batch := list(islice(rows, ROWS_AT_ONCE)):
                    session.execute(table.insert(), batch)
                told(number, len(tables))
            count = session.scalar(select(func.count(InspectionRow.id))) or 0
            at_last()
            return count
    except (SQLAlchemyError, ValueError, LookupError, TypeError, AttributeError) as error:
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise AnomalystError(f"the backup's tables cannot be read ({why}).") from error


def _rows(path: Path, table: Table) -> Iterator[dict[str, Any]]:
    moments = {c.name for c in table.columns if isinstance(getattr(c.type, "impl", None), DateTime)}
    if not path.exists():
        return
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            for name in moments & row.keys():
                row[name] = datetime.fromisoformat(row[name]) if row[name] else None
            yield row


def _files(folder: Path, called: str) -> list[tuple[Path, str]]:
    """Files under a folder that are no half-written ones, and their names in the backup."""
    files = [(path, path.relative_to(folder)) for path in sorted(folder.rglob("*"))]
    return [
        (path, f"{called}/{inside.as_posix()}")
        for path, inside in files
        if path.is_file() and not any(p[0] == "." and p != VERSIONS for p in inside.parts)
    ]

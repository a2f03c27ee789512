"""Opening the store's database and bringing it to the newest schema."""

from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    NoSuchModuleError,
    OperationalError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as NoConnection

from anomalyst.errors import AnomalystError
from anomalyst.io.files import make_folder

MIGRATIONS = Path(__file__).parent / "migrations"


def open_database(url: str) -> Engine:
    """An engine on SQLite or PostgreSQL whose schema is the newest.

    Raises AnomalystError for a URL that names no such database, or one that cannot be reached.
    """
    try:
        engine = create_engine(url, pool_pre_ping=True, pool_size=8, max_overflow=24)
    except (ArgumentError, NoSuchModuleError, ImportError) as error:
        raise AnomalystError(
            f"--database {url.split('@')[-1]}: {error}. Give sqlite:///FILE or "
            "postgresql+psycopg://USER:PASSWORD@HOST/NAME."
        ) from error
    if engine.dialect.name not in ("sqlite", "postgresql"):
        raise AnomalystError(
            f"--database: {engine.dialect.name} is not supported; use SQLite or PostgreSQL."
        )
    if engine.dialect.name == "sqlite":
        if engine.url.database:
            make_folder(Path(engine.url.database).parent)
        event.listen(engine, "connect", _set_sqlite)
    try:
        with engine.begin() as connection:
            migrate(connection)
    except SQLAlchemyError as error:
        reason = str(error.__cause__ or error).strip().splitlines()[0]
        raise AnomalystError(
            f"the database {engine.url.render_as_string(hide_password=True)} cannot be used "
            f"({reason}); check that it runs and that it is ours."
        ) from error
    return engine


def is_outage(error: BaseException) -> bool:
    """Whether the database is away, locked or full for now, so that another try may do."""
    lost = isinstance(error, DBAPIError) and error.connection_invalidated
    return lost or isinstance(error, OperationalError | NoConnection)


def migrate(connection: Connection, revision: str = "head") -> None:
    """Bring the schema to a revision, one process at a time."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7860)")
    else:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    found, known = _revision_of(connection), revisions()
    if found is not None and found not in known:
        raise AnomalystError(
            f"the database {connection.engine.url.render_as_string(hide_password=True)} was made "
            f"by a newer version (schema {found}; this one knows {known[0]} to {known[-1]}); "
            "update Anomalyst, or take another --home."
        )
    if revision == "head" and found == known[-1]:
        return
    from alembic import command  # a tenth of a second, not spent on each start
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def revisions() -> list[str]:
    """What the migrations make of the schema, the newest last."""
    versions = (MIGRATIONS / "versions").glob("[0-9]*.py")
    return sorted(path.name.partition("_")[0] for path in versions)


def _revision_of(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.scalar(text("SELECT version_num FROM alembic_version"))


def _set_sqlite(connection: Any, _: Any) -> None:
    """Readers beside one writer; what was acknowledged survives a power cut."""
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=15000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()

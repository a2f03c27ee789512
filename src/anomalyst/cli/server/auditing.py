"""`anomalyst store audit` and `verify`: who did what, and whether somebody changed it later."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Option

from anomalyst.cli import options as opt
from anomalyst.cli.screen import needs, say
from anomalyst.errors import AnomalystError

if TYPE_CHECKING:
    from anomalyst.server.storage.store import Store


@opt.grouped
def audit(
    by: Annotated[
        str | None, Option(metavar="NAME", help="Only what this key's holder did.")
    ] = None,
    about: Annotated[
        str | None, Option(metavar="NAME", help="Only of this product, inspection or key.")
    ] = None,
    last: Annotated[int, Option(help="So many of the newest; 0: all.", min=0)] = 50,
    *,
    record: opt.Record,
) -> None:
    """List who taught, corrected, set, deleted, made or revoked what: the oldest first.

    Example: anomalyst store audit
    Example: anomalyst store audit --about bolt --last 0
    """
    from anomalyst.server.storage import audit as log

    with record_store(record) as store, store.session() as session:
        rows = [
            row
            for row in log.entries(session)
            if by in (None, row.by) and about in (None, row.about)
        ]
        for row in rows[-last:] if last else rows:
            typer.echo(log.told(row))


@opt.grouped
def verify(
    expect: Annotated[
        str | None,
        Option(metavar="DIGEST", help="The newest digest of an earlier time, noted elsewhere."),
    ] = None,
    *,
    record: opt.Record,
) -> None:
    """Go through the chain of the audit log; ends with code 2 and names the first broken entry.

    Each entry holds the SHA-256 of the one before. Whoever may write to the database could cut off
    the end or seal everything anew, so note the digest that is shown, elsewhere; --expect tells
    then whether it is still there.

    Example: anomalyst store verify
    Example: anomalyst store verify --expect 5f0c...e1
    """
    from anomalyst.server.storage import audit as log

    with record_store(record) as store, store.session() as session:
        found = log.verify(session, expect)
    if found.broken is not None:
        say(f"{found.entries} entries before it are whole.")
        raise AnomalystError(f"the audit log was tampered with: {found.broken}")
    if not found.seen:
        raise AnomalystError(
            f"--expect {expect}: no entry has this digest; the end was cut off, or the log was "
            "written anew. Compare with a backup of that time."
        )
    typer.echo(f"{found.entries} entries, whole. The newest digest: {found.newest}")


@contextmanager
def record_store(record: opt.Record) -> Iterator["Store"]:
    """The store that is meant."""
    needs("serve", "sqlalchemy")
    from anomalyst.server.config import ServingConfig
    from anomalyst.server.finding.record import open_record

    store = open_record(ServingConfig(home=record.home, database=record.database))
    try:
        yield store
    finally:
        store.engine.dispose()

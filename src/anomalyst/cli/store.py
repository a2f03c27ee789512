"""`anomalyst store`: backup, restore, retention, keys, preference pairs."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from anomalyst.cli.screen import Database, Home, Products, counted, needs, say

if TYPE_CHECKING:
    from anomalyst.server.config import ServingConfig
    from anomalyst.server.storage.store import Store

app = typer.Typer(no_args_is_help=True, help="The record of inspections: backup, retention, keys.")


@app.command()
def backup(
    target: Annotated[Path, typer.Argument(metavar="FILE.tar.gz", show_default=False)],
    home: Home = Path("workbench"),
    products: Products = Path("products"),
    database: Database = None,
) -> None:
    """Write everything as one file: inspections, pictures, products. The server may go on.

    Example: anomalyst store backup monday.tar.gz
    """
    from anomalyst.server.storage.retention import back_up

    with counted("Packing") as told:
        count = back_up(_config(home, products, database), target, told)
    typer.echo(f"{target}: {count} files and all tables ({target.stat().st_size / 1e6:.1f} MB).")


@app.command()
def restore(
    source: Annotated[Path, typer.Argument(metavar="FILE.tar.gz", show_default=False)],
    home: Home = Path("workbench"),
    products: Products = Path("products"),
    database: Database = None,
) -> None:
    """Bring a backup into an empty installation, of either kind of database.

    Example: anomalyst store restore monday.tar.gz --home new --products new/products
    """
    from anomalyst.server.storage.retention import restore as bring_back

    with counted("Restoring") as told:
        count = bring_back(_config(home, products, database), source, told)
    typer.echo(f"{count} inspections are back in {home}.")


@app.command()
def prune(
    days: Annotated[int, typer.Option(help="Forget inspections older than this.", min=1)],
    home: Home = Path("workbench"),
    database: Database = None,
) -> None:
    """Forget old inspections; those that somebody corrected stay.

    Example: anomalyst store prune --days 90
    """
    from anomalyst.server.storage.retention import prune as forget

    count = forget(_store(home, database), days)
    typer.echo(f"{count} inspections older than {days} days are forgotten.")


@app.command()
def key(
    name: Annotated[str, typer.Argument(help="Whose it is, as 'line 3'.", show_default=False)],
    role: Annotated[str, typer.Option(metavar="operator|engineer|admin")] = "operator",
    home: Home = Path("workbench"),
    database: Database = None,
) -> None:
    """Make an API key; it is shown this once.

    operator: inspects, asks, judges. engineer: also teaches and corrects. admin: also deletes,
    makes keys, starts trainings.

    Example: anomalyst store key "line 3" --role operator
    """
    from anomalyst.server.auth import make_key

    typer.echo(make_key(_store(home, database), name, role))
    say("Keep it well: only its digest is stored. It is sent as X-API-Key, or as a bearer token.")


@app.command()
def keys(home: Home = Path("workbench"), database: Database = None) -> None:
    """List the keys, without what opens.

    Example: anomalyst store keys
    """
    from anomalyst.server.auth import list_keys

    for row in list_keys(_store(home, database)):
        state = f"revoked {row.revoked_at:%Y-%m-%d}" if row.revoked_at else "valid"
        typer.echo(f"{row.role:<9} {state:<19} {row.name}")


@app.command()
def revoke(
    name: Annotated[str, typer.Argument(show_default=False)],
    home: Home = Path("workbench"),
    database: Database = None,
) -> None:
    """From now on the key opens nothing.

    Example: anomalyst store revoke "line 3"
    """
    from anomalyst.server.auth import revoke_key

    revoke_key(_store(home, database), name)
    typer.echo(f"{name}: revoked.")


@app.command()
def preferences(
    target: Annotated[Path, typer.Argument(metavar="FILE.jsonl", show_default=False)],
    product: Annotated[str | None, typer.Option(metavar="NAME", help="Only of this one.")] = None,
    home: Home = Path("workbench"),
    database: Database = None,
) -> None:
    """Write what people corrected as preference pairs, in the form TRL's DPO trainer reads.

    Example: anomalyst store preferences pairs.jsonl
    """
    from anomalyst.io.files import write_text
    from anomalyst.server.storage.preferences import preference_pairs

    pairs = list(preference_pairs(_store(home, database), product))
    write_text(target, "".join(json.dumps(pair) + "\n" for pair in pairs))
    typer.echo(f"{target}: {len(pairs)} pairs.")


def _config(home: Path, products: Path, database: str | None) -> "ServingConfig":
    needs("serve", "sqlalchemy")
    from anomalyst.server.config import ServingConfig

    return ServingConfig(home=home, products=products, database=database)


def _store(home: Path, database: str | None) -> "Store":
    config = _config(home, Path("products"), database)
    from anomalyst.server.storage.store import Store

    return Store.open(config)

"""`anomalyst store`: backup, restore, retention, keys, preferences, agreement."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from anomalyst.cli import options as opt
from anomalyst.cli.screen import needs, progress, say
from anomalyst.cli.server import auditing, evaluate, exchange, learning, models
from anomalyst.errors import AnomalystError
from anomalyst.io.files import write_text

if TYPE_CHECKING:
    from anomalyst.server.config import ServingConfig
    from anomalyst.server.storage.store import Store

app = typer.Typer(no_args_is_help=True, help="The record of inspections: backup, retention, keys.")
for command in (models.models, models.propose, models.back):
    app.command()(command)
app.command()(learning.learn)
app.command()(learning.unlearn)
app.command()(evaluate.evaluate)
app.command()(auditing.audit)
app.command()(auditing.verify)
app.command()(exchange.export)
app.command("import")(exchange.import_masks)


@app.command()
def backup(
    target: Annotated[Path, Argument(metavar="FILE.tar.gz")],
    home: opt.Home = Path("workbench"),
    products: opt.Products = Path("products"),
    database: opt.Database = None,
) -> None:
    """Write everything as one file: inspections, pictures, products. The server may go on.

    Example: anomalyst store backup monday.tar.gz
    """
    from anomalyst.server.storage.retention import back_up

    with progress("Packing") as bar:
        count = back_up(_config(home, products, database), target, bar.show)
    typer.echo(f"{target}: {count} files and all tables ({target.stat().st_size / 1e6:.1f} MB).")


@app.command()
def restore(
    source: Annotated[Path, Argument(metavar="FILE.tar.gz")],
    home: opt.Home = Path("workbench"),
    products: opt.Products = Path("products"),
    database: opt.Database = None,
) -> None:
    """Bring a backup into an empty installation, of either kind of database.

    Example: anomalyst store restore monday.tar.gz --home new --products new/products
    """
    from anomalyst.server.storage.retention import restore as bring_back

    with progress("Restoring") as bar:
        count = bring_back(_config(home, products, database), source, bar.show)
    typer.echo(f"{count} inspections are back in {home}.")


@app.command()
@opt.grouped
def prune(
    days: Annotated[int, Option(help="Forget inspections older than this.", min=1)],
    record: opt.Record,
) -> None:
    """Forget old inspections; those that somebody corrected stay.

    Example: anomalyst store prune --days 90
    """
    from anomalyst.server.storage.retention import prune as forget

    count = forget(_store(record), days)
    typer.echo(f"{count} inspections older than {days} days are forgotten.")


@app.command()
@opt.grouped
def key(
    name: Annotated[str, Argument(help="Whose it is, as 'line 3'.")],
    role: Annotated[str, Option(metavar="operator|engineer|admin")] = "operator",
    *,
    record: opt.Record,
) -> None:
    """Make an API key; it is shown this once.

    operator (or inspector): inspects, asks, judges. engineer: also teaches and corrects. admin:
    also deletes, makes keys, starts trainings.

    Example: anomalyst store key "line 3" --role operator
    """
    from anomalyst.server.auth import had_key_before, make_key

    store = _store(record)
    typer.echo(make_key(store, name, role))
    if had_key_before(store, name):
        say(
            f"A key called {name!r} was revoked before; what was judged under it counts as this "
            "one's. If this is somebody else, revoke it and take another name."
        )
    say("Keep it well: only its digest is stored. It is sent as X-API-Key, or as a bearer token.")


@app.command()
@opt.grouped
def keys(record: opt.Record) -> None:
    """List the keys: role, state, name.

    Example: anomalyst store keys
    """
    from anomalyst.server.auth import list_keys

    for row in list_keys(_store(record)):
        state = f"revoked {row.revoked_at:%Y-%m-%d}" if row.revoked_at else "valid"
        typer.echo(f"{row.role:<9} {state:<19} {row.name}")


@app.command()
@opt.grouped
def revoke(name: Annotated[str, Argument(show_default=False)], record: opt.Record) -> None:
    """From now on the key opens nothing.

    Example: anomalyst store revoke "line 3"
    """
    from anomalyst.server.auth import revoke_key

    revoke_key(_store(record), name)
    typer.echo(f"{name}: revoked.")


@app.command()
@opt.grouped
def preferences(
    target: Annotated[Path, Argument(metavar="FILE.jsonl")],
    product: Annotated[str | None, Option(metavar="NAME", help="Only of this one.")] = None,
    form: Annotated[str, Option(metavar="pairs|rankings|unpaired")] = "pairs",
    *,
    record: opt.Record,
) -> None:
    """Write what people prefer among answers, and what their corrections of verdicts amount to.

    pairs: as TRL's DPO trainer reads them. unpaired: thumbs, as its KTO trainer does. rankings:
    raw answers with their ranks and facts, and beside the file what the model was shown; as `align`
    reads them.

    Example: anomalyst store preferences pairs.jsonl
    Example: anomalyst store preferences rankings.jsonl --form rankings
    """
    from anomalyst.server.storage import preferences as forms

    store, left = _store(record), forms.LeftOut()
    if form == "rankings":
        folder = f"{target.stem}-shown"
        _, count = forms.write_with_shown(store, target, folder, product, left)
    elif form in ("pairs", "unpaired"):
        write = forms.preference_pairs if form == "pairs" else forms.unpaired
        lines = [json.dumps(one) + "\n" for one in write(store, product, left)]
        write_text(target, "".join(lines))
        count = len(lines)
    else:
        raise AnomalystError(f"--form {form}: is none of pairs, rankings, unpaired.")
    typer.echo(f"{target}: {count} {'thumbs' if form == 'unpaired' else form}{left}.")


@app.command()
@opt.grouped
def agreement(
    product: Annotated[str | None, Option(metavar="NAME", help="Only of this one.")] = None,
    *,
    record: opt.Record,
) -> None:
    """How far people agree on verdicts, on thumbs, and on which answer is better: kappa.

    Cohen's for each two people who judged the same, Fleiss' for all that the same number judged.

    Example: anomalyst store agreement
    """
    from anomalyst.server.records.agreement import agreement_report

    typer.echo(agreement_report(_store(record), product))


@app.command()
@opt.grouped
def messages(
    sink: Annotated[str | None, Option(metavar="URL", help="Only to this one.")] = None,
    replay: Annotated[bool, Option("--replay", help="Let them be sent again.")] = False,
    *,
    record: opt.Record,
) -> None:
    """List messages that a webhook refused for good, with its answer; or let them be sent again.

    A running `anomalyst watch` with that webhook sends them; they keep their order.

    Example: anomalyst store messages
    Example: anomalyst store messages --replay --sink http://mes/in
    """
    from anomalyst.server.storage import messages as kept

    store = _store(record)
    if replay:
        typer.echo(f"{kept.replay(store, sink)} messages wait to be sent again.")
        return
    for row in kept.refused(store, sink):
        told = f"{row.payload.get('product', '')}  {row.payload.get('picture', '')}"
        typer.echo(f"{row.refused_at:%Y-%m-%d %H:%M}  {row.sink}  {told}  {row.problem}")
    typer.echo(
        f"{kept.count_refused(store, sink)} refused for good, "
        f"{kept.count_waiting(store, sink)} wait."
    )


def _config(home: Path, products: Path, database: str | None) -> "ServingConfig":
    needs("serve", "sqlalchemy")
    from anomalyst.server.config import ServingConfig

    return ServingConfig(home=home, products=products, database=database)


def _store(record: opt.Record) -> "Store":
    config = _config(record.home, Path("products"), record.database)
    from anomalyst.server.storage.store import Store

    return Store.open(config)

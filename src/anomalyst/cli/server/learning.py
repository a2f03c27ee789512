"""`anomalyst store learn`, `store unlearn`: a product learns what people judged, and forgets it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument

from anomalyst.cli import options as opt
from anomalyst.cli.screen import needs, progress

if TYPE_CHECKING:
    from anomalyst.server.learning import Learning

BY = "command line"
ProductName = Annotated[str, Argument(metavar="PRODUCT", show_default=False)]


@opt.grouped
def learn(
    product: ProductName,
    products: opt.Products = Path("products"),
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would change; change nothing.")
    ] = False,
    kinds: Annotated[
        bool, typer.Option("--kinds", help="Learn what people call its defects instead.")
    ] = False,
    *,
    record: opt.Record,
) -> None:
    """Learn threshold and, from 10 spoiled pictures on, a head from what people judged.

    3 pictures called spoiled beside 4 good ones taught are needed. The figures are of pictures left
    out; what would cost more is not taken. A server may go on: it reads the product anew.

    With --kinds: the names that people gave to the defects they drew, 3 pictures each of 2 or more
    kinds; taken where they are told better than the shipped kinds on pictures left out.

    Example: anomalyst store learn bolt --dry-run
    Example: anomalyst store learn bolt --kinds
    """
    if kinds:
        _learn_kinds(record, products, product, dry_run)
        return
    with _learning(record, products, product) as learning, progress("Looking") as bar:
        found = learning.learn(product, by=BY, dry_run=dry_run, say=lambda text: _show(bar, text))
    from anomalyst.server.records.learning_words import told

    typer.echo("\n".join(told(product, found, dry_run)))


def _learn_kinds(record: opt.Record, products: Path, product: str, dry_run: bool) -> None:
    with _learning(record, products, product) as learning, progress("Looking") as bar:
        from anomalyst.server.kinds import learn_kinds, told

        found = learn_kinds(
            learning.service, product, by=BY, dry_run=dry_run, say=lambda text: _show(bar, text)
        )
    typer.echo("\n".join(told(product, found, dry_run)))


@opt.grouped
def unlearn(
    product: ProductName,
    products: opt.Products = Path("products"),
    kinds: Annotated[
        bool, typer.Option("--kinds", help="Let the shipped kinds name its defects again.")
    ] = False,
    *,
    record: opt.Record,
) -> None:
    """Make a product what it was before it learnt from what people judged.

    Example: anomalyst store unlearn bolt
    """
    if kinds:
        with _learning(record, products, product) as learning:
            from anomalyst.server.kinds import unlearn_kinds

            unlearn_kinds(learning.service, product, by=BY)
        typer.echo(f"{product}: its defects are named by the shipped kinds again.")
        return
    with _learning(record, products, product) as learning:
        found = learning.unlearn(product, by=BY)
    how = "is as it was before" if found["exactly"] else "was taught anew without them"
    typer.echo(f"{product}: judgements are unlearnt; it {how}.")


@contextmanager
def _learning(record: opt.Record, products: Path, name: str) -> Iterator["Learning"]:
    """The way a server learns, with a model process of its own for the product's encoder."""
    needs("serve", "sqlalchemy")
    from anomalyst.product_index import product_folder, read_record
    from anomalyst.server.config import ServingConfig
    from anomalyst.server.learning import Learning
    from anomalyst.server.service import Service

    encoder = str(read_record(product_folder(name, products))["encoder"])
    config = ServingConfig(
        home=record.home, products=products, database=record.database, encoder=encoder
    )
    service = Service(config)
    try:
        yield Learning(service)
    finally:
        service.close()


def _show(bar: Any, text: str) -> None:
    """`7 of 40 looks` as a bar."""
    done, _, total = text.split()[:3]
    bar.show(int(done), int(total))

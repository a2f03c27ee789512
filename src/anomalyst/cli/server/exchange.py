"""`anomalyst store export`, `store import`: what people drew, to labelling tools and back."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from anomalyst.cli import options as opt
from anomalyst.cli.screen import needs, progress, say

if TYPE_CHECKING:
    from anomalyst.server.config import ServingConfig

Format = Annotated[str, Option("--format", metavar="coco|labelstudio|mvtec", show_default=False)]


@opt.grouped
def export(
    out: Annotated[Path, Argument(metavar="OUT", help="A folder; each product gets one in it.")],
    form: Format,
    product: Annotated[str | None, Option(metavar="NAME", help="Only of this one.")] = None,
    since: Annotated[
        datetime | None, Option(metavar="DAY", help="Only pictures drawn on since, as 2026-01-31.")
    ] = None,
    predictions: Annotated[
        bool, Option("--predictions", help="With what was found, as pre-annotations with a score.")
    ] = False,
    polygons: Annotated[
        bool, Option("--polygons", help="Outlines, where a mask has no hole; else run lengths.")
    ] = False,
    products: opt.Products = Path("products"),
    *,
    record: opt.Record,
) -> None:
    """Write what people drew, with the pictures, for labelling tools and for training elsewhere.

    Of each person the newest mask of a kind holds. coco: annotations.json and images/. labelstudio:
    tasks.json, images/ and the labels as labels.xml. mvtec: train/good (as taught), test/good,
    test/KIND and ground_truth/KIND, which `evaluate` and `data check` read; who disagrees about a
    picture keeps it out. The same command again copies only what is new.

    Example: anomalyst store export labels --format coco --product bolt
    Example: anomalyst store export labels --format labelstudio --predictions --since 2026-01-31
    """
    needs("serve", "sqlalchemy")
    from anomalyst.server.exchange.exporting import Wanted
    from anomalyst.server.exchange.exporting import export as write
    from anomalyst.server.storage.store import Store

    wanted = Wanted(
        form=form,  # type: ignore[arg-type]
        product=product,
        since=since,
        predictions=predictions,
        polygons=polygons,
    )
    with progress("Exporting") as bar:
        done = write(Store.open(_config(record, products)), products, out, wanted, bar.show)
    for one in done:
        for left in one.left:
            say(f"Left out: {left}")
        found = f", {one.found} found regions" if predictions else ""
        pictures = f"{one.pictures} picture{'' if one.pictures == 1 else 's'}"
        typer.echo(f"{one.folder}: {pictures}, {_masks(one.masks)}{found}.")


@opt.grouped
def import_masks(
    source: Annotated[
        Path, Argument(metavar="FILE|DIR", help="A file, or the folder that `store export` wrote.")
    ],
    form: Format,
    product: Annotated[str, Option(metavar="NAME", help="Whose pictures.", show_default=False)],
    by: Annotated[str, Option(metavar="WHO", help="Who drew, as the record will say.")],
    products: opt.Products = Path("products"),
    *,
    record: opt.Record,
) -> None:
    """Attach masks drawn elsewhere to inspections, found by the pictures' content or name.

    coco: instances with polygons or RLE. labelstudio: rectangles, polygons and brushes, JSON or
    JSON-MIN. mvtec: one category. The masks count as if WHO had drawn them on the page: they can be
    undone there. What matches nothing is listed and the rest goes on; twice changes nothing.

    Example: anomalyst store import labels/bolt --format coco --product bolt --by ann
    Example: anomalyst store import project-3.json --format labelstudio --product bolt --by ann

    Ends with exit code 2 if something was refused.
    """
    needs("serve", "sqlalchemy")
    from anomalyst.server.corrections import Corrections
    from anomalyst.server.exchange.importing import read, take_in
    from anomalyst.server.service import Service

    found = read(source, form)
    service = Service(_config(record, products))
    try:
        with progress("Importing") as bar:
            done = take_in(Corrections(service), product, found, by=by, told=bar.show)
    finally:
        service.close()
    for note in done.notes:
        say(f"Note: {note}")
    for sentence in done.refused:
        say(f"Refused: {sentence}")
    typer.echo(
        f"{source}: {_masks(done.taken)} taken in, {done.there} were there already, "
        f"{len(done.refused)} refused."
    )
    if done.refused:
        raise typer.Exit(2)


def _masks(count: int) -> str:
    return f"{count} mask{'' if count == 1 else 's'}"


def _config(record: opt.Record, products: Path) -> "ServingConfig":
    from anomalyst.server.config import ServingConfig

    return ServingConfig(home=record.home, products=products, database=record.database)

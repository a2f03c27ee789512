"""`anomalyst store evaluate`: the record's scores and maps beside what people said and drew."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Option

from anomalyst.cli import options as opt
from anomalyst.cli.screen import needs, print_table, progress, say

if TYPE_CHECKING:
    from anomalyst.server.records.evaluated import Figures

HEADS = {
    "image_auroc": "image AUROC",
    "pixel_auroc": "pixel AUROC",
    "pixel_aupro_30": "AUPRO 0.3",
}


@opt.grouped
def evaluate(
    product: Annotated[str | None, Option(metavar="NAME", help="Only of this one.")] = None,
    as_json: opt.JsonObject = False,
    *,
    record: opt.Record,
) -> None:
    """How well scores and maps agree with what people said and drew, and people with each other.

    Image AUROC of the pictures called spoiled and fine; pixel AUROC and AUPRO of the maps that
    the record keeps against the defects that people drew. Each picture counts as it was last
    inspected before anybody judged it. The JSON has pixel AP and AUPRO 0.05, too.
    `anomalyst evaluate` does the same with a data set.

    Example: anomalyst store evaluate --product bolt
    """
    needs("serve", "sqlalchemy")
    from anomalyst.server.config import ServingConfig
    from anomalyst.server.records.evaluated import (
        agreement_lines,
        evaluate_record,
        mask_agreement,
    )
    from anomalyst.server.storage.store import Store

    store = Store.open(ServingConfig(home=record.home, database=record.database))
    with progress("Comparing") as bar:
        found = evaluate_record(store, product, bar.show)
    shared = mask_agreement(store, product)
    if as_json:
        pairs = [{"people": pair, "iou": values} for pair, values in sorted(shared.items())]
        figures = [one.as_dict() for one in found]
        typer.echo(json.dumps({"products": figures, "agreement": pairs}, indent=2))
        return
    _print(found)
    if shared:
        typer.echo("Drawn by two people on the same pictures:")
        typer.echo("\n".join(agreement_lines(shared)))


def _print(found: "Sequence[Figures]") -> None:
    rows = [
        (
            one.product,
            f"{one.spoiled}",
            f"{one.fine}",
            f"{one.masks}",
            *(_percent(getattr(one, metric)) for metric in HEADS),
        )
        for one in found
    ]
    last = rows.pop() if len(rows) > 1 else None
    heads = ["product", "spoiled", "fine", "drawn", *HEADS.values()]
    print_table("The record beside what people said and drew, percent", heads, rows, last)
    whole = found[-1]
    if whole.drawn_by:
        people = ", ".join(f"{by} {count}" for by, count in sorted(whole.drawn_by.items()))
        typer.echo(f"Pictures drawn on: {people}.")
    for why, count in whole.passed.items():
        say(f"Left out: {count} ({why}).")


def _percent(value: float) -> str:
    return "-" if value != value else f"{100 * value:.1f}"

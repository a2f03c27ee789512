"""`anomalyst report`: a shift of the record as a page, and what people noted, by kind."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Option

from anomalyst.cli import options as opt
from anomalyst.cli.screen import needs, print_table, say
from anomalyst.errors import AnomalystError

if TYPE_CHECKING:
    from anomalyst.server.storage.store import Store

app = typer.Typer(no_args_is_help=True, help="Reports from the record of inspections.")
TextModel = Annotated[
    str | None,
    Option(
        metavar="run:DIR|DIR",
        help="A text model (docs/texts.md): a run of recipes/texts, or a folder of its class.",
        show_default="templates",
    ),
]


@app.command()
@opt.grouped
def shift(
    *,
    start: Annotated[str, Option("--from", metavar="TIME", help="As in 2026-11-27T06:00.")],
    end: Annotated[str, Option("--to", metavar="TIME", help="The first moment after the shift.")],
    timezone: Annotated[
        str, Option(metavar="ZONE", help="Whose clocks the times are of, as Europe/Berlin.")
    ] = "UTC",
    product: Annotated[str | None, Option(metavar="NAME", help="Only of this one.")] = None,
    out: Annotated[Path, Option(metavar="FILE", help="The page.")] = Path("shift.html"),
    model: TextModel = None,
    as_json: opt.JsonObject = False,
    record: opt.Record,
) -> None:
    """One page of a shift: counts, kinds, places, drift, judgements, charts, and a short summary.

    A part belongs to the shift in which it was taken in. Every number of the summary is checked
    against the record; with --model, what the model writes and the record does not bear out is
    replaced by the templates' sentence and listed on the page. Over a change of clocks the real
    length is told; a time that the zone has twice needs its offset, as 2026-10-25T02:30+02:00.

    Example: anomalyst report shift --from 2026-11-27T06:00 --to 2026-11-27T14:00
    Example: anomalyst report shift --from 2026-10-24T22:00 --to 2026-10-25T06:00 --timezone
    Europe/Berlin --product bolt --out night.html
    """
    needs("serve", "sqlalchemy")
    from anomalyst.report.shift.page import write_shift_page
    from anomalyst.report.shift.period import period_of, zone_of
    from anomalyst.server.records.shift import shift_of_record, summary_of
    from anomalyst.server.storage.tables import now

    period = period_of(start, end, zone_of(timezone))
    writer = None
    if model is not None:
        from anomalyst.vlm.texts.summarising import shift_writer

        writer = shift_writer(model)
    store = _opened(record)
    facts, seen = shift_of_record(store, period, product)
    store.engine.dispose()
    if period.end > now():
        say("Note: the shift is not over; what comes after now is not in the report.")
    summary = summary_of(facts, writer)
    write_shift_page(out, facts, seen, summary)
    if as_json:
        refused = [{"sentence": sentence, "why": why} for sentence, why in summary.refused]
        told = {"summary": list(summary.sentences), "refused": refused, "page": str(out)}
        typer.echo(json.dumps(facts.as_dict() | told, indent=2))
        return
    typer.echo(summary.text)
    for sentence, why in summary.refused:
        say(f"Not said: {sentence} ({why})")
    say(f"Page: {out}")


@app.command()
@opt.grouped
def notes(
    *,
    product: Annotated[str | None, Option(metavar="NAME", help="Only of this one.")] = None,
    model: Annotated[
        str, Option(metavar="run:DIR|DIR", help="A text model (docs/texts.md), BERT's best.")
    ],
    as_json: opt.JsonLines = False,
    record: opt.Record,
) -> None:
    """Sort what people noted on inspections by the kind of defect that they write of.

    Notes are the comments of judgements ("wrong: reflection at the top"). Kinds are the
    detector's, and "fine". The model's folder holds what tells them apart, fitted on drawn notes;
    for a model without it that is fitted first. `sure` is the lead over the second kind, 0 to 1.

    Example: anomalyst report notes --model run:runs/bert --product bolt
    """
    needs("serve", "sqlalchemy")
    from anomalyst.server.records.notes import notes_of

    store = _opened(record)
    found = notes_of(store, product)
    store.engine.dispose()
    if not found:
        of = f" of {product!r}" if product else ""
        raise AnomalystError(
            f"--home {record.home}: holds no note{of}; notes are what people write when they "
            "judge an inspection."
        )
    from anomalyst.training.data.texts.fitting import with_heads
    from anomalyst.vlm.texts.loading import load_text_model
    from anomalyst.vlm.texts.records import NOTE

    sorter = with_heads(load_text_model(model), say)
    assert sorter.heads is not None
    kinds, sure = sorter.heads.kind_of(sorter.embed([NOTE + one.words for one in found]))
    rows = sorted(zip(kinds, sure.tolist(), found, strict=True), key=lambda row: (row[0], -row[1]))
    if as_json:
        for kind, lead, one in rows:
            told = {"kind": kind, "sure": round(lead, 3), "note": one.words, "by": one.by}
            about = {"inspection": one.inspection, "product": one.product}
            typer.echo(json.dumps(told | about | {"at": one.at.isoformat()}))
        return
    print_table(
        f"{len(found)} notes by kind",
        ["note", "kind", "sure", "product", "when (UTC)"],
        [
            (one.words, kind, f"{lead:.2f}", one.product, f"{one.at:%Y-%m-%d %H:%M}")
            for kind, lead, one in rows
        ],
    )


def _opened(record: opt.Record) -> "Store":
    """The store of a record that is there."""
    from anomalyst.server.config import ServingConfig
    from anomalyst.server.finding.record import open_record

    return open_record(ServingConfig(home=record.home, database=record.database))

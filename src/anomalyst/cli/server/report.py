"""`anomalyst report`: a shift of the record as a page, and what people noted, by kind."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer
from typer import Option

from anomalyst.cli import options as opt
from anomalyst.cli.screen import needs, print_table, say
from anomalyst.errors import AnomalystError

if TYPE_CHECKING:
    from anomalyst.server.records.production import Form
    from anomalyst.server.storage.store import Store

app = typer.Typer(no_args_is_help=True, help="Reports from the record of inspections.")
FORMS = ("html", "pdf", "xlsx", "csv")
TextModel = Annotated[
    str | None,
    Option(
        metavar="run:DIR|DIR",
        help="A text model (docs/texts.md): a run of recipes/texts, or a folder of its class.",
        show_default="templates",
    ),
]

Line = Annotated[
    str | None, Option(metavar="NAME", help="Only of this line (`anomalyst watch --line`).")
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
    line: Line = None,
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

    Example: anomalyst report shift --from 2026-11-27T06:00 --to 2026-11-27T14:00 --line NORTH
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
    store = _opened(record, line)
    facts, seen = shift_of_record(store, period, product, line)
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
def production(
    *,
    start: Annotated[str, Option("--from", metavar="TIME", help="As in 2026-11-27T06:00.")],
    end: Annotated[str, Option("--to", metavar="TIME", help="The first moment after it.")],
    timezone: Annotated[
        str, Option(metavar="ZONE", help="Whose clocks the times are of, as Europe/Berlin.")
    ] = "UTC",
    product: Annotated[str | None, Option(metavar="NAME", help="Only of this one.")] = None,
    line: Line = None,
    minutes: Annotated[
        float | None, Option(metavar="MIN", help="Of a sample.", show_default="by the time")
    ] = None,
    share: Annotated[
        float | None,
        Option(
            metavar="SHARE", help="Of anomalous parts, as of old.", show_default="that of the time"
        ),
    ] = None,
    out: Annotated[
        list[Path] | None,
        Option(
            metavar="FILE",
            help="A .html, .pdf, .xlsx or .csv; may be repeated.",
            show_default="production.html",
        ),
    ] = None,
    products: opt.Products = Path("products"),
    as_json: opt.JsonObject = False,
    record: opt.Record,
) -> None:
    """What a line makes: first-pass yield, a control chart, what is found most, and where.

    The control chart is a p-chart: the share of anomalous parts of each sample, with limits at 3
    sigma for its own size. The four Western Electric rules say where it is no chance any more: a
    point beyond 3 sigma, 2 of 3 beyond 2, 4 of 5 beyond 1, 8 on one side. --share gives the share
    that is normal for the process; else it is that of the whole time. Where defects fall is shown
    on a good picture of --product.

    Example: anomalyst report production --from 2026-11-27T06:00 --to 2026-11-27T14:00
    Example: anomalyst report production --from 2026-11-01 --to 2026-12-01 --product bolt --line 3
    --timezone Europe/Berlin --out november.pdf --out november.xlsx
    """
    needs("serve", "sqlalchemy")
    from datetime import timedelta

    from anomalyst.io.files import write_bytes
    from anomalyst.report.production.tables import summary_rows
    from anomalyst.report.shift.period import period_of, zone_of
    from anomalyst.server.records.production import papers_of, production_of_record

    targets = [(path, _form(path)) for path in out or [Path("production.html")]]
    if share is not None and not 0 < share < 1:
        raise AnomalystError(f"--share {share:g}: a share between 0 and 1 is needed, as 0.02.")
    if minutes is not None and minutes < 1:
        raise AnomalystError(f"--minutes {minutes:g}: at least 1 is needed.")
    period = period_of(start, end, zone_of(timezone))
    store = _opened(record, line)
    made = production_of_record(
        store, period, product=product, line=line, centre=share,
        width=timedelta(minutes=minutes) if minutes else None,
    )  # fmt: skip
    store.engine.dispose()
    for path, form in targets:
        write_bytes(path, papers_of(made, form, products))
    figures = dict(summary_rows(made))
    alarms = [one | {"at": one["at"].isoformat()} for one in made.alarms]
    if as_json:
        told = {"alarms": alarms, "kinds": dict(made.kinds), "places": dict(made.places)}
        typer.echo(json.dumps(figures | told, indent=2, default=str))
        return
    for name, value in figures.items():
        typer.echo(f"{name}: {value:.4g}" if isinstance(value, float) else f"{name}: {value}")
    for one in alarms:
        typer.echo(f"ALARM {one['at']}: {one['rule']}, {one['direction']}, {one['share']:.3f}")
    for path, _ in targets:
        say(f"Written: {path}")


def _form(path: Path) -> "Form":
    """The form that a file's ending says. Raises AnomalystError for another."""
    form = path.suffix.lower().lstrip(".")
    if form not in FORMS:
        raise AnomalystError(f"--out {path}: .html, .pdf, .xlsx or .csv is needed.")
    return cast("Form", form)


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


def _opened(record: opt.Record, line: str | None = None) -> "Store":
    """The store of a record that is there. Raises AnomalystError for a line it does not know."""
    from anomalyst.server.config import ServingConfig
    from anomalyst.server.finding.record import open_record
    from anomalyst.server.records.lines import check_line

    store = open_record(ServingConfig(home=record.home, database=record.database))
    if line is not None:
        check_line(store, line)
    return store

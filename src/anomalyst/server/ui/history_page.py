"""History: every inspection, found again tomorrow; filters, export."""

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import gradio as gr

from anomalyst.server.storage.history_export import listing
from anomalyst.server.storage.store import Filter
from anomalyst.server.ui import components as pieces
from anomalyst.server.ui.context import Bench, told

HEADINGS = ["when (UTC)", "product", "picture", "verdict", "p", "marked", "source", "by"]
SPANS = {"any time": None, "last hour": 1 / 24, "today": 1.0, "last week": 7.0, "last month": 30.0}
PAGE = 50
ANY = "any"


def build(bench: Bench) -> None:
    """The page's parts and what they do."""
    ids = gr.State([])
    with gr.Row():
        text = gr.Textbox(label="Search", placeholder="picture or question", elem_id="history-text")
        product = gr.Dropdown([ANY], value=ANY, label="Product", elem_id="history-product")
        verdict = gr.Dropdown([ANY, "anomalous", "unsure", "normal"], value=ANY, label="Verdict")
        marked = gr.Dropdown([ANY, "marked", "not marked"], value=ANY, label="Marked")
        span = gr.Dropdown(list(SPANS), value="any time", label="When")
    table = gr.Dataframe(headers=HEADINGS, interactive=False, elem_id="history-table", wrap=True)
    with gr.Row():
        more = gr.Button("Older", size="sm", elem_id="history-more")
        csv = gr.DownloadButton("CSV", size="sm", elem_id="history-csv")
        parquet = gr.DownloadButton("Parquet", size="sm", elem_id="history-parquet")
        total = gr.Markdown(elem_id="history-total")
    with gr.Row():
        with gr.Column(scale=5, min_width=320):
            view = gr.HTML(elem_id="history-view")
        with gr.Column(scale=3, min_width=280):
            talk = gr.HTML(elem_id="history-talk")
            paper = gr.HTML()

    wanted = [text, product, verdict, marked, span]

    def products() -> Any:
        known = {name for name, _ in bench.service.store.verdicts()}
        return gr.Dropdown(choices=[ANY, *sorted(known | set(bench.service.product_names()))])

    @told
    def search(
        text: str, product: str, verdict: str, marked: str, span: str, request: gr.Request
    ) -> Any:
        bench.who(request)
        return found(bench, filter_of(text, product, verdict, marked, span), [])

    @told
    def older(
        before: list[str], text: str, product: str, verdict: str, marked: str, span: str,
        request: gr.Request,
    ) -> Any:  # fmt: skip
        bench.who(request)
        return found(bench, filter_of(text, product, verdict, marked, span), before)

    @told
    def choose(shown: list[str], request: gr.Request, picked: gr.SelectData) -> Any:
        who = bench.who(request)
        row = bench.service.store.inspection(shown[picked.index[0]])
        return (
            pieces.viewer(bench.service, row),
            pieces.dialogue(bench.service, row),
            pieces.papers(bench.service, row, who),
        )

    def exported(form: Literal["csv", "parquet"]) -> Any:
        @told
        def export(
            text: str, product: str, verdict: str, marked: str, span: str, request: gr.Request
        ) -> str:
            bench.who(request)
            target = Path(tempfile.mkdtemp(prefix="anomalyst-")) / f"inspections.{form}"
            wanted = filter_of(text, product, verdict, marked, span)
            target.write_bytes(listing(bench.service.store, wanted, form)[0])
            return str(target)

        return export

    gr.on(None, products, None, product).then(search, wanted, [table, ids, total])
    gr.on(
        [one.change for one in (text, product, verdict, marked, span)],
        search,
        wanted,
        [table, ids, total],
    )
    more.click(older, [ids, *wanted], [table, ids, total])
    table.select(choose, ids, [view, talk, paper])
    csv.click(exported("csv"), wanted, csv)
    parquet.click(exported("parquet"), wanted, parquet)


def filter_of(text: str, product: str, verdict: str, marked: str, span: str) -> Filter:
    """What the filters of the page say."""
    days = SPANS[span]
    return Filter(
        text=text.strip() or None,
        product=None if product in (ANY, None) else product,
        verdict=None if verdict in (ANY, None) else verdict,
        reviewed=None if marked in (ANY, None) else marked == "marked",
        since=datetime.now(UTC) - timedelta(days=days) if days else None,
    )


def found(bench: Bench, wanted: Filter, before: list[str]) -> tuple[Any, ...]:
    """Rows of the table, with those that were shown before, their ids, and how many there are."""
    store = bench.service.store
    rows = store.inspections(before)
    rows += store.history(wanted, before=before[-1] if before else None, limit=PAGE)
    cells = [
        [
            f"{row.created_at:%Y-%m-%d %H:%M:%S}",
            row.product,
            row.name,
            row.verdict or row.state,
            "" if row.p_value is None else f"{row.p_value:.3g}",
            row.reviewed or "",
            row.source,
            row.by,
        ]
        for row in rows
    ]
    return cells, [row.id for row in rows], f"{len(rows)} of {store.count(wanted)}"

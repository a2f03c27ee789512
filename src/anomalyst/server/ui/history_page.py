"""History: every inspection, found again tomorrow; filters, export."""

import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import gradio as gr

from anomalyst.server.storage.filters import Filter
from anomalyst.server.storage.history_export import listing
from anomalyst.server.ui import components as pieces
from anomalyst.server.ui.context import Bench, shows_errors

HEADINGS = ["when (UTC)", "product", "picture", "verdict", "p", "marked", "source", "by"]
SPANS = {"any time": None, "last hour": 1 / 24, "today": 1.0, "last week": 7.0, "last month": 30.0}
VERDICTS = ("anomalous", "unsure", "normal")
PAGE = 50
ANY = "any"


class HistoryPage:
    """Filters, the table of what they find, and the inspection that is chosen in it."""

    def __init__(self, bench: Bench):
        self.bench, self.ids = bench, gr.State([])
        with gr.Row():
            text = gr.Textbox(
                label="Search", placeholder="picture or question", elem_id="history-text"
            )
            self.product = gr.Dropdown([ANY], value=ANY, label="Product", elem_id="history-product")
            verdict = gr.Dropdown([ANY, *VERDICTS], value=ANY, label="Verdict")
            marked = gr.Dropdown([ANY, "marked", "not marked"], value=ANY, label="Marked")
            span = gr.Dropdown(list(SPANS), value="any time", label="When")
        self.filters: list[Any] = [text, self.product, verdict, marked, span]
        self.table = gr.Dataframe(
            headers=HEADINGS, interactive=False, elem_id="history-table", wrap=True
        )
        with gr.Row():
            self.more = gr.Button("Older", size="sm", elem_id="history-more")
            self.csv = gr.DownloadButton("CSV", size="sm", elem_id="history-csv")
            self.parquet = gr.DownloadButton("Parquet", size="sm", elem_id="history-parquet")
            self.total = gr.Markdown(elem_id="history-total")
        with gr.Row():
            with gr.Column(scale=5, min_width=320):
                self.view = gr.HTML(elem_id="history-view")
            with gr.Column(scale=3, min_width=280):
                self.talk = gr.HTML(elem_id="history-talk")
                self.paper = gr.HTML()
        self._connect()

    def _connect(self) -> None:
        result = [self.table, self.ids, self.total]
        gr.on(None, self.products, None, self.product).then(self.search, self.filters, result)
        gr.on([one.change for one in self.filters], self.search, self.filters, result)
        self.more.click(self.older, [self.ids, *self.filters], result)
        self.table.select(self.choose, self.ids, [self.view, self.talk, self.paper])
        self.csv.click(self.exported("csv"), self.filters, self.csv)
        self.parquet.click(self.exported("parquet"), self.filters, self.parquet)

    def products(self) -> Any:
        """Those taught, and those of which inspections are kept."""
        known = {name for name, _ in self.bench.service.store.verdicts()}
        return gr.Dropdown(choices=[ANY, *sorted(known | set(self.bench.service.product_names()))])

    @shows_errors
    def search(self, request: gr.Request, *filters: str) -> Any:
        self.bench.who(request)
        return found(self.bench, filter_of(*filters), [])

    @shows_errors
    def older(self, request: gr.Request, before: list[str], *filters: str) -> Any:
        self.bench.who(request)
        return found(self.bench, filter_of(*filters), before)

    @shows_errors
    def choose(self, shown: list[str], request: gr.Request, picked: gr.SelectData) -> Any:
        who, service = self.bench.who(request), self.bench.service
        row = service.store.inspection(shown[picked.index[0]])
        return (
            pieces.viewer(service, row),
            pieces.dialogue(service, row),
            pieces.papers(service, row, who),
        )

    def exported(self, form: Literal["csv", "parquet"]) -> Callable[..., str]:
        """A handler that writes what the filters let pass as a file."""

        @shows_errors
        def export(request: gr.Request, *filters: str) -> str:
            self.bench.who(request)
            target = Path(tempfile.mkdtemp(prefix="anomalyst-")) / f"inspections.{form}"
            target.write_bytes(listing(self.bench.service.store, filter_of(*filters), form)[0])
            return str(target)

        return export


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
        [f"{row.created_at:%Y-%m-%d %H:%M:%S}", row.product, *pieces.result_cells(row),
         row.reviewed or "", row.source, row.by]
        for row in rows
    ]  # fmt: skip
    return cells, [row.id for row in rows], f"{len(rows)} of {store.count(wanted)}"

"""History: every inspection, found again tomorrow; filters, export."""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import gradio as gr

from anomalyst.errors import AnomalystError
from anomalyst.server.finding.items import Readings, sense_of_ending
from anomalyst.server.finding.search import Found
from anomalyst.server.finding.served import Sent, find_in_record
from anomalyst.server.records.lines import line_names
from anomalyst.server.storage.filters import Filter
from anomalyst.server.storage.history_export import listing
from anomalyst.server.storage.tables import InspectionRow
from anomalyst.server.ui import components as pieces
from anomalyst.server.ui.context import Bench, in_order, shows_errors
from anomalyst.server.ui.wording import t

HEADINGS = (
    "when_utc", "product", "picture", "verdict", "p", "severity", "marked", "source", "line", "by",
)  # fmt: skip
SPANS = {"any": None, "hour": 1 / 24, "day": 1.0, "week": 7.0, "month": 30.0}  # in days
MARKED = ("marked", "unmarked")
VERDICTS = ("anomalous", "unsure", "normal")
ORDERS = ("newest", "severest")
PAGE = 50
SOURCES = ("api", "workbench", "watch", "demo")
ANY = "any"


class HistoryPage:
    """Filters, the table of what they find, and the inspection that is chosen in it."""

    def __init__(self, bench: Bench):
        self.bench, self.ids = bench, gr.State([])
        with gr.Row():
            text = gr.Textbox(
                label=t("history.search"), placeholder=t("history.searched"), elem_id="history-text"
            )
            every = (t("any"), ANY)
            self.product = gr.Dropdown(
                [every], value=ANY, label=t("product"), elem_id="history-product"
            )
            named = [(t(f"verdict.{one}"), one) for one in VERDICTS]
            verdict = gr.Dropdown([every, *named], value=ANY, label=t("filter.verdict"))
            judged = [(t(f"history.{one}"), one) for one in MARKED]
            marked = gr.Dropdown([every, *judged], value=ANY, label=t("filter.marked"))
            spans = [(t(f"span.{one}"), one) for one in SPANS]
            span = gr.Dropdown(spans, value=ANY, label=t("history.span"))
            self.line = gr.Dropdown([every], value=ANY, label=t("line"), elem_id="history-line")
            orders = [(t(f"order.{one}"), one) for one in ORDERS]
            order = gr.Dropdown(orders, value=ORDERS[0], label=t("order"), elem_id="history-order")
        self.like = LikeBox(bench)
        self.filters: list[Any] = [text, self.product, verdict, marked, span, self.line]
        self.asked = [*self.filters, order]
        self.table = gr.Dataframe(
            headers=[t(f"history.{key}") for key in HEADINGS],
            interactive=False,
            elem_id="history-table",
            wrap=True,
        )
        with gr.Row():
            self.more = gr.Button(t("history.more"), size="sm", elem_id="history-more")
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
        result = [self.table, self.ids, self.total, self.more]
        self.like.connect(self.filters, result)
        quiet: Any = {"show_progress": "hidden"}  # faded text cannot be read, and it is soon there
        gr.on(None, self.lines, None, self.line, **quiet)
        filled = {**quiet, **in_order("history")}
        known = gr.on(None, self.products, None, self.product, **quiet)
        known.then(self.search, self.asked, result, **filled)
        gr.on([one.change for one in self.asked], self.search, self.asked, result, **filled)
        self.more.click(self.older, [self.ids, *self.asked], result, **in_order("history"))
        self.table.select(self.choose, self.ids, [self.view, self.talk, self.paper])
        self.csv.click(self.exported("csv"), self.filters, self.csv)
        self.parquet.click(self.exported("parquet"), self.filters, self.parquet)

    def products(self) -> Any:
        """Those taught, and those of which inspections are kept."""
        known = {name for name, _ in self.bench.service.store.verdicts()}
        names = sorted(known | set(self.bench.service.product_names()))
        return gr.Dropdown(choices=[(t("any"), ANY), *((name, name) for name in names)])

    def lines(self) -> Any:
        """Those that parts came from."""
        names = line_names(self.bench.service.store)
        return gr.Dropdown(choices=[(t("any"), ANY), *((name, name) for name in names)])

    @shows_errors
    def search(self, request: gr.Request, *asked: str) -> Any:
        self.bench.who(request)
        return found(self.bench, filter_of(*asked[:-1]), [], asked[-1])

    @shows_errors
    def older(self, request: gr.Request, before: list[str], *asked: str) -> Any:
        self.bench.who(request)
        return found(self.bench, filter_of(*asked[:-1]), before, asked[-1])

    @shows_errors
    def choose(self, shown: list[str], request: gr.Request, picked: gr.SelectData) -> Any:
        who, service = self.bench.who(request), self.bench.service
        row = service.store.inspection(shown[picked.index[0]])
        return (
            pieces.viewer(service, row, who),
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


def filter_of(
    text: str, product: str, verdict: str, marked: str, span: str, line: str = ANY
) -> Filter:
    """What the filters of the page say."""
    days = SPANS[span]
    return Filter(
        text=text.strip() or None,
        product=None if product in (ANY, None) else product,
        verdict=None if verdict in (ANY, None) else verdict,
        line=None if line in (ANY, None) else line,
        reviewed=None if marked in (ANY, None) else marked == "marked",
        since=datetime.now(UTC) - timedelta(days=days) if days else None,
    )


def found(
    bench: Bench, wanted: Filter, before: list[str], order: str = ORDERS[0]
) -> tuple[Any, ...]:
    """Rows of the table, with those that were shown before, their ids, and how many there are."""
    store = bench.service.store
    rows = store.inspections(before)
    if order == ORDERS[0]:
        rows += store.history(wanted, before=before[-1] if before else None, limit=PAGE)
    else:
        rows += store.severest(wanted, skip=len(before), limit=PAGE)
    table = pieces.headed([f"history.{key}" for key in HEADINGS], [cells_of(row) for row in rows])
    count = t("history.count", shown=len(rows), all=store.count(wanted))
    return table, [row.id for row in rows], count, gr.Button(interactive=True)


def cells_of(row: InspectionRow) -> list[str]:
    """An inspection under `HEADINGS`."""
    when = f"{row.created_at:%Y-%m-%d %H:%M:%S}"
    marked = t(f"marked.{row.reviewed}") if row.reviewed else ""
    source = t(f"source.{row.source}") if row.source in SOURCES else row.source
    return [when, row.product, *pieces.result_cells(row), marked, source, row.line or "", row.by]


class LikeBox:
    """What resembles a sentence or a dropped file, in the same table, the most similar first."""

    def __init__(self, bench: Bench):
        self.bench = bench
        with gr.Accordion(t("like.title"), open=False, elem_id="history-like"):
            gr.Markdown(t("like.help"))
            with gr.Row():
                self.words = gr.Textbox(
                    label=t("like.sentence"), placeholder=t("like.example"), elem_id="history-words"
                )
                self.file = gr.File(label=t("like.file"), height=110, elem_id="history-file")
            self.go = gr.Button(t("like.go"), size="sm", elem_id="history-find")

    def connect(self, filters: list[Any], result: list[Any]) -> None:
        """Search with the page's filters; `result` as `found` gives it."""
        asked = [self.words, self.file, *filters]
        gr.on([self.go.click, self.words.submit], self.find, asked, result, **in_order("history"))

    @shows_errors
    def find(self, words: str, file: str | None, request: gr.Request, *filters: str) -> Any:
        self.bench.who(request)
        service, wanted = self.bench.service, replace(filter_of(*filters), state="done")
        if bool(words.strip()) == bool(file):
            raise AnomalystError(t("like.either"))
        if file is None:
            like = find_in_record(service, words, wanted, readings=Readings(), top=PAGE)
        else:
            path = Path(file)
            sense = sense_of_ending(path)
            if sense is None:
                raise AnomalystError(t("like.ending", name=path.name))
            with path.open("rb") as stream:
                sent = Sent(sense=sense, stream=stream, name=path.name)
                like = find_in_record(service, sent, wanted, readings=Readings(), top=PAGE)
        return resembling(self.bench, like)


def resembling(bench: Bench, like: Found) -> tuple[Any, ...]:
    """Hits as rows of the table, with how similar they are; nothing is older than these."""
    alike = {str(hit.item.inspection): hit for hit in like.hits}
    rows = bench.service.store.inspections(list(alike))
    cells = [
        [f"{alike[row.id].similarity:.3f} {alike[row.id].item.file.sense}", *cells_of(row)]
        for row in rows
    ]
    notes = "".join(f"\n- <span lang='en'>{note}</span>" for note in like.notes)
    headers = [t("like.similarity"), *(t(f"history.{key}") for key in HEADINGS)]
    table = {"headers": headers, "data": cells}
    count = t("like.found", count=len(rows), searched=like.searched) + notes
    return table, [row.id for row in rows], count, gr.Button(interactive=False)

"""Live: what folders and cameras bring in, and whether it reaches whom it should."""

from datetime import UTC, datetime, timedelta
from typing import Any

import gradio as gr

from anomalyst.server.jobs.watches import LineGiven
from anomalyst.server.records.figures import RECENT
from anomalyst.server.records.lines import line_names
from anomalyst.server.storage import messages
from anomalyst.server.storage.filters import Filter
from anomalyst.server.ui import components as pieces
from anomalyst.server.ui.charts import limit_of, trend_chart
from anomalyst.server.ui.context import Bench, in_order, inform, shows_errors
from anomalyst.server.ui.production_section import ANY_LINE, ProductionSection
from anomalyst.server.ui.wording import t

REFRESH_SECONDS = 3
NEWEST = 12
COLUMNS = ("live.name", "live.line", "live.of", "live.product", "live.state")
LATE = ("alarm", "reject", "stop")


class LivePage:
    """The newest results of a product, and the watches that bring them in."""

    def __init__(self, bench: Bench):
        self.bench, self.chosen = bench, gr.State(None)
        with gr.Row():
            with gr.Column(scale=4, min_width=320):
                figures = gr.HTML(elem_id="live-figures")
                self.page = [figures, gr.HTML(), gr.HTML(elem_id="live-newest")]
                place = gr.Column()
            with gr.Column(scale=3, min_width=300):
                gr.Markdown(t("live.watch"))
                self.source = gr.Textbox(
                    label=t("live.source"),
                    elem_id="live-source",
                )
                self.product = gr.Dropdown(label=t("product"), elem_id="live-product")
                self.mqtt = gr.Textbox(label=t("live.mqtt"), placeholder=t("live.mqtt_none"))
                self.webhook = gr.Textbox(
                    label=t("live.webhook"), placeholder=t("live.webhook_none")
                )
                self._add_line()
                self.start = gr.Button(t("live.start"), variant="primary", elem_id="live-start")
                self.watches = gr.Dataframe(
                    headers=[t(key) for key in COLUMNS],
                    interactive=False,
                    label=t("live.watches"),
                    wrap=True,
                )
                self.console = pieces.console(lines=6)
                self.stop = gr.Button(
                    t("live.stop"), size="sm", variant="stop", elem_id="live-stop"
                )
        with place:
            self.production = ProductionSection(bench, self.product)
        self.shown = [self.product, self.production.line]
        self._connect()

    def _add_line(self) -> None:
        with gr.Accordion(t("live.line_title"), open=False):
            self.line = gr.Textbox(label=t("line"), placeholder=t("live.line_none"))
            self.budget = gr.Number(
                label=t("live.budget"), value=None, minimum=1, elem_id="live-budget"
            )
            late = [(t(f"live.late_{one}"), one) for one in LATE]
            self.late = gr.Dropdown(late, value="alarm", label=t("live.late_part"))
            self.signal = gr.Textbox(label=t("live.signal"), placeholder=t("live.signal_none"))

    def _connect(self) -> None:
        quiet: Any = {"show_progress": "hidden"}  # faded text cannot be read, and it is soon there
        filled = {**quiet, **in_order("live")}
        known = gr.on(None, self.bench.product_choice, None, self.product, **quiet)
        known.then(self.now, self.shown, self.page, **filled)
        gr.on(None, self.listed, None, self.watches, **quiet)
        self.product.change(self.now, self.shown, self.page, **filled)
        self.production.line.change(self.now, self.shown, self.page, **filled)
        given = [self.source, self.product, self.mqtt, self.webhook,
                 self.line, self.budget, self.late, self.signal]  # fmt: skip
        self.start.click(self.begin, given, self.watches)
        self.watches.select(self.choose, None, [self.chosen, self.console])
        self.stop.click(self.end, self.chosen, None)
        timer = gr.Timer(REFRESH_SECONDS)
        timer.tick(self.now, self.shown, self.page, **filled)
        timer.tick(self.listed, None, self.watches, **quiet)

    def listed(self) -> dict[str, Any]:
        rows = [
            [
                one["name"],
                one["line"] or "",
                one["source"],
                one["product"],
                state_words(one["state"]),
            ]  # fmt: skip
            for one in self.bench.watches.all()
        ]
        return pieces.headed(COLUMNS, rows)

    @shows_errors
    def begin(
        self, source: str, product: str, mqtt: str, webhook: str, line: str, budget: float | None,
        late: str, signal: str, request: gr.Request,
    ) -> Any:  # fmt: skip
        self.bench.who(request, "admin")
        at = LineGiven(
            name=line.strip() or None, budget_ms=budget or None, late=late,
            signal=signal.strip() or None,
        )  # fmt: skip
        brokers, hooks = [mqtt] if mqtt.strip() else [], [webhook] if webhook.strip() else []
        self.bench.watches.start(source.strip(), product, mqtt=brokers, webhook=hooks, at=at)
        return self.listed()

    def choose(self, picked: gr.SelectData) -> Any:
        name = picked.row_value[0]
        watches = self.bench.watches.all()
        return name, next((one["console"] for one in watches if one["name"] == name), "")

    @shows_errors
    def end(self, name: str | None, request: gr.Request) -> None:
        self.bench.who(request, "admin")
        self.bench.watches.stop(str(name))
        inform(t("live.ends"))

    def now(self, product: str | None, line: str | None = None) -> tuple[str, str, str]:
        """The last hour of a product (on a line), the trend of its scores, the newest pictures."""
        service = self.bench.service
        if not product or product not in service.product_names():
            return "", "", pieces.hint(t("live.teach"))
        store, hour = service.store, datetime.now(UTC) - timedelta(hours=1)
        found = service.statistics(product)
        line = None if line in (ANY_LINE, None) else line
        counts = {
            verdict: store.count(Filter(product=product, line=line, verdict=verdict, since=hour))
            for verdict in ("normal", "unsure", "anomalous")
        }
        total, drift = sum(counts.values()), found["drift"]
        strength = t("live.drifting") if drift["alarm"] else f"{drift['strength']:.2g}"
        tiles = [
            (str(total), t("live.hour")),
            (f"{counts['anomalous'] / total:.1%}" if total else "-", t("verdict.anomalous")),
            (f"{counts['unsure'] / total:.1%}" if total else "-", t("verdict.unsure")),
            (strength, t("live.drift")),
            (str(store.count(Filter(product=product, line=line, late=True, since=hour))),
             t("live.late")),
            (str(messages.count_waiting(store)), t("live.waiting")),
            (str(messages.count_refused(store)), t("live.refused")),
        ]  # fmt: skip
        limit = limit_of(found["calibration"]["scores"], found["false_alarm_rate"])
        rows = store.history(Filter(product=product, line=line), limit=NEWEST)
        recent = found["recent"] if line is None else self._recent(product, line)
        trend = trend_chart(recent, limit)
        lines = "" if line is not None else self._lines(product, hour)
        return pieces.tiles(tiles) + lines, trend, pieces.rows_of(service, rows)

    def _recent(self, product: str, line: str) -> list[dict[str, Any]]:
        """The newest scores of a line, the oldest first."""
        wanted = Filter(product=product, line=line, state="done")
        rows = self.bench.service.store.history(wanted, limit=RECENT)[::-1]
        return [{"verdict": row.verdict, "score": row.score} for row in rows]

    def _lines(self, product: str, since: datetime) -> str:
        """Each line of the product: what it did in the last hour."""
        store = self.bench.service.store
        found = []
        for name in line_names(store, product):
            of: dict[str, Any] = {"product": product, "line": name, "since": since}
            done = store.count(Filter(**of, state="done"))
            bad = store.count(Filter(**of, verdict="anomalous"))
            found.append((name, done, f"{bad / done:.1%}" if done else "-",
                          store.count(Filter(**of, late=True))))  # fmt: skip
        return pieces.render("lines.html.j2", lines=found) if found else ""


def state_words(state: str) -> str:
    """A watch's state in the page's words."""
    return t(f"state.{state}") if state in ("running", "ended") else state

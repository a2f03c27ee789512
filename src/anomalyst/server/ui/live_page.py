"""Live: what folders and cameras bring in, and whether it reaches whom it should."""

from datetime import UTC, datetime, timedelta
from typing import Any

import gradio as gr

from anomalyst.server.storage import messages
from anomalyst.server.storage.filters import Filter
from anomalyst.server.ui import components as pieces
from anomalyst.server.ui.charts import limit_of, trend_chart
from anomalyst.server.ui.context import Bench, inform, shows_errors
from anomalyst.server.ui.wording import t

REFRESH_SECONDS = 3
NEWEST = 12
COLUMNS = ("live.name", "live.of", "live.product", "live.state")


class LivePage:
    """The newest results of a product, and the watches that bring them in."""

    def __init__(self, bench: Bench):
        self.bench, self.chosen = bench, gr.State(None)
        with gr.Row():
            with gr.Column(scale=4, min_width=320):
                figures = gr.HTML(elem_id="live-figures")
                self.page = [figures, gr.HTML(), gr.HTML(elem_id="live-newest")]
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
        self._connect()

    def _connect(self) -> None:
        gr.on(None, self.bench.product_choice, None, self.product).then(
            self.now, self.product, self.page
        )
        gr.on(None, self.listed, None, self.watches)
        self.product.change(self.now, self.product, self.page)
        given = [self.source, self.product, self.mqtt, self.webhook]
        self.start.click(self.begin, given, self.watches)
        self.watches.select(self.choose, None, [self.chosen, self.console])
        self.stop.click(self.end, self.chosen, None)
        timer = gr.Timer(REFRESH_SECONDS)
        timer.tick(self.now, self.product, self.page, show_progress="hidden")
        timer.tick(self.listed, None, self.watches, show_progress="hidden")

    def listed(self) -> dict[str, Any]:
        rows = [
            [one["name"], one["source"], one["product"], state_words(one["state"])]
            for one in self.bench.watches.all()
        ]
        return pieces.headed(COLUMNS, rows)

    @shows_errors
    def begin(self, source: str, product: str, mqtt: str, webhook: str, request: gr.Request) -> Any:
        self.bench.who(request, "admin")
        brokers, hooks = [mqtt] if mqtt.strip() else [], [webhook] if webhook.strip() else []
        self.bench.watches.start(source.strip(), product, mqtt=brokers, webhook=hooks)
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

    def now(self, product: str | None) -> tuple[str, str, str]:
        """The last hour of a product in figures, the trend of its scores, the newest pictures."""
        service = self.bench.service
        if not product or product not in service.product_names():
            return "", "", pieces.hint(t("live.teach"))
        store, hour = service.store, datetime.now(UTC) - timedelta(hours=1)
        found = service.statistics(product)
        counts = {
            verdict: store.count(Filter(product=product, verdict=verdict, since=hour))
            for verdict in ("normal", "unsure", "anomalous")
        }
        total, drift = sum(counts.values()), found["drift"]
        strength = t("live.drifting") if drift["alarm"] else f"{drift['strength']:.2g}"
        tiles = [
            (str(total), t("live.hour")),
            (f"{counts['anomalous'] / total:.1%}" if total else "-", t("verdict.anomalous")),
            (f"{counts['unsure'] / total:.1%}" if total else "-", t("verdict.unsure")),
            (strength, t("live.drift")),
            (str(messages.count_waiting(store)), t("live.waiting")),
            (str(messages.count_refused(store)), t("live.refused")),
        ]
        limit = limit_of(found["calibration"]["scores"], found["false_alarm_rate"])
        rows = store.history(Filter(product=product), limit=NEWEST)
        trend = trend_chart(found["recent"], limit)
        return pieces.tiles(tiles), trend, pieces.rows_of(service, rows)


def state_words(state: str) -> str:
    """A watch's state in the page's words."""
    return t(f"state.{state}") if state in ("running", "ended") else state

"""Live: what folders and cameras bring in, and whether it reaches whom it should."""

from datetime import UTC, datetime, timedelta
from typing import Any

import gradio as gr

from anomalyst.server.storage.store import Filter
from anomalyst.server.ui import components as pieces
from anomalyst.server.ui.charts import limit_of, trend_chart
from anomalyst.server.ui.context import Bench, told

REFRESH_SECONDS = 3
NEWEST = 12
HEADINGS = ["watch", "source", "product", "state"]


def build(bench: Bench) -> None:
    """The page's parts and what they do."""
    names, chosen = gr.State([]), gr.State(None)
    with gr.Row():
        with gr.Column(scale=4, min_width=320):
            figures = gr.HTML(elem_id="live-figures")
            trend = gr.HTML()
            newest = gr.HTML(elem_id="live-newest")
        with gr.Column(scale=3, min_width=300):
            gr.Markdown("### Watch")
            source = gr.Textbox(
                label="Folder, rtsp://… or a camera's number", elem_id="live-source"
            )
            product = gr.Dropdown(label="Product", elem_id="live-product")
            mqtt = gr.Textbox(label="MQTT broker", placeholder="host:1883 (none)")
            webhook = gr.Textbox(label="Webhook", placeholder="https://… (none)")
            start = gr.Button("Start watching", variant="primary", elem_id="live-start")
            watches = gr.Dataframe(headers=HEADINGS, interactive=False, label="Watches", wrap=True)
            console = gr.Textbox(label="Last words", lines=6, max_lines=6, interactive=False)
            stop = gr.Button("Stop it", size="sm", variant="stop", elem_id="live-stop")

    def products() -> Any:
        return gr.Dropdown(
            choices=bench.service.product_names(),
            value=next(iter(bench.service.product_names()), None),
        )

    def now(name: str | None) -> Any:
        return described(bench, name)

    def listed() -> Any:
        known = bench.watches.all()
        cells = [[one["name"], one["source"], one["product"], one["state"]] for one in known]
        return cells, [one["name"] for one in known]

    @told
    def begin(source: str, product: str, mqtt: str, webhook: str, request: gr.Request) -> Any:
        bench.who(request, "admin")
        brokers, hooks = [mqtt] if mqtt.strip() else [], [webhook] if webhook.strip() else []
        bench.watches.start(source.strip(), product, mqtt=brokers, webhook=hooks)
        return listed()

    def choose(known: list[str], picked: gr.SelectData) -> Any:
        name = known[picked.index[0]]
        said = next((one["console"] for one in bench.watches.all() if one["name"] == name), "")
        return name, said

    @told
    def end(name: str | None, request: gr.Request) -> None:
        bench.who(request, "admin")
        bench.watches.stop(str(name))
        gr.Info("It finishes what it has, and ends.")

    gr.on(None, products, None, product).then(now, product, [figures, trend, newest])
    gr.on(None, listed, None, [watches, names])
    product.change(now, product, [figures, trend, newest])
    start.click(begin, [source, product, mqtt, webhook], [watches, names])
    watches.select(choose, names, [chosen, console])
    stop.click(end, chosen, None)
    timer = gr.Timer(REFRESH_SECONDS)
    timer.tick(now, product, [figures, trend, newest], show_progress="hidden")
    timer.tick(listed, None, [watches, names], show_progress="hidden")


def described(bench: Bench, product: str | None) -> tuple[str, str, str]:
    """The last hour of a product in figures, the trend of its scores, the newest pictures."""
    if not product or product not in bench.service.product_names():
        return "", "", "<p class='an-hint'>Teach a product first.</p>"
    store, hour = bench.service.store, datetime.now(UTC) - timedelta(hours=1)
    found = bench.service.statistics(product)
    counts = {
        verdict: store.count(Filter(product=product, verdict=verdict, since=hour))
        for verdict in ("normal", "unsure", "anomalous")
    }
    total, drift = sum(counts.values()), found["drift"]
    tiles = [
        (str(total), "in the last hour"),
        (f"{counts['anomalous'] / total:.1%}" if total else "-", "anomalous"),
        (f"{counts['unsure'] / total:.1%}" if total else "-", "unsure"),
        (
            "DRIFT" if drift["alarm"] else f"{drift['strength']:.2g}",
            "evidence of drift (100: alarm)",
        ),
        (str(store.undelivered()), "messages waiting"),
    ]
    limit = limit_of(found["calibration"]["scores"], found["false_alarm_rate"])
    rows = store.history(Filter(product=product), limit=NEWEST)
    return (
        pieces.tiles(tiles),
        trend_chart(found["recent"], limit),
        pieces.rows_of(bench.service, rows),
    )

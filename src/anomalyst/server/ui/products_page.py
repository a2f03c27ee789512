"""Products: teach by dropping good pictures; calibration, false-alarm rate, drift, history."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from anomalyst.server.records.products import reference_paths
from anomalyst.server.ui import components as pieces
from anomalyst.server.ui.charts import calibration_chart, limit_of, trend_chart
from anomalyst.server.ui.context import Bench, told

GALLERY_MOST = 60
WORDS = {
    "taught": "taught", "extended": "more good pictures", "described": "described or set",
    "imported": "imported", "accepted": "a place called fine", "withdrawn": "a correction undone",
    "deleted": "deleted", "drift": "drift",
}  # fmt: skip


def build(bench: Bench) -> None:
    """The page's parts and what they do."""
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            gr.Markdown(
                "### Teach\nOne good picture is enough; 19 or more keep a false-alarm rate of 5 %."
            )
            name = gr.Textbox(label="Name of the product", elem_id="teach-name", max_length=80)
            good = gr.File(
                label="Drop good pictures", file_count="multiple", height=130, elem_id="teach-drop"
            )
            pose = gr.Radio(
                ["auto", "fixed", "free"], value="auto", label="Does it lie any way round?"
            )
            about = gr.Textbox(label="What to know of it", placeholder="the print should read 500")
            teach = gr.Button("Teach", variant="primary", elem_id="teach-go")
            progress = gr.Markdown(elem_id="teach-said")
            with gr.Accordion("From another installation", open=False):
                packed = gr.File(label="A product file (.zip)", file_types=[".zip"], height=110)
        with gr.Column(scale=4, min_width=320):
            chosen = gr.Dropdown(label="Product", elem_id="product-chosen")
            figures = gr.HTML(elem_id="product-figures")
            with gr.Row():
                with gr.Column(min_width=300):
                    calibration = gr.HTML()
                with gr.Column(min_width=300):
                    trend = gr.HTML()
            with gr.Row():
                rate = gr.Number(
                    label="False-alarm rate",
                    minimum=0.001,
                    maximum=0.5,
                    step=0.01,
                    elem_id="product-rate",
                )
                export = gr.DownloadButton("Export as one file", elem_id="product-export")
                sure = gr.Textbox(label="To delete it, write its name", elem_id="product-sure")
                delete = gr.Button("Delete", variant="stop", elem_id="product-delete")
            references = gr.Gallery(
                label="Good pictures", columns=8, height=220, elem_id="product-references"
            )
            history = gr.Dataframe(
                headers=["when", "what", "by"], label="What happened to it", interactive=False
            )

    page = [figures, calibration, trend, rate, references, history]

    def products(value: str | None) -> Any:
        names = bench.service.product_names()
        return gr.Dropdown(
            choices=names, value=value if value in names else next(iter(names), None)
        )

    @told
    def show(value: str | None) -> Any:
        return described(bench, value) if value else [gr.skip()] * len(page)

    @told
    def learn(
        value: str, files: list[str] | None, pose: str, about: str, request: gr.Request
    ) -> Iterator[Any]:
        who = bench.who(request, "engineer")
        sent = [bench.service.take_file(Path(file)) for file in files or []]
        yield f"Looking at {len(sent)} good pictures …", gr.skip(), gr.skip()
        found = bench.service.teach(
            value.strip(), sent, by=who.name, pose=pose, describe=about or None
        )
        notes = " ".join(found["notes"])
        text = f"**{found['name']}** knows {len(found['references'])} good pictures. {notes}"
        yield (
            text,
            gr.Dropdown(choices=bench.service.product_names(), value=found["name"]),
            gr.File(value=None),
        )

    @told
    def bring_in(file: str, request: gr.Request) -> Any:
        who = bench.who(request, "engineer")
        found = bench.service.import_product(Path(file), None, who.name)
        return gr.Dropdown(choices=bench.service.product_names(), value=found["name"])

    @told
    def set_rate(value: str, rate: float, request: gr.Request) -> Any:
        who = bench.who(request, "engineer")
        bench.service.set_false_alarm_rate(value, rate, who.name)
        return described(bench, value)

    @told
    def pack_up(value: str, request: gr.Request) -> str:
        bench.who(request, "engineer")
        return str(bench.service.export_product(value))

    @told
    def remove(value: str, sure: str, request: gr.Request) -> Any:
        who = bench.who(request, "admin")
        if sure.strip() != value:
            raise gr.Error(f"Write {value} to delete it.", print_exception=False)
        bench.service.delete_product(value, who.name)
        return products(None), ""

    gr.on(None, products, chosen, chosen).then(show, chosen, page)
    chosen.change(show, chosen, page)
    teach.click(learn, [name, good, pose, about], [progress, chosen, good]).then(show, chosen, page)
    packed.upload(bring_in, packed, chosen)
    rate.submit(set_rate, [chosen, rate], page)
    export.click(pack_up, chosen, export)
    delete.click(remove, [chosen, sure], [chosen, sure])


def described(bench: Bench, name: str) -> list[Any]:
    """A product's figures, charts, rate, pictures and history."""
    known, found = bench.service.product(name), bench.service.statistics(name)
    rate, scores = found["false_alarm_rate"], found["calibration"]["scores"]
    limit = limit_of(scores, rate)
    counts, drift = found["counts"], found["drift"]
    tiles = [
        (str(len(known["references"])), "good pictures"),
        (str(len(known["corrections"])), "places called fine"),
        ("guaranteed" if found["guaranteed"] else "a guess", f"false alarms at {rate:.3g}"),
        (str(sum(counts.values())), "inspected"),
        (str(counts.get("anomalous", 0)), "anomalous"),
        (str(counts.get("unsure", 0)), "unsure"),
        (
            "drift!" if drift["alarm"] else f"{drift['strength']:.2g}",
            f"drift (alarm at {drift['alarm_at']:.0f})",
        ),
    ]
    paths = reference_paths(name, bench.service.config.products)
    pictures = list(zip(map(str, paths), known["references"], strict=True))[:GALLERY_MOST]
    happened = [
        [f"{one.created_at:%Y-%m-%d %H:%M}", WORDS.get(one.kind, one.kind), one.by]
        for one in bench.service.store.changes(name, 30)
    ]
    return [
        pieces.tiles(tiles),
        calibration_chart(scores, limit),
        trend_chart(found["recent"], limit),
        rate,
        pictures,
        happened,
    ]

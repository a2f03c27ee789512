"""Products: teach by dropping good pictures; calibration, false-alarm rate, drift, history."""

from pathlib import Path
from typing import Any

import gradio as gr

from anomalyst.inspection.mosaic import WORDS as WORDS_OF
from anomalyst.server.records.products import good_views
from anomalyst.server.ui import components as pieces
from anomalyst.server.ui.areas_section import AreasSection
from anomalyst.server.ui.charts import calibration_chart, limit_of, trend_chart
from anomalyst.server.ui.context import Bench, shows_errors
from anomalyst.server.ui.learning_section import LearningSection
from anomalyst.server.ui.measuring_section import MeasuringSection
from anomalyst.server.ui.odd_section import OddSection
from anomalyst.server.ui.teaching_form import TeachingForm
from anomalyst.server.ui.versions_section import VersionsSection

GALLERY_MOST = 60
WORDS = {
    "taught": "taught", "extended": "more good pictures", "described": "described or set",
    "imported": "imported", "accepted": "a place called fine", "withdrawn": "a correction undone",
    "deleted": "deleted", "drift": "drift", "areas": "areas that count",
    "learnt": "learnt from judgements",
    "not learnt": "judgements not taken", "unlearnt": "judgements unlearnt",
    "measuring": "scale or rules set", "brought back": "an earlier version brought back",
    "odd": "odd good pictures decided on",
}  # fmt: skip


class ProductsPage:
    """A form to teach, and the product that is chosen, with what may be done to it."""

    def __init__(self, bench: Bench):
        self.bench = bench
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                self._add_teaching()
            with gr.Column(scale=4, min_width=320):
                self._add_product()
        self._connect()

    def _add_teaching(self) -> None:
        self.form = TeachingForm(self.bench)
        self.odd = OddSection(self.bench)
        with gr.Accordion("From another installation", open=False):
            self.packed = gr.File(label="A product file (.zip)", file_types=[".zip"], height=110)

    def _add_product(self) -> None:
        self.chosen = gr.Dropdown(label="Product", elem_id="product-chosen")
        figures = gr.HTML(elem_id="product-figures")
        with gr.Row():
            with gr.Column(min_width=300):
                calibration = gr.HTML()
            with gr.Column(min_width=300):
                trend = gr.HTML()
        self.areas = AreasSection(self.bench, self.chosen)
        self.learning = LearningSection(self.bench, self.chosen)
        self.measuring = MeasuringSection(self.bench, self.chosen)
        self.versions = VersionsSection(self.bench)
        with gr.Row():
            self.rate = gr.Number(
                label="False-alarm rate", minimum=0.001, maximum=0.5, step=0.01,
                elem_id="product-rate",
            )  # fmt: skip
            self.export = gr.DownloadButton("Export as one file", elem_id="product-export")
            self.sure = gr.Textbox(label="To delete it, write its name", elem_id="product-sure")
            self.delete = gr.Button("Delete", variant="stop", elem_id="product-delete")
        references = gr.Gallery(
            label="Good parts", columns=8, height=220, elem_id="product-references"
        )
        history = gr.Dataframe(
            headers=["when", "what", "by"], label="What happened to it", interactive=False
        )
        self.page = [figures, calibration, trend, self.rate, references, history]

    def _connect(self) -> None:
        chosen, page = self.chosen, self.page
        gr.on(None, self.bench.product_choice, chosen, chosen).then(self.show, chosen, page)
        chosen.change(self.show, chosen, page)
        part = self.learning
        chosen.change(part.show, chosen, part.parts)
        chosen.change(self.measuring.show, chosen, self.measuring.parts)
        part.learn.click(part.on_learn, chosen, part.parts).then(self.show, chosen, page)
        part.undo.click(part.on_undo, chosen, part.parts).then(self.show, chosen, page)
        self.areas.editor.select(self.areas.save, chosen, self.areas.editor).then(
            self.show, chosen, page
        )
        chosen.change(self.areas.show, chosen, self.areas.editor)
        taught = self.form.connect(chosen)
        taught.then(self.show, chosen, page).then(self.odd.show, chosen, self.odd.parts)
        old = self.versions
        chosen.change(old.show, chosen, old.parts)
        taught.then(old.show, chosen, old.parts)
        old.back.click(old.bring_back, [chosen, old.number], old.parts).then(
            self.show, chosen, page
        )
        old.compare.click(old.judge_both, [chosen, old.number], old.said)
        for decided in self.odd.connect(chosen):
            decided.then(self.show, chosen, page).then(lambda: "", None, self.form.progress)
        self.packed.upload(self.bring_in, self.packed, chosen)
        self.rate.submit(self.set_rate, [chosen, self.rate], page)
        self.export.click(self.pack_up, chosen, self.export)
        self.delete.click(self.remove, [chosen, self.sure], [chosen, self.sure])

    @shows_errors
    def show(self, value: str | None) -> Any:
        return described(self.bench, value) if value else [gr.skip()] * len(self.page)

    @shows_errors
    def bring_in(self, file: str, request: gr.Request) -> Any:
        who = self.bench.who(request, "engineer")
        found = self.bench.service.import_product(Path(file), None, who.name)
        return self.bench.product_choice(found["name"])

    @shows_errors
    def set_rate(self, value: str, rate: float, request: gr.Request) -> Any:
        who = self.bench.who(request, "engineer")
        self.bench.service.set_false_alarm_rate(value, rate, who.name)
        return described(self.bench, value)

    @shows_errors
    def pack_up(self, value: str, request: gr.Request) -> str:
        self.bench.who(request, "engineer")
        return str(self.bench.service.export_product(value))

    @shows_errors
    def remove(self, value: str, sure: str, request: gr.Request) -> Any:
        who = self.bench.who(request, "admin")
        if sure.strip() != value:
            raise gr.Error(f"Write {value} to delete it.", print_exception=False)
        self.bench.service.delete_product(value, who.name)
        return self.bench.product_choice(), ""


def described(bench: Bench, name: str) -> list[Any]:
    """A product's figures, charts, rate, pictures and history."""
    known, found = bench.service.product(name), bench.service.statistics(name)
    rate, scores = found["false_alarm_rate"], found["calibration"]["scores"]
    rule, recent = found["rule"], found["recent"]
    limit = rule["threshold"] if rule else limit_of(scores, rate)
    if rule and rule["head"]:  # scores from before it are of another scale
        recent = [one for one in recent if one["revision"] == known["revision"]]
    calibrated = "guaranteed" if found["guaranteed"] else "a guess"
    counts, drift = found["counts"], found["drift"]
    strength = "drift!" if drift["alarm"] else f"{drift['strength']:.2g}"
    senses = known["senses"]
    several = ", ".join(WORDS_OF[sense] for sense in senses)
    sensed = [(several, "what tells of a part")] if senses != ["image"] else []
    tiles = [
        (str(len(known["references"])), "good parts" if sensed else "good pictures"),
        *sensed,
        (str(len(known["corrections"])), "places called fine"),
        ("by threshold", "verdict, set with known defects")
        if rule
        else (calibrated, f"false alarms at {rate:.3g}"),
        (str(sum(counts.values())), "inspected"),
        (str(counts.get("anomalous", 0)), "anomalous"),
        (str(counts.get("unsure", 0)), "unsure"),
        (strength, f"drift (alarm at {drift['alarm_at']:.0f})"),
    ]
    if drift["moved"]:
        tiles.append(("; ".join(drift["moved"]), "moved, beside the good pictures"))
    if known["tolerance"]:
        tiles.append((known["tolerance"], "good pictures stay good"))
    pictures = good_views(name, bench.service.config.products, GALLERY_MOST)
    happened = [
        [f"{one.created_at:%Y-%m-%d %H:%M}", WORDS.get(one.kind, one.kind), one.by]
        for one in bench.service.store.changes(name, 30)
    ]
    charts = calibration_chart(scores, limit), trend_chart(recent, limit)
    return [pieces.tiles(tiles), *charts, rate, pictures, happened]

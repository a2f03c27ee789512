"""Products: teach by dropping good pictures; calibration, false-alarm rate, drift, history."""

from pathlib import Path
from typing import Any

import gradio as gr
from markupsafe import Markup

from anomalyst.errors import AnomalystError
from anomalyst.server.records.products import good_views
from anomalyst.server.ui import components as pieces
from anomalyst.server.ui.areas_section import AreasSection
from anomalyst.server.ui.charts import calibration_chart, limit_of, trend_chart
from anomalyst.server.ui.context import Bench, in_order, shows_errors
from anomalyst.server.ui.learning_section import LearningSection
from anomalyst.server.ui.measuring_section import MeasuringSection
from anomalyst.server.ui.odd_section import OddSection
from anomalyst.server.ui.product_cards import ProductCards
from anomalyst.server.ui.teaching_form import TeachingForm
from anomalyst.server.ui.versions_section import VersionsSection
from anomalyst.server.ui.wording import t

GALLERY_MOST = 60
HEADINGS = ("history.when", "history.what", "history.by")
HAPPENED = (
    "taught", "extended", "described", "imported", "accepted", "withdrawn", "deleted", "drift",
    "areas", "learnt", "not learnt", "unlearnt", "measuring", "brought back", "odd",
)  # fmt: skip


class ProductsPage:
    """A form to teach, and the product that is chosen, with what may be done to it."""

    def __init__(self, bench: Bench):
        self.bench = bench
        self.cards = ProductCards(bench)
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                self._add_teaching()
            with gr.Column(scale=4, min_width=320):
                self._add_product()
        self._connect()

    def _add_teaching(self) -> None:
        self.form = TeachingForm(self.bench)
        self.odd = OddSection(self.bench)
        with gr.Accordion(t("products.import"), open=False):
            self.packed = gr.File(label=t("products.file"), file_types=[".zip"], height=110)

    def _add_product(self) -> None:
        self.chosen = gr.Dropdown(label=t("product"), elem_id="product-chosen")
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
                label=t("products.rate"), minimum=0.001, maximum=0.5, step=0.01,
                elem_id="product-rate",
            )  # fmt: skip
            self.export = gr.DownloadButton(t("products.export"), elem_id="product-export")
            self.sure = gr.Textbox(label=t("products.sure"), elem_id="product-sure")
            self.delete = gr.Button(t("products.delete"), variant="stop", elem_id="product-delete")
        references = gr.Gallery(
            label=t("products.good"), columns=8, height=220, elem_id="product-references"
        )
        history = gr.Dataframe(
            headers=[t(key) for key in HEADINGS],
            label=t("products.happened"),
            interactive=False,
        )
        self.page = [figures, calibration, trend, self.rate, references, history]

    def _connect(self) -> None:
        chosen, page, filled = self.chosen, self.page, in_order("products")
        self.cards.connect(chosen)
        known = gr.on(None, self.bench.product_choice, None, chosen)
        known.then(self.show, chosen, page, **filled)
        chosen.change(self.show, chosen, page, **filled)
        part = self.learning
        chosen.change(part.show, chosen, part.parts)
        chosen.change(self.measuring.show, chosen, self.measuring.parts)
        part.learn.click(part.on_learn, chosen, part.parts).then(self.show, chosen, page, **filled)
        part.undo.click(part.on_undo, chosen, part.parts).then(self.show, chosen, page, **filled)
        self.areas.editor.select(self.areas.save, chosen, self.areas.editor).then(
            self.show, chosen, page, **filled
        )
        chosen.change(self.areas.show, chosen, self.areas.editor)
        taught = self.form.connect(chosen)
        self._again(taught)
        taught.then(self.odd.show, chosen, self.odd.parts)
        old = self.versions
        chosen.change(old.show, chosen, old.parts)
        taught.then(old.show, chosen, old.parts)
        self._again(old.back.click(old.bring_back, [chosen, old.number], old.parts))
        old.compare.click(old.judge_both, [chosen, old.number], old.said)
        for decided in self.odd.connect(chosen):
            self._again(decided).then(lambda: "", None, self.form.progress)
        self.packed.upload(self.bring_in, self.packed, chosen)
        self.rate.submit(self.set_rate, [chosen, self.rate], page, **filled)
        self.export.click(self.pack_up, chosen, self.export)
        self.delete.click(self.remove, [chosen, self.sure], [chosen, self.sure])

    def _again(self, done: Any) -> Any:
        """The product and its card are shown anew once something was done to it."""
        shown = done.then(self.show, self.chosen, self.page, **in_order("products"))
        return shown.then(self.cards.show, self.chosen, self.cards.html)

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
            raise AnomalystError(t("products.write", name=value))
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
    calibrated = t("products.guaranteed" if found["guaranteed"] else "products.guess")
    counts, drift = found["counts"], found["drift"]
    strength = t("products.drifting") if drift["alarm"] else f"{drift['strength']:.2g}"
    senses = known["senses"]
    several = ", ".join(t(f"sense.{sense}") for sense in senses)
    sensed = [(several, t("products.senses"))] if senses != ["image"] else []
    tiles = [
        (str(len(known["references"])), t("products.good" if sensed else "products.pictures")),
        *sensed,
        (str(len(known["corrections"])), t("products.fine")),
        (t("products.threshold"), t("products.by_threshold"))
        if rule
        else (calibrated, t("products.alarms", rate=f"{rate:.3g}")),
        (str(sum(counts.values())), t("products.inspected")),
        (str(counts.get("anomalous", 0)), t("verdict.anomalous")),
        (str(counts.get("unsure", 0)), t("verdict.unsure")),
        (strength, t("products.drift", most=f"{drift['alarm_at']:.0f}")),
    ]
    if drift["moved"]:
        tiles.append((english("; ".join(drift["moved"])), t("products.moved")))
    if known["tolerance"]:
        tiles.append((english(known["tolerance"]), t("products.tolerance")))
    pictures = good_views(name, bench.service.config.products, GALLERY_MOST)
    happened = [
        [f"{one.created_at:%Y-%m-%d %H:%M}", happened_words(one.kind), one.by]
        for one in bench.service.store.changes(name, 30)
    ]
    charts = calibration_chart(scores, limit), trend_chart(recent, limit)
    told = pieces.headed(HEADINGS, happened)
    return [pieces.tiles(tiles), *charts, rate, pictures, told]


def english(said: str) -> Markup:
    """What the record says, which is English."""
    return Markup("<span lang='en'>{}</span>").format(said)


def happened_words(kind: str) -> str:
    """What happened to a product, in the page's words."""
    return t(f"happened.{kind.replace(' ', '_')}") if kind in HAPPENED else kind

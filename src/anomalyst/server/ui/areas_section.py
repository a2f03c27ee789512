"""Areas that count: drawn on a product's first good picture, and saved."""

import json
from typing import Any

import gradio as gr

from anomalyst.errors import AnomalystError
from anomalyst.inspection.product_scale import good_picture
from anomalyst.io.geometry import resize
from anomalyst.io.pictures import data_uri
from anomalyst.product_index import product_folder
from anomalyst.report.overlay import shown_size
from anomalyst.server.ui import components as pieces
from anomalyst.server.ui.context import Bench, inform, shows_errors
from anomalyst.server.ui.wording import t, t_all

DRAWN_PX = 1200
# What the editor (areas_editor.js) hands over when it is saved.
ATTACH_JS = """
const attach = () => anomalyst.attachAreas(element);
attach();
watch('value', attach);
element.addEventListener('areas-save', (event) => trigger('select', event.detail));
"""


class AreasSection:
    """The editor for the product that is chosen."""

    def __init__(self, bench: Bench, chosen: gr.Dropdown):
        self.bench, self.chosen = bench, chosen
        with gr.Accordion(t("areas.title"), open=False, elem_id="product-areas-open"):
            self.editor = gr.HTML(elem_id="product-areas", js_on_load=ATTACH_JS)

    @shows_errors
    def show(self, name: str | None) -> str:
        return editor(self.bench, name) if name else ""

    @shows_errors
    def save(self, name: str, given: gr.EventData, request: gr.Request) -> str:
        """Keep what was drawn; what is wrong with it is told, and the drawing stays."""
        who = self.bench.who(request, "engineer")
        drawn, on_product = json.loads(given.areas), bool(given.on_product)
        self.bench.service.set_areas(name, drawn, on_product=on_product, by=who.name)
        inform(t("areas.saved"))
        return editor(self.bench, name)


def editor(bench: Bench, name: str) -> str:
    """The first good picture with the product's areas, to be changed."""
    try:
        found = bench.service.areas(name)
    except AnomalystError as error:
        return pieces.render("note.html.j2", text=str(error))
    picture = good_picture(product_folder(name, bench.service.config.products))
    shown = resize(picture, shown_size(picture.shape[:2], DRAWN_PX))
    drawn: dict[str, Any] = {key: found[key] for key in ("width_px", "height_px", "areas")}
    return pieces.render(
        "areas.html.j2",
        areas=json.dumps(drawn),
        on_product=found["on_product"],
        told=found["told"],
        words=json.dumps(t_all("areas.js.")),
        width=found["width_px"],
        height=found["height_px"],
        picture=data_uri(shown, quality=88),
    )

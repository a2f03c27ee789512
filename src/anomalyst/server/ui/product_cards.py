"""Products as cards: a good picture, a traffic light in words, counts and drift."""

from pathlib import Path
from typing import Any

import gradio as gr

from anomalyst.io.pictures import open_picture
from anomalyst.server.records.products import good_views
from anomalyst.server.service import Service
from anomalyst.server.ui import components as pieces
from anomalyst.server.ui.context import Bench, shows_errors

CARD_PX = 96
CARD_JS = """
element.addEventListener('click', (event) => {
  const card = event.target.closest('[data-product]');
  if (card) trigger('select', {product: card.dataset.product});
});
"""


class ProductCards:
    """One card a product; a click chooses it."""

    def __init__(self, bench: Bench):
        self.bench = bench
        self.html = gr.HTML(elem_id="product-cards", js_on_load=CARD_JS)

    def connect(self, chosen: gr.Dropdown) -> None:
        """Cards anew whenever another product is chosen, and that one marked."""
        chosen.change(self.show, chosen, self.html, show_progress="hidden")
        self.html.select(self.choose, None, chosen)

    @shows_errors
    def show(self, chosen: str | None) -> str:
        service = self.bench.service
        cards = [card(service, name) for name in service.product_names()]
        return pieces.render("cards.html.j2", cards=cards, chosen=chosen)

    def choose(self, picked: gr.EventData) -> Any:
        return self.bench.product_choice(str(picked.product))


def card(service: Service, name: str) -> dict[str, Any]:
    """What a card tells of a product.

    Its light is `drift` while the scores of parts called normal have changed, `few` where too few
    good parts were taught for a guarantee, else `steady`.
    """
    found = service.statistics(name)
    drift, counts = found["drift"], found["counts"]
    kept = found["guaranteed"] or found["rule"]
    return {
        "name": name,
        "picture": _picture(service, name),
        "light": "drift" if drift["alarm"] else "steady" if kept else "few",
        "inspected": sum(counts.values()),
        "anomalous": counts.get("anomalous", 0),
        "drift": f"{drift['strength']:.2g}",
        "most": f"{drift['alarm_at']:.0f}",
    }


def _picture(service: Service, name: str) -> str:
    for look, _ in good_views(name, service.config.products, 1):
        return pieces.reduced(open_picture(look) if isinstance(look, Path) else look, CARD_PX)
    return ""

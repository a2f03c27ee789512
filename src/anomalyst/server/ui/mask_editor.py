"""The mask editor: a picture on which clicks, boxes and strokes give crisp masks, that are kept.

Its scripts talk to the REST API by themselves (api/masks.py); here is what they begin with.
"""

from typing import Any

import gradio as gr

from anomalyst.detection.classifiers.kinds import KIND_OF, KINDS
from anomalyst.server.records.drawn import drawn_masks, labels_of
from anomalyst.server.storage.tables import InspectionRow
from anomalyst.server.ui.components import render
from anomalyst.server.ui.context import Bench, shows_errors

SCRIPTS = tuple(
    f"masks/{name}.js" for name in ("bits", "canvas", "session", "marks", "pointer", "editor")
)
NONE = "<p class='an-hint'>Masks are drawn on a photograph that was inspected.</p>"
KEPT, REMOVED = "The mask is kept.", "The mask is removed."
TOOLS = (  # name, text, key, label
    ("plus", "Click +", "A", "click on the thing"),
    ("minus", "Click \N{MINUS SIGN}", "S", "click beside the thing"),
    ("box", "Box", "X", "draw a box around the thing"),
    ("brush", "Brush", "B", "paint the mask"),
    ("eraser", "Eraser", "E", "erase the mask"),
    ("pan", "Hand", "H", "move the picture"),
)
# When the editor closes, the page hears of the last mask that was kept; null: only removed.
ATTACH_JS = """
const attach = () => anomalyst.attachMasks(element, (id) => trigger('select', {kept: id}));
attach();
watch('value', attach);
"""


class MaskEditor:
    """A button that opens the editor of the inspection whose id `current` holds."""

    def __init__(self, bench: Bench, current: gr.State, name: str):
        self.bench, self.current, self.name = bench, current, name
        self.html = gr.HTML(NONE, elem_id=f"{name}-masks", js_on_load=ATTACH_JS)

    def connect(self, said: gr.Markdown, last: gr.State) -> None:
        """Show the inspection that is chosen; tell `said` and `last` what was kept of it."""
        gr.on([self.current.change, last.change], self.shown, self.current, self.html)
        self.html.select(self.heard, self.current, [said, last, self.html])

    @shows_errors
    def heard(self, id: str | None, request: gr.Request, kept: gr.EventData) -> Any:
        number = kept.kept
        return KEPT if number else REMOVED, number, self.shown(id, request)

    @shows_errors
    def shown(self, id: str | None, request: gr.Request) -> str:
        """The button and what is kept, and all that the editor needs to know of the inspection."""
        service = self.bench.service
        row = service.store.inspection(id) if id else None
        if row is None or row.state != "done" or not _is_photograph(row):
            return NONE
        who = self.bench.who(request)
        record = row.record or {}
        about = {
            "id": row.id,
            "name": row.name,
            "wide": record["width_px"],
            "high": record["height_px"],
            "regions": [
                {k: r.get(k) for k in ("box_xyxy", "kind", "mask")} for r in record["regions"]
            ],
            "pass": service.tickets.page_pass(who) if service.config.keys else None,
            "mayUndo": who.may("engineer"),
        }
        kinds = dict.fromkeys([*labels_of(service.store, row.product), *KINDS, *KIND_OF])
        return render(
            "mask_editor.html.j2", about=about, name=self.name, tools=TOOLS, kinds=list(kinds),
            drawn=[one for one, _ in drawn_masks(service.store, row)],
        )  # fmt: skip


def _is_photograph(row: InspectionRow) -> bool:
    return (row.record or {}).get("sense", "image") == "image"

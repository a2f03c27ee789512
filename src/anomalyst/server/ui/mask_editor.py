"""The mask editor: a picture on which clicks, boxes and strokes give crisp masks, that are kept.

Its scripts talk to the REST API by themselves (api/masks.py); here is what they begin with.
"""

from typing import Any

import gradio as gr

from anomalyst.detection.classifiers.kinds import KIND_OF, KINDS
from anomalyst.server.records.drawn import drawn_masks, labels_of
from anomalyst.server.storage.tables import InspectionRow
from anomalyst.server.ui import components as pieces
from anomalyst.server.ui.context import Bench, shows_errors
from anomalyst.server.ui.wording import t, t_all

SCRIPTS = tuple(
    f"masks/{name}.js" for name in ("bits", "canvas", "session", "marks", "pointer", "editor")
)
TOOLS = (  # name, key
    ("plus", "A"), ("minus", "S"), ("box", "X"), ("brush", "B"), ("eraser", "E"), ("pan", "H"),
)  # fmt: skip
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
        self.html = gr.HTML(
            pieces.hint(t("masks.none")), elem_id=f"{name}-masks", js_on_load=ATTACH_JS
        )

    def connect(self, said: gr.Markdown, last: gr.State) -> None:
        """Show the inspection that is chosen; tell `said` and `last` what was kept of it."""
        gr.on([self.current.change, last.change], self.shown, self.current, self.html)
        self.html.select(self.heard, self.current, [said, last, self.html])

    @shows_errors
    def heard(self, id: str | None, request: gr.Request, kept: gr.EventData) -> Any:
        number = kept.kept
        return t("masks.kept" if number else "masks.removed"), number, self.shown(id, request)

    @shows_errors
    def shown(self, id: str | None, request: gr.Request) -> str:
        """The button and what is kept, and all that the editor needs to know of the inspection."""
        service = self.bench.service
        row = service.store.inspection(id) if id else None
        if row is None or row.state != "done" or not _is_photograph(row):
            return pieces.hint(t("masks.none"))
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
            "words": t_all("masks.js."),
        }
        kinds = dict.fromkeys([*labels_of(service.store, row.product), *KINDS, *KIND_OF])
        return pieces.render(
            "mask_editor.html.j2", about=about, name=self.name, tools=TOOLS, kinds=list(kinds),
            drawn=[one for one, _ in drawn_masks(service.store, row)],
        )  # fmt: skip


def _is_photograph(row: InspectionRow) -> bool:
    return (row.record or {}).get("sense", "image") == "image"

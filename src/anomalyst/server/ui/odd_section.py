"""Good pictures that look odd beside the others: shown with their places, left out or kept."""

from collections.abc import Iterator
from typing import Any

import gradio as gr
import numpy as np

from anomalyst.errors import AnomalystError
from anomalyst.server.ui.context import Bench, shows_errors
from anomalyst.server.ui.wording import t


class OddSection:
    """What waits to be decided of the product that is chosen; nothing of one without odd ones."""

    def __init__(self, bench: Bench):
        self.bench = bench
        with gr.Group(visible=False, elem_id="odd") as self.group:
            self.said = gr.Markdown(elem_id="odd-said")
            self.pictures = gr.Gallery(
                label=t("odd.outlined"),
                columns=2,
                height=320,
                object_fit="contain",
                elem_id="odd-pictures",
            )
            self.ticked = gr.CheckboxGroup(label=t("odd.no_good"), elem_id="odd-ticked")
            with gr.Row():
                self.leave = gr.Button(t("odd.leave"), elem_id="odd-leave")
                self.keep = gr.Button(t("odd.keep"), elem_id="odd-keep")
        self.parts = [self.group, self.said, self.pictures, self.ticked]

    def connect(self, chosen: gr.Dropdown) -> list[Any]:
        """What follows the buttons."""
        chosen.change(self.show, chosen, self.parts)
        given = [chosen, self.ticked]
        return [
            self.leave.click(self.on_leave, given, self.parts),
            self.keep.click(self.on_keep, chosen, self.parts),
        ]

    @shows_errors
    def show(self, name: str | None) -> list[Any]:
        return shown(self.bench, name) if name else _nothing()

    @shows_errors
    def on_leave(self, name: str, ticked: list[int], request: gr.Request) -> Iterator[Any]:
        if not ticked:
            raise AnomalystError(t("odd.tick"))
        yield from self._decide(name, ticked, request)

    @shows_errors
    def on_keep(self, name: str, request: gr.Request) -> Iterator[Any]:
        yield from self._decide(name, [], request)

    def _decide(self, name: str, out: list[int], request: gr.Request) -> Iterator[Any]:
        who, service = self.bench.who(request, "engineer"), self.bench.service
        waiting = [one["number"] for one in service.product(name)["odd"] if not one["kept"]]
        keep = [number for number in waiting if number not in out]
        if out:
            yield gr.skip(), t("odd.teaching"), gr.skip(), gr.skip()
        service.decide_odd(name, leave_out=out, keep=keep, by=who.name)
        yield shown(self.bench, name)


def shown(bench: Bench, name: str) -> list[Any]:
    """The odd pictures of a product, drawn, with what may be ticked."""
    waiting = {one["number"]: one for one in bench.service.product(name)["odd"] if not one["kept"]}
    if not waiting:
        return _nothing()
    drawn = bench.service.odd_drawings(name)
    pictures: list[tuple[np.ndarray, str]] = [
        (picture, _caption(waiting[number])) for number, picture in drawn.items()
    ]
    said = t("odd.one") if len(waiting) == 1 else t("odd.many", count=len(waiting))
    choices = [(f"{odd['name']}: {odd['place']}", number) for number, odd in waiting.items()]
    return [gr.Group(visible=True), said, pictures, gr.CheckboxGroup(choices=choices, value=[])]


def _caption(odd: dict[str, Any]) -> str:
    spreads = f"{odd['spreads']:.1f}"
    return t("odd.caption", name=odd["name"], place=odd["place"], spreads=spreads)


def _nothing() -> list[Any]:
    return [gr.Group(visible=False), "", [], gr.CheckboxGroup(choices=[], value=[])]

"""Millimetres and what is tolerated: two clicks on the first good picture, and rules as text."""

from html import escape
from typing import Any

import gradio as gr
import numpy as np

from anomalyst.errors import AnomalystError
from anomalyst.inspection.product_scale import good_picture
from anomalyst.io.geometry import resize
from anomalyst.measuring.scale import drawn_points
from anomalyst.product_index import product_folder
from anomalyst.report.overlay import shown_size
from anomalyst.server.ui.context import Bench, shows_errors
from anomalyst.server.ui.wording import t

SHOWN_PX = 1200
RULES = "scratch: length < 2 mm\nspots: at most 3\nany: area < 0.5 mm2"
Point = tuple[float, float]


class MeasuringSection:
    """Scale and acceptance rules of the product that is chosen."""

    def __init__(self, bench: Bench, chosen: gr.Dropdown):
        self.bench, self.chosen = bench, chosen
        self.points = gr.State([])  # clicked, in pixels of the picture itself
        with gr.Accordion(t("measuring.title"), open=False):
            self.said = gr.Markdown(elem_id="measuring-said")
            with gr.Row():
                with gr.Column(min_width=300):
                    self.open = gr.Button(t("measuring.show"), size="sm", elem_id="measuring-open")
                    self.picture = gr.Image(
                        label=t("measuring.hint"), type="numpy", interactive=False, visible=False,
                        elem_id="measuring-picture",
                    )  # fmt: skip
                    with gr.Row():
                        self.length = gr.Number(
                            label=t("measuring.length"), minimum=0, elem_id="measuring-length"
                        )
                        self.set_scale = gr.Button(t("measuring.set"), elem_id="measuring-set")
                        self.forget = gr.Button(t("measuring.forget"), elem_id="measuring-forget")
                with gr.Column(min_width=300):
                    self.rules = gr.Textbox(
                        label=t("measuring.rules"), lines=6, placeholder=RULES,
                        elem_id="measuring-rules",
                    )  # fmt: skip
                    self.keep = gr.Button(t("measuring.keep"), elem_id="measuring-keep")
        self.parts = [self.said, self.rules, self.picture, self.points]
        self._connect()

    def _connect(self) -> None:
        chosen, known = self.chosen, [self.said, self.rules]
        self.open.click(self.on_open, chosen, [self.picture, self.points])
        self.picture.select(self.on_click, [chosen, self.points], [self.picture, self.points])
        given = [chosen, self.points, self.length]
        self.set_scale.click(self.on_scale, given, known)
        self.forget.click(self.on_forget, chosen, known)
        self.keep.click(self.on_rules, [chosen, self.rules], known)

    @shows_errors
    def show(self, name: str | None) -> Any:
        hidden = gr.Image(value=None, visible=False)
        return [*(section(self.bench, name) if name else ("", "")), hidden, []]

    @shows_errors
    def on_open(self, name: str) -> Any:
        return gr.Image(value=self._drawn(name, []), visible=True), []

    @shows_errors
    def on_click(self, name: str, points: list[Point], picked: gr.SelectData) -> Any:
        """The third click begins anew."""
        picture = self._picture(name)
        shown = shown_size(picture.shape[:2], SHOWN_PX)
        x, y = picked.index
        there = ((x + 0.5) * picture.shape[1] / shown[1], (y + 0.5) * picture.shape[0] / shown[0])
        points = [*(points if len(points) < 2 else []), there]
        return gr.Image(value=self._drawn(name, points)), points

    @shows_errors
    def on_scale(
        self, name: str, points: list[Point], length: float | None, request: gr.Request
    ) -> Any:
        if len(points) != 2 or not length:
            raise AnomalystError(t("measuring.two"))
        picture = self._picture(name)
        larger = picture.shape[1] / shown_size(picture.shape[:2], SHOWN_PX)[1]
        flat = [value for point in points for value in point]
        return self._set(
            name,
            {"scale": {"points_xy": flat, "length_mm": length, "click_px": 0.5 * larger}},
            request,
        )

    @shows_errors
    def on_forget(self, name: str, request: gr.Request) -> Any:
        return self._set(name, {"scale": None}, request)

    @shows_errors
    def on_rules(self, name: str, text: str, request: gr.Request) -> Any:
        return self._set(name, {"rules": text.splitlines()}, request)

    def _set(self, name: str, wanted: dict[str, Any], request: gr.Request) -> tuple[str, str]:
        who = self.bench.who(request, "engineer")
        self.bench.service.set_measuring(name, wanted, who.name)
        return section(self.bench, name)

    def _picture(self, name: str) -> np.ndarray:
        return good_picture(product_folder(name, self.bench.service.config.products))

    def _drawn(self, name: str, points: list[Point]) -> np.ndarray:
        picture = self._picture(name)
        size_hw = shown_size(picture.shape[:2], SHOWN_PX)
        scale = size_hw[0] / picture.shape[0]
        return drawn_points(resize(picture, size_hw), [(x * scale, y * scale) for x, y in points])


def section(bench: Bench, name: str) -> tuple[str, str]:
    """What the product keeps, in words, and its rules as text."""
    if bench.service.senses(name)[0] in ("audio", "series") or len(bench.service.senses(name)) > 1:
        return t("measuring.others"), ""
    found = bench.service.measuring(name)
    said = [*([found["words"]] if found["words"] else []), *found["notes"]]
    lines = [] if found["words"] else [t("measuring.no_scale")]
    lines += [f"<span lang='en'>{escape(one)}</span>" for one in said]
    return "  \n".join(lines), "\n".join(found["rules"])

"""Review queue: what nobody has judged, the least certain first; keys for right and wrong."""

from typing import Any

import gradio as gr

from anomalyst.server.ui import components as pieces
from anomalyst.server.ui.context import Bench, told
from anomalyst.server.ui.feedback_form import Judging

KEYS = (
    "<p class='an-hint an-keys'><kbd>R</kbd> right &nbsp; <kbd>W</kbd> wrong &nbsp; "
    "<kbd>F</kbd> this is fine &nbsp; <kbd>S</kbd> skip</p>"
)
EMPTY = "<p class='an-hint'>Nothing waits to be reviewed.</p>"


def build(bench: Bench) -> None:
    """The page's parts and what they do."""
    current, skipped = gr.State(None), gr.State([])
    with gr.Row():
        product = gr.Dropdown(label="Product", elem_id="review-product", scale=2)
        left = gr.Markdown(elem_id="review-left")
    with gr.Row():
        with gr.Column(scale=5, min_width=320):
            view = gr.HTML(EMPTY, elem_id="review-view")
        with gr.Column(scale=3, min_width=280):
            gr.HTML(KEYS)
            judging = Judging(bench, current, "review")
            skip = gr.Button("Skip", size="sm", elem_id="review-skip")
            talk = gr.HTML(elem_id="review-talk")

    page = [view, talk, current, left]

    def products() -> Any:
        return gr.Dropdown(choices=["any", *bench.service.product_names()], value="any")

    @told
    def following(name: str | None, passed: list[str], request: gr.Request) -> Any:
        bench.who(request)
        wanted = None if name in (None, "any") else name
        rows = bench.service.store.to_review(wanted, limit=200 + len(passed))
        rows = [row for row in rows if row.id not in passed]
        if not rows:
            return EMPTY, "", None, "Nothing waits."
        more = f"**{len(rows)}** wait" if len(rows) < 200 else "more than 200 wait"
        row = rows[0]
        return pieces.viewer(bench.service, row), pieces.dialogue(bench.service, row), row.id, more

    def pass_over(id: str | None, passed: list[str]) -> list[str]:
        return [*passed, id] if id else passed

    gr.on(None, products, None, product).then(following, [product, skipped], page)
    product.input(following, [product, skipped], page)
    skip.click(pass_over, [current, skipped], skipped).then(following, [product, skipped], page)

    @told
    def after(last: str | None, name: str, passed: list[str], request: gr.Request) -> Any:
        return following(name, passed, request) if last else [gr.skip()] * len(page)

    judging.last.change(after, [judging.last, product, skipped], page)

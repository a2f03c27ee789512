"""Review queue: what nobody has judged, uncertain or severe first; keys for right and wrong."""

from typing import Any

import gradio as gr

from anomalyst.server.ui import components as pieces
from anomalyst.server.ui.context import Bench, shows_errors
from anomalyst.server.ui.feedback_form import FeedbackForm

KEYS = (
    "<p class='an-hint an-keys'><kbd>R</kbd> right &nbsp; <kbd>W</kbd> wrong &nbsp; "
    "<kbd>F</kbd> this is fine &nbsp; <kbd>S</kbd> skip</p>"
)
ORDERS = ("least certain first", "most severe first")
EMPTY = "<p class='an-hint'>Nothing waits to be reviewed.</p>"


class ReviewPage:
    """The next inspection to judge, and what judges it."""

    def __init__(self, bench: Bench):
        self.bench = bench
        self.current, self.skipped = gr.State(None), gr.State([])
        with gr.Row():
            self.product = gr.Dropdown(label="Product", elem_id="review-product", scale=2)
            self.order = gr.Dropdown(
                list(ORDERS), value=ORDERS[0], label="Order", elem_id="review-order", scale=2
            )
            left = gr.Markdown(elem_id="review-left")
        with gr.Row():
            with gr.Column(scale=5, min_width=320):
                view = gr.HTML(EMPTY, elem_id="review-view")
            with gr.Column(scale=3, min_width=280):
                gr.HTML(KEYS)
                self.judging = FeedbackForm(bench, self.current, "review")
                self.skip = gr.Button("Skip", size="sm", elem_id="review-skip")
                talk = gr.HTML(elem_id="review-talk")
        self.page = [view, talk, self.current, left]
        self._connect()

    def _connect(self) -> None:
        given, page = [self.product, self.order, self.skipped], self.page
        gr.on(None, self.products, None, self.product).then(self.following, given, page)
        gr.on([self.product.input, self.order.input], self.following, given, page)
        skipped = self.skip.click(self.pass_over, [self.current, self.skipped], self.skipped)
        skipped.then(self.following, given, page)
        self.judging.last.change(self.after, [self.judging.last, *given], page)

    def products(self) -> Any:
        return gr.Dropdown(choices=["any", *self.bench.service.product_names()], value="any")

    @shows_errors
    def following(
        self, name: str | None, order: str, passed: list[str], request: gr.Request
    ) -> Any:
        """The first inspection, by the order wanted, that was neither judged nor skipped."""
        self.bench.who(request)
        service = self.bench.service
        wanted = None if name in (None, "any") else name
        severe = order == ORDERS[1]
        rows = service.store.to_review(wanted, limit=200 + len(passed), severest=severe)
        rows = [row for row in rows if row.id not in passed]
        if not rows:
            return EMPTY, "", None, "Nothing waits."
        more = f"**{len(rows)}** wait" if len(rows) < 200 else "more than 200 wait"
        talk = pieces.dialogue(service, rows[0], touched=False)
        return pieces.viewer(service, rows[0]), talk, rows[0].id, more

    def pass_over(self, id: str | None, passed: list[str]) -> list[str]:
        return [*passed, id] if id else passed

    @shows_errors
    def after(
        self, last: str | None, name: str, order: str, passed: list[str], request: gr.Request
    ) -> Any:
        """The next one, once this one was judged."""
        if not last:
            return [gr.skip()] * len(self.page)
        return self.following(name, order, passed, request)

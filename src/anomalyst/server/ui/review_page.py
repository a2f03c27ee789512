"""Review queue: what nobody has judged, uncertain or severe first; keys judge, lead on, back."""

from typing import Any

import gradio as gr

from anomalyst.server.storage.tables import InspectionRow
from anomalyst.server.ui import components as pieces
from anomalyst.server.ui.context import Bench, in_order, shows_errors
from anomalyst.server.ui.feedback_form import FeedbackForm
from anomalyst.server.ui.wording import t

MOST = 200  # that are counted
ANY = "any"
ORDERS = ("uncertain", "severest")


class ReviewPage:
    """The next inspection to judge, and what judges it."""

    def __init__(self, bench: Bench):
        self.bench = bench
        # What was shown on this page, the newest last; of these the one that is shown now.
        self.current, self.trail = gr.State(None), gr.State([])
        with gr.Row():
            self.product = gr.Dropdown(label=t("product"), elem_id="review-product", scale=2)
            orders = [(t(f"order.{one}"), one) for one in ORDERS]
            self.order = gr.Dropdown(
                orders, value=ORDERS[0], label=t("order"), elem_id="review-order", scale=2
            )
            left = gr.Markdown(elem_id="review-left")
        with gr.Row():
            with gr.Column(scale=5, min_width=320):
                view = gr.HTML(pieces.hint(t("review.none")), elem_id="review-view")
            with gr.Column(scale=3, min_width=280):
                gr.HTML(pieces.render("review_keys.html.j2"))
                self.judging = FeedbackForm(bench, self.current, "review")
                with gr.Row():
                    self.back = gr.Button(t("review.back"), size="sm", elem_id="review-back")
                    self.skip = gr.Button(t("review.next"), size="sm", elem_id="review-skip")
                talk = gr.HTML(elem_id="review-talk")
        self.page = [view, talk, self.current, left, self.trail]
        self._connect()

    def _connect(self) -> None:
        given, page = [self.product, self.order, self.current, self.trail], self.page
        filled = in_order("review")
        known = gr.on(None, self.products, None, self.product)
        known.then(self.following, given, page, **filled)
        gr.on(
            [self.product.input, self.order.input],
            self.other,
            given,
            page,
            trigger_mode="always_last",
            **filled,
        )
        self.skip.click(self.following, given, page, **filled)
        self.back.click(self.before, [self.product, self.current, self.trail], page, **filled)
        self.judging.last.change(self.after, [self.judging.last, *given], page, **filled)

    def products(self) -> Any:
        names = [(name, name) for name in self.bench.service.product_names()]
        return gr.Dropdown(choices=[(t("any"), ANY), *names], value=ANY)

    @shows_errors
    def following(
        self, name: str | None, order: str, current: str | None, trail: list[str],
        request: gr.Request,
    ) -> Any:  # fmt: skip
        """The one after this: on the way back the next of those seen, else the first waiting."""
        self.bench.who(request)
        at = trail.index(current) + 1 if current in trail else len(trail)
        if at < len(trail):
            row = self.bench.service.store.inspection(trail[at])
            return self._shown(row, name, trail, request)
        return self._first(name, order, trail, request)

    @shows_errors
    def before(
        self, name: str | None, current: str | None, trail: list[str], request: gr.Request
    ) -> Any:
        """The one before this."""
        self.bench.who(request)
        at = trail.index(current) - 1 if current in trail else len(trail) - 1
        if at < 0:
            return [gr.skip()] * len(self.page)
        return self._shown(self.bench.service.store.inspection(trail[at]), name, trail, request)

    def other(
        self, name: str | None, order: str, current: str | None, trail: list[str],
        request: gr.Request,
    ) -> Any:  # fmt: skip
        """The first of another product, or by another order; what was passed over stays so."""
        return self.following(name, order, None, [id for id in trail if id != current], request)

    @shows_errors
    def after(
        self,
        last: str | None,
        name: str,
        order: str,
        current: str,
        trail: list[str],
        request: gr.Request,
    ) -> Any:
        """The next one, once this one was judged."""
        if not last:
            return [gr.skip()] * len(self.page)
        return self.following(name, order, current, trail, request)

    def _waiting(
        self, name: str | None, trail: list[str], order: str = ORDERS[0]
    ) -> list[InspectionRow]:
        wanted = None if name in (None, ANY) else name
        severe = order == "severest"
        store = self.bench.service.store
        rows = store.to_review(wanted, limit=MOST + len(trail), severest=severe)
        return [row for row in rows if row.id not in trail]

    def _first(self, name: str | None, order: str, trail: list[str], request: gr.Request) -> Any:
        rows = self._waiting(name, trail, order)
        if not rows:
            return pieces.hint(t("review.none")), "", None, t("review.nothing"), trail
        return self._shown(rows[0], name, [*trail, rows[0].id], request)

    def _shown(
        self, row: InspectionRow, name: str | None, trail: list[str], request: gr.Request
    ) -> Any:
        service, who = self.bench.service, self.bench.who(request)
        count = len(self._waiting(name, [id for id in trail if id != row.id]))
        more = t("review.waiting" if count < MOST else "review.many", count=min(count, MOST))
        talk = pieces.dialogue(service, row, touched=False)
        return pieces.viewer(service, row, who), talk, row.id, more, trail

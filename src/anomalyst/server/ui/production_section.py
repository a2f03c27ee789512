"""Live's lower half: what the chosen line makes, as charts, and as files."""

import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import gradio as gr

from anomalyst.report.production.facts import Production
from anomalyst.report.production.page import charts_of, heat_uri
from anomalyst.report.shift.period import Period
from anomalyst.server.records.lines import line_names
from anomalyst.server.records.production import (
    Form,
    good_picture,
    papers_of,
    production_of_record,
)
from anomalyst.server.ui.components import render
from anomalyst.server.ui.context import Bench, in_order, shows_errors
from anomalyst.server.ui.wording import t

SPANS = {"hour": 1 / 24, "shift": 1 / 3, "full_day": 1.0, "week": 7.0, "month": 30.0}  # in days
ANY_LINE = ""  # no line has this name
REFRESH_SECONDS = 30  # charts take longer to make than tiles
FORMS: dict[Form, str] = {"pdf": "PDF", "xlsx": "Excel", "csv": "CSV"}  # beside the page itself


class ProductionSection:
    """Yield, control chart, Pareto and heat map of a product, by line and time."""

    def __init__(self, bench: Bench, product: gr.Dropdown):
        self.bench, self.product = bench, product
        with gr.Row():
            every = [(t("made.all_lines"), ANY_LINE)]
            self.line = gr.Dropdown(every, value=ANY_LINE, label=t("line"), elem_id="live-line")
            spans = [(t(f"span.{one}"), one) for one in SPANS]
            self.span = gr.Dropdown(spans, value="shift", label=t("made.time"), elem_id="live-span")
        self.view = gr.HTML(elem_id="live-production")
        with gr.Row():
            forms: dict[Form, str] = {"html": t("made.page"), **FORMS}
            self.files = {
                form: gr.DownloadButton(name, size="sm", elem_id=f"live-{form}", min_width=80)
                for form, name in forms.items()
            }
        self._connect()

    def _connect(self) -> None:
        chosen, filled = [self.product, self.line, self.span], in_order("production")
        self.product.change(self.lines, self.product, self.line)
        gr.on(
            [self.product.change, self.line.change, self.span.change], self.shown, chosen,
            self.view, show_progress="minimal", **filled,
        )  # fmt: skip
        timer = gr.Timer(REFRESH_SECONDS)
        timer.tick(self.shown, chosen, self.view, show_progress="hidden", **filled)
        timer.tick(self.lines, [self.product, self.line], self.line, show_progress="hidden")
        for form, button in self.files.items():
            button.click(self.written(form), chosen, button)

    def lines(self, product: str | None, chosen: str = ANY_LINE) -> Any:
        """The lines that the product's parts came from."""
        names = line_names(self.bench.service.store, product) if product else []
        choices = [(t("made.all_lines"), ANY_LINE), *((name, name) for name in names)]
        return gr.Dropdown(choices=choices, value=chosen if chosen in names else ANY_LINE)

    def shown(self, product: str | None, line: str, span: str) -> str:
        """The charts as HTML."""
        if not product or product not in self.bench.service.product_names():
            return ""
        made = self._made(product, line, span)
        good = good_picture(product, self.bench.service.config.products)
        heat = heat_uri(made, good) if made.heat.any() else ""
        return render(
            "production.html.j2", made=made, charts=charts_of(made), heat=heat,
            most=int(made.heat.max()),
        )  # fmt: skip

    def written(self, form: Form) -> Callable[..., str]:
        """A handler that writes what is shown as a file."""

        @shows_errors
        def write(product: str, line: str, span: str, request: gr.Request) -> str:
            self.bench.who(request)
            data = papers_of(
                self._made(product, line, span), form, self.bench.service.config.products
            )
            target = Path(tempfile.mkdtemp(prefix="anomalyst-")) / f"production.{form}"
            target.write_bytes(data)
            return str(target)

        return write

    def _made(self, product: str, line: str, span: str) -> Production:
        end = datetime.now(UTC)
        period = Period(end - timedelta(days=SPANS[span]), end, ZoneInfo("UTC"))
        named = None if line in (ANY_LINE, None) else line
        return production_of_record(self.bench.service.store, period, product=product, line=named)

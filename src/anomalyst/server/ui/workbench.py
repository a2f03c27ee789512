"""The workbench: pages on one service, mounted at the root of the app."""

import logging
from pathlib import Path

import gradio as gr
from fastapi import FastAPI

from anomalyst.errors import AnomalystError
from anomalyst.server.auth import caller_of
from anomalyst.server.gradio_startup import no_apps_in_between
from anomalyst.server.jobs.watches import Watches
from anomalyst.server.service import Service
from anomalyst.server.ui import mask_editor
from anomalyst.server.ui.context import Bench
from anomalyst.server.ui.history_page import HistoryPage
from anomalyst.server.ui.inspect_page import InspectPage
from anomalyst.server.ui.live_page import LivePage
from anomalyst.server.ui.products_page import ProductsPage
from anomalyst.server.ui.review_page import ReviewPage
from anomalyst.server.ui.training_page import TrainingPage

SCRIPTS = ("behave.js", "areas_editor.js", *mask_editor.SCRIPTS)
SIGN_IN = "Name and key, as `anomalyst store key` gave them."
PAGES = Path(__file__).parent
# A system's own: nothing is fetched, and text looks as it does elsewhere on the machine.
FONTS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")
COLOURS = {"primary_hue": "cyan", "secondary_hue": "cyan", "neutral_hue": "slate"}
MONO = ("ui-monospace", "Consolas", "monospace")
TOP = (
    "<div class='an-top'><h1>Anomalyst</h1><span class='an-sub'>{0}</span>"
    "<button type='button' data-theme-turn aria-label='light or dark'>light / dark</button></div>"
)


def mount_workbench(app: FastAPI, service: Service) -> FastAPI:
    """The app with the pages on it. Works offline: fonts and scripts come with it."""
    # Its HTTP client would log each probe of our own pages.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    bench = Bench(service, app.state.corrections, app.state.runs, Watches(service.config))

    def opens(name: str, key: str) -> bool:
        try:
            return caller_of(service.store, key).name == name
        except AnomalystError:
            return False

    with no_apps_in_between():
        pages = build_pages(bench)
    lock = {"auth": opens, "auth_message": SIGN_IN} if service.config.keys else {}
    return gr.mount_gradio_app(
        app,
        pages,
        path="/",
        **lock,
        show_error=False,
        ssr_mode=False,
        footer_links=[],
        max_file_size=f"{service.config.limits.upload_mb}mb",
        allowed_paths=[str(service.config.products.resolve())],
        theme=gr.themes.Base(**COLOURS, font=FONTS, font_mono=MONO),
        css=(PAGES / "style.css").read_text(encoding="utf-8"),
        head="".join(
            f"<script>{(PAGES / name).read_text(encoding='utf-8')}</script>" for name in SCRIPTS
        ),
    )


def build_pages(bench: Bench) -> gr.Blocks:
    """All pages, each under its own address."""
    with gr.Blocks(
        title="Anomalyst",
        analytics_enabled=False,
        fill_width=True,
        delete_cache=(3600, 86400),  # seconds: each hour, uploads of a day ago
    ) as pages:
        _top("inspect, question, correct")
        InspectPage(bench)
    for page in (ProductsPage, ReviewPage, HistoryPage, LivePage, TrainingPage):
        title = page.__name__.removesuffix("Page")
        with pages.route(title, title.lower()):
            _top(title.lower())
            page(bench)
    with pages.route("Help", "help"):
        _top("help")
        gr.Markdown((PAGES / "help.md").read_text(encoding="utf-8"), elem_id="help")
    return pages


def _top(words: str) -> None:
    gr.Navbar(main_page_name="Inspect")  # type: ignore[attr-defined]
    gr.HTML(TOP.format(words))

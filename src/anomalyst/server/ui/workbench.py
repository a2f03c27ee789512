"""The workbench: pages on one service, mounted at the root of the app."""

import logging
from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import FastAPI, Request

from anomalyst.errors import AnomalystError
from anomalyst.server.auth import caller_of
from anomalyst.server.gradio_startup import no_apps_in_between
from anomalyst.server.jobs.watches import Watches
from anomalyst.server.service import Service
from anomalyst.server.ui import ROUTES, mask_editor
from anomalyst.server.ui import components as pieces
from anomalyst.server.ui.context import Bench
from anomalyst.server.ui.history_page import HistoryPage
from anomalyst.server.ui.inspect_page import InspectPage
from anomalyst.server.ui.live_page import LivePage
from anomalyst.server.ui.products_page import ProductsPage
from anomalyst.server.ui.review_page import ReviewPage
from anomalyst.server.ui.training_page import TrainingPage
from anomalyst.server.ui.wording import LANGUAGES, Translated, marks, t

SCRIPTS = ("behave.js", "viewer.js", "areas_editor.js", *mask_editor.SCRIPTS)
PAGES = Path(__file__).parent
# A system's own: nothing is fetched, and text looks as it does elsewhere on the machine.
FONTS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")
COLOURS = {"primary_hue": "cyan", "secondary_hue": "cyan", "neutral_hue": "slate"}
MONO = ("ui-monospace", "Consolas", "monospace")
# What of the theme's own has too little contrast for small text (WCAG AA: 4.5 to 1).
CONTRAST = {
    "body_text_color_subdued": "*neutral_600",
    "block_label_text_color": "*neutral_700",
    "block_title_text_color": "*neutral_700",
    "input_placeholder_color": "*neutral_600",
    "input_placeholder_color_dark": "*neutral_400",
    "button_primary_background_fill": "*primary_700",
    "button_primary_background_fill_dark": "*primary_700",
    "button_primary_background_fill_hover": "*primary_800",
    "button_primary_background_fill_hover_dark": "*primary_800",
    "button_primary_text_color": "white",
    "link_text_color": "*secondary_700",
    "link_text_color_active": "*secondary_700",
    "link_text_color_visited": "*secondary_700",
    "link_text_color_dark": "*secondary_400",
    "link_text_color_active_dark": "*secondary_400",
    "link_text_color_visited_dark": "*secondary_400",
}
# Whom the server answered in which language, the page tells by itself.
TOP_JS = """
const language = document.documentElement.lang.slice(0, 2);
element.querySelector('select').value = language;
const who = element.querySelector('[data-who]');
let name = null;
// A session that ended, or is somebody else's now, must not go on under the name at the top.
const ask = () => fetch('/oidc/me').then(async said => {
  const now = said.ok ? (await said.json()).name : said.status === 401 ? '' : name;
  if (name !== null && now !== name) location.reload();
  who.textContent = name = now;
}).catch(() => {});
if (who) { ask(); setInterval(ask, 60000); addEventListener('focus', ask); }
"""


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

    def signed_in(request: Request) -> str | None:
        assert service.config.oidc is not None
        try:
            cookie = request.cookies.get(service.config.oidc.session_cookie)
            return service.sessions.at(cookie).name
        except AnomalystError:
            return None

    with no_apps_in_between(), marks():
        pages = build_pages(bench)
        lock: dict[str, Any] = {}
        if service.config.oidc is not None:
            lock = {"auth_dependency": signed_in}
        elif service.config.keys:
            lock = {"auth": opens, "auth_message": t("sign_in")}
    app.add_middleware(Translated, paths=frozenset(("", "config", *ROUTES)))
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
        theme=gr.themes.Base(**COLOURS, font=FONTS, font_mono=MONO).set(**CONTRAST),
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
        signs_out = bench.service.config.oidc is not None
        _top("inspect", signs_out)
        InspectPage(bench)
    parts = (ProductsPage, ReviewPage, HistoryPage, LivePage, TrainingPage, _help)
    for name, page in zip(ROUTES, parts, strict=True):
        with pages.route(t(f"page.{name}"), name):
            _top(name, signs_out)
            page(bench)
    return pages


def _help(_: Bench) -> None:
    gr.Markdown(t("help"), elem_id="help")


def _top(page: str, signs_out: bool) -> None:
    gr.Navbar(main_page_name=t("page.inspect"))  # type: ignore[attr-defined]
    words = pieces.render("top.html.j2", page=page, languages=LANGUAGES, signs_out=signs_out)
    gr.HTML(words, js_on_load=TOP_JS)

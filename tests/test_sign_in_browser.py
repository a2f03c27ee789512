"""Signing in with the company's provider, in a real browser; a page whose session ends says so."""

import threading

import pytest

pytest.importorskip("joserfc")

import uvicorn

from anomalyst.server.app import build_server
from anomalyst.server.config import ServingConfig
from anomalyst.server.load_test import free_port
from anomalyst.server.service import Service
from anomalyst.server.sign_in.config import OidcConfig
from identity_provider import CLIENT, SECRET, identity_provider
from serving import CHROMIUM, until

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")


def test_a_person_signs_in_and_an_ended_session_leaves_no_page_open(browser, tmp_path):
    (tmp_path / "secret").write_text(SECRET)
    here = f"http://127.0.0.1:{free_port()}"
    with identity_provider(f"{here}/oidc/callback") as provider:
        provider.person = {"email": "ann@plant.example", "groups": ["line"]}
        oidc = OidcConfig(
            issuer=provider.issuer, client_id=CLIENT, redirect_base_url=here,
            roles={"line": "inspector"}, client_secret_file=tmp_path / "secret",
        )  # fmt: skip
        home = tmp_path / "home"
        service = Service(
            ServingConfig(home=home, products=home / "products", keys=True, oidc=oidc)
        )
        port = int(here.rpartition(":")[2])
        server = uvicorn.Server(uvicorn.Config(build_server(service), port=port, log_level="error"))
        running = threading.Thread(target=server.run)
        running.start()
        try:
            assert until(lambda: server.started)
            _goes_in_and_out(browser, here, provider, service)
        finally:
            server.should_exit = True
            running.join(20)
            service.close()


def _goes_in_and_out(browser, here, provider, service) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.goto(f"{here}/history")
    page.click("a[href^='/oidc/login']")
    page.wait_for_selector("[data-who]:has-text('ann@plant.example')")
    assert page.url == f"{here}/history"
    # Somebody else signs in in another tab: this one is theirs now, and says so.
    provider.person = {"email": "bob@plant.example", "groups": ["line"]}
    other = context.new_page()
    other.set_default_timeout(60_000)
    other.goto(f"{here}/oidc/login")
    other.wait_for_selector("[data-who]:has-text('bob@plant.example')")
    page.evaluate("dispatchEvent(new Event('focus'))")
    page.wait_for_selector("[data-who]:has-text('bob@plant.example')")
    # The session ends while the page is open.
    [cookie] = [one for one in context.cookies() if one["name"] == "anomalyst-session"]
    service.sessions.end(cookie["value"])
    page.evaluate("dispatchEvent(new Event('focus'))")
    page.wait_for_selector("a[href^='/oidc/login']")
    context.close()

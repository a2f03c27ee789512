"""People sign in with their company's provider; whoever it does not vouch for stays outside."""

import time
from urllib.parse import parse_qs, urlsplit

import gradio as gr
import httpx
import pytest
from fastapi.testclient import TestClient
from joserfc.jwk import RSAKey
from sqlalchemy import select
from starlette.requests import Request

from anomalyst.errors import AnomalystError
from anomalyst.server.api.sign_in import PAGES, page_of
from anomalyst.server.app import build_server
from anomalyst.server.auth import make_key
from anomalyst.server.config import ServingConfig
from anomalyst.server.errors import Forbidden, Unauthorized, Unreachable
from anomalyst.server.service import Service
from anomalyst.server.sign_in.config import OidcConfig, read_oidc
from anomalyst.server.sign_in.provider import Provider
from anomalyst.server.storage.tables import AuditRow
from anomalyst.server.ui.context import Bench
from anomalyst.server.ui.workbench import ROUTES
from identity_provider import CLIENT, SECRET, IdentityProvider, identity_provider

HERE = "http://127.0.0.1:7860"
COOKIE = "anomalyst-session"
ROLES = {"line": "inspector", "quality": "engineer", "it": "admin"}


@pytest.fixture(scope="module")
def provider():
    with identity_provider(f"{HERE}/oidc/callback") as found:
        yield found


@pytest.fixture(scope="module")
def config(provider, tmp_path_factory):
    folder = tmp_path_factory.mktemp("oidc")
    (folder / "secret").write_text(SECRET + "\n")
    return OidcConfig(
        issuer=provider.issuer, client_id=CLIENT, redirect_base_url=HERE + "/", roles=ROLES,
        client_secret_file=folder / "secret",
    )  # fmt: skip


@pytest.fixture(scope="module")
def served(config, tmp_path_factory):
    """The whole server; nothing begins, so no model is read."""
    home = tmp_path_factory.mktemp("home")
    where = ServingConfig(home=home, products=home / "products", keys=True, oidc=config)
    service = Service(where)
    yield service, build_server(service)
    service.close()


@pytest.fixture
def service(served, provider):
    found, app = served
    provider.says, provider.person = {}, {"email": "ann@plant.example", "groups": ["line"]}
    # Each test comes from another place, so that none uses up another's tries.
    app.state.number = getattr(app.state, "number", 0) + 1
    return found


@pytest.fixture
def browser(service, served):  # noqa: ARG001 - the service is made as it was
    number = served[1].state.number
    with_address = {"client": (f"10.0.0.{number}", 5000)}
    return TestClient(served[1], base_url=HERE, follow_redirects=False, **with_address)


def through(browser: TestClient, page: str = "/") -> str:
    """To the provider, and back up to our door: path and query of the callback."""
    begun = browser.get("/oidc/login", params={"next": page})
    assert begun.status_code == 303, begun.text
    back = urlsplit(httpx.get(begun.headers["location"]).headers["location"])
    return f"{back.path}?{back.query}"


def signed_in(browser: TestClient, page: str = "/"):
    return browser.get(through(browser, page))


def at_a_page(browser: TestClient) -> gr.Request:
    cookie = f"{COOKIE}={browser.cookies[COOKIE]}".encode()
    return gr.Request(request=Request({"type": "http", "headers": [(b"cookie", cookie)]}))


@pytest.mark.parametrize(
    ("person", "name", "role"),
    [
        ({"email": "ann@plant.example", "groups": ["x", "line"]}, "ann@plant.example", "operator"),
        ({"preferred_username": "bob", "groups": "quality"}, "bob", "engineer"),
        ({"groups": ["line", "it", "quality"]}, "4711", "admin"),
        # An address that its owner wrote and nobody tried may be another person's.
        ({"email": "it@plant.example", "email_verified": False, "groups": ["it"]}, "4711", "admin"),
    ],
)  # fmt: skip
def test_each_role_signs_in_and_is_named_in_the_record(
    person, name, role, provider, service, browser
):
    outside = browser.get("/review")
    assert outside.status_code == 401 and 'href="/oidc/login?next=/review"' in outside.text
    provider.person = person
    done = signed_in(browser, "/review")
    assert (done.status_code, done.headers["location"]) == (303, "/review")
    [cookie] = [one for one in done.headers.get_list("set-cookie") if one.startswith(COOKIE)]
    assert {"httponly", "samesite=lax", "path=/"} <= set(cookie.lower().split("; "))
    inside = browser.get("/review")
    assert inside.status_code == 200 and "/oidc/logout" in inside.text
    assert browser.get("/oidc/me").json() == {"name": name, "role": role}
    bench = Bench(service, None, None, None)
    who = bench.who(at_a_page(browser))
    assert (who.name, who.role) == (name, role)
    if role != "admin":
        with pytest.raises(Forbidden):
            bench.who(at_a_page(browser), "admin")
    with service.store.session() as session:
        last = session.scalars(select(AuditRow).order_by(AuditRow.number.desc())).first()
    assert (last.by, last.what, last.detail["sub"]) == (name, "signed in", "4711")
    assert last.detail["role"] == role
    # What a page's own script asks of REST, it asks as them.
    page_pass = {"X-Page-Pass": service.tickets.page_pass(who)}
    keys = browser.get("/api/v1/keys", headers=page_pass)
    assert keys.status_code == (200 if role == "admin" else 403)


FOREIGN = RSAKey.generate_key(2048, {"kid": "one"})  # calls itself as the provider's own
UNKNOWN = RSAKey.generate_key(2048, {"kid": "two"})
REFUSED = {
    "another sign-in's nonce": ({"nonce": "x" * 30}, "nonce"),
    "no nonce": ({"nonce": None}, "nonce"),
    "another client's token": ({"aud": "canteen"}, "aud"),
    "a token for two, not given to us": ({"aud": [CLIENT, "canteen"], "azp": "canteen"}, "azp"),
    "another issuer's": ({"iss": "https://evil.example"}, "iss"),
    "an old one": ({"exp": int(time.time()) - 3600}, "expired"),
    "no role": ({"groups": ["visitors"]}, "gives a role here"),
    "roles in what is no text": ({"groups": [{"line": 1}, 7]}, "gives a role here"),
    "a name that is none": ({"email": "a\u202eb"}, "name_claim"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_the_provider_does_not_vouch_for_stays_outside(case, provider, browser):
    provider.says, said = REFUSED[case]
    answer = signed_in(browser)
    assert answer.status_code in (401, 403) and said in answer.text, answer.text
    assert COOKIE not in browser.cookies and browser.get("/").status_code == 401


@pytest.mark.parametrize("key", [FOREIGN, UNKNOWN])
def test_a_token_signed_by_another_key_is_refused_and_a_new_key_is_fetched(key, provider, browser):
    own = provider.key
    provider.key = key
    try:
        answer = signed_in(browser)
        assert answer.status_code == 401 and "cannot be trusted" in answer.text
        assert COOKIE not in browser.cookies
        if key is UNKNOWN:  # the provider has taken a new key, and publishes it
            provider.published.append(key.as_dict(private=False))
            assert signed_in(browser).status_code == 303
    finally:
        provider.key, provider.published = own, provider.published[:1]


def test_a_sign_in_is_ended_once_and_by_the_browser_that_began_it(provider, browser):
    address = through(browser)
    stranger = TestClient(browser.app, base_url=HERE, client=("10.9.0.1", 1))
    assert "another browser" in stranger.get(address, follow_redirects=False).text
    address, asked = through(browser), provider.tokens
    state = browser.cookies["anomalyst-signing-in"]
    assert browser.get(address).status_code == 303 and provider.tokens == asked + 1
    browser.cookies.set("anomalyst-signing-in", state)
    again = browser.get(address)
    assert again.status_code == 401 and "was ended before" in again.text
    assert provider.tokens == asked + 1  # the code did not even leave


def test_failed_sign_ins_are_slowed_and_other_sites_sign_nobody_out(browser):
    signed_in(browser)
    cross = browser.post("/oidc/logout", headers={"Origin": "https://evil.example"})
    assert cross.status_code == 403 and browser.get("/oidc/me").status_code == 200
    tries = [browser.get("/oidc/callback?state=x&code=y").status_code for _ in range(14)]
    assert tries[:10] == [401] * 10 and 429 in tries[10:]


def test_signing_out_ends_the_session_its_page_passes_and_the_providers(service, browser):
    signed_in(browser)
    old = at_a_page(browser)
    bench = Bench(service, None, None, None)
    headers = {"X-Page-Pass": service.tickets.page_pass(bench.who(old))}
    assert browser.get("/api/v1/products", headers=headers).status_code == 200
    out = browser.post("/oidc/logout", headers={"Origin": HERE})
    place = urlsplit(out.headers["location"])
    asked = parse_qs(place.query)
    assert out.status_code == 303 and place.path == "/exit" and asked["id_token_hint"]
    assert asked["post_logout_redirect_uri"] == [HERE + "/"]
    assert browser.get("/").status_code == 401
    assert browser.get("/api/v1/products", headers=headers).status_code == 401
    with pytest.raises(Unauthorized, match="sign in again"):
        bench.who(old)


def test_keys_go_on_working_and_nobody_signs_in_under_a_keys_name(provider, service, browser):
    key = make_key(service.store, "line 3", "operator")
    assert browser.get("/api/v1/products").status_code == 401
    assert browser.get("/api/v1/products", headers={"X-API-Key": key}).status_code == 200
    provider.person = {"preferred_username": "line 3", "groups": ["it"]}
    answer = signed_in(browser)
    assert answer.status_code == 409 and "a key or a part of this server is called" in answer.text
    cookie = {"Cookie": f"{COOKIE}={browser.cookies.get(COOKIE)}"}
    assert browser.get("/api/v1/products", headers=cookie).status_code == 401  # REST takes none


@pytest.mark.parametrize(
    ("wanted", "page"),
    [
        ("/review", "/review"), ("/?inspection=7&x=%2F", "/?inspection=7&x=%2F"), ("", "/"),
        ("https://evil.example", "/"), ("//evil.example/review", "/"), ("/\\evil.example", "/"),
        ("/api/v1/keys", "/"), ("javascript:alert(1)", "/"), ("https:review", "/"),
        ("///evil.example", "/"), ("http://[", "/"), ("/review\r\nX: y", "/"),
    ],
)  # fmt: skip
def test_a_sign_in_leads_to_our_own_pages_only(wanted, page):
    assert page_of(wanted) == page and set(PAGES) == {"", *ROUTES}


def test_a_redirect_elsewhere_is_none(browser):
    assert signed_in(browser, "//evil.example").headers["location"] == "/"


YAML = """issuer: https://id.example
client_id: w
redirect_base_url: https://w.example
roles: {line: inspector}
"""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("client_id", "clientid"), "there is no key 'clientid'; the nearest is 'client_id'"),
        (("inspector", "inspecter"), "perhaps 'inspector'"),
        (("client_id: w\n", ""), "client_id is missing"),
        (("issuer: https", "issuer: http"), "is not an https:// address"),
        (("https://w.example", "https://w.example/app"), "leave the path out"),
        (("roles", "client_secret_file: s.txt\nroles"), "s.txt: there is no such file"),
    ],
)
def test_a_wrong_configuration_is_told_in_one_sentence(change, said, tmp_path):
    file = tmp_path / "oidc.yaml"
    file.write_text(YAML)
    assert read_oidc(file).session_cookie == "__Host-anomalyst-session"  # with TLS
    file.write_text(YAML.replace(*change))
    with pytest.raises(AnomalystError, match="oidc.yaml") as refused:
        read_oidc(file)
    assert said in str(refused.value)
    with pytest.raises(AnomalystError, match="no.yaml: there is no such file"):
        read_oidc(tmp_path / "no.yaml")


def test_a_provider_that_is_another_or_is_not_there(provider: IdentityProvider):
    about = {"client_id": CLIENT, "redirect_base_url": HERE, "roles": ROLES}
    provider.calls_itself = "https://other.example"
    try:
        with pytest.raises(AnomalystError, match="calls itself 'https://other.example'"):
            Provider(OidcConfig(issuer=provider.issuer, **about)).discovered()
    finally:
        provider.calls_itself = provider.issuer
    with pytest.raises(Unreachable, match="issuer http://127.0.0.1:9: does not answer"):
        Provider(OidcConfig(issuer="http://127.0.0.1:9", **about)).discovered()
    nested = OidcConfig(issuer=provider.issuer, role_claim="realm_access.roles", **about)
    held = {"realm_access": {"roles": ["quality", "line"]}}
    assert Provider(nested)._role(held, "ann") == "engineer"

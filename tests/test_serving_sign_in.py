"""People sign in with their company's provider; whoever it does not vouch for stays outside."""

import re
import time
from urllib.parse import parse_qs, urlsplit

import gradio as gr
import httpx
import pytest
from fastapi.testclient import TestClient
from joserfc.jwk import RSAKey
from sqlalchemy import select
from sqlalchemy.exc import OperationalError
from starlette.datastructures import Headers
from starlette.requests import Request

from anomalyst.errors import AnomalystError
from anomalyst.server.api.access import RequestGuard
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
def visitor(service, served):  # noqa: ARG001 - the service is made as it was
    number = served[1].state.number
    with_address = {"client": (f"10.0.0.{number}", 5000)}
    return TestClient(served[1], base_url=HERE, follow_redirects=False, **with_address)


def through(visitor: TestClient, page: str = "/") -> str:
    """To the provider, and back up to our door: path and query of the callback."""
    begun = visitor.get("/oidc/login", params={"next": page})
    assert begun.status_code == 303, begun.text
    back = urlsplit(httpx.get(begun.headers["location"]).headers["location"])
    return f"{back.path}?{back.query}"


def signed_in(visitor: TestClient, page: str = "/"):
    return visitor.get(through(visitor, page))


def at_a_page(visitor: TestClient) -> gr.Request:
    cookie = f"{COOKIE}={visitor.cookies[COOKIE]}".encode()
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
    person, name, role, provider, service, visitor
):
    outside = visitor.get("/review")
    assert outside.status_code == 401 and 'href="/oidc/login?next=/review"' in outside.text
    provider.person = person
    done = signed_in(visitor, "/review")
    assert (done.status_code, done.headers["location"]) == (303, "/review")
    [cookie] = [one for one in done.headers.get_list("set-cookie") if one.startswith(COOKIE)]
    assert {"httponly", "samesite=lax", "path=/"} <= set(cookie.lower().split("; "))
    inside = visitor.get("/review")
    assert inside.status_code == 200 and "/oidc/logout" in inside.text
    assert visitor.get("/oidc/me").json() == {"name": name, "role": role}
    bench = Bench(service, None, None, None)
    who = bench.who(at_a_page(visitor))
    assert (who.name, who.role) == (name, role)
    if role != "admin":
        with pytest.raises(Forbidden):
            bench.who(at_a_page(visitor), "admin")
    with service.store.session() as session:
        last = session.scalars(select(AuditRow).order_by(AuditRow.number.desc())).first()
    assert (last.by, last.what, last.detail["sub"]) == (name, "signed in", "4711")
    assert last.detail["role"] == role
    # What a page's own script asks of REST, it asks as them.
    page_pass = {"X-Page-Pass": service.tickets.page_pass(who)}
    keys = visitor.get("/api/v1/keys", headers=page_pass)
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
def test_what_the_provider_does_not_vouch_for_stays_outside(case, provider, visitor):
    provider.says, said = REFUSED[case]
    answer = signed_in(visitor)
    assert answer.status_code in (401, 403) and said in answer.text, answer.text
    assert COOKIE not in visitor.cookies and visitor.get("/").status_code == 401


@pytest.mark.parametrize("key", [FOREIGN, UNKNOWN])
def test_a_token_signed_by_another_key_is_refused_and_a_new_key_is_fetched(key, provider, visitor):
    own = provider.key
    provider.key = key
    try:
        answer = signed_in(visitor)
        assert answer.status_code == 401 and "cannot be trusted" in answer.text
        assert COOKIE not in visitor.cookies
        if key is UNKNOWN:  # the provider has taken a new key, and publishes it
            provider.published.append(key.as_dict(private=False))
            assert signed_in(visitor).status_code == 303
    finally:
        provider.key, provider.published = own, provider.published[:1]


def test_a_sign_in_is_ended_once_and_by_the_browser_that_began_it(provider, visitor):
    address = through(visitor)
    stranger = TestClient(visitor.app, base_url=HERE, client=("10.9.0.1", 1))
    assert "another browser" in stranger.get(address, follow_redirects=False).text
    asked, tabs = provider.tokens, [through(visitor), through(visitor)]
    cookies = dict(visitor.cookies)
    assert [visitor.get(one).status_code for one in tabs] == [303, 303]
    assert provider.tokens == asked + 2
    visitor.cookies.update(cookies)
    again = visitor.get(tabs[0])
    assert again.status_code == 401 and "was ended before" in again.text
    assert provider.tokens == asked + 2  # the code did not even leave


def test_who_comes_under_another_name_begins_under_the_one_they_come_back_to(visitor):
    elsewhere = {"Host": "localhost:7860"}
    sent_on = visitor.get("/oidc/login?next=/review", headers=elsewhere)
    assert sent_on.headers["location"] == f"{HERE}/oidc/login?next=%2Freview&here=true"
    # A proxy that gives our own name away sends nobody in circles.
    begun = visitor.get("/oidc/login?next=/review&here=true", headers=elsewhere)
    assert urlsplit(begun.headers["location"]).path == "/authorize"


def test_a_database_that_is_away_is_told_on_a_page(visitor, monkeypatch):
    def away(_: object) -> None:
        raise OperationalError("select", {}, Exception("database is locked"))

    monkeypatch.setattr("anomalyst.server.api.sign_in.list_keys", away)
    answer = signed_in(visitor)
    assert answer.status_code == 503 and "<html" in answer.text
    assert "the database takes nothing now" in answer.text and COOKIE not in visitor.cookies


def test_behind_a_proxy_the_server_answers_to_the_name_people_know(tmp_path):
    known = OidcConfig(
        issuer="https://id.example", client_id="w", redirect_base_url="https://w.example",
        roles=ROLES,
    )  # fmt: skip
    guard = RequestGuard(None, ServingConfig(home=tmp_path, keys=True, oidc=known))

    def refused(method: str, host: str, origin: str) -> bool:
        return guard._foreign(method, Headers({"host": host, "origin": origin}))

    assert not refused("GET", "w.example", "") and refused("GET", "evil.example", "")
    assert not refused("POST", "w.example", "https://w.example")
    assert not refused("POST", "127.0.0.1:7860", "https://w.example")  # its Host is not passed on
    assert refused("POST", "w.example", "https://evil.example")


def test_failed_sign_ins_are_slowed_and_other_sites_sign_nobody_out(visitor):
    signed_in(visitor)
    cross = visitor.post("/oidc/logout", headers={"Origin": "https://evil.example"})
    assert cross.status_code == 403 and visitor.get("/oidc/me").status_code == 200
    # Anybody can have a browser ask this, so it slows nobody.
    tries = [visitor.get("/oidc/callback?state=x&code=y").status_code for _ in range(14)]
    assert tries == [401] * 14 and signed_in(visitor).status_code == 303
    wrong = [re.sub("code=[^&]+", "code=y", through(visitor)) for _ in range(14)]
    tries = [visitor.get(one).status_code for one in wrong]
    assert tries[:10] == [401] * 10 and 429 in tries[10:]


def test_signing_out_ends_the_session_its_page_passes_and_the_providers(service, visitor):
    signed_in(visitor)
    old = at_a_page(visitor)
    bench = Bench(service, None, None, None)
    headers = {"X-Page-Pass": service.tickets.page_pass(bench.who(old))}
    assert visitor.get("/api/v1/products", headers=headers).status_code == 200
    out = visitor.post("/oidc/logout", headers={"Origin": HERE})
    place = urlsplit(out.headers["location"])
    asked = parse_qs(place.query)
    assert out.status_code == 303 and place.path == "/exit" and asked["id_token_hint"]
    assert asked["post_logout_redirect_uri"] == [HERE + "/"]
    assert visitor.get("/").status_code == 401
    assert visitor.get("/api/v1/products", headers=headers).status_code == 401
    with pytest.raises(Unauthorized, match="sign in again"):
        bench.who(old)
    # This server knows nothing of them, as after a restart; the provider still does.
    visitor.cookies.set(COOKIE, "of a session before the restart")
    out = visitor.post("/oidc/logout", headers={"Origin": HERE})
    asked = parse_qs(urlsplit(out.headers["location"]).query)
    assert asked["client_id"] == [CLIENT] and "id_token_hint" not in asked


def test_keys_go_on_working_and_nobody_signs_in_under_a_keys_name(provider, service, visitor):
    key = make_key(service.store, "line 3", "operator")
    assert visitor.get("/api/v1/products").status_code == 401
    assert visitor.get("/api/v1/products", headers={"X-API-Key": key}).status_code == 200
    provider.person = {"preferred_username": "line 3", "groups": ["it"]}
    answer = signed_in(visitor)
    assert answer.status_code == 409 and "a key or a part of this server is called" in answer.text
    provider.person = {"preferred_username": "ann", "groups": ["it"]}
    assert signed_in(visitor).status_code == 303 and visitor.cookies[COOKIE]
    assert visitor.get("/oidc/me").status_code == 200
    assert visitor.get("/api/v1/products").status_code == 401  # REST takes no cookie


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


def test_a_redirect_elsewhere_is_none(visitor):
    assert signed_in(visitor, "//evil.example").headers["location"] == "/"


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
        (("id.example", "id.example:84x3"), "is not an https:// address"),
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

"""Writes: once for each key, of the version that was read, told of in a chain nobody can change."""

import socket
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import httpx
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text, update

from anomalyst.errors import AnomalystError
from anomalyst.server.app import build_server, check_tls
from anomalyst.server.auth import caller_of, make_key, revoke_key
from anomalyst.server.config import ServingConfig
from anomalyst.server.service import Service
from anomalyst.server.storage import audit, requests
from anomalyst.server.storage.store import IdempotentRequest, Store
from anomalyst.server.storage.tables import AuditRow, RequestRow, now
from anomalyst.server.streaming.sinks import Webhook
from serving import DEFECT, bolt_known, client_of
from test_serving_store import config, done, postgres, store  # noqa: F401 - fixtures, by name

API = "/api/v1"
MES = ("http://mes.example/in", "93.184.216.34")


@pytest.fixture
def service(tmp_path):
    """A service that knows a product, and whose model is never read."""
    found = Service(bolt_known(tmp_path))
    yield found
    found.close()


@pytest.fixture
def client(service):
    return client_of(service)


def test_feedback_with_a_key_is_said_once_however_often_it_is_sent(service, client):
    id = done(service.store)
    path, key = f"{API}/inspections/{id}/feedback", {"Idempotency-Key": "k1"}

    def say(kind: str):
        return client.post(path, json={"kind": kind}, headers=key)

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(say, ["right"] * 4))
    assert [one.status_code for one in answers] == [201] * 4
    assert len({one.json()["id"] for one in answers}) == 1 == len(service.store.corrections())
    assert say("right").headers["Idempotent-Replayed"] == "true"
    other = say("wrong")
    assert other.status_code == 409 and "was used for another request" in other.json()["detail"]
    # What failed is not kept: it may be tried again.
    body, lost = {"kind": "right"}, {"Idempotency-Key": "k2"}
    assert (
        client.post(f"{API}/inspections/none/feedback", json=body, headers=lost).status_code == 404
    )
    assert service.store.request("local", "k2") is None


def test_a_form_is_the_same_however_its_parts_are_bounded(service, client):
    teaching: Future = Future()  # nothing is taught here
    service.queue.submit = lambda *_: teaching
    files = {"pictures": ("a.jpg", DEFECT.read_bytes())}
    key = {"Idempotency-Key": "t1"}
    one, two = (
        client.post(f"{API}/products", data={"name": "nut"}, files=files, headers=key)
        for _ in range(2)
    )
    assert one.status_code == two.status_code == 202 and one.json() == two.json()
    assert one.headers["Location"] == two.headers["Location"]
    assert len(client.get(f"{API}/jobs").json()) == 1
    files = {"pictures": ("b.jpg", DEFECT.read_bytes())}
    other = client.post(f"{API}/products", data={"name": "nut"}, files=files, headers=key)
    assert other.status_code == 409
    service.background.begin_closing()
    teaching.cancel()


def test_a_request_that_is_being_done_is_waited_for_and_one_whose_doer_is_gone_done_anew(store):  # noqa: F811 - the fixture
    asked = IdempotentRequest(by="me", key="k", fingerprint="f")
    assert requests.begin(store, asked) is None
    with pytest.raises(AnomalystError, match="is still being done"):
        requests.begin(store, asked, patience=0.3)
    with store.session() as session:
        long_ago = now().replace(year=2020)
        session.execute(update(RequestRow).values(created_at=long_ago))
    assert requests.begin(store, asked) is None
    requests.answered(store, asked, {"status": 201, "body": {"id": "x"}, "location": None})
    assert requests.begin(store, asked)["body"] == {"id": "x"}


def test_who_changes_a_product_that_was_changed_since_is_told(client):
    path = f"{API}/products/bolt"
    tag = client.get(path).headers["ETag"]

    def set_rate(rate: float, tag: str):
        body = {"false_alarm_rate": rate}
        return client.patch(path, json=body, headers={"If-Match": tag})

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(set_rate, (0.1, 0.2), (tag, tag))
    lost, won = sorted((first, second), key=lambda answer: answer.status_code, reverse=True)
    assert (won.status_code, lost.status_code) == (200, 412)
    assert lost.headers["content-type"] == "application/problem+json"
    assert "was changed since you read it" in lost.json()["detail"]
    rate = won.json()["false_alarm_rate"]
    assert client.get(path).json()["false_alarm_rate"] == rate
    assert set_rate(0.3, won.headers["ETag"]).status_code == 200
    assert set_rate(0.4, "*").status_code == 200 and set_rate(0.4, "nonsense").status_code == 412
    areas = {"areas": [], "on_product": False}
    stale = {"If-Match": tag}
    assert client.put(f"{path}/areas", json=areas, headers=stale).status_code == 412
    assert client.delete(path, headers=stale).status_code == 412
    assert client.delete(path).status_code == 204


def test_a_refused_write_leaves_the_version_as_it_was(service, client):
    path = f"{API}/products/bolt"
    tag = client.get(path).headers["ETag"]
    refused = [
        client.patch(path, json={"false_alarm_rate": 0.0}, headers={"If-Match": tag}),
        client.patch(path, json={"false_alarm_rate": "much"}, headers={"If-Match": tag}),
        client.post(f"{path}/odd", json={"keep": [4]}, headers={"If-Match": tag}),
        client.post(f"{path}/unlearn", headers={"If-Match": tag}),
    ]
    assert {one.status_code for one in refused} <= {409, 422}, [one.text for one in refused]
    assert client.get(path).headers["ETag"] == tag and service.store.version("bolt") == 0
    body = {"false_alarm_rate": 0.1}
    assert client.patch(path, json=body, headers={"If-Match": tag}).status_code == 200
    assert client.patch(path, json=body, headers={"If-Match": tag}).status_code == 412
    stale = client.post(f"{path}/odd", json={"keep": [4]}, headers={"If-Match": tag})
    assert stale.status_code == 412


def test_a_decision_on_odd_pictures_that_is_sent_twice_is_made_once(service, client):
    made = []
    service.decide_odd = lambda name, **said: made.append(said) or {"name": name}
    path, tag = f"{API}/products/bolt/odd", client.get(f"{API}/products/bolt").headers["ETag"]
    head = {"Idempotency-Key": "odd1", "If-Match": tag}  # the first one makes another version
    one, two = (client.post(path, json={"keep": [4]}, headers=head) for _ in range(2))
    assert one.json() == two.json() == {"name": "bolt"} and len(made) == 1
    assert two.headers["Idempotent-Replayed"] == "true"
    other = client.post(path, json={"keep": [5]}, headers=head)
    anew = client.post(path, json={"keep": [4]}, headers=head | {"Idempotency-Key": "odd2"})
    assert (other.status_code, anew.status_code, len(made)) == (409, 412, 1)


def test_what_could_not_be_learnt_is_not_left_in_the_record_as_said(service, client):
    id = done(service.store)
    failed: Future = Future()
    failed.set_exception(AnomalystError("the picture is gone."))
    service.queue.submit = lambda *_: failed
    service.pictures.existing = lambda name: name
    said = {"kind": "fine", "boxes_xyxy": [[0, 0, 9, 9]]}
    answer = client.post(f"{API}/inspections/{id}/feedback", json=said)
    assert answer.status_code == 422, answer.text
    with service.store.session() as session:
        told = [(one.what, one.detail.get("why")) for one in audit.entries(session)]
        assert audit.verify(session).broken is None
    assert told[-2:] == [("fine", None), ("not learnt: fine", "the picture is gone.")]
    assert service.store.inspection(id).reviewed is None
    assert service.store.corrections()[0].undone_at is not None


def test_who_did_what_is_told_and_any_change_of_it_is_found(service, client):
    id = done(service.store)
    make_key(service.store, "anna", "inspector")
    client.patch(f"{API}/products/bolt", json={"false_alarm_rate": 0.1})
    said = client.post(f"{API}/inspections/{id}/feedback", json={"kind": "wrong"}).json()
    client.post(f"{API}/feedback/{said['id']}/undo")
    revoke_key(service.store, "anna", by="boss")
    client.delete(f"{API}/products/bolt")
    with service.store.session() as session:
        rows = list(audit.entries(session))
        told = [(one.number, one.by, one.what, one.about) for one in rows]
        assert told == [
            (1, "command line", "key made", "anna"), (2, "local", "described", "bolt"),
            (3, "local", "wrong", id), (4, "local", "undone: wrong", id),
            (5, "boss", "key revoked", "anna"), (6, "local", "deleted", "bolt"),
        ]  # fmt: skip
        assert rows[1].detail == {"false_alarm_rate": 0.1}
        whole = audit.verify(session, rows[2].digest)
        assert whole.broken is None and whole.entries == 6 and whole.seen
        assert not audit.verify(session, "0" * 64).seen


def tampered(own: Store, statement: str) -> str | None:
    """What the chain says after somebody with the database's password changed it."""
    sqlite = own.engine.dialect.name == "sqlite"
    with own.engine.begin() as connection:
        for verb in ("update", "delete") if sqlite else ():
            connection.execute(text(f"DROP TRIGGER IF EXISTS audit_no_{verb}"))
        if not sqlite:
            connection.execute(text("ALTER TABLE audit DISABLE TRIGGER USER"))
        connection.exec_driver_sql(statement)
    with own.session() as session:
        return audit.verify(session).broken


def test_the_first_entry_that_was_tampered_with_is_named(store):  # noqa: F811 - the fixture
    def note(number: int) -> None:
        store.note("bolt", "described", f"me {number}", false_alarm_rate=0.05)

    with ThreadPoolExecutor(6) as pool:  # all at once: the chain has one end
        list(pool.map(note, range(24)))
    assert store.version("bolt") == 24
    with pytest.raises(Exception, match="only added to"), store.session() as session:
        session.execute(update(AuditRow).values(by="nobody"))
    with store.session() as session:
        assert audit.verify(session).entries == 24
    changed = """UPDATE audit SET detail = '{"false_alarm_rate":0.06}' WHERE number = 7"""
    assert "entry 7 (" in (said := tampered(store, changed)) and "was changed after" in said
    gone = tampered(store, "DELETE FROM audit WHERE number = 5")
    assert gone.startswith("entry 5 is missing; the next one is entry 6 (")


def test_an_inspector_is_an_operator(service):
    key = make_key(service.store, "i", "inspector")
    who = caller_of(service.store, key)
    assert who.role == "operator" and who.may("operator") and not who.may("engineer")
    with pytest.raises(AnomalystError, match="role 'boss' is none of operator"):
        make_key(service.store, "b", "boss")


def test_pages_of_other_sites_change_nothing_and_sign_ins_cannot_be_tried_in_haste(tmp_path):
    service = Service(ServingConfig(home=tmp_path, products=tmp_path / "p", keys=True))
    key = make_key(service.store, "anna", "operator")
    # As the pages' own server answers; its client runs no beginning, so no model is read.
    client = TestClient(build_server(service), base_url="http://127.0.0.1:7860")
    login = {"username": "anna", "password": key}
    for site in ("cross-site", "same-site"):
        foreign = client.post("/login", data=login, headers={"Sec-Fetch-Site": site})
        assert foreign.status_code == 403
    other = client.post("/login", data=login, headers={"Origin": "https://evil.example"})
    assert other.status_code == 403 and not client.cookies
    own = client.post("/login", data=login, headers={"Origin": "http://127.0.0.1:7860"})
    cookies = own.headers.get_list("set-cookie")
    assert own.status_code == 200 and cookies
    assert all("samesite=lax" in one.lower() for one in cookies)
    wrong = [client.post("/login", data=login | {"password": "x"}).status_code for _ in range(40)]
    assert wrong[:10] == [400] * 10 and set(wrong[10:]) >= {429}  # slowly more are let through
    service.close()


@dataclass
class Names:
    """What names stand for, each time they are asked."""

    answers: list[list[str]]

    def __call__(self, _host, port, **_):
        some = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, port)) for ip in some]


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "192.168.0.9", "169.254.169.254", "100.64.0.1", "0.0.0.0", "::1",
     "fd00::1", "fe80::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "224.0.0.1"],
)  # fmt: skip
def test_a_webhook_does_not_lead_into_our_own_network(address, monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", Names([[MES[1], address]]))
    hook = Webhook(MES[0])
    with pytest.raises(
        AnomalystError, match="--webhook http://mes.example/in: .* --allow-internal-webhooks"
    ):
        hook.check()
    with pytest.raises(OSError, match=f"mes.example is {address}, an address of this machine"):
        hook.send("1", {})


def test_a_webhook_goes_to_the_address_that_was_looked_at(monkeypatch):
    seen = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append((request.url.host, request.headers["Host"], request.extensions))
        return httpx.Response(307 if len(seen) > 1 else 204, headers={"Location": "http://[::1]/"})

    # Between the look and the call the name comes to stand for this machine.
    monkeypatch.setattr(socket, "getaddrinfo", Names([[MES[1]], [MES[1]], ["127.0.0.1"]]))
    hook = Webhook(MES[0].replace("http", "https"))
    hook._client = httpx.Client(transport=httpx.MockTransport(answer))
    hook.check()
    hook.send("1", {"a": 1})
    [(host, named, extensions)] = seen
    assert (host, named, extensions["sni_hostname"]) == (MES[1], "mes.example", "mes.example")
    monkeypatch.setattr(socket, "getaddrinfo", Names([[MES[1]]]))
    with pytest.raises(OSError, match="answered 307; redirects are not followed"):
        hook.send("2", {})
    assert len(seen) == 2


def test_tls_needs_two_files_that_belong_together(tmp_path):
    cert = tmp_path / "c.pem"
    with pytest.raises(AnomalystError, match="give both, or neither"):
        ServingConfig(home=tmp_path, tls_cert=cert)
    with pytest.raises(AnomalystError, match="cannot be used"):
        check_tls(cert, cert)
    cert.write_text("no certificate")
    with pytest.raises(AnomalystError, match="two PEM files that belong together"):
        check_tls(cert, cert)

"""People sign in and out by the company's identity provider; pages are for those who did."""

import logging
from contextlib import suppress
from typing import Annotated
from urllib.parse import urlencode, urlsplit

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, RedirectResponse
from sqlalchemy.exc import SQLAlchemyError
from starlette.types import ASGIApp, Receive, Scope, Send

from anomalyst.errors import AnomalystError
from anomalyst.io.templates import template
from anomalyst.server.api.access import FAILED_LOGINS_PER_MINUTE, Rate
from anomalyst.server.api.problems import status_of
from anomalyst.server.auth import COMMAND_LINE, LOCAL, list_keys
from anomalyst.server.errors import Busy, Conflict, TooMany, Unauthorized
from anomalyst.server.service import Service
from anomalyst.server.sign_in.config import OidcConfig
from anomalyst.server.sign_in.provider import Person, Provider
from anomalyst.server.sign_in.sessions import BEGUN_SECONDS, Beginnings
from anomalyst.server.storage import audit
from anomalyst.server.storage.database import is_outage
from anomalyst.server.ui import ROUTES

log = logging.getLogger(__name__)
BEGUN_PER_MINUTE = 60  # from one address
RESERVED = (LOCAL.name, COMMAND_LINE, "anomalyst")  # what the record calls who is no person
PAGES = ("", *ROUTES)
HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; "
    "frame-ancestors 'none'; base-uri 'none'",
}
Text = Annotated[str, Query(max_length=4000)]


class SignIn:
    """What signing in takes: the provider, sign-ins begun, how often one may fail."""

    def __init__(self, service: Service, config: OidcConfig):
        self.service, self.config = service, config
        self.provider = Provider(config)
        self.beginnings = Beginnings()
        self.begun, self.failed = Rate(BEGUN_PER_MINUTE), Rate(FAILED_LOGINS_PER_MINUTE)

    def router(self) -> APIRouter:
        """The four places; a browser comes to each by itself."""
        found = APIRouter(prefix="/oidc", include_in_schema=False)
        found.add_api_route("/login", self.login, methods=["GET"])
        found.add_api_route("/callback", self.callback, methods=["GET"])
        found.add_api_route("/me", self.me, methods=["GET"])
        # No link signs anybody out: RequestGuard lets only our own pages' forms come here.
        found.add_api_route("/logout", self.logout, methods=["POST"])
        return found

    def login(self, request: Request, next: Text = "/", here: bool = False) -> Response:
        """On to the provider, from under the name that it sends people back to.

        `here`: this is that name, whatever a proxy makes of it.
        """
        if not here and request.headers.get("host") != urlsplit(self.config.base).netloc:
            asked = urlencode({"next": page_of(next), "here": "true"})
            return RedirectResponse(f"{self.config.base}/oidc/login?{asked}", 303, HEADERS)
        try:
            self.begun.take(_address(request))
            state, browser, begun = self.beginnings.begin(page_of(next))
            place = self.provider.entrance(state=state, nonce=begun.nonce, verifier=begun.verifier)
        except AnomalystError as error:
            return self._told(request, error)
        response = RedirectResponse(place, 303, HEADERS)
        self._set(response, self.config.begun_cookie(state), browser, BEGUN_SECONDS)
        return response

    def callback(
        self, request: Request, state: Text = "", code: Text = "", error: Text = "", iss: Text = ""
    ) -> Response:
        """Back from the provider: from here on they are signed in, or it is said why not."""
        address, cookie = _address(request), self.config.begun_cookie(state)
        try:
            begun = self.beginnings.take(state, request.cookies.get(cookie))
        except AnomalystError as refusal:  # a state cannot be guessed, so nobody is slowed for it
            return self._told(request, refusal)
        try:
            if not self.failed.left(address):
                words = f"{FAILED_LOGINS_PER_MINUTE} sign-ins failed in a minute; wait a little."
                raise TooMany(words)
            if iss not in ("", self.config.issuer):
                raise Unauthorized("another identity provider answered; begin again.")
            if error or not code:
                raise Unauthorized("the identity provider did not sign you in; begin again.")
            person = self.provider.person(code, nonce=begun.nonce, verifier=begun.verifier)
            opened = self._begin(person, request)
        except SQLAlchemyError as away:
            if not is_outage(away):
                raise
            return self._told(request, Busy("the database takes nothing now; sign in again soon."))
        except AnomalystError as refusal:
            with suppress(TooMany):
                self.failed.take(address)
            log.warning("a sign-in from %s failed: %s", address, refusal)
            return self._told(request, refusal)
        response = RedirectResponse(begun.page, 303, HEADERS)
        self._forget(response, cookie)
        seconds = 3600 * self.config.session_hours
        self._set(response, self.config.session_cookie, opened, seconds)
        return response

    def me(self, request: Request) -> dict[str, str]:
        """Who is signed in, for the top of a page."""
        who = self.service.sessions.at(request.cookies.get(self.config.session_cookie))
        return {"name": who.name, "role": who.role}

    def logout(self, request: Request) -> Response:
        """Signed out here, and of the provider: the next at this screen is not taken for them."""
        ended = self.service.sessions.end(request.cookies.get(self.config.session_cookie))
        place = self.provider.exit(ended.id_token if ended else None)
        response = RedirectResponse(place or "/", 303, HEADERS)
        self._forget(response, self.config.session_cookie)
        return response

    def _begin(self, person: Person, request: Request) -> str:
        """A session. Raises Conflict where the record could take a person for somebody else."""
        store, sessions = self.service.store, self.service.sessions
        keys = (row.name for row in list_keys(store) if row.revoked_at is None)
        if person.name in (*RESERVED, *keys):
            raise Conflict(
                f"a key or a part of this server is called {person.name!r}, too, and the record "
                "could not tell you apart; revoke the key, or set name_claim."
            )
        said = {"role": person.role, "sub": person.subject, "issuer": self.config.issuer}
        with store.session() as session:
            audit.append(session, person.name, "signed in", person.name, **said)
        sessions.end(request.cookies.get(self.config.session_cookie))
        seconds = 3600 * self.config.session_hours
        return sessions.begin(person.name, person.role, person.id_token, seconds)

    def _told(self, request: Request, error: AnomalystError) -> Response:
        """Why not, in one sentence, and the way to try again."""
        return sign_in_page(request, status_of(error), "/", problem=str(error))

    def _set(self, response: Response, name: str, value: str, seconds: float) -> None:
        secure = self.config.secure
        response.set_cookie(
            name, value, max_age=int(seconds), path="/", secure=secure, httponly=True,
            samesite="lax",
        )  # fmt: skip

    def _forget(self, response: Response, name: str) -> None:
        response.delete_cookie(
            name, path="/", secure=self.config.secure, httponly=True, samesite="lax"
        )


class SignedInOnly:
    """ASGI: who opens a page and is not signed in is shown where to."""

    def __init__(self, app: ASGIApp, service: Service, config: OidcConfig):
        self.app, self.service, self.cookie = app, service, config.session_cookie

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].strip("/") not in PAGES:
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        try:
            self.service.sessions.at(request.cookies.get(self.cookie))
        except Unauthorized:
            wanted = page_of(f"{scope['path']}?{scope['query_string'].decode('latin-1')}")
            page = await run_in_threadpool(sign_in_page, request, 401, wanted)
            await page(scope, receive, send)
            return
        await self.app(scope, receive, send)


def page_of(wanted: str) -> str:
    """One of our own pages, whatever address was asked for: a sign-in leads nowhere else."""
    try:
        parts = urlsplit(wanted)
    except ValueError:
        return "/"
    page = parts.path.strip("/")
    if parts.scheme or parts.netloc or page not in PAGES:
        return "/"
    return f"/{page}" + (f"?{parts.query}" if parts.query.isprintable() and parts.query else "")


def sign_in_page(request: Request, status: int, page: str, problem: str = "") -> HTMLResponse:
    """The page before all others."""
    from anomalyst.server.ui.wording import language_of, words  # it imports Gradio

    language = language_of(request.headers)
    said = words(language)
    html = template("anomalyst.server.ui", "templates/sign_in.html.j2").render(
        t=said.__getitem__, language=language, page=page, problem=problem
    )
    return HTMLResponse(html, status, HEADERS)


def _address(request: Request) -> str:
    return request.client.host if request.client else ""

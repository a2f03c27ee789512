"""Who comes in: key and role, where from, how often, how much."""

import re
import threading
import time
from collections import OrderedDict
from contextlib import suppress
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import Depends, Request
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from anomalyst.server.api.problems import problem
from anomalyst.server.auth import LOCAL, Caller, Role, caller_of
from anomalyst.server.config import LOOPBACK, MB, ServingConfig
from anomalyst.server.corrections import Corrections
from anomalyst.server.errors import Forbidden, TooMany, Unauthorized
from anomalyst.server.jobs.training_runs import Runs
from anomalyst.server.masking import Masking
from anomalyst.server.service import Service
from anomalyst.server.sign_in.sessions import still

header = APIKeyHeader(name="X-API-Key", auto_error=False)
PASS = "X-Page-Pass"  # of a page's own script, whose user signed in
bearer = HTTPBearer(auto_error=False)
CALLERS_KEPT = 10_000
SAFE = ("GET", "HEAD", "OPTIONS")
LOGIN = "/login"  # of the pages
FAILED_LOGINS_PER_MINUTE = 10  # from one address
SAME_SITE = re.compile(rb";\s*samesite=\w+", re.IGNORECASE)


def of_app(name: str) -> Any:
    """A dependency: what api/app.py keeps in the app's state under this name."""

    async def found(request: Request) -> Any:
        return getattr(request.app.state, name)

    return Depends(found)


Serving = Annotated[Service, of_app("service")]
Correcting = Annotated[Corrections, of_app("corrections")]
Masks = Annotated[Masking, of_app("masking")]
Training = Annotated[Runs, of_app("runs")]


def caller(
    request: Request,
    service: Serving,
    key: Annotated[str | None, Depends(header)],
    token: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
) -> Caller:
    """Who asks, by X-API-Key, as a bearer or from a page; anyone local where no key is needed."""
    rate, address = request.app.state.rate, request.client.host if request.client else ""
    if not service.config.keys:
        rate.take(address)
        return LOCAL
    try:
        found = _signed(request, service) or caller_of(
            service.store, key or (token.credentials if token else None)
        )
    except Unauthorized:
        # Guessing is not free; who shares the address and has a key is not held up by it.
        rate.take(f"without a key, from {address}")
        raise
    rate.take(found.name)
    return found


def _signed(request: Request, service: Service) -> Caller | None:
    """Who signed in on a page or holds its ticket, unless their session or key ended since."""
    tickets, ticket = service.tickets, request.query_params.get("ticket")
    who = tickets.signed_in(request.headers.get(PASS))
    who = who or (tickets.holder(ticket) if request.method in SAFE else None)
    return still(service.store, service.sessions, who) if who else None


def at_least(role: Role) -> Any:
    """A dependency that lets pass who has a role, or a higher one."""

    def checked(who: Annotated[Caller, Depends(caller)]) -> Caller:
        if not who.may(role):
            raise Forbidden("the key's role does not allow this.")
        return who

    return Depends(checked)


operator, engineer, admin = at_least("operator"), at_least("engineer"), at_least("admin")
Operator = Annotated[Caller, operator]
Engineer = Annotated[Caller, engineer]
Admin = Annotated[Caller, admin]


class Rate:
    """A bucket of tokens for each caller, filled over the minute."""

    def __init__(self, per_minute: int):
        self.per_minute = per_minute
        self._lock = threading.Lock()  # requests come in many threads
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def left(self, who: str) -> bool:
        """Whether one more would be allowed."""
        with self._lock:
            left, then = self._buckets.get(who, (float(self.per_minute), 0.0))
            return left + (time.monotonic() - then) * self.per_minute / 60 >= 1

    def take(self, who: str) -> None:
        """One request. Raises TooMany."""
        now = time.monotonic()
        with self._lock:
            left, then = self._buckets.pop(who, (float(self.per_minute), now))
            left = min(self.per_minute, left + (now - then) * self.per_minute / 60)
            allowed = left >= 1
            self._buckets[who] = (left - allowed, now)
            if len(self._buckets) > CALLERS_KEPT:
                self._buckets.popitem(last=False)
        if not allowed:
            raise TooMany(f"more than {self.per_minute} requests in a minute; wait a little.")


class RequestGuard:
    """ASGI: refuses bodies above the limit, and pages of other sites that use a visitor's browser.

    A server on this machine's own address is open to its users, so it answers to its own names
    only: else any web page could send it requests (DNS rebinding, cross-site forms).
    """

    def __init__(self, app: ASGIApp, config: ServingConfig):
        self.app = app
        upload_mb = config.limits.upload_mb
        self.limit = upload_mb * MB
        self.too_large = problem(413, f"a request may hold {upload_mb} MB; this one holds more.")
        self.local = config.host in LOOPBACK
        # Behind a proxy: the name by which people know this server.
        self.known_as = urlsplit(config.oidc.base).netloc if config.oidc else None
        self.failed_logins = Rate(FAILED_LOGINS_PER_MINUTE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        length = headers.get("content-length", "0")
        if self._foreign(scope["method"], headers):
            await problem(403)(scope, receive, send)
        elif length.isdecimal() and int(length) > self.limit:
            await self.too_large(scope, receive, send)
        elif scope["method"] == "POST" and scope["path"].rstrip("/") == LOGIN:
            await self._sign_in(scope, receive, send)
        else:
            await self._counted(scope, receive, send)

    async def _counted(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A body that does not say how long it is may not be longer, either."""
        read, answered, refused = 0, False, False

        async def receive_some() -> Message:
            nonlocal read, refused
            message = await receive()
            read += len(message.get("body", b""))
            if read > self.limit:
                refused = True
                return {"type": "http.disconnect"}
            return message

        async def send_some(message: Message) -> None:
            nonlocal answered
            if refused and not answered:
                return
            answered = True
            await send(message)

        try:
            await self.app(scope, receive_some, send_some)
        except Exception:
            if not refused:
                raise
        if refused and not answered:
            await self.too_large(scope, receive, send)

    async def _sign_in(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Keys cannot be guessed in haste, and the cookie goes to our own pages only."""
        address = scope["client"][0] if scope.get("client") else ""
        if not self.failed_logins.left(address):
            words = f"{FAILED_LOGINS_PER_MINUTE} sign-ins failed in a minute; wait a little."
            await problem(429, words)(scope, receive, send)
            return

        async def send_on(message: Message) -> None:
            if message["type"] == "http.response.start":
                if message["status"] == 400:
                    with suppress(TooMany):
                        self.failed_logins.take(address)
                message["headers"] = [
                    (name, _own_site(value) if name == b"set-cookie" else value)
                    for name, value in message["headers"]
                ]
            await send(message)

        await self._counted(scope, receive, send_on)

    def _foreign(self, method: str, headers: Headers) -> bool:
        host, origin = headers.get("host", ""), headers.get("origin", "")
        own = host == self.known_as or urlsplit(f"//{host}").hostname in (*LOOPBACK, None)
        if self.local and not own:
            return True
        if method in SAFE:
            return False
        if headers.get("sec-fetch-site") in ("cross-site", "same-site"):
            return True
        return bool(origin) and urlsplit(origin).netloc not in (host, self.known_as)


def _own_site(cookie: bytes) -> bytes:
    """A cookie that a browser sends along with no form of another site."""
    return SAME_SITE.sub(b"", cookie) + b"; SameSite=lax"

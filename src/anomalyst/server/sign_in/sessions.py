"""Who has signed in, and whose sign-in has begun. Kept in memory: a restart ends all."""

import hashlib
import secrets
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass

from anomalyst.server.auth import Caller, Role, caller_called
from anomalyst.server.errors import Unauthorized
from anomalyst.server.storage.store import Store

BEGUN_SECONDS = 600.0  # for a password and a second factor
BEGUN_MOST = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A person who signed in."""

    who: Caller
    until: float
    id_token: str  # the provider asks for it when they sign out


class Sessions:
    """By what a browser's cookie holds; only its digest is kept, and that is what pages know."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # requests come in many threads
        self._open: dict[str, Session] = {}

    def begin(self, name: str, role: Role, id_token: str, seconds: float) -> str:
        """A cookie for somebody who has just signed in."""
        cookie, now = secrets.token_urlsafe(32), time.monotonic()
        who = Caller(name=name, role=role, session=_digest(cookie))
        with self._lock:
            for ended in [one for one, held in self._open.items() if held.until <= now]:
                del self._open[ended]
            self._open[_digest(cookie)] = Session(who=who, until=now + seconds, id_token=id_token)
        return cookie

    def at(self, cookie: str | None) -> Caller:
        """Who sends a cookie. Raises Unauthorized once it has ended."""
        return self.called(_digest(cookie or ""))

    def called(self, session: str) -> Caller:
        """Whose a session is. Raises Unauthorized once it has ended."""
        with self._lock:
            found = self._open.get(session)
        if found is None or found.until <= time.monotonic():
            raise Unauthorized("sign in again.")
        return found.who

    def end(self, cookie: str | None) -> Session | None:
        """Sign out: the cookie, and passes of its pages, open nothing any more."""
        with self._lock:
            return self._open.pop(_digest(cookie or ""), None)


def still(store: Store, sessions: Sessions, who: Caller) -> Caller:
    """Somebody who signed in before, unless their session or key ended. Raises Unauthorized."""
    return sessions.called(who.session) if who.session else caller_called(store, who.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """A sign-in on its way through the provider."""

    browser: str  # digest of the cookie of who began it: nobody else ends it
    nonce: str
    verifier: str
    page: str  # that was asked for
    until: float


class Beginnings:
    """By state; each is taken once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._begun: OrderedDict[str, Begun] = OrderedDict()

    def begin(self, page: str) -> tuple[str, str, Begun]:
        """State and the browser's cookie of a new one."""
        state, browser = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        begun = Begun(
            browser=_digest(browser), nonce=secrets.token_urlsafe(32),
            verifier=secrets.token_urlsafe(48), page=page,
            until=time.monotonic() + BEGUN_SECONDS,
        )  # fmt: skip
        with self._lock:
            self._begun[state] = begun
            if len(self._begun) > BEGUN_MOST:
                self._begun.popitem(last=False)
        return state, browser, begun

    def take(self, state: str, browser: str | None) -> Begun:
        """The one of a state. Raises Unauthorized: taken before, too old, another browser's."""
        with self._lock:
            found = self._begun.pop(state, None)
        ours = found is not None and secrets.compare_digest(found.browser, _digest(browser or ""))
        if found is None or not ours or found.until <= time.monotonic():
            raise Unauthorized(
                "this sign-in was ended before, took too long or was begun in another browser; "
                "begin again."
            )
        return found


def _digest(cookie: str) -> str:
    """A cookie is 256 random bits, so one round is enough."""
    return hashlib.sha256(cookie.encode("utf-8", "replace")).hexdigest()

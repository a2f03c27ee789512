"""API keys: who may ask, and for what."""

import hashlib
import secrets
import threading
import time
from dataclasses import dataclass
from typing import Literal, cast, get_args

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from anomalyst.errors import AnomalystError
from anomalyst.server.errors import Conflict, NotFound, Unauthorized
from anomalyst.server.storage import audit
from anomalyst.server.storage.store import Store
from anomalyst.server.storage.tables import KeyRow, now

# operator: inspects, asks, judges. engineer: also teaches, corrects and sets. admin: also deletes,
# makes keys and starts trainings.
Role = Literal["operator", "engineer", "admin"]
ROLES: tuple[str, ...] = get_args(Role)
ALSO_CALLED = {"inspector": "operator"}
COMMAND_LINE = "command line"
PREFIX = "any_"
REVOKED = " (revoked "  # and when: what a revoked key is called after its name
TICKET_SECONDS = 900.0
PASS_SECONDS = 12 * 3600.0  # a shift


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks."""

    name: str
    role: Role
    session: str | None = None  # of who signed in with the company's account; None: by a key

    def may(self, role: Role) -> bool:
        """Whether their role includes another."""
        return ROLES.index(self.role) >= ROLES.index(role)


LOCAL = Caller(name="local", role="admin")  # where no key is needed


def make_key(store: Store, name: str, role: str, *, by: str = COMMAND_LINE) -> str:
    """A new key, shown this once; only its digest is kept. Raises Conflict for a known name."""
    role = ALSO_CALLED.get(role, role)
    if role not in ROLES:
        raise AnomalystError(f"role {role!r} is none of {', '.join(ROLES)}.")
    if not name.strip() or len(name) > 80 or not name.isprintable():
        raise AnomalystError("the key needs a name of 1 to 80 letters, as 'line 3'.")
    key = PREFIX + secrets.token_urlsafe(32)
    try:
        with store.session() as session:
            audit.append(session, by, "key made", name, role=role)
            session.add(KeyRow(name=name, role=role, digest=_digest(key)))
    except IntegrityError:
        raise Conflict(
            f"there is a key called {name!r}; take another name, or revoke it."
        ) from None
    return key


def caller_of(store: Store, key: str | None) -> Caller:
    """Who holds a key. Raises Unauthorized, without saying what is wrong with it."""
    return _caller(store, "a key is needed.", digest=_digest(key) if key else None)


def caller_called(store: Store, name: str | None) -> Caller:
    """Who signed in under a key's name. Raises Unauthorized if it was revoked since."""
    return _caller(store, "sign in again.", name=name or "")


def _caller(store: Store, refusal: str, **which: str | None) -> Caller:
    with store.session() as session:
        row = session.scalar(select(KeyRow).filter_by(**which, revoked_at=None))
    if row is None:
        raise Unauthorized(refusal)
    return Caller(name=row.name, role=cast(Role, row.role))


class Tickets:
    """Short-lived passes for links on the pages: a browser that follows one sends no key.

    They tell who; whether their key or session is still good is asked at each use (`still`).
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # requests come in many threads
        self._given: dict[str, tuple[Caller, float]] = {}  # ticket -> who holds it, until
        self._passes: dict[str, tuple[Caller, float]] = {}

    def give(self, who: Caller) -> str:
        """A pass for `who`, good for some minutes."""
        with self._lock:
            return _added(self._given, who, TICKET_SECONDS)

    def holder(self, ticket: str | None) -> Caller | None:
        """Who holds a pass that is still good."""
        with self._lock:
            return _holder(self._given, ticket)

    def page_pass(self, who: Caller) -> str:
        """What a page's own script sends in place of a key, for a shift; one for all their pages.

        Unlike a ticket it also writes, so it is never part of an address.
        """
        now = time.monotonic()
        with self._lock:
            for known, (holder, until) in self._passes.items():
                if holder == who and until > now + PASS_SECONDS / 2:
                    return known
            return _added(self._passes, who, PASS_SECONDS)

    def signed_in(self, page_pass: str | None) -> Caller | None:
        """Who signed in, whose pass is still good."""
        with self._lock:
            return _holder(self._passes, page_pass)


def _added(passes: dict[str, tuple[Caller, float]], who: Caller, seconds: float) -> str:
    """A new pass; those that have ended are forgotten."""
    now = time.monotonic()
    for ended in [one for one, (_, until) in passes.items() if until <= now]:
        del passes[ended]
    made = secrets.token_urlsafe(24)
    passes[made] = who, now + seconds
    return made


def _holder(passes: dict[str, tuple[Caller, float]], one: str | None) -> Caller | None:
    who, until = passes.get(one or "", (None, 0.0))
    return who if until > time.monotonic() else None


def list_keys(store: Store) -> list[KeyRow]:
    """All keys, revoked ones too."""
    with store.session() as session:
        return list(session.scalars(select(KeyRow).order_by(KeyRow.id)))


def had_key_before(store: Store, name: str) -> bool:
    """Whether a key of this name was revoked."""
    return any(row.revoked_at and row.name.startswith(name + REVOKED) for row in list_keys(store))


def revoke_key(store: Store, name: str, *, by: str = COMMAND_LINE) -> None:
    """From now on the key opens nothing; its name is free again. Raises NotFound.

    A new key of that name is the same person's: what was judged under it stays theirs.
    """
    with store.session() as session:
        audit.alone(session)
        row = session.scalar(select(KeyRow).filter_by(name=name, revoked_at=None))
        if row is None:
            raise NotFound(f"there is no key called {name[:80]!r}.")
        row.name = f"{name}{REVOKED}{now():%Y-%m-%d %H:%M:%S})"
        row.revoked_at = now()
        audit.append(session, by, "key revoked", name, role=row.role)


def _digest(key: str) -> str:
    """A key is 256 random bits, so one round is enough."""
    return hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()

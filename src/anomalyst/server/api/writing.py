"""What keeps writes apart: once for each idempotency key, and of the version that was read."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Annotated, Any

from fastapi import Depends, Header, Request, Response
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import SQLAlchemyError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from anomalyst.errors import AnomalystError
from anomalyst.server.api.access import Operator, Serving
from anomalyst.server.service import Service
from anomalyst.server.storage import requests
from anomalyst.server.storage.database import is_outage
from anomalyst.server.storage.owed import Owed
from anomalyst.server.storage.store import IdempotentRequest, Store

Key = Annotated[str | None, Header(min_length=1, max_length=200, pattern=r"^[\x21-\x7e]+$")]
Match = Annotated[
    str | None,
    Header(max_length=200, description="the ETag of a product: refused if it was changed since"),
]
PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Once:
    """Does a write, or tells what was answered to the same request before."""

    store: Store
    owed: Owed
    asked: IdempotentRequest | None
    status: int
    of_version: Callable[[], AbstractContextManager[None]] = nullcontext  # around the first time

    def __call__(self, response: Response, work: Callable[[], Any]) -> Any:
        """What `work` gives; with a key, kept with its status and place, and given again."""
        if (asked := self.asked) is None:
            return self._done(work)
        before = requests.begin(self.store, asked)
        if before is not None:
            headers = {"Idempotent-Replayed": "true"}
            if before["location"]:
                headers["Location"] = before["location"]
            return JSONResponse(before["body"], before["status"], headers)
        try:
            body = self._done(work)
        except BaseException:
            self._kept(lambda: requests.give_up(self.store, asked))
            raise
        location = response.headers.get("location")
        kept = {"status": self.status, "body": jsonable_encoder(body), "location": location}
        self._kept(lambda: requests.answered(self.store, asked, kept))
        return body

    def _done(self, work: Callable[[], Any]) -> Any:
        with self.of_version():
            return work()

    def _kept(self, write: Callable[[], None]) -> None:
        """Now, or once the database is back: else the key would stay that of a request in hand."""
        try:
            write()
        except SQLAlchemyError as error:
            if not is_outage(error):
                raise
            self.owed.write(write, "the answer to an idempotency key")


async def once(
    request: Request, service: Serving, who: Operator, idempotency_key: Key = None
) -> Once:
    """A dependency of endpoints that make something."""
    asked = None
    if idempotency_key is not None:
        digest = await _fingerprint(request)
        asked = IdempotentRequest(by=who.name, key=idempotency_key, fingerprint=digest)
    return Once(service.store, service.owed, asked, request.scope["route"].status_code or 200)


async def once_of_version(
    request: Request,
    service: Serving,
    who: Operator,
    name: str,
    idempotency_key: Key = None,
    if_match: Match = None,
) -> Once:
    """A dependency of endpoints that change a product: as `once`, and with If-Match as `unchanged`.

    The version is asked for the first time only: what was done then made another one.
    """
    plain = await once(request, service, who, idempotency_key)
    return replace(plain, of_version=lambda: _claimed(service, name, if_match))


def unchanged(
    service: Serving,
    who: Operator,  # noqa: ARG001
    name: str,
    if_match: Match = None,
) -> Iterator[None]:
    """A dependency of endpoints that change a product: with If-Match, only of that version."""
    with _claimed(service, name, if_match):
        yield


@contextmanager
def _claimed(service: Service, name: str, if_match: str | None) -> Iterator[None]:
    """The version is taken before the work, so that of two who come at once one is told.

    Given back if the work is refused, so that the version still says what is there.
    """
    if if_match is None or if_match.strip() == "*":
        yield
        return
    tag = if_match.strip().removeprefix("W/").strip('"')
    service.claim(name, tag)
    try:
        yield
    except (AnomalystError, RequestValidationError, HTTPException):
        service.store.give_back(name, int(tag.partition("-")[0]))
        raise


Writing = Annotated[Once, Depends(once)]
Changing = Annotated[Once, Depends(once_of_version)]
Unchanged = Depends(unchanged)


def with_tag(response: Response, product: dict[str, Any]) -> dict[str, Any]:
    """A product as an answer, with its version as ETag."""
    response.headers["ETag"] = f'"{product["version"]}"'
    return product


async def _fingerprint(request: Request) -> str:
    """Of what is asked: method, place, fields and files; a form's boundary is by chance."""
    digest = hashlib.sha256(f"{request.method} {request.url.path}?{request.url.query}\n".encode())
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        digest.update(await request.body())
        return digest.hexdigest()
    for name, value in (await request.form()).multi_items():
        if not isinstance(value, UploadFile):
            digest.update(repr((name, value)).encode())
            continue
        digest.update(repr((name, value.filename, value.size)).encode())
        while piece := await value.read(PIECE):
            digest.update(piece)
        await value.seek(0)
    return digest.hexdigest()

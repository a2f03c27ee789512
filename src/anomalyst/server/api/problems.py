"""Errors as application/problem+json (RFC 9457): one clear sentence, never a traceback."""

import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException

from anomalyst.errors import AnomalystError
from anomalyst.product_index import UnknownProduct
from anomalyst.server import errors as refusals
from anomalyst.server.storage.database import is_outage
from anomalyst.server.storage.tables import new_id

log = logging.getLogger(__name__)
MEDIA_TYPE = "application/problem+json"
AGAIN_SECONDS = 5  # until a request is sent again that the database did not take
STATUS: dict[type[Exception], int] = {
    UnknownProduct: 404,
    refusals.NotFound: 404,
    refusals.Conflict: 409,
    refusals.Stale: 412,
    refusals.TooLarge: 413,
    refusals.Busy: 503,
    refusals.Unreachable: 503,
    refusals.Unauthorized: 401,
    refusals.Forbidden: 403,
    refusals.TooMany: 429,
    AnomalystError: 422,
}
TITLES = {
    400: "Bad request", 401: "Unauthorized", 403: "Forbidden", 404: "Not found",
    405: "Method not allowed", 409: "Conflict", 412: "Changed since", 413: "Too large",
    422: "Cannot be used",
    429: "Too many requests", 500: "Our fault", 503: "Busy",
}  # fmt: skip
SCHEMA = {
    "type": "object",
    "required": ["type", "title", "status"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "near": {"type": "array", "items": {"type": "string"}},
        "errors": {"type": "array", "items": {"type": "object"}},
    },
}


def problem(status: int, detail: str | None = None, **extra: Any) -> JSONResponse:
    """A problem as a response. Of 401 and 403 nothing is told."""
    body: dict[str, Any] = {"type": "about:blank", "title": TITLES.get(status, "Error")}
    body["status"] = status
    if detail and status not in (401, 403):
        body |= {"detail": detail, **extra}
    headers = {401: {"WWW-Authenticate": "Bearer"}, 429: {"Retry-After": "5"},
               503: {"Retry-After": "30"}}.get(status)  # fmt: skip
    return JSONResponse(body, status, headers, media_type=MEDIA_TYPE)


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What an endpoint may answer beside success, for OpenAPI; every one may refuse a caller."""
    content = {MEDIA_TYPE: {"schema": SCHEMA}}
    all_of = sorted({400, 401, 403, 413, 422, 429, 503, *statuses})
    return {status: {"description": TITLES[status], "content": content} for status in all_of}


def install(app: FastAPI) -> None:
    """Every error of the app becomes a problem."""
    app.add_exception_handler(AnomalystError, _told)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(SQLAlchemyError, _not_kept)
    app.add_exception_handler(Exception, _broken)


def status_of(error: AnomalystError) -> int:
    """The HTTP status that an error amounts to."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


async def _told(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, AnomalystError)
    if isinstance(error, UnknownProduct):
        near = f"the nearest: {', '.join(error.near)}" if error.near else "none is taught yet"
        return problem(404, f"there is no product {error.name[:80]!r}; {near}.", near=error.near)
    return problem(status_of(error), str(error))


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    errors = [
        {"where": ".".join(str(part) for part in one["loc"]), "what": one["msg"]}
        for one in error.errors()
    ]
    first = errors[0] if errors else {"where": "request", "what": "is not valid"}
    return problem(422, f"{first['where']}: {first['what']}", errors=errors[:20])


async def _refused(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    answer = problem(error.status_code, str(error.detail))
    answer.headers.update(error.headers or {})
    return answer


async def _not_kept(request: Request, error: Exception) -> JSONResponse:
    """A database that is away or locked comes back: the same may be sent again."""
    if not is_outage(error):
        return await _broken(request, error)
    path = request.url.path
    log.error("the database takes nothing: %s %s (%s)", request.method, path, error)
    answer = problem(
        503,
        "the database takes nothing now; send the request again, with the same Idempotency-Key if "
        "it makes something.",
    )
    answer.headers["Retry-After"] = str(AGAIN_SECONDS)
    return answer


async def _broken(request: Request, error: Exception) -> JSONResponse:
    number = new_id()
    log.error("request %s failed: %s %s", number, request.method, request.url.path, exc_info=error)
    return problem(500, f"something broke; it is in the server's log as {number}.")

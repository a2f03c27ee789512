"""The REST app: routers, error answers and access control, over one service."""

import logging
import time
from collections.abc import Awaitable, Callable

from fastapi import FastAPI, Request, Response
from starlette.routing import Match

from anomalyst.server.api import (
    feedback,
    inspections,
    jobs,
    masks,
    measuring,
    models,
    production,
    products,
    search,
    sign_in,
    system,
)
from anomalyst.server.api.access import Rate, RequestGuard, operator
from anomalyst.server.api.problems import install, problem, problems
from anomalyst.server.corrections import Corrections
from anomalyst.server.jobs.training_runs import Runs
from anomalyst.server.masking import Masking
from anomalyst.server.service import Service
from anomalyst.version import __version__

log = logging.getLogger("anomalyst.requests")
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"]


def build_app(service: Service) -> FastAPI:
    """The app: REST under /api/v1, OpenAPI at /docs; the pages are mounted by app.py."""
    words = "Inspect, question, correct, and keep a record."
    app = FastAPI(title="Anomalyst", version=__version__, description=words)
    app.state.service = service
    app.state.corrections = Corrections(service)
    app.state.masking = Masking(service, app.state.corrections)
    app.state.runs = Runs(service.config)
    app.state.rate = Rate(service.config.limits.requests_per_minute)
    install(app)
    app.include_router(system.open_router, prefix="/api/v1")
    parts = (
        *(feedback.router, products.router, measuring.router, inspections.router, masks.router),
        *(jobs.router, search.router, models.router, production.router),
        *(system.runs, system.keys, system.figures),
    )
    for part in parts:
        app.include_router(part, prefix="/api/v1", dependencies=[operator], responses=problems())
    if service.config.oidc is not None:
        signing_in = sign_in.SignIn(service, service.config.oidc)
        app.include_router(signing_in.router())
        app.add_middleware(sign_in.SignedInOnly, service=service, config=service.config.oidc)
    path = "/api/{rest:path}"
    app.add_api_route(path, _nothing_here, methods=METHODS, include_in_schema=False)
    app.middleware("http")(_logged)
    app.add_middleware(RequestGuard, config=service.config)
    return app


async def _nothing_here(request: Request, rest: str) -> Response:
    """What is under /api and no endpoint must not be looked for among the pages."""
    if any(route.matches(request.scope)[0] == Match.PARTIAL for route in request.app.routes):
        return problem(405, f"{request.method} is not what this endpoint takes; see /docs.")
    return problem(404, f"there is no endpoint {rest[:80]!r}; see /docs.")


async def _logged(
    request: Request, call_next: Callable[[Request], Awaitable[Response]]
) -> Response:
    """Each API request as a line of the log and a count."""
    started, path = time.perf_counter(), request.url.path
    if not path.startswith("/api/"):
        return await call_next(request)
    tracing = request.app.state.service.tracing
    with tracing.request(request.method, path, request.headers) as traced:
        response = await call_next(request)
        route = getattr(request.scope.get("route"), "path", "unknown")
        traced |= {
            "name": f"{request.method} {route}", "http.route": route,
            "http.response.status_code": response.status_code,
        }  # fmt: skip
    metrics = request.app.state.service.metrics
    metrics.requests.labels(request.method, route, str(response.status_code)).inc()
    ms = round(1000 * (time.perf_counter() - started), 1)
    about = {"status": response.status_code, "ms": ms}
    log.info("%s %s", request.method, request.url.path, extra=about)
    return response

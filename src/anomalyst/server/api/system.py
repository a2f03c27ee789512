"""Health, readiness, metrics; runs; keys."""

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from anomalyst.hardware.processor import processor
from anomalyst.server.api.access import Admin, Engineer, Operator, Serving
from anomalyst.server.api.problems import problem, responses
from anomalyst.server.api.schemas import NewKey, NewRun
from anomalyst.server.auth import list_keys, make_key, revoke_key
from anomalyst.server.jobs.training_runs import Runs
from anomalyst.version import __version__

router = APIRouter()
open_router = APIRouter(tags=["system"])  # for probes: without a key


@open_router.get("/health")
async def health() -> dict[str, Any]:
    """The server is alive, and what its processor can do."""
    return {"status": "ok", "version": __version__, **processor().as_dict()}


@open_router.get("/ready", responses=responses(503), response_model=dict[str, str])
async def ready(service: Serving) -> Any:
    """The model has been read and the server is not closing."""
    if service.closing or not service.queue.ready:
        return problem(503, "the model is still being read, or the server closes.")
    return {"status": "ready"}


@open_router.get("/metrics", response_class=PlainTextResponse)
def metrics(service: Serving) -> Response:
    """Figures for Prometheus."""
    service.metrics.waiting.set(service.queue.waiting)
    service.metrics.undelivered.set(service.store.undelivered())
    return Response(service.metrics.text(), media_type="text/plain; version=0.0.4")


def runs_of(request: Request) -> Runs:
    """The app's runs."""
    found: Runs = request.app.state.runs
    return found


@router.get("/runs", responses=responses(), tags=["runs"])
def list_runs(request: Request, who: Operator) -> list[dict[str, Any]]:  # noqa: ARG001
    """Training runs, the newest first."""
    return runs_of(request).all()


@router.get("/recipes", responses=responses(), tags=["runs"])
def list_recipes(request: Request, who: Operator) -> list[str]:  # noqa: ARG001
    """What may be trained."""
    return runs_of(request).recipes()


@router.get("/runs/{name}", responses=responses(404), tags=["runs"])
def get_run(request: Request, who: Operator, name: str) -> JSONResponse:  # noqa: ARG001
    """A run: figures so far, what its training monitor said, its last words."""
    return JSONResponse(runs_of(request).run(name))


@router.post("/runs", status_code=201, responses=responses(404, 409), tags=["runs"])
def start_run(request: Request, who: Admin, wanted: NewRun) -> dict[str, Any]:  # noqa: ARG001
    """Start a training, in a process of its own; of a known name, go on with it."""
    return runs_of(request).start(wanted.recipe, wanted.name, wanted.changes)


@router.post("/runs/{name}/stop", responses=responses(404, 409), tags=["runs"])
def stop_run(request: Request, who: Engineer, name: str) -> dict[str, Any]:  # noqa: ARG001
    """Ask a run to save itself and end."""
    return runs_of(request).stop(name)


@router.get("/keys", responses=responses(), tags=["keys"])
def get_keys(service: Serving, who: Admin) -> list[dict[str, Any]]:  # noqa: ARG001
    """All keys, without what opens."""
    names = ("name", "role", "created_at", "revoked_at")
    return [{name: getattr(row, name) for name in names} for row in list_keys(service.store)]


@router.post("/keys", status_code=201, responses=responses(409), tags=["keys"])
def add_key(service: Serving, who: Admin, wanted: NewKey) -> dict[str, str]:  # noqa: ARG001
    """Make a key; it is shown this once."""
    return {"name": wanted.name, "key": make_key(service.store, wanted.name, wanted.role)}


@router.delete("/keys/{name}", status_code=204, responses=responses(404), tags=["keys"])
def remove_key(service: Serving, who: Admin, name: str) -> Response:  # noqa: ARG001
    """From now on the key opens nothing."""
    revoke_key(service.store, name)
    return Response(status_code=204)

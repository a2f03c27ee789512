"""Health, readiness, metrics; runs; keys."""

from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from anomalyst.hardware.processor import processor
from anomalyst.server.api.access import Admin, Serving, Training, admin, engineer
from anomalyst.server.api.problems import problem, problems
from anomalyst.server.api.schemas import NewKey, NewRun
from anomalyst.server.auth import list_keys, make_key, revoke_key
from anomalyst.server.records.lines import measure_lines
from anomalyst.server.storage import messages
from anomalyst.server.storage.jobs import jobs
from anomalyst.version import __version__

runs = APIRouter(tags=["runs"])
figures = APIRouter(tags=["system"])
keys = APIRouter(prefix="/keys", tags=["keys"], dependencies=[admin])
open_router = APIRouter(tags=["system"])  # for probes: without a key


@open_router.get("/health")
async def health() -> dict[str, Any]:
    """The server is alive, and what its processor can do."""
    return {"status": "ok", "version": __version__, **processor().as_dict()}


@open_router.get("/ready", responses=problems(503), response_model=dict[str, str])
async def ready(service: Serving) -> Any:
    """The model has been read and the server is not closing."""
    if service.closing or not service.queue.ready:
        if why := service.queue.problem:
            return problem(503, f"the model cannot be used: {why} It is tried again.")
        return problem(503, "the model is still being read, or the server closes.")
    return {"status": "ready"}


@figures.get("/metrics", response_class=PlainTextResponse)
def metrics(service: Serving) -> Response:
    """Figures for Prometheus; they name products, so a key is needed where keys are."""
    service.metrics.waiting.set(service.queue.waiting)
    service.metrics.jobs.set(len(jobs(service.store, active=True, limit=1000)))
    service.metrics.undelivered.set(messages.count_waiting(service.store))
    service.metrics.refused.set(messages.count_refused(service.store))
    measure_lines(service.store, service.metrics)
    return Response(service.metrics.text(), media_type="text/plain; version=0.0.4")


@runs.get("/runs")
def list_runs(training: Training) -> list[dict[str, Any]]:
    """Training runs, the newest first."""
    return training.all()


@runs.get("/recipes")
def list_recipes(training: Training) -> list[str]:
    """What may be trained."""
    return training.recipes()


@runs.get("/runs/{name}", responses=problems(404))
def get_run(training: Training, name: str) -> JSONResponse:
    """A run: figures so far, what its training monitor said, its last words."""
    return JSONResponse(training.run(name))


@runs.post("/runs", status_code=201, responses=problems(404, 409), dependencies=[admin])
def start_run(training: Training, wanted: NewRun) -> dict[str, Any]:
    """Start a training, in a process of its own; of a known name, go on with it."""
    return training.start(wanted.recipe, wanted.name, wanted.changes)


@runs.post("/runs/{name}/stop", responses=problems(404, 409), dependencies=[engineer])
def stop_run(training: Training, name: str) -> dict[str, Any]:
    """Ask a run to save itself and end."""
    return training.stop(name)


@keys.get("")
def get_keys(service: Serving) -> list[dict[str, Any]]:
    """All keys, without what opens."""
    names = ("name", "role", "created_at", "revoked_at")
    return [{name: getattr(row, name) for name in names} for row in list_keys(service.store)]


@keys.post("", status_code=201, responses=problems(409))
def add_key(service: Serving, who: Admin, wanted: NewKey) -> dict[str, str]:
    """Make a key; it is shown this once. `inspector` is another word for operator."""
    made = make_key(service.store, wanted.name, wanted.role, by=who.name)
    return {"name": wanted.name, "key": made}


@keys.delete("/{name}", status_code=204, responses=problems(404))
def remove_key(service: Serving, who: Admin, name: str) -> Response:
    """From now on the key opens nothing."""
    revoke_key(service.store, name, by=who.name)
    return Response(status_code=204)

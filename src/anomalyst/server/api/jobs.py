"""Jobs: how far what takes long is, and giving it up."""

from typing import Annotated

from fastapi import APIRouter, Query

from anomalyst.server.api.access import Serving, engineer
from anomalyst.server.api.problems import problems
from anomalyst.server.api.schemas import Job, Name
from anomalyst.server.storage import jobs

router = APIRouter(prefix="/jobs", tags=["jobs"])


@router.get("")
def list_jobs(
    service: Serving,
    product: Annotated[Name | None, Query()] = None,
    active: Annotated[bool, Query(description="only those that have not ended")] = False,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> list[Job]:
    """The newest first."""
    found = jobs.jobs(service.store, product=product, active=active, limit=limit)
    return [Job.of(row) for row in found]


@router.get("/{id}", responses=problems(404))
def get_job(service: Serving, id: str) -> Job:
    """One job: its state, how far it is, its result."""
    return Job.of(jobs.job(service.store, id))


@router.delete("/{id}", responses=problems(404, 409), dependencies=[engineer])
def cancel_job(service: Serving, id: str) -> Job:
    """Give a job up; the product stays as it was."""
    return Job.of(service.background.cancel(id))

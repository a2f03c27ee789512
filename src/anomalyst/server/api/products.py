"""Products: create, add references, list, set, export, import, delete."""

import tempfile
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, File, Form, Query, Response, UploadFile
from starlette.background import BackgroundTask
from starlette.responses import FileResponse

from anomalyst.server.api.access import Admin, Engineer, Operator, Serving
from anomalyst.server.api.problems import responses
from anomalyst.server.api.schemas import Change, Name, Settings, Text
from anomalyst.server.records.products import pack

router = APIRouter(prefix="/products", tags=["products"])
Pictures = Annotated[list[UploadFile], File(description="good pictures")]


@router.get("", responses=responses())
def list_products(service: Serving, who: Operator) -> list[dict[str, Any]]:  # noqa: ARG001
    """All products."""
    return service.products()


@router.post("", status_code=201, responses=responses(409))
def create_product(
    service: Serving,
    who: Engineer,
    name: Annotated[Name, Form()],
    pictures: Pictures,
    pose: Annotated[Literal["auto", "fixed", "free"], Form()] = "auto",
    description: Annotated[Text, Form()] = "",
) -> dict[str, Any]:
    """Teach a new product from good pictures."""
    sent = [service.take(one.file, one.filename) for one in pictures]
    return service.teach(name, sent, by=who.name, new=True, pose=pose, describe=description)


@router.post("/import", status_code=201, responses=responses(409))
def import_product(
    service: Serving,
    who: Engineer,
    file: Annotated[UploadFile, File(description="a product that was exported")],
    name: Annotated[Name | None, Form()] = None,
) -> dict[str, Any]:
    """Take in a product from another installation, perhaps under another name."""
    with tempfile.NamedTemporaryFile(prefix="anomalyst-", suffix=".zip") as kept:
        while chunk := file.file.read(1 << 20):
            kept.write(chunk)
        kept.flush()
        return service.bring_in(Path(kept.name), name, who.name)


@router.get("/{name}", responses=responses(404))
def get_product(service: Serving, who: Operator, name: str) -> dict[str, Any]:  # noqa: ARG001
    """One product."""
    return service.product(name)


@router.patch("/{name}", responses=responses(404))
def set_product(service: Serving, who: Engineer, name: str, settings: Settings) -> dict[str, Any]:
    """Describe a product, or set its false-alarm rate."""
    if settings.false_alarm_rate is not None:
        service.set_false_alarm_rate(name, settings.false_alarm_rate, who.name)
    if settings.description is not None:
        service.product(name)
        service.teach(name, [], by=who.name, describe=settings.description)
    return service.product(name)


@router.post("/{name}/references", responses=responses(404))
def add_references(
    service: Serving, who: Engineer, name: str, pictures: Pictures
) -> dict[str, Any]:
    """More good pictures of a product; those it knows already change nothing."""
    service.product(name)
    sent = [service.take(one.file, one.filename) for one in pictures]
    return service.teach(name, sent, by=who.name)


@router.get("/{name}/references/{number}", responses=responses(404), response_class=FileResponse)
def get_reference(service: Serving, who: Operator, name: str, number: int) -> FileResponse:  # noqa: ARG001
    """A good picture of a product, from 1."""
    return FileResponse(service.reference(name, number))


@router.get("/{name}/export", responses=responses(404), response_class=FileResponse)
def export_product(service: Serving, who: Engineer, name: str) -> FileResponse:  # noqa: ARG001
    """A product as one file, to be imported elsewhere."""
    service.product(name)
    with tempfile.NamedTemporaryFile(prefix="anomalyst-", suffix=".zip", delete=False) as kept:
        target = Path(kept.name)
    pack(name, service.config.products, target)
    return FileResponse(
        target,
        media_type="application/zip",
        filename=f"{name}.zip",
        background=BackgroundTask(target.unlink),
    )


@router.get("/{name}/statistics", responses=responses(404))
def get_statistics(service: Serving, who: Operator, name: str) -> dict[str, Any]:  # noqa: ARG001
    """Counts, calibration, recent scores and drift."""
    return service.statistics(name)


@router.get("/{name}/changes", responses=responses(404))
def get_changes(
    service: Serving,
    who: Operator,  # noqa: ARG001
    name: str,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> list[Change]:
    """What happened to a product, the newest first."""
    service.product(name)
    return [Change.of(row) for row in service.store.changes(name, limit)]


@router.delete("/{name}", status_code=204, responses=responses(404))
def delete_product(service: Serving, who: Admin, name: str) -> Response:
    """Delete a product; its inspections stay in the history."""
    service.delete_product(name, who.name)
    return Response(status_code=204)

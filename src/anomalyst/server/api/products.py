"""Products: create, add references, list, set, export, import, delete."""

import shutil
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, File, Form, Query, Response, UploadFile
from starlette.background import BackgroundTask
from starlette.responses import FileResponse

from anomalyst.errors import AnomalystError
from anomalyst.inspection.file_reading import FileReading
from anomalyst.server.api.access import Admin, Correcting, Engineer, Serving, engineer
from anomalyst.server.api.problems import problems
from anomalyst.server.api.schemas import Areas, Change, Job, Name, OddDecision, Settings, Text
from anomalyst.server.api.writing import Changing, Unchanged, Writing, with_tag
from anomalyst.server.errors import NotFound
from anomalyst.server.received import Sent, take_parts
from anomalyst.server.records import documents
from anomalyst.server.storage.tables import JobRow
from anomalyst.server.teaching import COMPARED, COMPARED_MOST

router = APIRouter(prefix="/products", tags=["products"])


FIELD_FILES = "16-bit PNG or TIFF, .npy"


def files_of(what: str) -> Any:
    """Any number of files of a form, in the words of the OpenAPI document."""
    return File(default_factory=list, description=what)


def good_files(
    pictures: Annotated[list[UploadFile], files_of("photographs")],
    depth: Annotated[list[UploadFile], files_of(FIELD_FILES)],
    thermal: Annotated[list[UploadFile], files_of(FIELD_FILES)],
    audio: Annotated[list[UploadFile], files_of("WAV, FLAC, Ogg, MP3")],
    series: Annotated[list[UploadFile], files_of("CSV, Parquet, .npy (samples, channels)")],
) -> dict[str, list[Sent]]:
    """Good files by their sense; those of one part have one name: p7.png, p7_depth.png, p7.wav."""
    given = {"image": pictures, "depth": depth, "thermal": thermal, "audio": audio,
             "series": series}  # fmt: skip
    return {sense: [(f.file, f.filename) for f in own] for sense, own in given.items() if own}


def file_reading(
    depth_unit: Annotated[
        Literal["mm", "um", "m"] | None, Form(description="of depth files; mm if none is given")
    ] = None,
    thermal_unit: Annotated[
        Literal["C", "K", "cK"] | None,
        Form(description="of heat files, needed for them; cK: hundredths of a kelvin"),
    ] = None,
    rate: Annotated[
        float | None, Form(gt=0, description="samples a second of tables without times")
    ] = None,
    method: Annotated[
        Literal["memory", "limits", "ewma", "cusum", "matrix_profile", "lstm", "transformer"]
        | None,
        Form(description="what judges sensors over time; memory if none is given"),
    ] = None,
    bit_depth: Annotated[
        Literal[10, 12, 14, 16] | None,
        Form(description="of photographs of 16 bits a value; found out if none is given"),
    ] = None,
    bayer: Annotated[
        Literal["rggb", "bggr", "grbg", "gbrg"] | None,
        Form(description="photographs are a camera's raw mosaic of these colours"),
    ] = None,
) -> FileReading:
    """How files are read; of a known product it is known already."""
    return FileReading(
        depth_unit=depth_unit,
        thermal_unit=thermal_unit,
        rate_hz=rate,
        method=method,
        bit_depth=bit_depth,
        bayer=bayer,
    )


Good = Annotated[dict[str, list[Sent]], Depends(good_files)]
Reading = Annotated[FileReading, Depends(file_reading)]


@router.get("")
def list_products(service: Serving) -> list[dict[str, Any]]:
    """All products."""
    return service.products()


@router.post("", status_code=202, responses=problems(409))
def create_product(
    service: Serving,
    who: Engineer,
    response: Response,
    once: Writing,
    name: Annotated[Name, Form()],
    good: Good,
    reading: Reading,
    pose: Annotated[Literal["auto", "fixed", "free"], Form()] = "auto",
    description: Annotated[Text, Form()] = "",
) -> Job:
    """Teach a new product from good pictures, or files of other senses, or both, in the background.

    `Location` tells the job: how far it is, and whether it is done. Of several senses each good
    part has one file a sense, and its files have one name: `p7.png`, `p7_depth.png`, `p7.wav`. A
    part of which a file cannot be read is left out, with a note.
    """

    def begin() -> Job:
        sent = take_parts(service.pictures, good)
        row = service.teaching.start(
            name, sent, by=who.name, new=True, pose=pose, describe=description, reading=reading
        )
        return begun(response, row)

    return once(response, begin)


def begun(response: Response, row: JobRow) -> Job:
    """A job as an answer, and where it is told of."""
    response.headers["Location"] = f"/api/v1/jobs/{row.id}"
    return Job.of(row)


@router.post("/import", status_code=201, responses=problems(409))
def import_product(
    service: Serving,
    who: Engineer,
    response: Response,
    once: Writing,
    file: Annotated[UploadFile, File(description="a product that was exported")],
    name: Annotated[Name | None, Form()] = None,
) -> dict[str, Any]:
    """Take in a product from another installation, perhaps under another name."""
    return once(response, lambda: service.import_product(file.file, name, who.name))


@router.get("/{name}", responses=problems(404))
def get_product(service: Serving, response: Response, name: str) -> dict[str, Any]:
    """One product; its ETag is its version."""
    return with_tag(response, service.product(name))


@router.patch("/{name}", responses=problems(404, 412), dependencies=[Unchanged])
def set_product(
    service: Serving, who: Engineer, response: Response, name: str, settings: Settings
) -> dict[str, Any]:
    """Describe a product, or set its false-alarm rate; with If-Match, of that version only."""
    if settings.false_alarm_rate is not None:
        service.set_false_alarm_rate(name, settings.false_alarm_rate, who.name)
    if settings.description is not None:
        service.teaching.describe(name, settings.description, by=who.name)
    return with_tag(response, service.product(name))


@router.post(
    "/{name}/references",
    status_code=202,
    responses=problems(404, 409, 412),
)
def add_references(
    service: Serving,
    who: Engineer,
    response: Response,
    once: Changing,
    name: str,
    good: Good,
    reading: Reading,
) -> Job:
    """More good parts of a product, by the senses it was taught with, in the background.

    The product as it is serves until then. `Location` tells the job. Parts it knows already change
    nothing.
    """
    service.product(name)
    if not good:
        raise AnomalystError(
            f"product {name!r}: no file was sent; it takes {' and '.join(service.senses(name))}."
        )

    def begin() -> Job:
        sent = take_parts(service.pictures, good)
        row = service.teaching.start(name, sent, by=who.name, reading=reading)
        return begun(response, row)

    return once(response, begin)


@router.get("/{name}/versions", responses=problems(404))
def get_versions(service: Serving, name: str) -> list[dict[str, Any]]:
    """The last versions of a product, the newest first; the one that serves is not among them."""
    return service.teaching.versions(name)


@router.post("/{name}/versions/compare", status_code=202, responses=problems(404, 409))
def compare_versions(
    service: Serving,
    who: Engineer,
    response: Response,
    once: Writing,
    name: str,
    before: Annotated[int, Query(ge=0)],
    after: Annotated[int, Query(ge=0, description="0: the one that serves")] = 0,
    pictures: Annotated[int, Query(ge=1, le=COMPARED_MOST)] = COMPARED,
) -> Job:
    """Judge recent pictures of the record with two versions: verdicts that differ, AUROC."""

    def begin() -> Job:
        row = service.teaching.compare(name, before, after, by=who.name, pictures=pictures)
        return begun(response, row)

    return once(response, begin)


@router.post(
    "/{name}/versions/{number}/restore",
    responses=problems(404, 409, 412),
)
def bring_back(
    service: Serving, who: Engineer, response: Response, once: Changing, name: str, number: int
) -> dict[str, Any]:
    """The product as it was; what it is now becomes a version."""
    return once(response, lambda: service.teaching.bring_back(name, number, by=who.name))


@router.get("/{name}/references/{number}", responses=problems(404), response_class=FileResponse)
def get_reference(service: Serving, name: str, number: int) -> FileResponse:
    """A good picture of a product, from 1."""
    return FileResponse(service.reference(name, number))


@router.get(
    "/{name}/export", responses=problems(404), response_class=FileResponse, dependencies=[engineer]
)
def export_product(service: Serving, name: str) -> FileResponse:
    """A product as one file, to be imported elsewhere."""
    target = service.export_product(name)
    gone = BackgroundTask(shutil.rmtree, target.parent)
    return FileResponse(target, media_type="application/zip", filename=target.name, background=gone)


@router.get("/{name}/statistics", responses=problems(404))
def get_statistics(service: Serving, name: str) -> dict[str, Any]:
    """Counts, calibration, recent scores and drift."""
    return service.statistics(name)


@router.get("/{name}/areas", responses=problems(404))
def get_areas(service: Serving, name: str) -> dict[str, Any]:
    """Which places of a product's pictures count: areas drawn on its first good picture."""
    return service.areas(name)


@router.put("/{name}/areas", responses=problems(404, 412), dependencies=[Unchanged])
def set_areas(service: Serving, who: Engineer, name: str, wanted: Areas) -> dict[str, Any]:
    """Other areas in place of those there are; the good pictures are judged anew."""
    drawn = [area.values() for area in wanted.areas]
    return service.set_areas(name, drawn, on_product=wanted.on_product, by=who.name)


@router.get("/{name}/odd/{number}", responses=problems(404), response_class=Response)
def get_odd(service: Serving, name: str, number: int) -> Response:
    """A good picture that looks odd beside the others, as a PNG: what is odd on it is outlined."""
    service.product(name)
    drawn = service.odd_drawings(name)
    if number not in drawn:
        raise NotFound(f"product {name!r}: good picture {number} waits for no decision.")
    return Response(documents.png(drawn[number]), media_type="image/png")


@router.post("/{name}/odd", responses=problems(404, 409, 412))
def decide_odd(
    service: Serving,
    who: Engineer,
    response: Response,
    once: Changing,
    name: str,
    said: OddDecision,
) -> dict[str, Any]:
    """Leave out good pictures that look odd beside the others, or keep them."""

    def decide() -> dict[str, Any]:
        return service.decide_odd(name, leave_out=said.leave_out, keep=said.keep, by=who.name)

    return once(response, decide)


@router.get("/{name}/changes", responses=problems(404))
def get_changes(
    service: Serving,
    name: str,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> list[Change]:
    """What happened to a product, the newest first."""
    service.product(name)
    return [Change.of(row) for row in service.store.changes(name, limit)]


@router.post("/{name}/learn", responses=problems(404, 409, 412))
def learn(
    corrections: Correcting,
    who: Engineer,
    response: Response,
    once: Changing,
    name: str,
    *,
    dry_run: Annotated[bool, Query()] = False,
) -> dict[str, Any]:
    """Learn threshold and head from what people called right, wrong and fine; figures of it."""
    learning = corrections.learning
    return once(response, lambda: learning.learn(name, by=who.name, dry_run=dry_run))


@router.post("/{name}/unlearn", responses=problems(404, 409, 412))
def unlearn(
    corrections: Correcting, who: Engineer, response: Response, once: Changing, name: str
) -> dict[str, Any]:
    """The product as it was before it learnt from judgements."""
    return once(response, lambda: corrections.learning.unlearn(name, by=who.name))


@router.delete(
    "/{name}", status_code=204, responses=problems(404, 409, 412), dependencies=[Unchanged]
)
def delete_product(service: Serving, who: Admin, name: str) -> Response:
    """Delete a product; its inspections stay in the history."""
    service.delete_product(name, who.name)
    return Response(status_code=204)

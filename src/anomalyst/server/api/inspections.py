"""Inspections: one, many, with questions; their pictures, papers and dialogue."""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, File, Form, Query, Response, UploadFile
from fastapi.responses import StreamingResponse

from anomalyst.errors import AnomalystError
from anomalyst.server.api.access import Operator, Serving
from anomalyst.server.api.problems import problem, problems, status_of
from anomalyst.server.api.schemas import (
    BoxXYXY,
    Inspection,
    Name,
    Page,
    Question,
    Region,
    SpokenTurn,
    Text,
    Turn,
)
from anomalyst.server.api.writing import Key
from anomalyst.server.received import take_part
from anomalyst.server.records import documents
from anomalyst.server.records.products import reference_paths
from anomalyst.server.service import Service
from anomalyst.server.storage.filters import Filter
from anomalyst.server.storage.history_export import listing
from anomalyst.server.storage.tables import TurnRow
from anomalyst.types import Answer

router = APIRouter(prefix="/inspections", tags=["inspections"])
Verdict = Literal["normal", "anomalous", "unsure"]
Beside = Annotated[UploadFile | None, File(description="the same part by this sense")]
PNG = {"content": {"image/png": {}}, "description": "A picture."}


@router.post("", status_code=201, responses=problems(404, 409) | {202: {"model": Inspection}})
def inspect(
    service: Serving,
    who: Operator,
    response: Response,
    product: Annotated[Name, Form()],
    picture: Annotated[UploadFile | None, File(description="a photograph")] = None,
    question: Annotated[Text | None, Form()] = None,
    wait: Annotated[bool, Form(description="false: answer at once, before it is done")] = True,
    depth: Beside = None,
    thermal: Beside = None,
    audio: Beside = None,
    series: Beside = None,
    idempotency_key: Key = None,
) -> Any:
    """Inspect a part. With an Idempotency-Key, sending it again makes nothing new.

    One file of each sense that the product was taught with; `picture` may be that of the first.
    """
    senses = service.senses(product)
    given = {"image": picture, "depth": depth, "thermal": thermal, "audio": audio,
             "series": series}  # fmt: skip
    if given[senses[0]] is None:
        given[senses[0]] = given.pop("image")
    files = {s: (f.file, f.filename) for s in (*senses, *given) if (f := given.get(s)) is not None}
    if not files:
        fields = " and ".join("picture" if one == "image" else one for one in senses)
        raise AnomalystError(
            f"no file was sent; product {product!r} takes {' and '.join(senses)}, "
            f"in the form's field {fields}."
        )
    sent = take_part(service.pictures, files)
    [id] = service.acknowledge(
        [sent], product, by=who.name, source="api", question=question, key=idempotency_key
    )
    row = service.wait(id) if wait else service.store.inspection(id)
    if row.state == "failed":
        return problem(422, f"{row.name}: {row.problem}", inspection=id)
    response.status_code = 201 if row.state == "done" else 202
    response.headers["Location"] = f"/api/v1/inspections/{id}"
    return Inspection.of(row)


@router.post("/batch", status_code=202, responses=problems(404, 409))
def inspect_batch(
    service: Serving,
    who: Operator,
    product: Annotated[Name, Form()],
    pictures: Annotated[list[UploadFile], File()],
    question: Annotated[Text | None, Form()] = None,
    wait: Annotated[bool, Form(description="true: answer when all are done")] = False,
    idempotency_key: Key = None,
) -> dict[str, Any]:
    """Inspect many pictures; one that is none is listed and the others go on."""
    sent, refused = [], []
    [sense, *_] = service.senses(product)
    for one in pictures:
        try:
            sent.append(service.take(one.file, one.filename, sense))
        except AnomalystError as error:
            refused.append(str(error))
    ids = service.acknowledge(
        sent, product, by=who.name, source="api", question=question, key=idempotency_key
    ) if sent else []  # fmt: skip
    rows = [service.wait(id) for id in ids] if wait else service.store.inspections(ids)
    return {"items": [Inspection.of(row) for row in rows], "refused": refused}


def wanted(
    product: Annotated[Name | None, Query()] = None,
    verdict: Annotated[Verdict | None, Query()] = None,
    state: Annotated[Literal["queued", "done", "failed"] | None, Query()] = None,
    source: Annotated[Name | None, Query()] = None,
    line: Annotated[Name | None, Query(description="of `watch --line`")] = None,
    late: Annotated[bool | None, Query(description="had no signal in time")] = None,
    reviewed: Annotated[bool | None, Query()] = None,
    text: Annotated[Text | None, Query(description="in the picture's name or the question")] = None,
    since: Annotated[datetime | None, Query()] = None,
    until: Annotated[datetime | None, Query()] = None,
) -> Filter:
    """Which inspections."""
    return Filter(
        product=product, verdict=verdict, state=state, source=source, line=line, late=late,
        reviewed=reviewed, text=text, since=since, until=until,
    )  # fmt: skip


@router.get("")
def history(
    service: Serving,
    which: Annotated[Filter, Depends(wanted)],
    before: Annotated[str | None, Query(max_length=64, pattern=r"^[0-9a-f]*$")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> Page:
    """Inspections, the newest first."""
    rows = service.store.history(which, before=before, limit=limit)
    following = rows[-1].id if len(rows) == limit else None
    items = [Inspection.of(row) for row in rows]
    return Page(items=items, next=following, total=service.store.count(which))


@router.get("/export", response_class=Response)
def export(
    service: Serving,
    which: Annotated[Filter, Depends(wanted)],
    form: Annotated[Literal["csv", "parquet"], Query()] = "csv",
) -> Response:
    """Inspections as a table."""
    data, media_type = listing(service.store, which, form)
    name = f'attachment; filename="inspections.{form}"'
    return Response(data, media_type=media_type, headers={"Content-Disposition": name})


@router.get("/{id}", responses=problems(404))
def get_inspection(service: Serving, id: str) -> Inspection:
    """One inspection."""
    return Inspection.of(service.store.inspection(id))


@router.get("/{id}/regions", responses=problems(404, 409))
def regions(service: Serving, id: str) -> list[Region]:
    """The places that were found."""
    record = service.done_row(id).record or {}
    return [Region(**one) for one in record["regions"]]


@router.get("/{id}/{what}.png", responses=problems(404, 409) | {200: PNG}, response_class=Response)
def picture(service: Serving, id: str, what: documents.PictureKind) -> Response:
    """`heatmap`: the map as 8-bit grey, 255 is 1; `overlay`: drawn over the picture; `picture`."""
    drawn = documents.picture_png(service.done_row(id), service.pictures, what)
    return Response(drawn, media_type="image/png")


@router.get("/{id}/report.{form}", responses=problems(404, 409), response_class=Response)
def report(
    service: Serving,
    id: str,
    form: Literal["html", "pdf"],
) -> Response:
    """One inspection as a page or on paper."""
    row = service.done_row(id)
    if form == "pdf":
        said = [(one.question, Answer.from_dict(one.answer)) for one in service.store.turns(id)]
        paper = documents.report_pdf(row, service.pictures, said)
        return Response(paper, media_type="application/pdf")
    try:
        good = reference_paths(row.product, service.config.products)
    except AnomalystError:  # the product was deleted; its inspections stay
        good = []
    page = documents.report_html(row, service.pictures, good, service.config.encoder)
    return Response(page, media_type="text/html")


@router.post("/{id}/resemblance", responses=problems(404, 409))
def resemblance(service: Serving, id: str, box_xyxy: BoxXYXY) -> dict[str, Any]:
    """The place of a good picture that a place of this one looks like."""
    x0, y0, x1, y1 = box_xyxy
    found = service.resemblance(id, (x0, y0, x1, y1))
    return {name: value for name, value in found.items() if name != "image"}


@router.get("/{id}/turns", responses=problems(404))
def turns(service: Serving, id: str) -> list[Turn]:
    """The dialogue so far."""
    service.store.inspection(id)
    return [Turn.of(row) for row in service.store.turns(id)]


@router.get("/{id}/turns/{turn}/attention", responses=problems(404, 409))
def attention(service: Serving, id: str, turn: str) -> dict[str, Any]:
    """Where each word of an answer looked: shares of attention, computed when asked for."""
    return service.looked_back(id, turn)


@router.post("/{id}/turns", status_code=201, responses=problems(404, 409))
def ask(service: Serving, who: Operator, id: str, asked: Question) -> Turn:
    """Ask, and wait for the whole answer."""
    return Turn.of(service.ask(id, asked.question, by=who.name))


@router.post("/{id}/turns/spoken", status_code=201, responses=problems(404, 409))
def ask_aloud(
    service: Serving, who: Operator, id: str, sound: Annotated[UploadFile, File()]
) -> SpokenTurn:
    """Ask by voice (WAV, FLAC, Ogg, MP3 or AIFF; 30 s at most); what is not understood is refused.

    The sound is turned into words on this machine and not kept.
    """
    service.done_row(id)
    heard = service.hear_question(sound.file, sound.filename)
    turn = Turn.of(service.ask(id, heard.question(), by=who.name))
    return SpokenTurn(**turn.model_dump(), confidence=heard.confidence, notes=list(heard.notes))


@router.post(
    "/{id}/turns/stream",
    responses=problems(404, 409) | {200: {"content": {"text/event-stream": {}}}},
    response_class=StreamingResponse,
)
def ask_streamed(service: Serving, who: Operator, id: str, asked: Question) -> StreamingResponse:
    """Ask, and hear server-sent events: `sentence` for each, then `turn`, or `problem`."""
    service.done_row(id)
    events = _events(service, id, asked.question, who.name)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(events, media_type="text/event-stream", headers=headers)


def _events(service: Service, id: str, question: str, by: str) -> Iterator[str]:
    try:
        for said in service.hear(id, question, by=by):
            if isinstance(said, TurnRow):
                yield _event("turn", Turn.of(said).model_dump(mode="json"))
            else:
                yield _event("sentence", {"text": said})
    except AnomalystError as error:
        yield _event("problem", {"status": status_of(error), "detail": str(error)})


def _event(name: str, data: dict[str, Any]) -> str:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"

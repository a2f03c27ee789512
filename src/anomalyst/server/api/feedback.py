"""Feedback: right or wrong, this is fine, a mask, better words, ranked answers; undo; export."""

import json
from typing import Annotated, Any

from fastapi import APIRouter, File, Query, Response, UploadFile
from fastapi.responses import StreamingResponse

from anomalyst.errors import AnomalystError
from anomalyst.server.api.access import Correcting, Engineer, Operator, Serving, engineer
from anomalyst.server.api.problems import problems
from anomalyst.server.api.schemas import (
    Candidates,
    CandidatesWanted,
    Correction,
    Feedback,
    Inspection,
    Name,
    Ranks,
)
from anomalyst.server.api.writing import Writing
from anomalyst.server.auth import Caller
from anomalyst.server.corrections import Corrections
from anomalyst.server.errors import Forbidden
from anomalyst.server.storage.preferences import preference_pairs

router = APIRouter(tags=["feedback"])
Product = Annotated[Name | None, Query()]


@router.post("/inspections/{id}/feedback", status_code=201, responses=problems(404, 409))
def give_feedback(
    corrections: Correcting,
    who: Operator,
    response: Response,
    once: Writing,
    id: str,
    said: Feedback,
) -> Correction:
    """Say what is right and what is not. `fine` teaches the product, so it takes an engineer.

    Of words that go against what was found `detail.warning` says so; they are kept all the same.
    With an Idempotency-Key, sending it again says nothing new.
    """
    return once(response, lambda: _said(corrections, who, id, said))


def _said(corrections: Corrections, who: Caller, id: str, said: Feedback) -> Correction:
    if said.kind == "fine":
        if not who.may("engineer"):
            raise Forbidden("the key's role does not allow this.")
        boxes = None
        if said.boxes_xyxy is not None:
            boxes = [(b[0], b[1], b[2], b[3]) for b in said.boxes_xyxy]
        return Correction.of(corrections.fine(id, boxes, by=who.name))
    if said.kind == "answer":
        if not said.turn or not said.better:
            raise AnomalystError("`answer` needs `turn`, the id of one, and `better`, the words.")
        return Correction.of(corrections.reword(id, said.turn, said.better, by=who.name))
    if said.kind in ("up", "down"):
        if not said.turn:
            raise AnomalystError(f"`{said.kind}` needs `turn`, the id of one.")
        return Correction.of(corrections.thumb(id, said.turn, said.kind == "up", by=who.name))
    right = said.kind == "right"
    return Correction.of(corrections.judge(id, right, by=who.name, comment=said.comment))


@router.post("/inspections/{id}/mask", status_code=201, responses=problems(404, 409))
def repaint(
    corrections: Correcting,
    who: Operator,
    response: Response,
    once: Writing,
    id: str,
    mask: Annotated[UploadFile, File(description="PNG of the picture's size; white: defect")],
) -> Correction:
    """The defect as a person paints it."""
    painted = mask.file.read()
    return once(response, lambda: Correction.of(corrections.repaint(id, painted, by=who.name)))


@router.post("/inspections/{id}/candidates", status_code=201, responses=problems(404, 409))
def candidates(
    corrections: Correcting,
    who: Operator,
    response: Response,
    once: Writing,
    id: str,
    wanted: CandidatesWanted,
) -> Candidates:
    """Two to four different answers to a question, to be ranked."""

    def sample() -> Candidates:
        found = corrections.sample(id, wanted.question, by=who.name, count=wanted.count)
        return Candidates.of(found)

    return once(response, sample)


@router.post("/candidates/{id}/ranking", status_code=201, responses=problems(404, 409))
def rank(
    corrections: Correcting,
    who: Operator,
    response: Response,
    once: Writing,
    id: str,
    said: Ranks,
) -> Correction:
    """Rank the answers of a set; a later ranking by the same person replaces it.

    A best answer that goes against what was found is kept, and `detail.warning` says so.
    """
    return once(response, lambda: Correction.of(corrections.rank(id, said.ranks, by=who.name)))


@router.get("/inspections/{id}/feedback", responses=problems(404))
def list_feedback(service: Serving, id: str) -> list[Correction]:
    """What was said of an inspection, undone ones too."""
    service.store.inspection(id)
    return [Correction.of(row) for row in service.store.corrections(inspection=id)]


@router.post("/feedback/{id}/undo", responses=problems(404))
def undo(
    corrections: Correcting, who: Engineer, response: Response, once: Writing, id: str
) -> Correction:
    """Take it back; what was learnt from it is forgotten."""
    return once(response, lambda: Correction.of(corrections.undo(id, by=who.name)))


@router.get("/feedback/preferences", response_class=StreamingResponse, dependencies=[engineer])
def preferences(service: Serving, product: Product = None) -> StreamingResponse:
    """Corrections as preference pairs, one JSON object a line, as TRL's DPO trainer reads them."""
    lines = (json.dumps(pair) + "\n" for pair in preference_pairs(service.store, product))
    return StreamingResponse(lines, media_type="application/x-ndjson")


@router.get("/review")
def review(
    service: Serving,
    product: Product = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> list[Inspection]:
    """What nobody has judged yet, the least certain first."""
    return [Inspection.of(row) for row in service.store.to_review(product, limit)]


@router.get("/statistics")
def overall(service: Serving) -> dict[str, Any]:
    """Counts by product and verdict, and what waits."""
    counts: dict[str, dict[str, int]] = {}
    for (product, verdict), count in service.store.verdicts().items():
        counts.setdefault(product, {})[verdict] = count
    return {"counts": counts, "waiting": service.queue.waiting}

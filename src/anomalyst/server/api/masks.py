"""Masks: what a click means, what people drew, and the picture they draw on."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from anomalyst.errors import AnomalystError
from anomalyst.server.api.access import Masks, Operator
from anomalyst.server.api.problems import problems
from anomalyst.server.api.schemas import DrawnMask, NewMask, Segmented, ToSegment
from anomalyst.server.api.writing import Writing
from anomalyst.server.records.drawn import Drawn

router = APIRouter(prefix="/inspections", tags=["masks"])
JPEG = {"content": {"image/jpeg": {}}, "description": "A picture."}
Edge = Annotated[int | None, Query()]


@router.post("/{id}/segment", responses=problems(404, 409))
def segment(masking: Masks, who: Operator, id: str, asked: ToSegment) -> Segmented:  # noqa: ARG001
    """The crisp mask of what is clicked, boxed or named.

    A view is encoded at its first prompt and kept; further prompts about it take little.
    """
    box, view = asked.box_xyxy, asked.view_xyxy
    found = masking.segment(
        id,
        points_xy=tuple((x, y) for x, y in asked.points_xy),
        positive=tuple(label == 1 for label in asked.labels),
        box_xyxy=None if box is None else (box[0], box[1], box[2], box[3]),
        mask=None if asked.mask is None else asked.mask.mask(),
        text=asked.text,
        view=None if view is None else (view[0], view[1], view[2], view[3]),
        ahead=asked.ahead,
    )
    return Segmented(**found)


@router.post("/{id}/masks", status_code=201, responses=problems(404, 409))
def keep_mask(
    masking: Masks, who: Operator, response: Response, once: Writing, id: str, said: NewMask
) -> DrawnMask:
    """Keep a mask: of a defect, which judges the verdict, or of a part, which does not.

    `POST /feedback/{id}/undo` takes it back.
    """
    drawn = Drawn(
        what=said.what, label=said.label.strip(), tools=tuple(dict.fromkeys(said.tools)),
        prompts=said.prompts.model_dump(exclude_defaults=True), iou=said.iou,
    )  # fmt: skip
    mask = said.mask.mask()
    return once(response, lambda: DrawnMask.of(masking.keep(id, mask, drawn, by=who.name), mask))


@router.get("/{id}/masks", responses=problems(404, 409))
def list_masks(masking: Masks, id: str) -> list[DrawnMask]:
    """The masks that people drew and did not undo, the oldest first."""
    return [DrawnMask.of(row, mask) for row, mask in masking.masks(id)]


@router.get("/{id}/view.jpg", responses=problems(404, 409) | {200: JPEG}, response_class=Response)
def view(
    masking: Masks, id: str, x0: Edge = None, y0: Edge = None, x1: Edge = None, y1: Edge = None
) -> Response:
    """The picture, or the box x0, y0, x1, y1 of it: at most 1600 pixels on a side."""
    edges = [x0, y0, x1, y1]
    box = [edge for edge in edges if edge is not None]
    if len(box) not in (0, 4):
        raise AnomalystError("a view needs all of x0, y0, x1, y1, or none for the whole picture.")
    drawn = masking.view(id, (box[0], box[1], box[2], box[3]) if box else None)
    headers = {"Cache-Control": "private, max-age=3600"}  # a picture never changes
    return Response(drawn, media_type="image/jpeg", headers=headers)

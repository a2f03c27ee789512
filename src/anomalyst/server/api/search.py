"""Search: inspections that resemble a sentence or a file, across senses."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, File, Form, UploadFile
from pydantic import BaseModel, Field

from anomalyst.errors import AnomalystError
from anomalyst.server.api.access import Operator, Serving
from anomalyst.server.api.problems import problems
from anomalyst.server.api.schemas import Name, Text
from anomalyst.server.finding.items import Readings
from anomalyst.server.finding.served import Sent, find_in_record
from anomalyst.server.storage.filters import Filter

router = APIRouter(tags=["search"])
Sense = Literal["image", "depth", "thermal", "audio", "series"]
Query = Annotated[UploadFile | None, File(description="what is looked for; exactly one query")]


class FoundInspection(BaseModel):
    """An inspection that resembles the query."""

    similarity: float = Field(description="cosine; to be compared among hits of one sense")
    sense: str = Field(description="by which it resembles the query most")
    name: str
    id: str
    product: str
    verdict: str | None
    created_at: datetime


class FoundInspections(BaseModel):
    """What resembles the query, the most similar first."""

    hits: list[FoundInspection]
    searched: int = Field(description="files compared")
    encoded: int = Field(description="of these for the first time")
    typical: dict[str, float] = Field(description="median similarity of each sense")
    notes: list[str]


@router.post("/search", responses=problems(413))
def search(
    service: Serving,
    who: Operator,  # noqa: ARG001
    text: Annotated[Text | None, Form(min_length=1)] = None,
    image: Query = None,
    depth: Query = None,
    thermal: Query = None,
    audio: Query = None,
    series: Query = None,
    video: Query = None,
    product: Annotated[Name | None, Form()] = None,
    since: Annotated[datetime | None, Form()] = None,
    sense: Annotated[Sense | None, Form(description="only what is of it")] = None,
    top: Annotated[int, Form(ge=1, le=100)] = 10,
    depth_unit: Annotated[Literal["mm", "um", "m"], Form()] = "mm",
    thermal_unit: Annotated[Literal["C", "K", "cK"] | None, Form()] = None,
    rate: Annotated[float | None, Form(gt=0, description="of a table without times, Hz")] = None,
) -> FoundInspections:
    """Inspections that resemble one sentence or one file most, by the shipped towers.

    The first search encodes the record, later ones what is new; the file sent is not kept.
    Searching within one sense is the reliable use: see `anomalyst find --help`.
    """
    files = {"image": image, "depth": depth, "thermal": thermal, "audio": audio, "series": series,
             "video": video}  # fmt: skip
    asked: list[str | Sent] = [text] if text else []
    for name, file in files.items():
        if file is not None:
            asked.append(Sent(sense=name, stream=file.file, name=file.filename))
    if len(asked) != 1:
        raise AnomalystError(
            f"{len(asked)} queries were sent; send exactly one of text, {', '.join(files)}."
        )
    found = find_in_record(
        service,
        asked[0],
        Filter(product=product, since=since, state="done"),
        readings=Readings(depth_unit=depth_unit, thermal_unit=thermal_unit or "", rate=rate),
        sense=sense,
        top=top,
    )
    return FoundInspections.model_validate(found.as_dict())

"""How a product is measured and what it tolerates: scale and acceptance rules."""

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field

from anomalyst.server.api.access import Engineer, Serving
from anomalyst.server.api.problems import problems
from anomalyst.server.api.schemas import Shape, Text
from anomalyst.server.api.writing import Unchanged

router = APIRouter(prefix="/products", tags=["products"])
Positive = Annotated[float, Field(gt=0)]


class WantedScale(Shape):
    """Two points of the first good picture and their distance, or the scale itself."""

    points_xy: Annotated[list[float], Field(min_length=4, max_length=4)] | None = None
    length_mm: Positive | None = None
    mm_per_px: Positive | None = None
    plus_minus_percent: Annotated[float, Field(ge=0, lt=100)] = 0.0


class WantedMeasuring(Shape):
    """What is not given stays; a scale of null is forgotten."""

    scale: WantedScale | None = None
    rules: Annotated[list[Text], Field(max_length=200)] | None = None


@router.get("/{name}/measuring", responses=problems(404))
def get_measuring(service: Serving, name: str) -> dict[str, Any]:
    """Scale and acceptance rules of a product."""
    return service.measuring(name)


@router.put("/{name}/measuring", responses=problems(404, 412), dependencies=[Unchanged])
def put_measuring(
    service: Serving, who: Engineer, name: str, wanted: WantedMeasuring
) -> dict[str, Any]:
    """Set scale or rules of a product; inspections from now on are measured by them."""
    given = wanted.model_dump(exclude_unset=True)
    return service.set_measuring(name, given, who.name)

"""What a line makes, as a page or for other programs."""

from datetime import UTC, datetime, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Query, Response

from anomalyst.errors import AnomalystError
from anomalyst.report.shift.period import LONGEST, Period
from anomalyst.server.api.access import Serving
from anomalyst.server.api.problems import problems
from anomalyst.server.api.schemas import Name
from anomalyst.server.records.lines import line_names
from anomalyst.server.records.production import (
    MEDIA_TYPES,
    Form,
    papers_of,
    production_of_record,
)

router = APIRouter(tags=["production"])
DAY = timedelta(days=1)
YEARS = range(2000, 2201)


@router.get("/lines")
def lines(service: Serving, product: Annotated[Name | None, Query()] = None) -> list[str]:
    """The lines that parts came from."""
    return line_names(service.store, product)


@router.get("/production", response_class=Response, responses=problems(404))
def production(
    service: Serving,
    product: Annotated[Name | None, Query()] = None,
    line: Annotated[Name | None, Query()] = None,
    since: Annotated[datetime | None, Query(description="else a day before `until`")] = None,
    until: Annotated[datetime | None, Query(description="else now")] = None,
    minutes: Annotated[int | None, Query(ge=1, le=525_600, description="of a sample")] = None,
    share: Annotated[float | None, Query(gt=0, lt=1, description="anomalous, of old")] = None,
    form: Annotated[Form, Query()] = "html",
) -> Response:
    """Yield, control chart with the Western Electric rules, Pareto, where defects fall."""
    made = production_of_record(
        service.store,
        _period(since, until),
        product=product,
        line=line,
        width=timedelta(minutes=minutes) if minutes else None,
        centre=share,
    )
    data = papers_of(made, form, service.config.products)
    name = f'inline; filename="production.{form}"'
    return Response(data, media_type=MEDIA_TYPES[form], headers={"Content-Disposition": name})


def _period(since: datetime | None, until: datetime | None) -> Period:
    """The time asked for. Raises AnomalystError for one that no line has lived through."""
    end = _utc(until) if until else datetime.now(UTC)
    if end.year not in YEARS or (since is not None and since.year not in YEARS):
        raise AnomalystError(f"times from {YEARS[0]} to {YEARS[-1]} are needed.")
    start = _utc(since) if since else end - DAY
    if not timedelta(0) < end - start <= LONGEST:
        raise AnomalystError(f"since must be before until, by at most {LONGEST.days} days.")
    return Period(start, end, ZoneInfo("UTC"))


def _utc(moment: datetime) -> datetime:
    """A time without a zone is of UTC."""
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)

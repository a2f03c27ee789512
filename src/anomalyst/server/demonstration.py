"""The demo: what a new installation shows before anybody inspected anything; real inspections."""

import logging
import time
from pathlib import Path

from anomalyst.server.service import Service
from anomalyst.server.storage.filters import Filter
from anomalyst.server.storage.tables import InspectionRow

log = logging.getLogger(__name__)
DEMO = Path(__file__).parent.parent / "demo"
TAUGHT_FIRST = "flange"  # the bundled product that a new installation knows
SHOWN_FIRST = "fracture-001.jpg"
QUESTION = "Is there a defect, and where?"
SOURCE = "demo"  # of such inspections, in the record


def demo_pictures() -> list[Path]:
    """The bundled pictures that were not taught; what is shown first comes first."""
    found = (DEMO / TAUGHT_FIRST / "test").glob("*.jpg")
    return sorted(found, key=lambda path: (path.name != SHOWN_FIRST, path.name))


def knows_demo(service: Service, product: str | None) -> bool:
    """Whether a product is the bundled one: somebody's own may have its name."""
    if product != TAUGHT_FIRST or product not in service.product_names():
        return False
    own = {Path(name).name for name in service.product(product)["references"]}
    return {path.name for path in (DEMO / TAUGHT_FIRST / "good").glob("*.jpg")} <= own


def shown_before(service: Service, picture: str) -> InspectionRow | None:
    """The inspection of a demo picture by the product as it is now, if there is one."""
    revision = service.product(TAUGHT_FIRST)["revision"]
    wanted = Filter(product=TAUGHT_FIRST, source=SOURCE, state="done", text=picture)
    rows = service.store.history(wanted, limit=10)
    same = (row for row in rows if row.name == picture and row.revision == revision)
    return next(same, None)


def inspect_demo(service: Service, picture: Path, *, by: str) -> InspectionRow:
    """A demo picture inspected, and the first question about it answered."""
    sent = service.take_file(picture)
    [id] = service.acknowledge([sent], TAUGHT_FIRST, by=by, source=SOURCE, question=QUESTION)
    return service.wait(id)


def inspect_first(service: Service) -> None:
    """The first page of a new installation opens with a picture already inspected."""
    if not knows_demo(service, TAUGHT_FIRST) or service.store.count(Filter(product=TAUGHT_FIRST)):
        return
    started = time.perf_counter()
    inspect_demo(service, demo_pictures()[0], by="anomalyst")
    log.info("inspected %s in %.1f s", SHOWN_FIRST, time.perf_counter() - started)

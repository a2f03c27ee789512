"""Thumbnails to begin with: the demo's pictures, and the newest inspected of a product."""

from collections.abc import Iterator
from pathlib import Path

from anomalyst.server.demonstration import (
    SOURCE,
    demo_pictures,
    inspect_demo,
    knows_demo,
    shown_before,
)
from anomalyst.server.records.documents import shown_name
from anomalyst.server.service import Service
from anomalyst.server.storage.filters import Filter
from anomalyst.server.storage.tables import InspectionRow
from anomalyst.server.ui import components as pieces
from anomalyst.server.ui.wording import t

NEWEST = 12
THUMB_PX = 112
# A thumbnail clicked opens its inspection.
THUMB_JS = """
element.addEventListener('click', (event) => {
  const thumb = event.target.closest('[data-thumb]');
  if (!thumb) return;
  element.querySelectorAll('[data-thumb]').forEach((one) =>
    one.setAttribute('aria-pressed', one === thumb));
  trigger('select', {thumb: thumb.dataset.thumb});
});
"""
Thumb = tuple[str, str, str, InspectionRow | None]  # key, name, picture, its inspection


def strip(service: Service, product: str | None, current: str | None) -> str:
    """The thumbnails of a product; `current`: the id of the inspection that is shown."""
    if not product:
        return ""
    thumbs = list(_thumbs(service, product))
    heading = t("strip.demo") if knows_demo(service, product) else t("strip.newest")
    if not thumbs:
        return ""
    return pieces.render("strip.html.j2", thumbs=thumbs, heading=heading, current=current)


def _thumbs(service: Service, product: str) -> Iterator[Thumb]:
    demo = knows_demo(service, product)
    for path in demo_pictures() if demo else []:
        yield (
            path.name,
            path.stem,
            pieces.reduced_file(path, THUMB_PX),
            shown_before(service, path.name),
        )
    for row in service.store.history(Filter(product=product, state="done"), limit=NEWEST):
        if not (demo and row.source == SOURCE):
            yield row.id, Path(row.name).stem, pieces.thumbnail(service, row, THUMB_PX), row


def newest(service: Service, product: str | None) -> InspectionRow | None:
    """The newest inspection of a product that can be shown."""
    wanted = Filter(product=product, state="done")
    rows = service.store.history(wanted, limit=NEWEST) if product else []
    return next((row for row in rows if row.record and shown_name(row) in service.pictures), None)


def opened(service: Service, key: str, by: str) -> InspectionRow:
    """The inspection of a thumbnail; a demo picture that was not inspected yet is, now."""
    path = next((path for path in demo_pictures() if path.name == key), None)
    if path is None:
        return service.store.inspection(key)
    return shown_before(service, key) or inspect_demo(service, path, by=by)

"""An inspection as pictures and papers: overlay, heatmap, report as HTML and PDF."""

import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from anomalyst.detection.regions import region_level
from anomalyst.errors import AnomalystError
from anomalyst.inspection.refining import masks_of
from anomalyst.io.geometry import Box, resize
from anomalyst.io.masks import unpacked
from anomalyst.io.pictures import open_picture
from anomalyst.report.hatching import hatch_layer, shrunk
from anomalyst.report.overlay import OPACITY, heat_layer, overlay, shown_size
from anomalyst.server.storage.pictures import Pictures
from anomalyst.server.storage.tables import InspectionRow
from anomalyst.types import Answer, Inspection

PictureKind = Literal["heatmap", "overlay", "picture"]
PNG_PX = 1600
HATCH_PX = 1200
# A picture of 100 megapixels takes some 700 MB while it is drawn: one at a time.
_drawing = threading.Lock()


def inspection_of(row: InspectionRow, pictures: Pictures) -> Inspection:
    """The inspection that a row keeps, with its map at the size it is shown at."""
    assert row.record is not None and row.heat is not None  # of a row that is done
    heat = cv2.imread(str(pictures.existing(row.heat)), cv2.IMREAD_GRAYSCALE)
    if heat is None:
        raise AnomalystError(f"inspection {row.id}: its map cannot be read; inspect it again.")
    return Inspection.from_dict(row.record, heat.astype(np.float32) / 255, {})


def shown_picture(
    row: InspectionRow, pictures: Pictures, side_px: int, box: Box | None = None
) -> np.ndarray:
    """The inspected picture or the drawing of a recording, RGB, at most `side_px` on a side.

    `box`: a part of it alone.
    """
    with _drawing:
        picture = open_picture(pictures.existing(shown_name(row)))
        if box is not None:
            picture = np.ascontiguousarray(picture[box[1] : box[3], box[0] : box[2]])
        return resize(picture, shown_size(picture.shape[:2], side_px))


def shown_name(row: InspectionRow) -> str:
    """The picture that is shown of an inspection: its own, or the drawing of what is none."""
    return str((row.record or {}).get("view") or row.picture)


def picture_png(row: InspectionRow, pictures: Pictures, what: PictureKind) -> bytes:
    """`heatmap`: the map as 8-bit grey, 255 is 1; `picture`: the inspected one, upright.

    `overlay`: the picture with its map and regions drawn over it. At most `PNG_PX` on a side.
    """
    if what == "heatmap":
        return pictures.existing(str(row.heat)).read_bytes()
    picture = shown_picture(row, pictures, PNG_PX)
    if what == "overlay":
        picture = overlay(picture, inspection_of(row, pictures), max_side_px=PNG_PX)
    return png(picture)


def heat_layer_png(found: Inspection) -> bytes:
    """The map in colour, see-through where it is low: to be laid over the picture."""
    judged = found.unfit is None
    layer = heat_layer(found.map if judged else np.zeros_like(found.map))
    opaque = layer[..., 3:] * (255 / OPACITY)  # a page's slider takes the rest away
    return png(np.concatenate([layer[..., :3], opaque], axis=2).round().astype(np.uint8))


def ignored_png(found: Inspection) -> bytes:
    """Hatching where the picture does not count, see-through elsewhere; b"" where all does."""
    if found.ignored is None:
        return b""
    size_hw = shown_size(found.size_hw, HATCH_PX)
    layer = hatch_layer(shrunk(unpacked(found.ignored), size_hw))
    return png(np.concatenate([layer[..., :3], 255 * layer[..., 3:]], axis=2).astype(np.uint8))


def mask_png(found: Inspection) -> bytes:
    """White where regions are: their crisp masks, or the map at the level they are cut out of."""
    if any(region.mask for region in found.regions):
        return as_png(np.logical_or.reduce(masks_of(found.regions, found.map)))
    return as_png(found.map >= region_level(found.regions) if found.regions else found.map > 1)


def as_png(mask: np.ndarray) -> bytes:
    """A mask, bool (H, W), as a PNG file: white where it is set."""
    return cv2.imencode(".png", mask.astype(np.uint8) * 255)[1].tobytes()


def report_html(
    row: InspectionRow, pictures: Pictures, references: Sequence[Path], encoder: str
) -> bytes:
    """One inspection as a page, complete in itself."""
    from anomalyst.report.page import ReportWriter

    found, picture = inspection_of(row, pictures), shown_picture(row, pictures, PNG_PX)
    about: dict[str, Any] = {"product": row.product, "references": references, "encoder": encoder}
    with tempfile.TemporaryDirectory(prefix="anomalyst-") as folder:
        page = Path(folder) / "report.html"
        with ReportWriter(page, **about) as report:
            report.add(found, picture)
        return page.read_bytes()


def report_pdf(
    row: InspectionRow, pictures: Pictures, answers: Sequence[tuple[str, Answer]]
) -> bytes:
    """One inspection on paper, with its dialogue."""
    from anomalyst.report.pdf import paper

    found, picture = inspection_of(row, pictures), shown_picture(row, pictures, 1000)
    when = row.created_at.strftime("%Y-%m-%d %H:%M UTC")
    return paper(found, picture, answers, made=when, number=row.id)


def png(picture: np.ndarray) -> bytes:
    """RGB or RGBA, uint8 (H, W, 3) or (H, W, 4), as a PNG file."""
    order = cv2.COLOR_RGBA2BGRA if picture.shape[2] == 4 else cv2.COLOR_RGB2BGR
    return cv2.imencode(".png", cv2.cvtColor(picture, order))[1].tobytes()

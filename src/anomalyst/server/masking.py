"""Masks by clicks and by hand: views of a picture, prompts to the segmenter, what is kept."""

from typing import Any

from anomalyst.errors import AnomalystError
from anomalyst.io.geometry import Box, FloatBox
from anomalyst.io.masks import unpacked
from anomalyst.io.pictures import encoded
from anomalyst.server.corrections import Corrections
from anomalyst.server.errors import NotFound
from anomalyst.server.jobs.tasks import Segment
from anomalyst.server.records.documents import shown_name, shown_picture
from anomalyst.server.records.drawn import Drawn, drawn_masks
from anomalyst.server.service import Service
from anomalyst.server.storage.tables import CorrectionRow, InspectionRow
from anomalyst.types import Mask

VIEW_PX = 1600  # longer side of what the page shows at once
VIEW_LEAST_PX = 16  # side of a view: smaller, there is nothing to tell apart
JPEG_QUALITY = 88


class Masking:
    """The mask editor's side of the server: `service` finds and asks, `corrections` keeps."""

    def __init__(self, service: Service, corrections: Corrections):
        self.service, self.corrections = service, corrections

    def view(self, id: str, box: Box | None) -> bytes:
        """A JPEG of the inspected picture, or of a part of it, at most `VIEW_PX` on a side."""
        row = self._row(id)
        part = shown_picture(row, self.service.pictures, VIEW_PX, self._view(row, box))
        return encoded(part, ".jpg", quality=JPEG_QUALITY)

    def segment(
        self,
        id: str,
        *,
        points_xy: tuple[tuple[float, float], ...] = (),
        positive: tuple[bool, ...] = (),
        box_xyxy: FloatBox | None = None,
        mask: Mask | None = None,
        text: str = "",
        view: Box | None = None,
        ahead: bool = False,
    ) -> dict[str, Any]:
        """Up to three masks that are meant, the best first, with the predicted IoU of each.

        Places in pixels of the picture. `view`: the part of it that is looked at, encoded once and
        then kept for further prompts; `ahead`: only that. Raises AnomalystError for what cannot be
        meant of this picture, NotFound where it is gone.
        """
        row = self._row(id)
        if mask is not None:
            _check_size(mask, row)
        task = Segment(
            image=self.service.pictures.existing(shown_name(row)), view=self._view(row, view),
            points_xy=points_xy, positive=positive, box_xyxy=box_xyxy, mask=mask, text=text.strip(),
            ahead=ahead,
        )  # fmt: skip
        return self.service.run_task(task, names={str(task.image): row.name})

    def keep(self, id: str, mask: Mask, drawn: Drawn, *, by: str) -> CorrectionRow:
        """A mask that a person drew. Raises AnomalystError for an empty one, or another size."""
        row = self._row(id)
        _check_size(mask, row)
        drawn_mask = unpacked(mask)
        if not drawn_mask.any():
            raise AnomalystError(
                "the mask is empty; draw something. Of a picture without a defect say that its "
                "verdict is wrong."
            )
        return self.corrections.outline(id, drawn_mask, drawn, by=by)

    def masks(self, id: str) -> list[tuple[CorrectionRow, Mask | None]]:
        """The masks of an inspection that were not undone, the oldest first; see `drawn_masks`."""
        return drawn_masks(self.service.store, self.service.done_row(id))

    def _row(self, id: str) -> InspectionRow:
        """An inspection of a photograph that is done, and whose picture is still there."""
        row = self.service.done_row(id)
        if row.sense != "image":
            raise AnomalystError(f"masks are drawn on photographs; {row.name} is {row.sense}.")
        if row.picture not in self.service.pictures:
            raise NotFound(
                f"the picture of inspection {id} is no longer kept, so no mask can be drawn on it; "
                "inspect it again."
            )
        return row

    def _view(self, row: InspectionRow, view: Box | None) -> Box | None:
        """The view, None for the whole picture. Raises AnomalystError for one that is not on it."""
        height, width = row.size_hw
        if view is None or view == (0, 0, width, height):
            return None
        x0, y0, x1, y1 = view
        least = min(VIEW_LEAST_PX, height, width)
        if not (0 <= x0 <= x1 - least and x1 <= width and 0 <= y0 <= y1 - least and y1 <= height):
            raise AnomalystError(
                f"the view ({x0}, {y0}, {x1}, {y1}) is no part of the picture, which is {width} x "
                f"{height} pixels; x0 < x1 and y0 < y1, at least {least} apart, are needed."
            )
        return view


def _check_size(mask: Mask, row: InspectionRow) -> None:
    """Before it is unpacked: run lengths of a few letters may claim any size."""
    if mask.size_hw != row.size_hw:
        height, width = row.size_hw
        raise AnomalystError(
            f"the mask is {mask.size_hw[1]} x {mask.size_hw[0]} pixels, the picture {width} x "
            f"{height}; they must be equal."
        )

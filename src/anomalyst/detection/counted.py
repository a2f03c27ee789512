"""What of a query counts: areas drawn on the first good picture, moved as the product moved."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from anomalyst.detection.following import Looked, Movement, movement
from anomalyst.detection.pose import Shown
from anomalyst.errors import AnomalystError
from anomalyst.io.areas import Areas
from anomalyst.io.geometry import Box, Frame, Placement, resize

CELL_PX = 4  # of the canvas: what the map is drawn in


@dataclass(frozen=True, slots=True)
class Counted:
    """What of a canvas shows the query and counts."""

    shown: Shown | None  # None: all of it shows the query
    kept: np.ndarray  # bool, over the canvas: what counts

    @property
    def padded(self) -> bool:
        """Always: something does not count."""
        return True

    def inside(self, rows: int, columns: int) -> np.ndarray:
        """Bool (rows, columns) over the canvas at that resolution: cells that count whole."""
        share = resize(self.kept.astype(np.float32), (rows, columns))
        whole = share > 1 - 1e-4
        if self.shown is not None and self.shown.padded:
            whole &= self.shown.inside(rows, columns)
        return whole


@dataclass(frozen=True, slots=True)
class Counting:
    """The areas of a product on its first good picture, ready to be moved onto queries."""

    frame: Frame
    looked: Looked  # the first good picture
    kept: np.ndarray  # uint8 (H, W) over the board: 1 where it counts
    beyond: bool  # whether what lies beyond the first good picture counts
    content_xyxy: Box  # where a tile lies on its canvas

    @classmethod
    def of(
        cls, areas: Areas, frame: Frame, canvases: Sequence[np.ndarray], placement: Placement
    ) -> "Counting":
        """From the first good picture's canvases, and where it lies on the first of them.

        Raises AnomalystError where what counts is smaller than a cell of the map.
        """
        kept = areas.counted.astype(np.float32)
        content = placement.content_xyxy
        if len(frame.boxes_xyxy) == 1:
            x0, y0, x1, y1 = content
            board = np.zeros(frame.canvas_hw, np.float32)
            board[y0:y1, x0:x1] = resize(kept, (y1 - y0, x1 - x0))
            kept = board
        looked = Looked.of(frame, canvases, content)
        found = cls(frame, looked, (kept > 0.5).astype(np.uint8), areas.beyond, content)
        if not any(one.inside(*found.cells_hw).any() for one in found.still(len(canvases))):
            side = CELL_PX / frame.scale
            raise AnomalystError(
                f"these areas leave less than one cell of the map, {side:.0f} x {side:.0f} pixels, "
                "that counts; draw what is looked at larger, or teach at a larger --side."
            )
        return found

    @property
    def cells_hw(self) -> tuple[int, int]:
        """Rows and columns of the map of one canvas."""
        return self.frame.canvas_hw[0] // CELL_PX, self.frame.canvas_hw[1] // CELL_PX

    def still(self, tiles: int) -> list[Counted]:
        """What counts on the canvases of the first good picture."""
        return self._on(Movement(np.eye(2, 3), 1.0), [None] * tiles)

    def on(self, canvases: Sequence[np.ndarray], shown: Sequence[Shown | None]) -> "OnQuery":
        """What counts on a query's canvases, uint8 (h, w, 3), and how the product lies on them."""
        found = movement(self.looked, Looked.of(self.frame, canvases, self.content_xyxy))
        return OnQuery(self._on(found, shown), found)

    def _on(self, found: Movement, shown: Sequence[Shown | None]) -> list[Counted]:
        height, width = self.frame.canvas_hw
        parts = []
        for onto, one in zip(self._onto_board(), shown, strict=True):
            # Canvas pixels -> board pixels of the query -> board pixels of the good picture.
            matrix = np.vstack([found.matrix, [0, 0, 1]]) @ onto
            # Places of OpenCV have the middle of the first pixel at 0, ours its corner.
            half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
            moved = cv2.warpAffine(
                self.kept,
                (np.linalg.inv(half) @ matrix @ half)[:2],
                (width, height),
                flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP,
                borderMode=cv2.BORDER_CONSTANT,
                borderValue=int(self.beyond),
            )
            parts.append(Counted(one, moved > 0))
        return parts

    def _onto_board(self) -> list[np.ndarray]:
        """(3, 3) of each canvas: its pixels -> pixels of the board."""
        if len(self.frame.boxes_xyxy) == 1:
            return [np.eye(3)]
        left, top, right, bottom = self.content_xyxy
        found = []
        for x0, y0, x1, y1 in self.frame.boxes_xyxy:
            across, down = (x1 - x0) / (right - left), (y1 - y0) / (bottom - top)
            found.append(
                np.array([[across, 0, x0 - left * across], [0, down, y0 - top * down], [0, 0, 1]])
            )
        return found


@dataclass(frozen=True, slots=True)
class OnQuery:
    """What counts on one query's canvases, and how the product lies on them."""

    parts: list[Counted]
    movement: Movement

"""The one geometry for query, reference, mask and overlay: resize, place on the canvas, tile, undo.

Pictures are uint8 RGB (H, W, 3); maps float32 (H, W). Sizes are (height, width). This file needs
numpy and OpenCV and nothing else, for an export carries a copy of it (deployment/folder.py).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

TILE_PIXELS = 4_000_000  # of a picture, most in one view
VIEW_PX = 512  # most working side of one view: matching costs its fourth power (docs/decisions.md)
LONGEST = 4.0  # longer side over shorter of one view
MOST_ALONG = 8  # views into which a picture is cut only because it is long
OVERLAP = 1.125  # a view's length over its share of the picture, along which it is cut

Box = tuple[int, int, int, int]  # x0, y0, x1, y1
FloatBox = tuple[float, float, float, float]


def resize(array: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """Resample (H, W) or (H, W, C) to `size_hw`: area-averaged when shrinking, else bilinear.

    Antialiased, so that the same part gives the same score at every camera resolution.
    """
    height, width = size_hw
    if array.shape[:2] == (height, width):
        return array
    shrinks = array.shape[0] * array.shape[1] > height * width
    return cv2.resize(
        array, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    )


def canvas_for(size_hw: tuple[int, int], side_px: float, multiple_px: int = 32) -> tuple[int, int]:
    """The working size of a product: the picture's aspect, the area of a `side_px` square.

    Both sides are multiples of `multiple_px`; the aspect is kept between 1:4 and 4:1.
    """
    aspect = min(max(size_hw[1] / size_hw[0], 0.25), 4.0)
    height = max(1, round(side_px / math.sqrt(aspect) / multiple_px)) * multiple_px
    width = max(1, round(side_px * math.sqrt(aspect) / multiple_px)) * multiple_px
    return height, width


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a picture lies on the canvas, and the way back."""

    original_hw: tuple[int, int]
    canvas_hw: tuple[int, int]
    content_xyxy: Box  # the picture's box on the canvas, in canvas pixels

    def undo(self, canvas_map: np.ndarray) -> np.ndarray:
        """A canvas-shaped map (any resolution) -> float32 (H, W) over the original picture."""
        rows, columns = canvas_map.shape[:2]
        scale_y, scale_x = rows / self.canvas_hw[0], columns / self.canvas_hw[1]
        x0, y0, x1, y1 = self.content_xyxy
        left, top, right, bottom = self._cells(rows, columns)
        cells = np.ascontiguousarray(canvas_map[top:bottom, left:right], dtype=np.float32)
        # The picture's edge may cut a cell: cut there, in canvas pixels, not at the next cell.
        tall, wide = round((bottom - top) / scale_y), round((right - left) / scale_x)
        if (tall, wide) != (y1 - y0, x1 - x0):
            down, across = round(y0 - top / scale_y), round(x0 - left / scale_x)
            cells = resize(cells, (tall, wide))
            cells = np.ascontiguousarray(cells[down : down + y1 - y0, across : across + x1 - x0])
        return resize(cells, self.original_hw)

    def forward(self, box_xyxy: FloatBox) -> FloatBox:
        """A box of the original picture, in canvas pixels."""
        left, top, right, bottom = self.content_xyxy
        scale_x = (right - left) / self.original_hw[1]
        scale_y = (bottom - top) / self.original_hw[0]
        x0, y0, x1, y1 = box_xyxy
        return left + x0 * scale_x, top + y0 * scale_y, left + x1 * scale_x, top + y1 * scale_y

    def back(self, box_xyxy: FloatBox) -> FloatBox:
        """A box of the canvas, in pixels of the original picture: what `forward` undoes."""
        left, top, right, bottom = self.content_xyxy
        scale_x = self.original_hw[1] / (right - left)
        scale_y = self.original_hw[0] / (bottom - top)
        x0, x1 = ((x - left) * scale_x for x in box_xyxy[::2])
        y0, y1 = ((y - top) * scale_y for y in box_xyxy[1::2])
        return x0, y0, x1, y1

    @property
    def padded(self) -> bool:
        """Whether the picture leaves part of the canvas to padding."""
        return self.content_xyxy != (0, 0, self.canvas_hw[1], self.canvas_hw[0])

    def inside(self, rows: int, columns: int) -> np.ndarray:
        """Bool (rows, columns) over the canvas at that resolution: False where it is padding."""
        left, top, right, bottom = self._cells(rows, columns)
        inside = np.zeros((rows, columns), bool)
        inside[top:bottom, left:right] = True
        return inside

    def _cells(self, rows: int, columns: int) -> Box:
        """The cells of a canvas of that resolution that the picture touches."""
        scale_y, scale_x = rows / self.canvas_hw[0], columns / self.canvas_hw[1]
        x0, y0, x1, y1 = self.content_xyxy
        ends = math.ceil(x1 * scale_x), math.ceil(y1 * scale_y)
        return int(x0 * scale_x), int(y0 * scale_y), *ends


def place(picture: np.ndarray, canvas_hw: tuple[int, int]) -> tuple[np.ndarray, Placement]:
    """Fit a picture onto the canvas -> ((h, w, 3) uint8, its placement).

    An aspect within 10 % of the canvas is stretched to fill it (canvas sides are rounded to the
    encoder's stride); any other keeps its aspect, centred, with its edge pixels repeated around it.
    """
    height, width = picture.shape[:2]
    ratio = (width / height) / (canvas_hw[1] / canvas_hw[0])
    if 0.9 <= ratio <= 1.1:
        box = (0, 0, canvas_hw[1], canvas_hw[0])
        return resize(picture, canvas_hw), Placement((height, width), canvas_hw, box)
    scale = min(canvas_hw[0] / height, canvas_hw[1] / width)
    tall = min(canvas_hw[0], max(1, round(height * scale)))
    wide = min(canvas_hw[1], max(1, round(width * scale)))
    top, left = (canvas_hw[0] - tall) // 2, (canvas_hw[1] - wide) // 2
    below, right = canvas_hw[0] - tall - top, canvas_hw[1] - wide - left
    inner = resize(picture, (tall, wide))
    padded = cv2.copyMakeBorder(inner, top, below, left, right, cv2.BORDER_REPLICATE)
    box = (left, top, left + wide, top + tall)
    return padded, Placement((height, width), canvas_hw, box)


@dataclass(frozen=True, slots=True)
class Frame:
    """How every picture of one product is looked at: its size, its tiles, their canvas.

    Pictures above 4 megapixels, pictures longer than 4:1 and working sides above `VIEW_PX` are
    looked at in tiles, so that small defects are not averaged away.
    """

    size_hw: tuple[int, int]  # of the product's first reference; other sizes are placed on it
    canvas_hw: tuple[int, int]  # of one tile, as the encoder sees it
    boxes_xyxy: tuple[Box, ...]  # tiles, in pixels of `size_hw`

    @classmethod
    def of(
        cls, size_hw: tuple[int, int], side_px: int, multiple_px: int, view_px: int = VIEW_PX
    ) -> "Frame":
        """The frame for pictures of this size, seen at about `side_px` squared per tile.

        Above `view_px` each tile is cut into smaller ones that are seen at the same scale.
        """
        boxes = tuple(tile_boxes(size_hw))
        x0, y0, x1, y1 = boxes[0]
        if side_px > view_px:
            scale = side_px / math.sqrt((y1 - y0) * (x1 - x0))
            return cls.at_scale(size_hw, scale, multiple_px, view_px)
        return cls(size_hw, canvas_for((y1 - y0, x1 - x0), side_px, multiple_px), boxes)

    @classmethod
    def at_scale(
        cls, size_hw: tuple[int, int], scale: float, multiple_px: int, view_px: int = VIEW_PX
    ) -> "Frame":
        """The frame whose tiles are seen at `scale` working pixels to a pixel of the picture.

        No tile is larger than about `view_px` squared working pixels.
        """
        boxes = tuple(tile_boxes(size_hw, view_pixels(scale, view_px)))
        x0, y0, x1, y1 = boxes[0]
        side = scale * math.sqrt((y1 - y0) * (x1 - x0))
        return cls(size_hw, canvas_for((y1 - y0, x1 - x0), side, multiple_px), boxes)

    @property
    def scale(self) -> float:
        """Working pixels to a pixel of the picture, along each axis alike but for rounding."""
        x0, y0, x1, y1 = self.boxes_xyxy[0]
        return min(self.canvas_hw[0] / (y1 - y0), self.canvas_hw[1] / (x1 - x0))

    @property
    def side_px(self) -> int:
        """The working side of the whole picture, were it square and seen in one piece."""
        return round(self.scale * math.sqrt(self.size_hw[0] * self.size_hw[1]))

    def cut(self, picture: np.ndarray) -> "Views":
        """The picture's tiles, each placed on the canvas."""
        if len(self.boxes_xyxy) == 1:
            canvas, placement = place(picture, self.canvas_hw)
            return Views(self, None, [canvas], [placement])
        whole, outer = place(picture, self.size_hw)
        placed = [place(whole[y0:y1, x0:x1], self.canvas_hw) for x0, y0, x1, y1 in self.boxes_xyxy]
        return Views(self, outer, [c for c, _ in placed], [p for _, p in placed])


@dataclass(slots=True)
class Views:
    """One picture's tiles on the canvas, and the way back."""

    frame: Frame
    outer: Placement | None  # of the whole picture in the frame, when it is tiled
    canvases: list[np.ndarray]  # uint8 (h, w, 3) each
    placements: list[Placement]

    def join(self, maps: list[np.ndarray]) -> np.ndarray:
        """One map per tile -> float32 (H, W) over the original picture; the larger wins."""
        if self.outer is None:
            return self.placements[0].undo(maps[0])
        whole = np.full(self.frame.size_hw, -np.inf, np.float32)
        boxes = self.frame.boxes_xyxy
        for (x0, y0, x1, y1), placement, one in zip(boxes, self.placements, maps, strict=True):
            tile = whole[y0:y1, x0:x1]
            np.maximum(tile, placement.undo(one), out=tile)
        return self.outer.undo(whole)

    def on_canvas(self, box_xyxy: Box) -> tuple[int, FloatBox]:
        """The tile that holds the middle of a box of the picture, and the box on its canvas."""
        box = (float(box_xyxy[0]), float(box_xyxy[1]), float(box_xyxy[2]), float(box_xyxy[3]))
        if self.outer is None:
            return 0, self.placements[0].forward(box)
        box = self.outer.forward(box)
        x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        tiles = self.frame.boxes_xyxy
        tile = min(
            range(len(tiles)),
            key=lambda i: max(tiles[i][0] - x, x - tiles[i][2], tiles[i][1] - y, y - tiles[i][3]),
        )
        left, top = tiles[tile][:2]
        moved = (box[0] - left, box[1] - top, box[2] - left, box[3] - top)
        return tile, self.placements[tile].forward(moved)

    def from_canvas(self, tile: int, box_xyxy: FloatBox) -> Box:
        """A box on the canvas of a tile, in whole pixels of the picture and inside it."""
        x0, y0, x1, y1 = self.placements[tile].back(box_xyxy)
        if self.outer is not None:
            left, top = self.frame.boxes_xyxy[tile][:2]
            x0, y0, x1, y1 = self.outer.back((x0 + left, y0 + top, x1 + left, y1 + top))
        height, width = (self.outer or self.placements[0]).original_hw
        low_x, low_y = min(width - 1, max(0, round(x0))), min(height - 1, max(0, round(y0)))
        high_x = min(width, max(low_x + 1, round(x1)))
        return low_x, low_y, high_x, min(height, max(low_y + 1, round(y1)))


def view_pixels(scale: float, view_px: int = VIEW_PX) -> float:
    """Most pixels of a picture that one view shows at `scale` working pixels to each of them."""
    return min(float(TILE_PIXELS), (view_px / scale) ** 2)


def tile_boxes(size_hw: tuple[int, int], most_pixels: float = TILE_PIXELS) -> Iterator[Box]:
    """Boxes (x0, y0, x1, y1) that cover a picture, overlapping by 1/8 of their share.

    Each holds at most `most_pixels` and is at most 4:1 long, in a picture of up to about 28:1. One
    box, the whole picture, when that is so of it.
    """
    height, width = size_hw
    rows, columns = tile_grid(size_hw, most_pixels)
    for y0, y1 in _spans(height, rows):
        for x0, x1 in _spans(width, columns):
            yield x0, y0, x1, y1


def tile_grid(size_hw: tuple[int, int], most_pixels: float = TILE_PIXELS) -> tuple[int, int]:
    """Rows and columns of `tile_boxes`."""
    height, width = size_hw
    rows = columns = 1
    while True:
        tall, wide, parts = height / rows, width / columns, rows * columns
        whole = parts == 1
        large = (tall * wide if whole else tall * wide * OVERLAP**2) > most_pixels
        shape = max(tall, wide) / min(tall, wide)
        long = parts < MOST_ALONG and (shape if whole else shape * OVERLAP) > LONGEST
        if not (large or long):
            return rows, columns
        if tall >= wide:
            rows += 1
        else:
            columns += 1


def _spans(length: int, parts: int) -> list[tuple[int, int]]:
    if parts == 1:
        return [(0, length)]
    size = min(length, math.ceil(length / parts * OVERLAP))
    starts = [round(i * (length - size) / (parts - 1)) for i in range(parts)]
    return [(start, start + size) for start in starts]

"""At what size a product is looked at: named, or decided from its own good pictures.

Sides are in working pixels of a square picture; widths in pixels of the original picture.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from anomalyst.errors import AnomalystError
from anomalyst.io.geometry import VIEW_PX, Frame, resize, tile_grid, view_pixels

Side = int | Literal["auto"]
LEAST_SIDE, MOST_SIDE = 64, 1024
AUTO_STEPS = (1.0, 1.5, 2.0)  # times the encoder's own side: 256, 384, 512; above, tiles cost more
AUTO_PICTURES = 8  # good pictures looked at; their median decides

# A defect is drawn on a map of stride 4, so 2 x 2 of its cells: with one, its place against the
# grid decides whether any cell holds more of it than of its surroundings.
DEFECT_PX = 8.0
MOST_TILES = 32  # for the sake of a defect's size: memory and time grow with each

# Found on drawn products only (docs/decisions.md).
LOOKED_PX = 1024  # widths are measured at this side
WIDTHS = (2, 4, 6, 8)  # of structures, measured at that side; anything wider is kept by every side
LEAST_CONTRAST = 20.0  # grey levels by which a structure differs from its surroundings
NOISE_SIGMAS = 6.0  # and by so many standard deviations of the noise
LEAST_SHARE = 0.002  # of the picture that structures of a width cover
KEPT_PX = 1.3  # of its width at the working side: most of its contrast is kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizing:
    """What is asked for, of an encoder with its own side and multiple."""

    own_px: int  # the encoder's own working side
    multiple_px: int
    side_px: Side | None = None  # None: the encoder's own
    smallest_defect_px: float | None = None  # in pixels of the pictures

    def frame_for(self, pictures: Sequence[np.ndarray]) -> tuple[Frame, str]:
        """The frame of a product, and why it is that one ("" if nothing was to be decided).

        `pictures`: its good ones, uint8 (H, W, 3), of which the first gives the frame its size.
        Raises AnomalystError for a defect so small that too many tiles would be needed.
        """
        size_hw = (pictures[0].shape[0], pictures[0].shape[1])
        if self.smallest_defect_px is not None:
            return self._for_defect(size_hw, self.smallest_defect_px)
        if self.side_px == "auto":
            return self._for_structure(size_hw, pictures)
        return self._at(size_hw, self.side_px or self.own_px), ""

    @property
    def view_px(self) -> int:
        """The most working side of one tile: twice the encoder's own, at least `VIEW_PX`."""
        return max(VIEW_PX, 2 * self.own_px)

    def _at(self, size_hw: tuple[int, int], side_px: int) -> Frame:
        return Frame.of(size_hw, side_px, self.multiple_px, self.view_px)

    def _for_defect(self, size_hw: tuple[int, int], defect_px: float) -> tuple[Frame, str]:
        own = self._at(size_hw, self.own_px)
        scale = DEFECT_PX / defect_px
        said = f"a defect of {defect_px:g} px is {defect_px * own.scale:.1f} px at {self.own_px}"
        if scale <= own.scale:
            return own, f"side {self.own_px}: {said}"
        rows, columns = tile_grid(size_hw, view_pixels(scale, self.view_px))
        most = max(MOST_TILES, len(own.boxes_xyxy))
        if rows * columns > most:
            raise AnomalystError(
                f"--smallest-defect-px {defect_px:g}: in pictures of {size_hw[1]}x{size_hw[0]} px "
                f"that needs {rows * columns} tiles, and at most {most} are looked at; name "
                f"{self._least_defect(size_hw, most):g} or more, or picture the part in pieces."
            )
        frame = Frame.at_scale(size_hw, scale, self.multiple_px, self.view_px)
        seen = defect_px * frame.scale
        return frame, f"{_named(frame)}: {said} and {seen:.1f} px now"

    def _least_defect(self, size_hw: tuple[int, int], most: int) -> int:
        """The smallest defect, in whole pixels, that so many tiles show."""
        defect = 1
        while math.prod(tile_grid(size_hw, view_pixels(DEFECT_PX / defect, self.view_px))) > most:
            defect += 1
        return defect

    def _for_structure(
        self, size_hw: tuple[int, int], pictures: Sequence[np.ndarray]
    ) -> tuple[Frame, str]:
        own = self._at(size_hw, self.own_px)
        width = finest_structure(pictures[:AUTO_PICTURES])
        if width is None:
            return own, f"side {self.own_px}: no structure is finer than what it shows"
        frames = [self._at(size_hw, side_px) for side_px in self._steps()]
        fits = (frame for frame in frames if width * frame.scale >= KEPT_PX)
        frame = next(fits, frames[-1])
        said = f"finest structure {width * own.scale:.1f} px at {self.own_px}"
        if frame.canvas_hw != own.canvas_hw:
            said += f" and {width * frame.scale:.1f} px now"
        return frame, f"{_named(frame)}: {said}"

    def _steps(self) -> list[int]:
        return [min(MOST_SIDE, round(self.own_px * step)) for step in AUTO_STEPS]


def checked_side(side: str | int | None, smallest_defect_px: float | None = None) -> Side | None:
    """A side as a user names it: a number or "auto"; None where none is named.

    Raises AnomalystError for anything else, a number out of range, and a side beside a defect's
    size, which decides alone.
    """
    if smallest_defect_px is not None and not 0 < smallest_defect_px < math.inf:
        raise AnomalystError(
            f"--smallest-defect-px {smallest_defect_px:g}: a size in pixels of the picture is "
            "needed, above 0."
        )
    if side is None or side == "auto":
        return None if side is None else "auto"
    if not str(side).isdecimal() or not LEAST_SIDE <= int(side) <= MOST_SIDE:
        raise AnomalystError(
            f"--side {side}: a number of pixels from {LEAST_SIDE} to {MOST_SIDE}, or auto, is "
            "needed."
        )
    if smallest_defect_px is not None:
        raise AnomalystError(
            f"--side {side} and --smallest-defect-px exclude each other: the size of the defect "
            "decides the side; give one of them."
        )
    return int(side)


def finest_structure(pictures: Sequence[np.ndarray]) -> float | None:
    """How wide the finest structures of some pictures, uint8 (H, W, 3), are: pixels of the first.

    The median over the pictures; None if nothing is finer than what every side keeps.
    """
    found = [_finest_width(picture) for picture in pictures]
    middle = statistics.median(math.inf if width is None else width for width in found)
    height, width = pictures[0].shape[:2]
    return None if math.isinf(middle) else middle * math.sqrt(height * width) / LOOKED_PX


def _finest_width(picture: np.ndarray) -> int | None:
    """The smallest of `WIDTHS` that structures of a picture have, measured at `LOOKED_PX`.

    By granulometry (Matheron 1975; Maragos 1989): an opening takes away what is brighter and
    narrower than its disc, a closing what is darker. Edges of large parts stay, however sharp, and
    so they do not count, as they would in a spectrum.
    """
    height, width = picture.shape[:2]
    scale = LOOKED_PX / math.sqrt(height * width)
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    looked = resize(grey, (max(1, round(height * scale)), max(1, round(width * scale))))
    # Enlarged noise is smooth, and would be taken for structure.
    contrast = max(LEAST_CONTRAST, NOISE_SIGMAS * _noise(grey if scale > 1 else looked))
    grey = looked
    for wide in WIDTHS:
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (wide + 1, wide + 1))
        bright = cv2.subtract(grey, cv2.morphologyEx(grey, cv2.MORPH_OPEN, disc))
        dark = cv2.subtract(cv2.morphologyEx(grey, cv2.MORPH_CLOSE, disc), grey)
        if float((cv2.max(bright, dark) > contrast).mean()) >= LEAST_SHARE:
            return wide
    return None


def _noise(grey: np.ndarray) -> float:
    """Standard deviation of a picture's noise, uint8 (H, W), in grey levels.

    Immerkaer 1996, with the median instead of the mean, which structures would raise.
    """
    mask = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)  # sums of squares: 36
    found = np.abs(cv2.filter2D(grey.astype(np.float32), -1, mask))
    return float(np.median(found)) / 0.6745 / 6


def _named(frame: Frame) -> str:
    tiles = len(frame.boxes_xyxy)
    return f"side {frame.side_px}" + (f" in {tiles} tiles" if tiles > 1 else "")

"""What is asked of a segmenter: clicks, a box, a mask so far, words; and what it answers."""

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from anomalyst.errors import AnomalystError
from anomalyst.io.geometry import Box, FloatBox, resize
from anomalyst.io.masks import packed
from anomalyst.types import Mask

Point = tuple[float, float]
TOO_CLOSE_PX = 1.0  # a click for and one against within this distance contradict each other


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """What is said of one thing; places in pixels of the picture, its first pixel's centre 0.5."""

    points_xy: tuple[Point, ...] = ()
    positive: tuple[bool, ...] = ()  # of each point: on the thing, or beside it
    box_xyxy: FloatBox | None = None
    mask: np.ndarray | None = None  # float32 or bool (H, W) in [0, 1]: what is known of it so far
    text: str = ""  # "scratch", "the product"

    def checked(self, size_hw: tuple[int, int]) -> "Prompt":
        """The same. Raises AnomalystError for what cannot be meant of a picture of that size."""
        height, width = size_hw
        if len(self.points_xy) != len(self.positive):
            raise AnomalystError(
                f"{len(self.points_xy)} points and {len(self.positive)} labels; each point is "
                "positive (on the thing) or negative (beside it)."
            )
        for x, y in self.points_xy:
            if not (0 <= x <= width and 0 <= y <= height):
                raise AnomalystError(
                    f"the point ({x:g}, {y:g}) lies outside the picture, which is {width} x "
                    f"{height} pixels."
                )
        self._refuse_contradictions()
        if self.mask is not None and self.mask.shape != size_hw:
            raise AnomalystError(
                f"the mask is {self.mask.shape[1]} x {self.mask.shape[0]} pixels, the picture "
                f"{width} x {height}; they must be equal."
            )
        if not (self.points_xy or self.box_xyxy or self.text or self.mask is not None):
            raise AnomalystError("nothing was asked; give a point, a box, a mask or a word.")
        return self if self.box_xyxy is None else replace(self, box_xyxy=self._box(size_hw))

    def _refuse_contradictions(self) -> None:
        for index, (x, y) in enumerate(self.points_xy):
            for other in range(index):
                ox, oy = self.points_xy[other]
                near = (x - ox) ** 2 + (y - oy) ** 2 < TOO_CLOSE_PX**2
                if near and self.positive[index] != self.positive[other]:
                    raise AnomalystError(
                        f"({x:g}, {y:g}) is said to be on the thing and beside it; take one of "
                        "the two clicks back."
                    )

    @property
    def ambiguous(self) -> bool:
        """Whether it may mean several things: a click alone, or a word alone."""
        alone = len(self.points_xy) + bool(self.text) == 1
        return alone and self.box_xyxy is None and self.mask is None

    def _box(self, size_hw: tuple[int, int]) -> FloatBox:
        """The box, cut to the picture."""
        assert self.box_xyxy is not None
        x0, y0, x1, y1 = self.box_xyxy
        cut = max(0, x0), max(0, y0), min(size_hw[1], x1), min(size_hw[0], y1)
        if cut[2] - cut[0] <= 0 or cut[3] - cut[1] <= 0:
            raise AnomalystError(
                f"the box ({x0:g}, {y0:g}, {x1:g}, {y1:g}) holds no pixel of the picture, which is "
                f"{size_hw[1]} x {size_hw[0]}; x0 < x1 and y0 < y1 are needed."
            )
        return cut


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One answer: where the thing is, and how well its mask is thought to fit."""

    logits: np.ndarray  # float32 (h, w) over the view, at any resolution; above 0 is the thing
    view_xyxy: Box  # the part of the picture that was looked at
    size_hw: tuple[int, int]  # of the picture
    iou: float  # predicted intersection over union with what is meant, [0, 1]

    def in_view(self) -> np.ndarray:
        """Bool (h, w): the mask over the view, in pixels of the picture."""
        x0, y0, x1, y1 = self.view_xyxy
        return resize(self.logits, (y1 - y0, x1 - x0)) > 0

    def whole(self) -> np.ndarray:
        """Bool (H, W): the mask over the picture; nothing lies beside the view."""
        found = np.zeros(self.size_hw, bool)
        x0, y0, x1, y1 = self.view_xyxy
        found[y0:y1, x0:x1] = self.in_view()
        return found

    def known(self) -> np.ndarray:
        """Float32 (H, W) in [0, 1]: the answer with its doubts, as the next prompt's `mask`."""
        found = np.zeros(self.size_hw, np.float32)
        x0, y0, x1, y1 = self.view_xyxy
        # Half as steep as the logits: soft_masks.as_logits makes them twice as steep again.
        shares = 1 / (1 + np.exp(-np.clip(self.logits, -8, 8) / 2))
        found[y0:y1, x0:x1] = resize(shares.astype(np.float32), (y1 - y0, x1 - x0))
        return found

    def packed(self) -> Mask:
        """The mask in as little room as possible."""
        return packed(self.in_view(), self.size_hw, self.view_xyxy)


class Look(Protocol):
    """A view of a picture, encoded once and prompted often."""

    def segment(self, prompt: Prompt) -> tuple[Segment, ...]:
        """What the prompt may mean, the best first. Raises AnomalystError for what cannot be."""
        ...


class Segmenter(Protocol):
    """Any of the models behind `load_segmenter`."""

    name: str

    def look(self, picture: np.ndarray, view: Box | None = None) -> Look:
        """Encode a picture, uint8 (H, W, 3), or a view of it that prompts will be about."""
        ...

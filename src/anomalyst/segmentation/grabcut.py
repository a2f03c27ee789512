"""Segmentation without a network: GrabCut (Rother et al., SIGGRAPH 2004), to compare with."""

from dataclasses import dataclass

import cv2
import numpy as np

from anomalyst.errors import AnomalystError
from anomalyst.io.geometry import Box, resize
from anomalyst.segmentation.prompts import Prompt, Segment

WORK_PX = 256  # longer side of what is looked at
ROUNDS = 3
AROUND_POINT = 0.25  # of the view's side: how far from clicks alone the thing may reach


class GrabCut:
    """Colours inside against colours outside; understands clicks, boxes and masks."""

    name = "grabcut"

    def look(self, picture: np.ndarray, view: Box | None = None) -> "GrabCutLook":
        """The view, made small."""
        size_hw = picture.shape[0], picture.shape[1]
        x0, y0, x1, y1 = view or (0, 0, size_hw[1], size_hw[0])
        scale = min(1.0, WORK_PX / max(x1 - x0, y1 - y0))
        small_hw = max(8, round((y1 - y0) * scale)), max(8, round((x1 - x0) * scale))
        small = resize(np.ascontiguousarray(picture[y0:y1, x0:x1]), small_hw)
        return GrabCutLook(small, (x0, y0, x1, y1), size_hw)


@dataclass(frozen=True)
class GrabCutLook:
    """A view made small."""

    small: np.ndarray
    view_xyxy: Box
    size_hw: tuple[int, int]

    def segment(self, prompt: Prompt) -> tuple[Segment, ...]:
        """One answer, of which GrabCut cannot tell how good it is: 0.5."""
        prompt = prompt.checked(self.size_hw)
        if prompt.text:
            raise AnomalystError("grabcut: understands no words; give a point, a box or a mask.")
        marks = self._marks(prompt)
        if np.isin(marks, (cv2.GC_FGD, cv2.GC_PR_FGD)).any():
            try:
                cv2.setRNGSeed(0)  # GrabCut draws from OpenCV's own generator
                models = np.zeros((1, 65)), np.zeros((1, 65))
                cv2.grabCut(self.small, marks, None, *models, ROUNDS, cv2.GC_INIT_WITH_MASK)
            except cv2.error:  # too few pixels of one side: what was marked stays
                pass
        inside = np.isin(marks, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.float32)
        found = Segment(
            logits=cv2.GaussianBlur(inside, (3, 3), 0) - 0.5,
            view_xyxy=self.view_xyxy,
            size_hw=self.size_hw,
            iou=0.5,
        )
        return (found,)

    def _marks(self, prompt: Prompt) -> np.ndarray:
        """Certain and probable pixels of the thing and of what lies beside it, uint8 (h, w)."""
        height, width = self.small.shape[:2]
        x0, y0, x1, y1 = self.view_xyxy
        across, down = width / (x1 - x0), height / (y1 - y0)
        marks = np.full((height, width), cv2.GC_BGD, np.uint8)
        if prompt.box_xyxy is not None:
            bx0, by0, bx1, by1 = prompt.box_xyxy
            rows = slice(max(0, int((by0 - y0) * down)), int(np.ceil((by1 - y0) * down)))
            columns = slice(max(0, int((bx0 - x0) * across)), int(np.ceil((bx1 - x0) * across)))
            marks[rows, columns] = cv2.GC_PR_FGD
        elif prompt.mask is None:
            marks[:] = cv2.GC_PR_BGD
        if prompt.mask is not None:
            known = resize(prompt.mask[y0:y1, x0:x1].astype(np.float32), (height, width))
            if prompt.box_xyxy is None:
                marks[:] = cv2.GC_PR_BGD
            marks[known > 0.5] = cv2.GC_PR_FGD
        reach = max(2, round(AROUND_POINT / 6 * max(height, width)))
        for (x, y), positive in zip(prompt.points_xy, prompt.positive, strict=True):
            at = round((x - x0) * across), round((y - y0) * down)
            if positive and prompt.box_xyxy is None and prompt.mask is None:
                cv2.circle(marks, at, reach, cv2.GC_PR_FGD, -1)
        for (x, y), positive in zip(prompt.points_xy, prompt.positive, strict=True):
            at = round((x - x0) * across), round((y - y0) * down)
            cv2.circle(marks, at, 2, cv2.GC_FGD if positive else cv2.GC_BGD, -1)
        return marks

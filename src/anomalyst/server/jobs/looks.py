"""What the segmenter made of views of pictures, kept so that each click is only a prompt."""

import time
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

from anomalyst.io.masks import unpacked
from anomalyst.io.pictures import open_picture
from anomalyst.segmentation.prompts import Look, Prompt, Segmenter
from anomalyst.server.jobs.tasks import Box, Segment

LOOKS_MOST = 8  # views kept: a few people at work, each with the whole picture and a part of it
CANDIDATES_MOST = 3


class Looks:
    """The segmenter, the views it has encoded, the least recently used of which are forgotten."""

    def __init__(self, segmenter: Segmenter):
        self.segmenter = segmenter
        self._looks: OrderedDict[tuple[Path, Box | None], Look] = OrderedDict()
        self._opened: tuple[Path, np.ndarray] | None = None  # views follow views of one picture

    def segment(self, task: Segment) -> dict[str, Any]:
        """Masks that the prompt may mean, the best first, and how long both steps took."""
        started = time.perf_counter()
        look = self._look(task.image, task.view)
        encoded = time.perf_counter()
        prompt = _prompt(task)
        found = () if prompt is None else look.segment(prompt)[:CANDIDATES_MOST]
        masks = [{"mask": one.packed().as_dict(), "iou": round(one.iou, 4)} for one in found]
        return {
            "candidates": masks,
            "encode_ms": round(1000 * (encoded - started), 1),
            "prompt_ms": round(1000 * (time.perf_counter() - encoded), 1),
        }

    def _look(self, image: Path, view: Box | None) -> Look:
        key = image, view
        if key not in self._looks:
            self._looks[key] = self.segmenter.look(self._picture(image), view)
            if len(self._looks) > LOOKS_MOST:
                self._looks.popitem(last=False)
        self._looks.move_to_end(key)
        return self._looks[key]

    def _picture(self, image: Path) -> np.ndarray:
        if self._opened is None or self._opened[0] != image:
            self._opened = image, open_picture(image)
        return self._opened[1]


def _prompt(task: Segment) -> Prompt | None:
    """What is asked; None where the view is only to be encoded for what comes."""
    if task.ahead:
        return None
    return Prompt(
        points_xy=task.points_xy,
        positive=task.positive,
        box_xyxy=task.box_xyxy,
        mask=None if task.mask is None else unpacked(task.mask),
        text=task.text,
    )

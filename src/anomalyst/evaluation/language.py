"""Words judged: yes or no, place, and whether they agree with the verdict."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from anomalyst.detection.regions import box_iou, find_regions, joined_px
from anomalyst.errors import PictureError
from anomalyst.inspector import Inspector
from anomalyst.types import Dialogue, Inspection

QUESTION = "Is there any anomaly in the image?"  # the predecessor's


class AskingInspector:
    """An inspector that is asked `QUESTION` about each picture."""

    def __init__(self, inspector: Inspector):
        self.inspector = inspector
        self.name, self.fingerprint = inspector.name, inspector.fingerprint
        self.teach, self.untaught = inspector.teach, inspector.untaught

    def named(self, category: str) -> "AskingInspector":
        """The same for the products of a category."""
        return AskingInspector(self.inspector.named(category))

    def inspect_many(
        self, images: Sequence[Path], product: Any, *, false_alarm_rate: float
    ) -> Iterator[Inspection | PictureError]:
        """One answer per picture, with words."""
        for found in self.inspector.inspect_many(
            images, product, false_alarm_rate=false_alarm_rate
        ):
            if isinstance(found, PictureError):
                yield found
                continue
            words = self.inspector.ask(QUESTION, Dialogue(found))
            seconds = {**found.seconds, "answer": words.seconds}
            yield replace(found, words=words, seconds=seconds)


def yes_or_no(text: str) -> bool | None:
    """As the predecessor read answers: "Yes" anywhere, else "No"; case counts; None: neither."""
    return True if "Yes" in text else False if "No" in text else None


def strictly_yes_or_no(text: str) -> bool | None:
    """The first word alone decides, and the other one may not come later."""
    words = [word.strip(".,:;!").lower() for word in text.split()]
    if not words or words[0] not in ("yes", "no"):
        return None
    other = "no" if words[0] == "yes" else "yes"
    return None if other in words else words[0] == "yes"


def answer_columns(inspection: Inspection, mask: np.ndarray | None) -> dict[str, str]:
    """What a row of results says of the words: text, place and box against a bool mask (H, W)."""
    words = inspection.words
    if words is None:
        return {}
    said = {"words": words.text}
    if mask is None or not mask.any() or not words.regions:
        return said
    true = find_regions(mask.astype(np.float32), 0.5, join_px=joined_px(mask.shape))
    best = max(box_iou(r.box_xyxy, t.box_xyxy) for r in words.regions for t in true)
    right = words.regions[0].place in {t.place for t in true}
    return said | {"place_right": "yes" if right else "no", "box_iou": f"{best:.4f}"}

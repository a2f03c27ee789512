"""What a person draws on a picture: a defect or a part of the product, and how it was drawn."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self, get_args

import cv2
import numpy as np

from anomalyst.errors import AnomalystError
from anomalyst.io.masks import packed, unpacked
from anomalyst.io.pictures import open_mask, shrink_mask
from anomalyst.report.overlay import shown_size
from anomalyst.server.storage.pictures import Pictures
from anomalyst.server.storage.store import Store
from anomalyst.server.storage.tables import CorrectionRow, InspectionRow
from anomalyst.types import Mask

Said = tuple[CorrectionRow, InspectionRow]  # what was said, and of what
What = Literal["defect", "part"]
Tool = Literal["click", "box", "brush", "eraser", "region"]
# As in ui/masks/editor.js; RGB, and of 255 how much of a mask's inside is seen.
COLOURS: dict[What, tuple[int, int, int]] = {"defect": (255, 82, 99), "part": (76, 141, 255)}
FILL = 90
LONGEST_LABEL = 80  # characters


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """What is said of a mask beside its pixels; the detail of a correction of kind `mask`."""

    what: What = "defect"
    label: str = ""  # the kind of the defect, or the name of the part
    tools: tuple[Tool, ...] = ()  # that drew it, in the order of their first use
    prompts: Mapping[str, Any] = field(default_factory=dict)  # points_xy, labels, box_xyxy, text
    iou: float | None = None  # that the segmenter predicted of its last answer

    def __post_init__(self) -> None:
        if self.what not in get_args(What):
            raise AnomalystError(f"a mask shows a defect or a part; {self.what!r} is neither.")
        if len(self.label) > LONGEST_LABEL or not self.label.isprintable():
            raise AnomalystError(
                f"the label {self.label[:20]!r} has {len(self.label)} characters; at most "
                f"{LONGEST_LABEL} that can be printed are needed."
            )

    def as_detail(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self) | {"tools": list(self.tools), "prompts": dict(self.prompts)}

    @classmethod
    def of(cls, detail: Mapping[str, Any]) -> Self:
        """From a correction's detail; masks painted before labels were kept show the defect."""
        return cls(
            what=detail.get("what", "defect"),
            label=detail.get("label", ""),
            tools=tuple(detail.get("tools", ())),
            prompts=detail.get("prompts", {}),
            iou=detail.get("iou"),
        )


def shows_defect(row: CorrectionRow) -> bool:
    """Whether a correction is the mask of a defect: the mask of a part judges nothing."""
    return row.kind == "mask" and row.detail.get("what", "defect") == "defect"


def drawn_masks(store: Store, seen: InspectionRow) -> list[tuple[CorrectionRow, Mask | None]]:
    """The masks of an inspection that were not undone, the oldest first.

    None in place of a mask whose file is gone.
    """
    said = [one for one in store.corrections(inspection=seen.id) if one.kind == "mask"]
    kept = [one for one in reversed(said) if one.undone_at is None]
    return [
        (one, mask_of(one, seen, store.pictures) if _is_kept(one, store.pictures) else None)
        for one in kept
    ]


def _is_kept(one: CorrectionRow, pictures: Pictures) -> bool:
    return "rle" in one.detail or one.detail["mask"] in pictures


def drawn_layer(store: Store, seen: InspectionRow, side_px: int) -> np.ndarray | None:
    """The masks as colours to be laid over the picture: RGBA, at most `side_px` on a side.

    None where nothing is drawn.
    """
    drawn = [(one, mask) for one, mask in drawn_masks(store, seen) if mask is not None]
    if not drawn:
        return None
    height, width = shown_size(drawn[0][1].size_hw, side_px)
    layer = np.zeros((height, width, 4), np.uint8)
    for one, mask in drawn:
        small = shrink_mask(unpacked(mask), (height, width))
        colour = COLOURS[Drawn.of(one.detail).what]
        layer[small] = (*colour, FILL)
        edges, _ = cv2.findContours(small.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(layer, edges, -1, (*colour, 255), max(1, side_px // 600))
    return layer


def labels_of(store: Store, product: str) -> list[str]:
    """What people called defects and parts of a product, each once, the newest first."""
    called = (one.detail.get("label") for one in store.corrections(product=product))
    return list(dict.fromkeys(label for label in called if label))


def mask_of(row: CorrectionRow, seen: InspectionRow, pictures: Pictures) -> Mask:
    """What a correction painted. Raises AnomalystError where it is no longer kept."""
    if "rle" in row.detail:
        return Mask.from_dict(row.detail["rle"])
    # Painted before run lengths were kept beside the file.
    return packed(open_mask(pictures.existing(row.detail["mask"]), seen.size_hw))

"""Masks as COCO writes them: run lengths down the columns, packed into a string, and back.

The format is that of pycocotools (https://github.com/cocodataset/cocoapi, common/maskApi.c).
"""

from collections.abc import Sequence

import cv2
import numpy as np

from anomalyst.errors import AnomalystError
from anomalyst.io.geometry import Box
from anomalyst.types import Mask


def packed(mask: np.ndarray, size_hw: tuple[int, int] | None = None, at: Box | None = None) -> Mask:
    """A mask, bool (h, w), in as little room as possible.

    `at` and `size_hw`: the box of a larger picture that the mask covers; nothing lies beside it.
    """
    height, width = size_hw or (mask.shape[0], mask.shape[1])
    x0, y0, x1, y1 = at or (0, 0, width, height)
    assert mask.dtype == bool and mask.shape == (y1 - y0, x1 - x0), (mask.dtype, mask.shape, at)
    columns = np.zeros((x1 - x0, y1 - y0 + 1), np.uint8)  # a gap after each: runs end with it
    columns[:, :-1] = cv2.transpose(mask.view(np.uint8))  # several times as fast as mask.T here
    flat = columns.ravel()
    turns = np.flatnonzero(np.diff(flat, prepend=np.uint8(0)))  # to mask, from mask, to mask ...
    starts, stops = (
        _along(some, y1 - y0 + 1, height, (x0, y0)) for some in (turns[::2], turns[1::2])
    )
    if len(starts) == 0:
        return Mask((height, width), pack_counts([height * width]))
    # What ends at the foot of a column and goes on at the head of the next is one run.
    broken = np.concatenate([[True], starts[1:] != stops[:-1]])
    starts, stops = starts[broken], stops[np.concatenate([broken[1:], [True]])]
    borders = np.stack([starts, stops], 1).ravel()
    counts = np.diff(borders, prepend=0, append=height * width).tolist()
    return Mask((height, width), pack_counts(counts if counts[-1] else counts[:-1]))


def unpacked(mask: Mask) -> np.ndarray:
    """The mask as bool (H, W). Raises AnomalystError where its runs do not fill its size."""
    height, width = mask.size_hw
    counts = unpack_counts(mask.counts)
    if min(counts, default=0) < 0 or sum(counts) != height * width:
        raise AnomalystError(
            f"the mask's run lengths fill {sum(counts)} pixels; its size, {height} x {width}, has "
            f"{height * width}. Write it anew."
        )
    values = np.arange(len(counts)) % 2 == 1
    return np.repeat(values, counts).reshape(width, height).T


def mask_iou(one: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union of two masks, bool of one shape, [0, 1]; 1 where both are empty."""
    either = int((one | other).sum())
    return int((one & other).sum()) / either if either else 1.0


def union_of(masks: Sequence[Mask]) -> np.ndarray:
    """What any of some masks covers, bool (H, W). Raises AnomalystError for unequal sizes."""
    if len(sizes := {one.size_hw for one in masks}) != 1:
        raise AnomalystError(f"masks of one picture have sizes {sorted(sizes)}; one is needed.")
    whole = unpacked(masks[0])
    for one in masks[1:]:
        whole |= unpacked(one)
    return whole


def mask_box(mask: np.ndarray) -> Box:
    """The smallest box around what is set in a mask, bool (H, W); all 0 where nothing is."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    if not len(rows):
        return 0, 0, 0, 0
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def pack_counts(counts: Sequence[int]) -> str:
    """Run lengths -> COCO's string: from the fourth on differences, five bits a character."""
    text = []
    for index, count in enumerate(counts):
        rest, more = int(count) - (int(counts[index - 2]) if index > 2 else 0), True
        while more:
            bits = rest & 0x1F
            rest >>= 5
            more = rest != -1 if bits & 0x10 else rest != 0
            text.append(chr((bits | 0x20 if more else bits) + 48))
    return "".join(text)


def unpack_counts(text: str) -> list[int]:
    """COCO's string -> run lengths, beginning with what is not mask.

    Raises AnomalystError for a string that is none.
    """
    counts: list[int] = []
    value = shift = 0
    for letter in text:
        bits = ord(letter) - 48
        if not 0 <= bits < 64:
            raise AnomalystError(f"{letter!r} is no letter of a COCO run-length string.")
        value |= (bits & 0x1F) << shift
        shift += 5
        if bits & 0x20:
            continue
        if bits & 0x10:
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    if shift:
        raise AnomalystError("the COCO run-length string ends in the middle of a number.")
    return counts


def _along(
    places: np.ndarray, column_px: int, height: int, corner_xy: tuple[int, int]
) -> np.ndarray:
    """Places down columns of `column_px` as places down the columns of the whole picture."""
    columns, rows = np.divmod(places, column_px)
    return (columns + corner_xy[0]) * height + rows + corner_xy[1]

"""The values of a picture file as they are stored, of which Pillow keeps 8 bits or one channel."""

from pathlib import Path

import cv2
import numpy as np

from anomalyst.io.whole_files import PNG_BEGIN

# What is wrong with a file is said by us, in one sentence; its decoders would write more beside it.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def stored_values(path: Path) -> np.ndarray | None:
    """(H, W), or (H, W, C) in the order blue, green, red; None for a file that cannot be decoded.

    Of an animated PNG neither: OpenCV ends the whole process over some that are damaged. Raises
    OSError where it cannot be read at all.
    """
    coded = np.fromfile(path, np.uint8)
    if _is_animated_png(coded):
        return None
    try:
        return cv2.imdecode(coded, cv2.IMREAD_UNCHANGED)
    except (cv2.error, MemoryError):  # a size that is claimed and not there
        return None


def _is_animated_png(coded: np.ndarray) -> bool:
    """Whether a chunk says that there are several frames: the length, the name, data and a sum."""
    at = len(PNG_BEGIN)
    if coded[:at].tobytes() != PNG_BEGIN:
        return False
    while at + 8 <= len(coded):
        if coded[at + 4 : at + 8].tobytes() in (b"acTL", b"fcTL"):
            return True
        at += 12 + int.from_bytes(coded[at : at + 4].tobytes(), "big")
    return False

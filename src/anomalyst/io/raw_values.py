"""The values of a picture file as they are stored, of which Pillow keeps 8 bits or one channel."""

from pathlib import Path

import cv2
import numpy as np

# What is wrong with a file is said by us, in one sentence; its decoders would write more beside it.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def stored_values(path: Path) -> np.ndarray | None:
    """(H, W), or (H, W, C) in the order blue, green, red; None for a file that cannot be decoded.

    Raises OSError where it cannot be read at all.
    """
    try:
        return cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    except (cv2.error, MemoryError):  # a size that is claimed and not there
        return None

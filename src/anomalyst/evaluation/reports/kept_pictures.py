"""The worst pictures of a category kept small on disk, for the page of results."""

import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from anomalyst.evaluation.reports.failures import Failure, Judged
from anomalyst.io.files import write_text
from anomalyst.io.geometry import canvas_for, resize
from anomalyst.io.pictures import data_uri, open_picture

THUMBNAIL_PX = 200
OUTLINE_RGB = (0, 255, 255)
FAINTEST = 0.02  # a map that is nowhere higher is shown as dark as it is


def keep_failures(out: Path, category: str, failures: Sequence[Failure]) -> None:
    """Keep a category's worst pictures, small, in OUT/worst/CATEGORY.json, for the page."""
    kept = [
        {
            "image": Path(f.judged.image).name,
            "label": f.judged.label,
            "defect": f.judged.defect,
            "score": round(f.judged.score, 3),
            "pairs_lost": round(f.pairs_lost, 4),
            "reason": f.reason,
            "picture": data_uri(_picture(f.judged)),
            "map": data_uri(_heat(f.judged)),
        }
        for f in failures
    ]
    write_text(out / "worst" / f"{category}.json", json.dumps(kept) + "\n")


def _picture(judged: Judged) -> np.ndarray:
    """The picture with its mask's outline."""
    picture = open_picture(Path(judged.image))
    small = resize(picture, canvas_for(picture.shape[:2], THUMBNAIL_PX, 1))
    return _outlined(small, judged.mask)


def _heat(judged: Judged) -> np.ndarray:
    """The map from dark (0) to bright (its highest value), with the mask's outline."""
    levels = judged.map.astype(np.float32)
    levels = np.clip(levels / max(FAINTEST, float(levels.max())), 0, 1)
    shown = resize(levels, canvas_for(levels.shape, THUMBNAIL_PX, 1))
    colours = cv2.applyColorMap((np.clip(shown, 0, 1) * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
    return _outlined(np.ascontiguousarray(colours[..., ::-1]), judged.mask)


def _outlined(picture: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    if mask is None or not mask.any():
        return picture
    size_wh = (picture.shape[1], picture.shape[0])
    whole = cv2.resize(mask.astype(np.uint8), size_wh, interpolation=cv2.INTER_NEAREST)
    outlines, _ = cv2.findContours(whole, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(picture.copy(), outlines, -1, OUTLINE_RGB, 1)

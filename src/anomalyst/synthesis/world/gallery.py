"""Sheets of the world to look at: every family, every defect."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from anomalyst.files import write_bytes
from anomalyst.synthesis.world.camera import photograph
from anomalyst.synthesis.world.defects import DEFECTS, apply_defect
from anomalyst.synthesis.world.families import FAMILIES, draw_product
from anomalyst.synthesis.world.render import draw

CELL_PX = 128
LABEL_PX = 116


def write_gallery(
    folder: Path, *, seed: int = 0, on_row: Callable[[], None] = lambda: None
) -> None:
    """Write families.jpg (a row each: six products, and the last one again) and defects.jpg."""
    rows = []
    for name in FAMILIES:
        rows.append(_labelled(name, _family_row(name, seed)))
        on_row()
    half = (len(rows) + 1) // 2
    rows += [np.full_like(rows[0], 255)] * (2 * half - len(rows))
    _write(folder / "families.jpg", np.hstack([np.vstack(rows[:half]), np.vstack(rows[half:])]))
    rows = []
    for kind in DEFECTS:
        rows.append(_labelled(kind, _defect_row(kind, seed)))
        on_row()
    half = (len(rows) + 1) // 2
    rows += [np.full_like(rows[0], 255)] * (2 * half - len(rows))
    _write(folder / "defects.jpg", np.hstack([np.vstack(rows[:half]), np.vstack(rows[half:])]))


def num_rows() -> int:
    """How many rows the gallery has, for a progress bar."""
    return len(FAMILIES) + len(DEFECTS)


def _family_row(name: str, seed: int) -> list[np.ndarray]:
    cells = []
    for product in range(6):
        rng = np.random.default_rng((seed, product))
        spec = FAMILIES[name](rng)
        cells.append(photograph(draw(spec, 1, CELL_PX).image, spec.camera, rng))
    return [*cells, photograph(draw(spec, 2, CELL_PX).image, spec.camera, rng)]


def _defect_row(kind: str, seed: int) -> list[np.ndarray]:
    """Seven products with the defect, outlined."""
    cells: list[np.ndarray] = []
    attempt = 0
    while len(cells) < 7:
        rng = np.random.default_rng((seed, attempt))
        attempt += 1
        spec = draw_product(rng)
        scene = draw(spec, attempt, CELL_PX)
        mask = apply_defect(scene, rng, kind)
        if mask.any():
            picture = photograph(scene.image, spec.camera, rng)
            thick = cv2.dilate(mask.astype(np.uint8), np.ones((5, 5), np.uint8))
            rim = thick - cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8))
            picture[rim > 0] = (255, 0, 255)
            cells.append(picture)
    return cells


def _labelled(name: str, cells: list[np.ndarray]) -> np.ndarray:
    label = np.full((CELL_PX, LABEL_PX, 3), 255, np.uint8)
    at, font = (6, CELL_PX // 2), cv2.FONT_HERSHEY_SIMPLEX
    cv2.putText(label, name, at, font, 0.4, (40, 40, 40), 1, cv2.LINE_AA)
    return np.hstack([label, *cells])


def _write(path: Path, sheet: np.ndarray) -> None:
    quality = [cv2.IMWRITE_JPEG_QUALITY, 82]
    write_bytes(path, cv2.imencode(".jpg", sheet[..., ::-1], quality)[1].tobytes())

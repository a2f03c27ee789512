"""Lenses to look at: the same one in every class, and what its substructure changed."""

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np

from anomalyst.synthetic.lensing.detecting import change
from anomalyst.synthetic.lensing.picture import draw_picture, moved_by_substructure
from anomalyst.synthetic.lensing.scene import LensingConfig, draw_scene

CELL_PX, LABEL_PX = 160, 18
NUM_LENSES = 6
WHOLE_COLOUR = 8.0  # standard deviations of the noise at which a change has its full colour


def preview(kinds: Sequence[str], seed: int, config: LensingConfig) -> np.ndarray:
    """uint8 RGB (H, W, 3): a column per lens of `seed`, a row per class and one for its change.

    Changes are of the expected picture over the noise's standard deviation: red brighter, blue
    darker. A cross marks a subhalo by its mass, a line a vortex. In numbers (see `change`): of the
    whole picture, and what of that no smooth lens explains.
    """
    rows = []
    for kind in kinds:
        cells = [_shown(kind, (seed, number), config) for number in range(NUM_LENSES)]
        rows.append(_labelled(kind, np.hstack(cells)))
        if kind != "none":
            cells = [_changed(kind, (seed, number), config) for number in range(NUM_LENSES)]
            rows.append(
                _labelled(f"{kind}: what it changed, in sigma: whole, lasting", np.hstack(cells))
            )
    return np.vstack(rows)


def _shown(kind: str, key: tuple[int, int], config: LensingConfig) -> np.ndarray:
    pixels = draw_picture(kind, key, replace(config, bits=8)).pixels
    return np.repeat(_enlarged(pixels)[..., None], 3, axis=2)


def _changed(kind: str, key: tuple[int, int], config: LensingConfig) -> np.ndarray:
    scene = draw_scene(kind, key, config)
    sigma = moved_by_substructure(scene, config)
    strength = np.clip(np.abs(sigma) / WHOLE_COLOUR, 0, 1)[..., None]
    colour = np.where((sigma > 0)[..., None], (200, 30, 30), (30, 60, 200))
    cell = _enlarged((255 + strength * (colour - 255)).astype(np.uint8))
    heaviest = max((halo.einstein_area for halo in scene.haloes), default=1.0)
    for halo in scene.haloes:
        arm = 1 + round(7 * np.sqrt(halo.einstein_area / heaviest))
        at = _pixel(halo.x, halo.y, config)
        cell = cv2.drawMarker(cell, at, (60, 60, 60), cv2.MARKER_CROSS, arm, 1, cv2.LINE_AA)
    for line in scene.strings:
        dx, dy = np.cos(line.angle) * line.length / 2, np.sin(line.angle) * line.length / 2
        ends = [_pixel(line.x + side * dx, line.y + side * dy, config) for side in (-1, 1)]
        cell = cv2.line(cell, ends[0], ends[1], (60, 60, 60), 1, cv2.LINE_AA)
    sigmas = change(scene, config)
    return _printed(cell, f"{sigmas.whole:.0f}, {sigmas.lasting:.0f}")


def _pixel(x: float, y: float, config: LensingConfig) -> tuple[int, int]:
    scale = CELL_PX / config.field
    return round((x + config.field / 2) * scale), round((y + config.field / 2) * scale)


def _enlarged(cell: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.resize(cell, (CELL_PX, CELL_PX), interpolation=cv2.INTER_CUBIC))


def _labelled(text: str, row: np.ndarray) -> np.ndarray:
    head = np.full((LABEL_PX, row.shape[1], 3), 255, np.uint8)
    return np.vstack([_printed(head, text), row])


def _printed(cell: np.ndarray, text: str) -> np.ndarray:
    font = cv2.FONT_HERSHEY_SIMPLEX
    return cv2.putText(cell, text, (4, 13), font, 0.42, (40, 40, 40), 1, cv2.LINE_AA)

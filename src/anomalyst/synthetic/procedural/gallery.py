"""Sheets of the world to look at: every family, every defect."""

from collections.abc import Callable, Iterable
from itertools import count, islice
from pathlib import Path

import cv2
import numpy as np

from anomalyst.io.files import write_bytes
from anomalyst.io.pictures import encoded
from anomalyst.synthetic.anomalies.methods import METHODS, GoodParts
from anomalyst.synthetic.procedural.camera import photograph
from anomalyst.synthetic.procedural.defects import DEFECTS, apply_defect
from anomalyst.synthetic.procedural.episode import normal_picture
from anomalyst.synthetic.procedural.families import FAMILIES, draw_product
from anomalyst.synthetic.procedural.render import draw
from anomalyst.synthetic.sampling import Rng

CELL_PX = 128
LABEL_PX = 116
Pair = tuple[np.ndarray, np.ndarray]  # a picture and its mask


def write_gallery(
    folder: Path, *, seed: int = 0, on_row: Callable[[], None] = lambda: None
) -> None:
    """Write families.jpg (a row each: six products, and the last one again), defects.jpg and
    planted.jpg (a row per method of `synthetic/anomalies/methods.py`)."""
    sheets: list[tuple[str, Iterable[str], Callable[[str, int], list[np.ndarray]]]] = [
        ("families.jpg", FAMILIES, _family_row),
        ("defects.jpg", DEFECTS, _defect_row),
        ("planted.jpg", METHODS, _planted_row),
    ]
    for name, kinds, row_of in sheets:
        rows = []
        for kind in kinds:
            rows.append(_labelled(kind, row_of(kind, seed)))
            on_row()
        half = (len(rows) + 1) // 2
        rows += [np.full_like(rows[0], 255)] * (2 * half - len(rows))
        sheet = np.hstack([np.vstack(rows[:half]), np.vstack(rows[half:])])
        write_bytes(folder / name, encoded(sheet, ".jpg", 82))


def num_rows() -> int:
    """How many rows the gallery has, for a progress bar."""
    return len(FAMILIES) + len(DEFECTS) + len(METHODS)


def _family_row(name: str, seed: int) -> list[np.ndarray]:
    cells = []
    for product in range(6):
        rng = np.random.default_rng((seed, product))
        spec = FAMILIES[name](rng)
        cells.append(photograph(draw(spec, 1, CELL_PX).image, spec.camera, rng))
    return [*cells, photograph(draw(spec, 2, CELL_PX).image, spec.camera, rng)]


def _defect_row(kind: str, seed: int) -> list[np.ndarray]:
    """Seven products with the defect, outlined."""

    def draw_one(attempt: int, rng: Rng) -> Pair:
        spec = draw_product(rng)
        scene = draw(spec, attempt + 1, CELL_PX)
        mask = apply_defect(scene, rng, kind)
        return photograph(scene.image, spec.camera, rng), mask

    return _seven(seed, draw_one)


def _planted_row(method: str, seed: int) -> list[np.ndarray]:
    """Seven products with defects planted on a picture of them, outlined."""

    def draw_one(_: int, rng: Rng) -> Pair:
        spec = draw_product(rng)
        good = [normal_picture(spec, rng, CELL_PX) for _ in range(2)]
        return GoodParts.of(good).defective(0, method, rng)

    return _seven(seed, draw_one)


def _seven(seed: int, draw_one: Callable[[int, Rng], Pair]) -> list[np.ndarray]:
    """The first seven attempts that show a defect, outlined."""
    drawn = (draw_one(n, np.random.default_rng((seed, n))) for n in count())
    return [outlined(*pair) for pair in islice((pair for pair in drawn if pair[1].any()), 7)]


def outlined(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The picture with a magenta line around the mask, bool (H, W), two pixels clear of it."""
    thick = cv2.dilate(mask.astype(np.uint8), np.ones((5, 5), np.uint8))
    rim = thick - cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8))
    shown = picture.copy()
    shown[rim > 0] = (255, 0, 255)
    return shown


def _labelled(name: str, cells: list[np.ndarray]) -> np.ndarray:
    label = np.full((CELL_PX, LABEL_PX, 3), 255, np.uint8)
    return np.hstack([write_label(label, name, (6, CELL_PX // 2), 0.4), *cells])


def write_label(sheet: np.ndarray, text: str, at_xy: tuple[int, int], size: float) -> np.ndarray:
    """The sheet with small dark print on it, in place."""
    font = cv2.FONT_HERSHEY_SIMPLEX
    return cv2.putText(sheet, text, at_xy, font, size, (40, 40, 40), 1, cv2.LINE_AA)

"""A sheet of sensed parts to look at: each sense of a sound part, and of a faulty one beside it."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from anomalyst.io.files import write_bytes
from anomalyst.io.pictures import encoded
from anomalyst.senses.kaldi_mel import log_mel
from anomalyst.synthetic.procedural.gallery import outlined, write_label
from anomalyst.synthetic.senses.part import (
    FAULTY,
    SensedPart,
    SensesConfig,
    sensed_product,
)

CELL_PX = 112
LABEL_PX = 104
SHOWN_S = 1.0  # of the vibration
HEADS = ("picture", "depth", "heat", "sound", "vibration")


def write_senses_sheet(
    path: Path, *, seed: int = 0, on_row: Callable[[], None] = lambda: None
) -> None:
    """A row for each condition: one product, sound on the left and faulty on the right."""
    config = SensesConfig(size_px=CELL_PX)
    rows = [_heads()]
    for number, condition in enumerate(FAULTY):
        good, bad = _pair(condition, (seed, number), config)
        label = np.full((CELL_PX, LABEL_PX, 3), 255, np.uint8)
        for line, text in enumerate((condition, bad.truth.kind, bad.truth.seen.noun)):
            write_label(label, text[:16], (4, 40 + 18 * line), 0.36)
        gap = np.full((CELL_PX, 10, 3), 255, np.uint8)
        rows.append(np.hstack([label, *_cells(good, good), gap, *_cells(bad, good)]))
        on_row()
    write_bytes(path, encoded(np.vstack(rows), path.suffix, 85))


def _heads() -> np.ndarray:
    strip = np.full((22, LABEL_PX + 2 * len(HEADS) * CELL_PX + 10, 3), 255, np.uint8)
    for side, word in enumerate(("sound", "faulty")):
        for column, head in enumerate(HEADS):
            x = LABEL_PX + side * (len(HEADS) * CELL_PX + 10) + column * CELL_PX
            write_label(strip, f"{word}: {head}" if column == 0 else head, (x + 2, 15), 0.36)
    return strip


def _pair(
    condition: str, seed: tuple[int, int], config: SensesConfig
) -> tuple[SensedPart, SensedPart]:
    """The first product of the seed on which the condition can be seen."""
    for attempt in range(100):
        good, bad = sensed_product((*seed, attempt), config, good=1, faulty=len(FAULTY))
        for part in bad:
            if part.truth.condition == condition:
                return good[0], part
    raise AssertionError(f"no product shows {condition}")


def _cells(part: SensedPart, good: SensedPart) -> list[np.ndarray]:
    """Five cells; what is measured is shown in the range of the good part."""
    mask = part.truth.mask
    picture = outlined(part.picture, mask) if mask.any() else part.picture
    depth = _shown(-part.depth_mm, -good.depth_mm, cv2.COLORMAP_VIRIDIS)
    warm = _shown(part.heat_c, good.heat_c, cv2.COLORMAP_INFERNO)
    mels = [log_mel(one.sound, 64).T[::-1] for one in (part, good)]
    heard = cv2.resize(_shown(mels[0], mels[1], cv2.COLORMAP_MAGMA), (CELL_PX, CELL_PX))
    return [picture, depth, warm, heard, _curves(part.imu)]


def _shown(values: np.ndarray, range_of: np.ndarray, colours: int) -> np.ndarray:
    """False colours, uint8 RGB; grey where there is no value."""
    low, high = np.nanpercentile(range_of, (1, 99))
    scaled = (np.nan_to_num(values, nan=low) - low) / max(float(high - low), 1e-3)
    grey = (np.clip(scaled, 0, 1) * 255).astype(np.uint8)
    shown = cv2.applyColorMap(grey, colours)[..., ::-1].copy()
    shown[np.isnan(values)] = 128
    return shown


def _curves(imu: np.ndarray) -> np.ndarray:
    """The first second of six channels, each in a strip of its own on one scale."""
    cell = np.full((CELL_PX, CELL_PX, 3), 250, np.uint8)
    part = imu[: int(400 * SHOWN_S)] - imu.mean(0)
    x = np.linspace(1, CELL_PX - 2, len(part))
    strip = CELL_PX / imu.shape[1]
    for channel, values in enumerate(part.T):
        reach = strip / 2 / (4.0 if channel < 3 else 2.0)
        y = strip * (channel + 0.5) - np.clip(values * reach, -strip / 2, strip / 2)
        line = np.stack([x, y], 1)
        colour = (40, 90, 160) if channel < 3 else (170, 80, 40)
        cv2.polylines(cell, [np.int32(line * 16)], False, colour, 1, cv2.LINE_AA, 4)
    return cell

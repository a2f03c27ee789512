"""Depth and heat: pictures of one channel whose values are millimetres or degrees Celsius."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from anomalyst.errors import AnomalystError, PictureError
from anomalyst.io.raw_values import stored_values

FieldKind = Literal["depth", "thermal"]
SUFFIXES = frozenset({".png", ".tif", ".tiff", ".npy"})
HOLES_MOST = 0.5  # share of a depth picture that may be missing
MARGIN = 0.25  # of the good parts' range that is kept free above and below it
KELVIN = 273.15
UNITS: dict[FieldKind, dict[str, tuple[float, float]]] = {  # name -> factor, offset
    "depth": {"mm": (1.0, 0.0), "um": (0.001, 0.0), "m": (1000.0, 0.0)},
    "thermal": {"C": (1.0, 0.0), "K": (1.0, -KELVIN), "cK": (0.01, -KELVIN)},
}
FULL_UNIT: dict[FieldKind, str] = {"depth": "mm", "thermal": "°C"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One reading of a depth or thermal camera."""

    values: np.ndarray  # float32 (H, W), mm or degrees Celsius, finite: holes are filled
    holes: np.ndarray  # bool (H, W)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldView:
    """How a product's depth or heat is shown, and so judged: alike for every part of it."""

    kind: FieldKind
    unit: str  # in the files: mm, um or m; C, K or cK (hundredths of a kelvin)
    low: float = 0.0  # shown black; mm or degrees Celsius
    high: float = 1.0  # shown white

    def __post_init__(self) -> None:
        checked_unit(self.kind, self.unit)

    def read(self, path: Path) -> Field:
        """The file's values. Raises PictureError for a file that is no such field."""
        return read_field(path, self.kind, self.unit)

    def shown(self, values: np.ndarray) -> np.ndarray:
        """Values in mm or degrees Celsius, (H, W), as uint8 (H, W, 3) grey.

        What lies outside the range is as black or white as its ends.
        """
        share = (values - self.low) / (self.high - self.low)
        grey = np.round(np.clip(share, 0, 1) * 255).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)

    def fitted(self, good: list[Field]) -> "FieldView":
        """The same with the range of these good parts, and a quarter of it on either side.

        Raises AnomalystError where they are all of one value.
        """
        seen = np.concatenate([one.values[~one.holes].ravel() for one in good])
        low, high = (float(v) for v in np.quantile(seen, (0.001, 0.999)))
        if high - low < 1e-6 * max(1.0, abs(high)):
            raise AnomalystError(
                f"all good {self.kind} files show {low:g} {FULL_UNIT[self.kind]} everywhere; check "
                "the camera."
            )
        room = MARGIN * (high - low)
        return replace(self, low=low - room, high=high + room)


def checked_unit(kind: FieldKind, unit: str) -> str:
    """The unit, if there is such a one; AnomalystError names those there are."""
    if not unit:
        raise AnomalystError(
            f"{kind} files have no usual unit; say which one they hold, {', '.join(UNITS[kind])}: "
            f"--{kind}-unit."
        )
    if unit not in UNITS[kind]:
        raise AnomalystError(f"--{kind}-unit {unit!r}: is none of {', '.join(UNITS[kind])}.")
    return unit


def read_field(path: Path, kind: FieldKind, unit: str) -> Field:
    """The values of a 16-bit PNG or TIFF, a float TIFF, or a .npy matrix, holes filled.

    Zero in a depth file of whole numbers is a hole, and so is NaN anywhere. Of a depth file of
    decimal positions (x, y, z) z is taken; 0, 0, 0 is a hole. Raises PictureError for another file,
    colours, more than half holes, or values that cannot be of that unit.
    """
    raw = _raw(path)
    if kind == "depth":
        raw = _depth_of_positions(raw)
    _refuse_no_matrix(path, raw)
    holes = ~np.isfinite(raw)
    if kind == "depth" and np.issubdtype(raw.dtype, np.integer):
        holes |= raw == 0
    share = float(holes.mean())
    if share > HOLES_MOST:
        raise PictureError(
            path, f"has holes on {share:.0%} of its area; at most {HOLES_MOST:.0%} can be filled."
        )
    factor, offset = UNITS[kind][unit]
    values = np.where(holes, 0, raw).astype(np.float32) * factor + offset
    if kind == "thermal":
        _refuse_impossible_heat(path, values[~holes], unit)
    notes: tuple[str, ...] = ()
    if holes.any():
        values = _filled(values, holes)
        notes = (f"holes on {share:.1%} of the area were filled from their surroundings",)
    return Field(values=values.astype(np.float32), holes=holes, notes=notes)


def _raw(path: Path) -> np.ndarray:
    """The numbers as they are, (H, W) or (H, W, C)."""
    if path.is_dir():
        raise PictureError(path, "is a folder; a file is needed.")
    if not path.is_file():
        raise PictureError(path, "there is no such file.")
    try:
        if path.suffix.lower() == ".npy":
            raw = np.load(path, allow_pickle=False)
        else:
            raw = stored_values(path)
    except (OSError, ValueError, EOFError, MemoryError) as error:
        raise PictureError(path, f"cannot be read ({error}); copy it again.") from error
    if raw is None:
        raise PictureError(path, "is not a 16-bit PNG, a TIFF or a .npy matrix we can read.")
    if raw.ndim == 3 and path.suffix.lower() != ".npy":
        raw = raw[..., ::-1]  # blue, green, red: a file's channels in their own order
    return raw[..., 0] if raw.ndim == 3 and raw.shape[2] == 1 else raw


def _depth_of_positions(raw: np.ndarray) -> np.ndarray:
    """Of x, y and z, (H, W, 3), as MVTec 3D-AD has them: z (H, W), NaN where nothing was seen."""
    if raw.ndim != 3 or raw.shape[2] != 3 or not np.issubdtype(raw.dtype, np.floating):
        return raw
    return np.where((raw == 0).all(axis=2), np.nan, raw[..., 2])


def _refuse_no_matrix(path: Path, raw: np.ndarray) -> None:
    if raw.ndim != 2 or min(raw.shape) < 16:
        shape = "x".join(str(n) for n in raw.shape)
        raise PictureError(
            path, f"holds {shape} numbers; one channel of at least 16 x 16 is needed. A picture in "
            "colours is no measurement: save the camera's raw values."
        )  # fmt: skip
    if raw.dtype == bool or not np.issubdtype(raw.dtype, np.number):
        raise PictureError(path, f"holds {raw.dtype} values; numbers are needed.")


def _refuse_impossible_heat(path: Path, values: np.ndarray, unit: str) -> None:
    """Parts on a line are between -100 and 2,500 degrees; a wrong unit leaves that at once."""
    low, high = float(values.min()), float(values.max())
    if low < -100 or high > 2500:
        raise PictureError(
            path, f"would be {low:.0f} to {high:.0f} degrees Celsius if its unit were {unit!r}; "
            f"give the right --thermal-unit, one of {', '.join(UNITS['thermal'])}."
        )  # fmt: skip


def _filled(values: np.ndarray, holes: np.ndarray) -> np.ndarray:
    """Holes take the value of the nearest pixel that is none."""
    labels = cv2.distanceTransformWithLabels(
        holes.astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )[1]
    by_label = np.zeros(int(labels.max()) + 1, values.dtype)
    by_label[labels[~holes]] = values[~holes]
    return by_label[labels]

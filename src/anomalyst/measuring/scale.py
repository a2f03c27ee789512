"""Pixels -> millimetres: by two points and a length, by a checker board, or as it is known.

A board also tells the lens's distortion (OpenCV's `calibrateCamera`: Zhang, A flexible new
technique for camera calibration, PAMI 2000; Brown 1966), which is taken out of every point that
is measured, and how the plane of the parts lies before the camera. The first board must lie there;
further ones may be held anyhow, and tell of the lens alone.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from anomalyst.errors import AnomalystError, PictureError

Size = tuple[int, int]
Matrix = tuple[tuple[float, ...], ...]
WHOLE_LENS = 3  # boards from which on more than one coefficient of distortion is fitted
FLAGS = cv2.CALIB_CB_NORMALIZE_IMAGE | cv2.CALIB_CB_EXHAUSTIVE | cv2.CALIB_CB_ACCURACY


@dataclass(frozen=True, slots=True, kw_only=True)
class Lens:
    """What bends straight lines, and how the plane of the parts lies."""

    camera: Matrix  # (3, 3): focal lengths and the middle, px
    distortion: tuple[float, ...]  # k1, k2, p1, p2, k3, as OpenCV orders them
    plane: Matrix  # (3, 3): straightened px -> mm on the plane of the parts
    rms_px: float  # how far the boards' corners lie from where the lens puts them
    boards: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How large a pixel is on the part."""

    mm_per_px: float  # in the middle of the first board, where the scale is by one
    relative_sd: float = 0.0  # standard deviation of the scale over itself
    residual_px: float = 0.0  # that of a point after its straightening, along any line
    size_hw: Size | None = None  # of the pictures it holds for
    how: Literal["points", "board", "given"] = "given"
    lens: Lens | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.mm_per_px) and self.mm_per_px > 0):
            raise AnomalystError(
                f"the scale is {self.mm_per_px:g} mm a pixel; it must be a number above 0."
            )
        if not (math.isfinite(self.relative_sd) and 0 <= self.relative_sd < 0.5):
            raise AnomalystError(
                f"the scale's standard deviation is {100 * self.relative_sd:.3g} % of it; less "
                "than 50 % is needed. Take a longer line, or a board."
            )

    def straightened(self, points_xy: np.ndarray) -> np.ndarray:
        """Points (N, 2) in pixels of the picture -> mm on the plane of the parts, float64."""
        if self.lens is None:
            return np.asarray(points_xy, np.float64) * self.mm_per_px
        straight = _undistorted(points_xy, self.lens.camera, self.lens.distortion)
        plane = np.array(self.lens.plane)
        return cv2.perspectiveTransform(straight[:, None], plane)[:, 0]

    def fits(self, size_hw: Size) -> bool:
        """Whether it holds for pictures of this size."""
        return self.size_hw is None or tuple(self.size_hw) == tuple(size_hw)

    def in_words(self) -> str:
        """What it is and where it comes from, in a sentence."""
        by = {"points": "by two points", "board": "by a checker board", "given": "as given"}
        text = f"{self.mm_per_px:.5g} mm a pixel, {by[self.how]}"
        text += f" (+- {196 * self.relative_sd:.2g} % at 95 %)" if self.relative_sd else ""
        if self.lens is not None:
            text += f"; lens from {self.lens.boards} board{'s' * (self.lens.boards > 1)}, "
            text += f"corners {self.lens.rms_px:.2f} px from where it puts them"
        if self.size_hw is not None:
            text += f"; for pictures of {self.size_hw[1]} x {self.size_hw[0]} px"
        return f"{text}."

    def as_dict(self) -> dict[str, Any]:
        """The scale as plain JSON values."""
        lens = self.lens
        return {
            "mm_per_px": self.mm_per_px,
            "relative_sd": self.relative_sd,
            "residual_px": self.residual_px,
            "size_hw": list(self.size_hw) if self.size_hw else None,
            "how": self.how,
            "lens": lens
            and {
                "camera": [list(row) for row in lens.camera],
                "distortion": list(lens.distortion),
                "plane": [list(row) for row in lens.plane],
                "rms_px": lens.rms_px,
                "boards": lens.boards,
            },
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Scale":
        """The scale of which `as_dict` gave the values. Raises AnomalystError for no such."""
        try:
            lens, size = values["lens"], values["size_hw"]
            return cls(
                mm_per_px=values["mm_per_px"],
                relative_sd=values["relative_sd"],
                residual_px=values["residual_px"],
                size_hw=(size[0], size[1]) if size else None,
                how=values["how"],
                lens=lens
                and Lens(
                    camera=_matrix(lens["camera"]),
                    distortion=tuple(lens["distortion"]),
                    plane=_matrix(lens["plane"]),
                    rms_px=lens["rms_px"],
                    boards=lens["boards"],
                ),
            )
        except (KeyError, TypeError, IndexError) as error:
            raise AnomalystError(f"the scale is damaged ({error!r}); set it again.") from error


def scale_by_points(
    points_xy: Sequence[float],
    length_mm: float,
    size_hw: Size,
    relative_sd: float = 0.0,
    click_px: float = 0.5,
) -> Scale:
    """From two points (x0, y0, x1, y1) in pixels, and how far apart they are on the part.

    `click_px`: standard deviation of each point along their line.
    Raises AnomalystError for equal points, points outside the picture, or no length.
    """
    x0, y0, x1, y1 = points_xy
    height, width = size_hw
    for x, y in ((x0, y0), (x1, y1)):
        if not (0 <= x <= width and 0 <= y <= height):
            raise AnomalystError(
                f"the point ({x:g}, {y:g}) lies outside the picture, which is {width} x {height} "
                "pixels."
            )
    far = math.hypot(x1 - x0, y1 - y0)
    if far < 1:
        raise AnomalystError(
            f"the two points, ({x0:g}, {y0:g}) and ({x1:g}, {y1:g}), are the same; give the ends "
            "of something whose length is known."
        )
    if not (math.isfinite(length_mm) and length_mm > 0):
        raise AnomalystError(f"the length is {length_mm:g} mm; it must be a number above 0.")
    clicks = math.sqrt(2) * click_px / far
    return Scale(
        mm_per_px=length_mm / far,
        relative_sd=math.hypot(clicks, relative_sd),
        size_hw=size_hw,
        how="points",
    )


def scale_by_board(
    boards: Mapping[Path, np.ndarray], squares: Size, square_mm: float, relative_sd: float = 0.0
) -> Scale:
    """From pictures of a checker board, uint8 (H, W, 3); the first lies where parts do.

    `squares`: how many lie along it and across. Raises PictureError for a picture on which the
    board is not found or that has another size, AnomalystError for a board of too few squares.
    """
    if min(squares) < 3:
        raise AnomalystError(
            f"the board has {squares[0]} x {squares[1]} squares; 3 x 3 at least are needed."
        )
    if not (math.isfinite(square_mm) and square_mm > 0):
        raise AnomalystError(f"a square's side is {square_mm:g} mm; it must be a number above 0.")
    first, size_hw = next((path, one.shape[:2]) for path, one in boards.items())
    corners = []
    for path, picture in boards.items():
        if picture.shape[:2] != size_hw:
            raise PictureError(
                path,
                f"is {picture.shape[1]} x {picture.shape[0]} px, {first} is {size_hw[1]} x "
                f"{size_hw[0]}; all boards must be taken as the parts are.",
            )
        corners.append(board_corners(path, picture, squares))
    return _calibrated(corners, squares, square_mm, (size_hw[0], size_hw[1]), relative_sd)


def drawn_points(picture: np.ndarray, points_xy: Sequence[tuple[float, float]]) -> np.ndarray:
    """A copy of a picture, uint8 (H, W, 3), with up to two points marked and joined."""
    canvas = np.ascontiguousarray(picture).copy()
    thick = max(1, round(max(canvas.shape[:2]) / 500))
    at = [(round(x - 0.5), round(y - 0.5)) for x, y in points_xy]
    for colour, more in (((0, 0, 0), 2), ((64, 224, 255), 0)):
        if len(at) == 2:
            cv2.line(canvas, at[0], at[1], colour, thick + more, cv2.LINE_AA)
        for one in at:
            cv2.drawMarker(canvas, one, colour, cv2.MARKER_CROSS, 16 * thick, thick + more)
    return canvas


def board_corners(path: Path, picture: np.ndarray, squares: Size) -> np.ndarray:
    """Where the squares meet, float32 (N, 2), row by row. Raises PictureError if none is found."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    inner = squares[0] - 1, squares[1] - 1
    found, corners = cv2.findChessboardCornersSB(grey, inner, flags=FLAGS)
    if found:
        return np.asarray(corners, np.float32).reshape(-1, 2) + 0.5
    hint = "Check its count of squares, and that all of it is sharp and has a white rim."
    if cv2.findChessboardCornersSB(grey, squares, flags=FLAGS)[0]:
        hint = f"It has {squares[0] + 1} x {squares[1] + 1}: squares are counted, not corners."
    raise PictureError(
        path, f"no checker board of {squares[0]} x {squares[1]} squares is found. {hint}"
    )


def _calibrated(
    corners: Sequence[np.ndarray],
    squares: Size,
    square_mm: float,
    size_hw: Size,
    relative_sd: float,
) -> Scale:
    across, down = squares[0] - 1, squares[1] - 1
    grid = np.stack(np.meshgrid(np.arange(across), np.arange(down)), 2).reshape(-1, 2) * square_mm
    lying = np.concatenate([grid, np.zeros((len(grid), 1))], 1).astype(np.float32)
    focal = 1.2 * max(size_hw)
    guess = np.array([[focal, 0, size_hw[1] / 2], [0, focal, size_hw[0] / 2], [0, 0, 1.0]])
    flags = cv2.CALIB_USE_INTRINSIC_GUESS | cv2.CALIB_FIX_K3
    if len(corners) < WHOLE_LENS:  # too little is seen of the lens for more
        flags |= cv2.CALIB_FIX_PRINCIPAL_POINT | cv2.CALIB_FIX_ASPECT_RATIO
        flags |= cv2.CALIB_ZERO_TANGENT_DIST | cv2.CALIB_FIX_K2 | cv2.CALIB_FIX_FOCAL_LENGTH
    rms, camera, distortion, _, _ = cv2.calibrateCamera(
        [lying] * len(corners), list(corners), size_hw[::-1], guess, np.zeros(5), flags=flags
    )
    straight = _undistorted(corners[0], camera, distortion.ravel())
    plane, _ = cv2.findHomography(straight, grid)
    there = cv2.perspectiveTransform(straight[:, None], plane)[:, 0]
    middle = np.array([[0.0, 0], [1, 0], [0, 1]]) + corners[0].mean(0)
    bent = _undistorted(middle, camera, distortion.ravel())
    around = cv2.perspectiveTransform(bent[:, None], plane)[:, 0]
    mm_per_px = math.sqrt(abs(float(np.linalg.det(around[1:] - around[0]))))
    # Along any one line: half of the squared distance in the plane.
    residual_px = float(np.sqrt(((there - grid) ** 2).sum(1).mean() / 2)) / mm_per_px
    extent_px = float(np.hypot(*(grid.std(0) / mm_per_px)))
    fitted = residual_px / (math.sqrt(len(grid)) * extent_px)
    return Scale(
        mm_per_px=mm_per_px,
        relative_sd=math.hypot(fitted, relative_sd),
        residual_px=residual_px,
        size_hw=size_hw,
        how="board",
        lens=Lens(
            camera=_matrix(camera),
            distortion=tuple(float(one) for one in distortion.ravel()),
            plane=_matrix(plane),
            rms_px=float(rms),
            boards=len(corners),
        ),
    )


def _undistorted(points_xy: np.ndarray, camera: Any, distortion: Any) -> np.ndarray:
    """Points (N, 2) as a lens without distortion would put them, px."""
    matrix, bent = np.array(camera, np.float64), np.array(distortion, np.float64)
    points = np.asarray(points_xy, np.float64)[:, None]
    return cv2.undistortPoints(points, matrix, bent, P=matrix)[:, 0]


def _matrix(values: Any) -> Matrix:
    return tuple(tuple(float(one) for one in row) for row in values)

"""Where the product of a query lies beside the first good picture, to a pixel: areas move with it.

The pair decoder's own fit (`alignment.py`) is to half a cell of 8 pixels, which is enough to match
"near its place" and too little to cut along a line. Here grey pictures are laid on each other by
enhanced correlation (Evangelidis and Psarakis, PAMI 2008): first a shift, then shift, turn and zoom
where these explain clearly more.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from anomalyst.io.geometry import Box, Frame, resize

FINE_PX, COARSE_PX = 128, 64  # longer side of the pictures that are laid on each other
BLUR = 1.2  # Gaussian sigma over them
ROUNDS = {COARSE_PX: 15, FINE_PX: 10}
# Share of what is not explained that a richer movement must leave at most: round things lie alike
# under any turn, and what explains little more is noise. Chosen on drawn parts (docs/areas.md).
LEFT_MOST = 0.8
LEAST_LIKENESS = 0.5  # below it nothing was found again, and areas stay where they were drawn
FARTHEST, MOST_TURN, MOST_ZOOM = 0.3, 20.0, 1.18  # shift as a share of the side; degrees; times


@dataclass(frozen=True, slots=True)
class Movement:
    """How a query lies beside the first good picture."""

    matrix: np.ndarray  # (2, 3): places (x, y) of the query -> of the good picture, in board pixels
    likeness: float  # correlation of the two, laid on each other, [-1, 1]

    @property
    def found(self) -> bool:
        """Whether the product was found again; else the matrix moves nothing."""
        return self.likeness >= LEAST_LIKENESS


@dataclass(frozen=True, slots=True)
class Looked:
    """A picture as it is laid on another: float32 (h, w) grey, coarse and fine."""

    board_hw: tuple[int, int]
    coarse: np.ndarray
    fine: np.ndarray

    @classmethod
    def of(cls, frame: Frame, canvases: Sequence[np.ndarray], content_xyxy: Box) -> "Looked":
        """From the canvases, uint8 (h, w, 3), of a picture's tiles.

        The board is the one canvas, or, of a picture in tiles, the frame that these are cut from;
        `content_xyxy` is where a tile lies on its canvas.
        """
        board_hw = board_of(frame)
        scale = FINE_PX / max(board_hw)
        size_hw = (max(8, round(board_hw[0] * scale)), max(8, round(board_hw[1] * scale)))
        grey = np.zeros(size_hw, np.float32)
        if len(canvases) == 1:
            grey = _grey(canvases[0], size_hw)
        else:
            down, across = size_hw[0] / board_hw[0], size_hw[1] / board_hw[1]
            left_px, top_px, right_px, bottom_px = content_xyxy
            for canvas, (x0, y0, x1, y1) in zip(canvases, frame.boxes_xyxy, strict=True):
                top, left = round(y0 * down), round(x0 * across)
                tall, wide = round(y1 * down) - top, round(x1 * across) - left
                grey[top : top + tall, left : left + wide] = _grey(
                    canvas[top_px:bottom_px, left_px:right_px], (tall, wide)
                )
        ratio = COARSE_PX / FINE_PX
        small_hw = (max(4, round(size_hw[0] * ratio)), max(4, round(size_hw[1] * ratio)))
        return cls(board_hw, _soft(resize(grey, small_hw)), _soft(grey))


def board_of(frame: Frame) -> tuple[int, int]:
    """The plane on which movements are said: the one canvas, or the frame that tiles are cut of."""
    return frame.canvas_hw if len(frame.boxes_xyxy) == 1 else frame.size_hw


def movement(good: Looked, query: Looked) -> Movement:
    """How the product of the query lies beside the good picture, both of one frame."""
    shift = _phase(good.coarse, query.coarse)
    still = _Tried.by(STILL, good, query)
    starts = [_laid(good, query, start, cv2.MOTION_TRANSLATION) for start in (STILL, shift)]
    best = max(starts, key=lambda one: one.likeness)
    best = best if best.better_than(still) else still
    turned = _laid(good, query, best.matrix, cv2.MOTION_AFFINE)
    best = turned if turned.better_than(best) else best
    if best.likeness < LEAST_LIKENESS:
        return Movement(STILL, best.likeness)
    across, down = (query.board_hw[i] / query.fine.shape[i] for i in (1, 0))
    return Movement(_scaled(best.matrix, across, down), best.likeness)


STILL = np.array([[1.0, 0, 0], [0, 1, 0]])


@dataclass(frozen=True, slots=True)
class _Tried:
    matrix: np.ndarray  # in pixels of the fine pictures
    likeness: float

    @classmethod
    def by(cls, matrix: np.ndarray, good: Looked, query: Looked) -> "_Tried":
        return cls(matrix, _likeness(matrix, good.fine, query.fine))

    def better_than(self, other: "_Tried") -> bool:
        return 1 - self.likeness < LEFT_MOST * (1 - other.likeness)


def _laid(good: Looked, query: Looked, start: np.ndarray, kind: int) -> _Tried:
    """The movement of a kind that explains the query best from a start on, coarse to fine."""
    matrix = start
    for size, one, other in (
        (COARSE_PX, good.coarse, query.coarse),
        (FINE_PX, good.fine, query.fine),
    ):
        scale = [one.shape[i] / good.fine.shape[i] for i in (1, 0)]
        begun = _centred(_scaled(matrix, *scale)).astype(np.float32)
        stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, ROUNDS[size], 1e-4)
        try:
            found = cv2.findTransformECC(other, one, begun, kind, stop, None, 1)[1]
        except cv2.error:  # it did not converge
            continue
        back = _scaled(_cornered(found.astype(float)), 1 / scale[0], 1 / scale[1])
        matrix = _similarity(back, good.fine.shape)
    if not _within(matrix, good.fine.shape):
        return _Tried(start, -1.0)
    return _Tried.by(matrix, good, query)


def _likeness(matrix: np.ndarray, good: np.ndarray, query: np.ndarray) -> float:
    """Correlation of a query and the good picture moved onto it, where both show something."""
    size, flags = query.shape[::-1], cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    there = _centred(matrix)
    moved = cv2.warpAffine(good, there, size, flags=flags)
    seen = cv2.warpAffine(np.ones_like(good), there, size, flags=flags) > 0.99
    if seen.mean() < 0.25:
        return -1.0
    ours, theirs = query[seen] - query[seen].mean(), moved[seen] - moved[seen].mean()
    norm = math.sqrt(float(ours @ ours) * float(theirs @ theirs))
    return float(ours @ theirs) / norm if norm > 0 else 0.0


def _phase(good: np.ndarray, query: np.ndarray) -> np.ndarray:
    """A shift by phase correlation of the coarse pictures, in pixels of the fine ones."""
    window = cv2.createHanningWindow(good.shape[::-1], cv2.CV_32F)
    (x, y), _ = cv2.phaseCorrelate(query, good, window)
    ratio = FINE_PX / COARSE_PX
    return np.array([[1.0, 0, x * ratio], [0, 1, y * ratio]])


def _similarity(matrix: np.ndarray, size_hw: tuple[int, ...]) -> np.ndarray:
    """The shift, turn and zoom nearest to an affine movement, alike in the picture's middle."""
    turn = (matrix[0, 0] + matrix[1, 1]) / 2, (matrix[1, 0] - matrix[0, 1]) / 2
    rigid = np.array([[turn[0], -turn[1]], [turn[1], turn[0]]])
    centre = np.array([size_hw[1] / 2, size_hw[0] / 2])
    moved = matrix[:, :2] @ centre + matrix[:, 2]
    return np.column_stack([rigid, moved - rigid @ centre])


def _within(matrix: np.ndarray, size_hw: tuple[int, ...]) -> bool:
    """Whether a movement is one that parts make under a camera."""
    centre = np.array([size_hw[1] / 2, size_hw[0] / 2])
    shift = matrix[:, :2] @ centre + matrix[:, 2] - centre
    zoom = math.hypot(matrix[0, 0], matrix[1, 0])
    turn = abs(math.degrees(math.atan2(matrix[1, 0], matrix[0, 0])))
    far = np.abs(shift) / (size_hw[1], size_hw[0])
    return bool(far.max() <= FARTHEST and turn <= MOST_TURN and 1 / MOST_ZOOM <= zoom <= MOST_ZOOM)


def _scaled(matrix: np.ndarray, across: float, down: float) -> np.ndarray:
    """A movement in other pixels, `across` and `down` as many to each old one."""
    by = np.array([across, down])
    return np.column_stack([matrix[:, :2] * (by[:, None] / by), matrix[:, 2] * by])


def _centred(matrix: np.ndarray) -> np.ndarray:
    """From places with the first pixel's corner at 0 to places with its middle there: OpenCV's."""
    return np.column_stack([matrix[:, :2], matrix[:, 2] + matrix[:, :2].sum(1) / 2 - 0.5])


def _cornered(matrix: np.ndarray) -> np.ndarray:
    return np.column_stack([matrix[:, :2], matrix[:, 2] - matrix[:, :2].sum(1) / 2 + 0.5])


def _grey(picture: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    grey: np.ndarray = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return resize(grey, size_hw)


def _soft(grey: np.ndarray) -> np.ndarray:
    soft: np.ndarray = cv2.GaussianBlur(grey, (0, 0), BLUR)
    return soft

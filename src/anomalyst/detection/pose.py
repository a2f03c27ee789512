"""Any pose from one picture: how far the product of a query is turned from that of a good picture.

Coarse features of the query are compared with those of the good picture turned through the whole
circle, over all shifts. The query is then laid as the good picture lies, the two are matched patch
by patch (`alignment.py` fits the rest), and the map is laid back.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from anomalyst.io.geometry import Placement
from anomalyst.types import Features

Box = tuple[float, float, float, float]
LEAST_CELLS = 12  # a side of the level that poses are found on
ANGLES = 36  # through the circle: half the step between them is what `alignment.py` still finds
REACH = 0.3  # largest shift searched, as a share of the side
APART = 2  # steps between two angles that are two candidates and not one


@dataclass(frozen=True, slots=True, kw_only=True)
class PoseConfig:
    """When a query is laid as the good picture lies."""

    least_gain: float = 0.1  # of the likeness over that of the query as it is
    candidates: int = 2  # angles judged at most; the one that explains the query best counts
    close: float = 0.1  # how much less alike than the best angle another candidate may be
    # Below it nothing was aligned, and no alarm rests on a match. Random textures have about 0.17
    # to themselves, so this says little more than that the picture is of something else.
    least_likeness: float = 0.05
    mostly: float = 0.5  # share of the good pictures that must lie turned for the pose to be free


@dataclass(frozen=True, slots=True)
class Pose:
    """How the product of a query lies beside the good picture."""

    degrees: float  # counter-clockwise turn of the good picture that makes it lie so, [0, 360)
    shift_yx: tuple[float, float]  # its shift afterwards, as shares of the canvas
    likeness: float = 1.0  # cosine of the two fields of coarse features, [-1, 1]

    @property
    def upright(self) -> bool:
        """Whether the product lies as it does on the good picture."""
        return self.degrees == 0

    def inverse(self, size_hw: tuple[int, ...]) -> "Pose":
        """How the good picture lies beside the query, on canvases of this size."""
        turn = math.radians(self.degrees)
        height, width = size_hw[:2]
        y, x = self.shift_yx[0] * height, self.shift_yx[1] * width
        back_y = -(math.cos(turn) * y + math.sin(turn) * x) / height
        back_x = -(math.cos(turn) * x - math.sin(turn) * y) / width
        return Pose((360 - self.degrees) % 360, (back_y, back_x), self.likeness)


UPRIGHT = Pose(0.0, (0.0, 0.0))


def laid(canvas: np.ndarray, pose: Pose) -> np.ndarray:
    """A query's canvas, uint8 (h, w, 3), laid as the good picture lies; its edge is mirrored.

    Carried on instead, it becomes streaks that the frozen trunk takes for defects beside them.
    """
    return cv2.warpAffine(
        canvas,
        _matrix(canvas.shape[:2], pose),
        canvas.shape[1::-1],
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT_101,
    )


def laid_back(field: Tensor, pose: Pose) -> tuple[Tensor, Tensor]:
    """A field (1, C, h, w) over the laid canvas -> over the query's, and where it says anything.

    The latter is a bool (1, 1, h, w): False where the query reaches beyond the good picture.
    """
    height, width = field.shape[-2:]
    back = _matrix((height, width), pose.inverse((height, width)))
    y, x = np.mgrid[:height, :width].astype(np.float32)
    at_x = back[0, 0] * x + back[0, 1] * y + back[0, 2]
    at_y = back[1, 0] * x + back[1, 1] * y + back[1, 2]
    grid = torch.from_numpy(
        np.stack([(2 * at_x + 1) / width - 1, (2 * at_y + 1) / height - 1], 2).astype(np.float32)
    )[None]
    inside = (grid.abs() <= 1).all(3)[:, None]
    moved = F.grid_sample(
        field.float(), grid, mode="bilinear", padding_mode="border", align_corners=False
    )
    return moved, inside


def _matrix(size_hw: tuple[int, ...], pose: Pose) -> np.ndarray:
    """(2, 3): pixels (x, y) of the laid canvas -> those of the query's that come there."""
    height, width = size_hw[:2]
    turn = math.radians(pose.degrees)
    cos, sin = math.cos(turn), math.sin(turn)
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    # Counter-clockwise on the screen, where y points down.
    rotation = np.array([[cos, sin], [-sin, cos]])
    shift = np.array([pose.shift_yx[1] * width, pose.shift_yx[0] * height])
    return np.column_stack([rotation, centre + shift - rotation @ centre])


def through_circle(canvas: np.ndarray) -> list[np.ndarray]:
    """The good picture's canvas turned counter-clockwise by every angle; the first is itself."""
    poses = [Pose(360 * step / ANGLES, (0.0, 0.0)) for step in range(1, ANGLES)]
    return [canvas, *(laid(canvas, pose.inverse(canvas.shape)) for pose in poses)]


def moved_box(box: Box, size_hw: tuple[int, int], pose: Pose) -> Box:
    """The box (x0, y0, x1, y1) round a box of the laid canvas, on the query's canvas; cut there."""
    x0, y0, x1, y1 = box
    corners = np.array([(x0, y0, 1), (x1, y0, 1), (x0, y1, 1), (x1, y1, 1)]) - (0.5, 0.5, 0)
    moved = corners @ _matrix(size_hw, pose).T + 0.5  # (4, 2), as (x, y)
    moved = np.clip(moved, 0, (size_hw[1], size_hw[0]))
    (left, top), (right, bottom) = moved.min(0).tolist(), moved.max(0).tolist()
    return left, top, right, bottom


def coarse(features: Features) -> Tensor:
    """The level that poses are found on, unit patches (B, D, h, w): the coarsest that is not tiny.

    Of the pair decoder's sizes that is stride 8 of the smallest.
    """
    large = [level for level in features.levels if max(level.shape[-2:]) >= LEAST_CELLS]
    return F.normalize((large or features.levels)[-1].float(), dim=1)


@dataclass(frozen=True, slots=True)
class Laid:
    """What of a laid canvas shows the query: no padding, nor what its edge was mirrored to."""

    pose: Pose
    placement: Placement | None

    @property
    def padded(self) -> bool:
        """Always: a turned square has corners that show nothing."""
        return True

    def inside(self, rows: int, columns: int) -> np.ndarray:
        """Bool (rows, columns) over the laid canvas at that resolution."""
        shown = np.ones((rows, columns), np.uint8)
        if self.placement is not None:
            shown = self.placement.inside(rows, columns).astype(np.uint8)
        matrix = _matrix((rows, columns), self.pose)
        flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(shown, matrix, (columns, rows), flags=flags) > 0


class Shown(Protocol):
    """What of a canvas shows the picture, and counts: a `Placement`, `Laid`, or `Counted` of it."""

    @property
    def padded(self) -> bool:
        """Whether some of the canvas does not."""

    def inside(self, rows: int, columns: int) -> np.ndarray:
        """Bool (rows, columns) over the canvas at that resolution: False where it does not."""


@dataclass(frozen=True, slots=True)
class Circle:
    """A good picture turned through the circle, ready to be compared with queries."""

    features: Tensor  # (ANGLES, D, h, w), `coarse`
    mean: Tensor  # (1, D, 1, 1) of the picture as it is
    spectrum: Tensor  # (ANGLES, D, H, W') of what is left, padded by the largest shift
    norms: Tensor  # (ANGLES,) of what is left

    @classmethod
    def of(cls, features: Tensor) -> "Circle":
        """From the coarse features of `through_circle`."""
        mean = features[:1].mean((0, 2, 3), keepdim=True)
        left = features - mean
        down, across = _reach(features)
        padded = F.pad(left, (across, across, down, down))
        return cls(features, mean, torch.fft.rfft2(padded), left.flatten(1).norm(dim=1))


def find_poses(query: Tensor, turned: Circle, config: PoseConfig) -> list[Pose]:
    """The poses that a query may have beside a good picture, the likeliest first; one if upright.

    `query` (1, D, h, w) is `coarse`. Without a clear gain over the query as it is, nothing is
    turned: round things and textures look alike any way round.
    """
    each, shifts = likenesses(query, turned)
    if float(each.max() - each[0]) <= config.least_gain:
        return [Pose(0.0, (0.0, 0.0), float(each[0]))]
    found: list[Pose] = []
    taken: list[int] = []
    for step in each.argsort(descending=True).tolist():
        gaps = [min((step - t) % ANGLES, (t - step) % ANGLES) for t in taken]
        if min(gaps, default=ANGLES) <= APART:
            continue
        if found and float(each[step]) < found[0].likeness - config.close:
            break
        taken.append(step)
        found.append(Pose(360 * step / ANGLES, shifts[step], float(each[step])))
        if len(found) == config.candidates:
            break
    return found


def likenesses(query: Tensor, turned: Circle) -> tuple[Tensor, list[tuple[float, float]]]:
    """Of a query to each turned picture, (ANGLES,) in [-1, 1], at the best shift; the shifts.

    All shifts at once: a correlation is a product of spectra.
    """
    ours = query - turned.mean
    (height, width), (down, across) = query.shape[-2:], _reach(query)
    size = (height + 2 * down, width + 2 * across)
    spectrum = torch.fft.rfft2(ours, s=size).conj()
    found = torch.fft.irfft2((spectrum * turned.spectrum).sum(1), s=size)
    found = found[:, : 2 * down + 1, : 2 * across + 1]
    norm = (ours.norm() * turned.norms).clamp(min=1e-6)
    each, at = (found / norm[:, None, None]).flatten(1).max(1)
    rows, columns = at // found.shape[2], at % found.shape[2]
    shifts = [
        ((down - int(y)) / height, (across - int(x)) / width)
        for y, x in zip(rows, columns, strict=True)
    ]
    return each, shifts


def _reach(features: Tensor) -> tuple[int, int]:
    """The largest shift down and across, in cells."""
    height, width = features.shape[-2:]
    return round(REACH * height), round(REACH * width)


def pose_notes(pose: Pose, config: PoseConfig) -> tuple[str, ...]:
    """What a person should know of how the product lies."""
    if pose.likeness < config.least_likeness:
        return (
            "could not be aligned: the picture resembles the good one in no pose, so no verdict "
            "rests on comparing them; is it the same product?",
        )
    if pose.upright:
        return ()
    turn = pose.degrees if pose.degrees <= 180 else pose.degrees - 360
    side = "counter-clockwise" if turn > 0 else "clockwise"
    return (
        f"lies turned by {abs(turn):.0f} degrees {side} beside the good picture and was laid as "
        "that lies; teach with --pose fixed if a turned part is a defect.",
    )

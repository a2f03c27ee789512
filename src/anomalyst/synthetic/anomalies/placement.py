"""Where a defect may lie on another picture: on the product, in its pose, clear of others."""

from dataclasses import dataclass

import cv2
import numpy as np

from anomalyst.synthetic.foreground import has_outline
from anomalyst.synthetic.sampling import Rng, pixel_of

SCALES = (0.5, 2.0)  # of one product against another of its kind: beyond, a mask is wrong
ELONGATED = 1.25  # least ratio of a product's axes from which it has a direction
AGREEMENT = 0.85  # of the ring around a defect: product where it was product, else background
RING = 0.02  # width of that ring, as a share of the picture's shorter side
CLEAR_PX = 3  # between two defects
JOINED = 0.02  # parts of a mask this near are one defect, as a share of the shorter side
LEAST_PX = 6


@dataclass(frozen=True, slots=True)
class Piece:
    """One defect of a labelled picture."""

    mask: np.ndarray  # bool (H, W), clear of the picture's border
    ring: np.ndarray  # bool (H, W): what surrounds it
    product: np.ndarray  # bool (H, W)

    @property
    def centre_xy(self) -> np.ndarray:
        """Of its bounding box, float (2,)."""
        x, y, width, height = cv2.boundingRect(self.mask.astype(np.uint8))
        return np.array([x + (width - 1) / 2, y + (height - 1) / 2])


@dataclass(frozen=True, slots=True)
class Placed:
    """A defect at its new place."""

    mask: np.ndarray  # bool (H, W) of the target
    matrix: np.ndarray  # float (2, 3): source pixel (x, y, 1) -> target pixel (x, y)


def pieces_of(mask: np.ndarray, product: np.ndarray) -> list[Piece]:
    """The defects of a mask, the largest first; those that touch the border are left out.

    What a camera cut off has no outline there, so it cannot be set elsewhere.
    """
    side = min(mask.shape)
    joining = _disc(max(1, round(JOINED * side / 2)))
    joined = cv2.dilate(mask.astype(np.uint8), joining)
    around = _disc(max(2, round(RING * side)))
    found = []
    for number in range(1, (labels := cv2.connectedComponents(joined)[1]).max() + 1):
        one = mask & (labels == number)
        at_border = one[[0, -1]].any() or one[:, [0, -1]].any()
        if one.sum() >= LEAST_PX and not at_border:
            ring = (cv2.dilate(one.astype(np.uint8), around) > 0) & ~one
            found.append(Piece(one, ring, product))
    return sorted(found, key=lambda piece: -int(piece.mask.sum()))


def pose_between(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The turn, scale and shift that carry one product onto another: float (2, 3).

    From the moments of both masks, bool (H, W); a round product is not turned, and of the two ways
    round of an elongated one the better overlap is taken. Without an outline the pictures' own
    sizes say it.
    """
    outlined = has_outline(source) and has_outline(target)
    shapes = [mask if outlined else np.ones_like(mask) for mask in (source, target)]
    here, there = (_moments(mask) for mask in shapes)
    scale = float(np.clip(np.sqrt(there.area / here.area), *SCALES))
    turned = outlined and min(here.elongation, there.elongation) > ELONGATED
    turn = np.degrees(here.angle - there.angle) if turned else 0.0
    ways = [_similarity(here, there, turn + half, scale) for half in ((0, 180) if turned else (0,))]
    return max(ways, key=lambda way: _overlap(source, target, way))


def placed(
    piece: Piece,
    target_product: np.ndarray,
    pose: np.ndarray,
    rng: Rng,
    *,
    turn_degrees: float,
    scales: tuple[float, float],
    taken: np.ndarray,
    at_its_place: bool = False,
) -> Placed | None:
    """One try: the piece turned and scaled within limits, somewhere on the product.

    `at_its_place`: at the same place of the product instead. None where it would stick out of the
    picture, overlap `taken`, or lie among other surroundings (see AGREEMENT).
    """
    degrees, scale = rng.uniform(-turn_degrees, turn_degrees), rng.uniform(*scales)
    extra = cv2.getRotationMatrix2D(tuple(piece.centre_xy), degrees, scale)
    matrix = pose @ np.vstack([extra, [0, 0, 1]])  # (2, 3)
    if not at_its_place:
        matrix[:, 2] += pixel_of(target_product, rng) - matrix @ [*piece.centre_xy, 1]
    if _sticks_out(piece.mask, matrix, target_product.shape):
        return None
    mask, ring, product = (
        _warped(part, matrix, target_product.shape)
        for part in (piece.mask, piece.ring, piece.product)
    )
    near = cv2.dilate(mask.astype(np.uint8), _disc(CLEAR_PX)) > 0
    if mask.sum() < LEAST_PX or near[taken].any():
        return None
    if (product[ring] == target_product[ring]).mean() < AGREEMENT:
        return None
    return Placed(mask, matrix)


@dataclass(frozen=True, slots=True)
class _Moments:
    centre: np.ndarray  # (2,) as (x, y)
    area: float
    angle: float  # of the long axis, radians
    elongation: float  # long axis / short axis


def _moments(mask: np.ndarray) -> _Moments:
    ys, xs = np.nonzero(mask)
    points = np.stack([xs, ys]).astype(float)  # (2, n)
    values, axes = np.linalg.eigh(np.cov(points))
    long = axes[:, 1]
    return _Moments(
        points.mean(1),
        float(len(xs)),
        float(np.arctan2(long[1], long[0])),
        float(np.sqrt(values[1] / max(values[0], 1e-9))),
    )


def _similarity(here: _Moments, there: _Moments, degrees: float, scale: float) -> np.ndarray:
    matrix = cv2.getRotationMatrix2D((float(here.centre[0]), float(here.centre[1])), degrees, scale)
    matrix[:, 2] += there.centre - here.centre
    return np.asarray(matrix)


def _overlap(source: np.ndarray, target: np.ndarray, matrix: np.ndarray) -> float:
    moved = _warped(source, matrix, target.shape)
    return float((moved & target).sum() / max(1, (moved | target).sum()))


def _warped(mask: np.ndarray, matrix: np.ndarray, size_hw: tuple[int, ...]) -> np.ndarray:
    """A mask moved: nearest pixel, so that every part of it moves alike."""
    size_wh = (size_hw[1], size_hw[0])
    return cv2.warpAffine(mask.astype(np.uint8), matrix, size_wh, flags=cv2.INTER_NEAREST) > 0


def _sticks_out(mask: np.ndarray, matrix: np.ndarray, size_hw: tuple[int, ...]) -> bool:
    """Whether any corner of its bounding box comes nearer than 2 px to the border."""
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    corners = [(x + dx * width, y + dy * height, 1) for dx in (0, 1) for dy in (0, 1)]
    moved = np.array(corners) @ matrix.T  # (4, 2)
    limit = np.array([size_hw[1] - 3, size_hw[0] - 3])
    return bool((moved < 2).any() or (moved > limit).any())


def _disc(radius: int) -> np.ndarray:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))

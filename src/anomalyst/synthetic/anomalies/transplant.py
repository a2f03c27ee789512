"""Real defects on other good parts: labelled pieces of one picture blended into another."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np

from anomalyst.errors import AnomalystError
from anomalyst.synthetic.anomalies.base import as_taken
from anomalyst.synthetic.anomalies.methods import Made, centre_of
from anomalyst.synthetic.anomalies.placement import Piece, Placed, pieces_of, placed, pose_between
from anomalyst.synthetic.anomalies.poisson import Gradients, border_steps, cloned
from anomalyst.synthetic.sampling import Rng
from anomalyst.types import place_of

PLACES = 150  # looked at for one defect
BLENDS = 5  # made of one defect before the target is given up
MOST_PIECES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class TransplantConfig:
    """How freely defects are moved, and what counts as a good blend."""

    gradients: Literal["normal", "mixed", "both"] = "both"
    """Whose gradients are kept: the defect's, or the stronger one at each pixel. Both: random."""
    turn_degrees: float = 15.0
    """Most that a defect is turned against the product's pose."""
    scales: tuple[float, float] = (0.85, 1.15)
    """Least and greatest factor of its size, against the product's."""
    seam: float = 1.5
    """Most that the picture may change across the outline: so many times what it does around the
    real defect, or did there before."""
    tint: float = 45.0
    """Most that blending may shift the defect's mean colour, grey levels."""
    visible: float = 4.0
    """Least mean change inside the mask, grey levels: what cannot be seen is no defect."""

    def __post_init__(self) -> None:
        if not 0 < self.scales[0] <= self.scales[1]:
            raise ValueError(f"scales is {self.scales}; least and greatest, above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """A picture, where its product is and where it is not normal."""

    picture: np.ndarray  # uint8 (H, W, 3)
    product: np.ndarray  # bool (H, W)
    mask: np.ndarray | None = None  # bool (H, W); None for a good picture


def transplant(
    source: Labelled, target: Labelled, rng: Rng, config: TransplantConfig | None = None
) -> Made:
    """The defects of `source` on the good part of `target`, with the exact new mask.

    Each lies on the product as it did before: its surroundings are product where they were, and
    background where they were; turned with the product's pose, clear of the target's own mask and
    of each other. Outside the mask the picture is the target's, byte for byte. Raises
    AnomalystError when the two pictures are the same, no defect is clear of the border, or none
    finds a place where the blend is good.
    """
    config = config or TransplantConfig()
    pieces = _pieces(source, target)
    pose = pose_between(source.product, target.product)
    taken = target.mask if target.mask is not None else np.zeros(target.picture.shape[:2], bool)
    now, masks, notes = replace(target, mask=taken), [], []
    for piece in pieces[:MOST_PIECES]:
        set_in = _set_in(piece, source.picture, now, pose, rng, config)
        if set_in is not None:
            now, mask, note = set_in
            masks.append(mask)
            notes.append(note)
    if not masks:
        raise AnomalystError(
            "no place was found where this defect blends in; it is too large, or its surroundings "
            "are unlike this picture's."
        )
    centres = tuple(centre_of(one) for one in masks)
    return Made(
        picture=now.picture,
        mask=np.any(masks, axis=0),
        soft=np.abs(now.picture.astype(np.float32) - target.picture).mean(2) / 255,
        centres_xy=centres,
        description=described(centres, taken.shape),
        parameters={"method": "poisson", "defects": notes},
    )


def described(centres_xy: Sequence[tuple[float, float]], size_hw: tuple[int, ...]) -> str:
    """What a blend shows, in words."""
    places = dict.fromkeys(place_of(centre, (size_hw[0], size_hw[1])) for centre in centres_xy)
    return f"a real defect at the {' and the '.join(places)}"


def _pieces(source: Labelled, target: Labelled) -> list[Piece]:
    if source.mask is None or not source.mask.any():
        raise AnomalystError("its mask marks nothing, so there is no defect to take.")
    if np.array_equal(source.picture, target.picture):
        raise AnomalystError("is the same picture as the one it would be blended into.")
    pieces = pieces_of(source.mask, source.product)
    if not pieces:
        raise AnomalystError("its defect touches the picture's border, so its outline is unknown.")
    return pieces


def _set_in(
    piece: Piece,
    source: np.ndarray,
    target: Labelled,
    pose: np.ndarray,
    rng: Rng,
    config: TransplantConfig,
) -> tuple[Labelled, np.ndarray, dict[str, object]] | None:
    """The target with the piece, its mask there and how it was done; None if nothing was good."""
    assert target.mask is not None
    # A pixel further in, too: moving a mask by parts of a pixel may cut into the defect.
    inner = cv2.erode(piece.mask.astype(np.uint8), np.ones((3, 3))) > 0
    outlines = [border_steps(source, mask) for mask in (piece.mask, inner)]
    usual = max(float(steps.mean()) for steps in outlines if len(steps))
    ways: Sequence[Gradients] = ("normal", "mixed")
    blends = 0
    for attempt in range(PLACES):
        there = placed(
            piece,
            target.product,
            pose,
            rng,
            turn_degrees=config.turn_degrees,
            scales=config.scales,
            taken=target.mask,
            # A defect of an outline fits best where it was; a new place is tried for all others.
            at_its_place=attempt % 5 == 4,
        )
        if there is None:
            continue
        way = ways[int(rng.integers(2))] if config.gradients == "both" else config.gradients
        picture, note = _blended(usual, source, target.picture, there, way)
        if _good(note, config):
            set_in = replace(target, picture=picture, mask=target.mask | there.mask)
            return set_in, there.mask, note
        blends += 1
        if blends == BLENDS:
            return None
    return None


def _blended(
    usual: float, source: np.ndarray, target: np.ndarray, there: Placed, way: Gradients
) -> tuple[np.ndarray, dict[str, object]]:
    """The blend, solved in the defect's window alone, and the figures that judge it.

    `usual`: the change across the real defect's outline, grey levels.
    """
    x, y, width, height = cv2.boundingRect(there.mask.astype(np.uint8))
    window = (slice(y - 1, y + height + 1), slice(x - 1, x + width + 1))
    matrix = there.matrix.copy()
    matrix[:, 2] -= (x - 1, y - 1)
    size_wh = (width + 2, height + 2)
    moved = cv2.warpAffine(source, matrix, size_wh, borderMode=cv2.BORDER_REFLECT_101)
    before, mask = target[window], there.mask[window]
    picture = target.copy()
    picture[window] = cloned(before, moved, mask, way)
    after = (picture := as_taken(picture, target))[window]
    usual = max(usual, float(border_steps(before, mask).mean()))
    shift = np.abs((after[mask].astype(float) - moved[mask]).mean(0)).max()
    note: dict[str, object] = {
        "gradients": way,
        "degrees": round(float(np.degrees(np.arctan2(matrix[1, 0], matrix[0, 0]))), 2),
        "scale": round(float(np.hypot(matrix[0, 0], matrix[1, 0])), 3),
        "seam": round(float(border_steps(after, mask).mean() / (usual + 1)), 3),
        "tint": round(float(shift), 2),
        "change": round(float(np.abs(after[mask].astype(float) - before[mask]).mean()), 2),
    }
    return picture, note


def _good(note: dict[str, object], config: TransplantConfig) -> bool:
    seam, tint, change = (float(str(note[key])) for key in ("seam", "tint", "change"))
    return seam <= config.seam and tint <= config.tint and change >= config.visible

"""What every method of planting defects is given, and what it gives back."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import cv2
import numpy as np

from anomalyst.synthetic.product_constants import Traits

FEW_COLOURS = 4  # a picture of so many or fewer values was thresholded
VISIBLE = 0.05  # least mean change of a pixel's colour that counts, of [0, 1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """A good picture, and another to take patches from; all of one size."""

    picture: np.ndarray  # uint8 (H, W, 3), with the defects planted so far
    product: np.ndarray  # bool (H, W): where the product is
    donor: np.ndarray  # uint8 (H, W, 3)
    donor_product: np.ndarray  # bool (H, W)
    traits: Traits


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """A picture with one defect more."""

    picture: np.ndarray  # uint8 (H, W, 3)
    mask: np.ndarray  # bool (H, W)
    what: str  # "a scratch"
    parameters: Mapping[str, object]

    def as_taken(self, before: np.ndarray) -> "Planted":
        """The same as the camera of `before` gives it; what then cannot be seen is no defect."""
        picture = as_taken(self.picture, before)
        if picture is self.picture:
            return self
        return replace(self, picture=picture, mask=self.mask & changed(before, picture))


def as_taken(picture: np.ndarray, before: np.ndarray) -> np.ndarray:
    """A made picture as the camera of `before` gives it: grey if that is, of the same few values.

    Otherwise colour alone, or a grey level, would tell a made picture from a good one.
    """
    if (before[..., :1] == before).all():
        grey = np.rint(picture.mean(2, keepdims=True)).astype(np.uint8)
        picture = np.repeat(grey, 3, axis=2)
    # A few rows say whether it may be thresholded; only then is every pixel looked at.
    if len(np.unique(before[::16])) > FEW_COLOURS:
        return picture
    values = np.unique(before)
    if len(values) > FEW_COLOURS:
        return picture
    return np.asarray(values[np.abs(picture[..., None] - values.astype(np.float32)).argmin(-1)])


def blended(picture: np.ndarray, patch: np.ndarray, at_xy: tuple[int, int], how: int) -> np.ndarray:
    """A patch set into a picture by Poisson editing (OpenCV's, `how` cv2.NORMAL_CLONE, ...)."""
    tall, wide = patch.shape[:2]
    centre, whole = (
        (at_xy[0] + wide // 2, at_xy[1] + tall // 2),
        np.full((tall, wide), 255, np.uint8),
    )
    return np.asarray(cv2.seamlessClone(patch, picture, whole, centre, how))


def changed(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Bool (H, W): where a picture visibly changed, without specks and small gaps."""
    change = np.abs(after.astype(np.float32) - before).mean(2) / 255
    mask = cv2.morphologyEx((change > VISIBLE).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5)))
    return cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((2, 2))).astype(bool)

"""Plain shapes laid on a picture, each with its exact mask: holes, labels, blots, screws' heads.

The drawn world names parts and defects; what people click on is anything that has an edge.
"""

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np

from anomalyst.synthetic.procedural.instances import LEAST_PX, PRODUCT, Thing
from anomalyst.synthetic.sampling import Rng, log_uniform

SHAPE = "shape"  # what a pasted thing is called
MOST_SHAPES = 3
SIDES = (0.05, 0.45)  # of the picture's side, least and most
LEAST_CONTRAST = 18.0  # grey values between a shape and what lies around it


def with_shapes(
    picture: np.ndarray, things: Sequence[Thing], rng: Rng
) -> tuple[np.ndarray, list[Thing]]:
    """The picture, uint8 (H, W, 3), with up to three shapes on it, and all things there now.

    A shape hides what lies under it, but is a part of the product that it lies on.
    """
    found = picture.astype(np.float32)
    kept = list(things)
    for _ in range(int(rng.integers(1, MOST_SHAPES + 1))):
        alpha = _outline(picture.shape[:2], rng)
        mask = alpha > 0.5
        if mask.sum() < LEAST_PX:
            continue
        filled = _filled(found, mask, rng)
        found = (found + alpha[..., None] * (filled - found)).astype(np.float32)
        kept = [one for thing in kept if (one := _behind(thing, mask)) is not None]
        kept.append(Thing(SHAPE, mask, defect=False))
    return np.clip(np.rint(found), 0, 255).astype(np.uint8), kept


def _outline(size_hw: tuple[int, int], rng: Rng) -> np.ndarray:
    """How much of each pixel a random shape covers, float32 (H, W)."""
    height, width = size_hw
    side = log_uniform(rng, *SIDES) * min(height, width)
    axes = np.maximum(2.0, side / 2 * np.array([1.0, log_uniform(rng, 0.35, 1.0)]))
    centre = rng.uniform(0.1, 0.9, 2) * (width, height)
    turns = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    kind = ("ellipse", "ellipse", "box", "blob", "ring")[int(rng.integers(5))]
    if kind == "box":
        points = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], float)
    else:
        points = np.stack([np.cos(turns), np.sin(turns)], 1)
    if kind == "blob":
        for k in range(2, 6):
            wave = rng.normal(0, 0.2 / k) * np.cos(k * turns + rng.uniform(0, 2 * np.pi))
            points = points * (1 + wave)[:, None]
    angle = rng.uniform(0, np.pi)
    turned = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    placed = (points * axes) @ turned
    alpha = np.zeros(size_hw, np.float32)
    _fill(alpha, placed + centre, 1.0)
    if kind == "ring":
        _fill(alpha, placed * rng.uniform(0.4, 0.75) + centre, 0.0)
    soft = rng.uniform(0.4, 1.6)
    return np.asarray(cv2.GaussianBlur(alpha, (0, 0), soft))


def _fill(alpha: np.ndarray, points: np.ndarray, value: float) -> None:
    cv2.fillPoly(alpha, [np.rint(points * 16).astype(np.int32)], value, cv2.LINE_AA, 4)


def _filled(picture: np.ndarray, mask: np.ndarray, rng: Rng) -> np.ndarray:
    """What the shape looks like, float32 (H, W, 3): one colour, shaded, with the grain of some."""
    around = picture[mask].mean(0)
    colour = around
    while np.abs(colour - around).max() < LEAST_CONTRAST:
        grey = rng.uniform(0, 255)
        colour = np.clip(grey + rng.normal(0, 25 * (rng.random() < 0.6), 3), 0, 255)
    height, width = mask.shape
    slope = rng.normal(0, 25, 2) * (rng.random() < 0.5)
    shade = slope[0] * np.linspace(-1, 1, height)[:, None] + slope[1] * np.linspace(-1, 1, width)
    grain = rng.normal(0, rng.uniform(0, 8), (height, width))
    if rng.random() < 0.3:  # what lies below shines through
        grain = grain + 0.4 * (picture.mean(2) - around.mean())
    return (colour + (shade + grain)[..., None]).astype(np.float32)


def _behind(thing: Thing, mask: np.ndarray) -> Thing | None:
    """What is seen of a thing behind a shape; None where that is less than half."""
    if thing.name == PRODUCT:
        return thing
    left = thing.mask & ~mask
    return replace(thing, mask=left) if 2 * left.sum() >= thing.mask.sum() else None

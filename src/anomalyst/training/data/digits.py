"""Ten digits, drawn as strokes: shifted, turned, scaled, bent, in noise. A set that is finite."""

import math

import cv2
import numpy as np
import torch
from torch import Tensor

CANVAS_PX = 64  # a digit is drawn this large and made smaller, which smooths its edges
Stroke = list[tuple[float, float]]  # points (x, y) from -1 to 1, y downwards


def draw_digits(count: int, size_px: int, seed: int, *, noise: float) -> tuple[Tensor, Tensor]:
    """Pictures (count, 1, size_px, size_px) of mean about 0 and labels (count,), as many of each.

    `noise`: standard deviation of the grey values added, of a range of 1.
    """
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(count) % 10)
    pictures = np.stack([_digit(int(label), size_px, rng, noise) for label in labels])
    return torch.from_numpy(pictures)[:, None], torch.from_numpy(labels)  # (count, 1, H, W)


def _digit(label: int, size_px: int, rng: np.random.Generator, noise: float) -> np.ndarray:
    canvas = np.zeros((CANVAS_PX, CANVAS_PX), np.uint8)
    turn, slant = np.deg2rad(rng.uniform(-20, 20)), rng.uniform(-0.3, 0.3)
    size, shift = CANVAS_PX * rng.uniform(0.24, 0.36, 2), CANVAS_PX * rng.uniform(-0.1, 0.1, 2)
    to = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    thickness = int(rng.integers(3, 9))
    for stroke in STROKES[label]:
        points = np.array(stroke) + rng.normal(0, 0.05, (len(stroke), 2))
        points = points @ np.array([[0.7, 0], [slant, 1]]) * size @ to.T + CANVAS_PX / 2 + shift
        cv2.polylines(canvas, [points.round().astype(np.int32)], False, 255, thickness, cv2.LINE_AA)
    small = cv2.resize(canvas, (size_px, size_px), interpolation=cv2.INTER_AREA) / 255
    grey = rng.uniform(0.5, 1.0) * small - 0.2 + rng.normal(0, noise, small.shape)
    return grey.astype(np.float32)


def _arc(centre: tuple[float, float], radii: tuple[float, float], *degrees: float) -> Stroke:
    """Part of an ellipse from one angle to another; 0 is right, 90 is down."""
    angles = np.deg2rad(np.linspace(degrees[0], degrees[1], 12))
    return [
        (centre[0] + radii[0] * math.cos(a), centre[1] + radii[1] * math.sin(a)) for a in angles
    ]


_UPPER, _LOWER = (0.0, -0.5), (0.0, 0.45)  # centres of the two bowls
STROKES: dict[int, list[Stroke]] = {
    0: [_arc((0, 0), (0.8, 1), 0, 360)],
    1: [[(-0.5, -0.6), (0.1, -1), (0.1, 1)]],
    2: [[*_arc(_UPPER, (0.8, 0.5), 180, 380), (-0.8, 1), (0.9, 1)]],
    3: [_arc(_UPPER, (0.7, 0.5), 200, 450), _arc(_LOWER, (0.8, 0.55), 270, 520)],
    4: [[(0.4, 1), (0.4, -1), (-0.8, 0.4), (0.9, 0.4)]],
    5: [[(0.8, -1), (-0.6, -1), (-0.7, -0.1)], _arc((0, 0.4), (0.8, 0.6), 230, 520)],
    6: [[(0.6, -1), (-0.3, -0.6), (-0.75, 0.2)], _arc((0, 0.4), (0.75, 0.6), 180, 540)],
    7: [[(-0.8, -1), (0.8, -1), (-0.2, 1)]],
    8: [_arc(_UPPER, (0.65, 0.5), 90, 450), _arc((0, 0.5), (0.8, 0.5), 270, 630)],
    9: [_arc((0, -0.4), (0.75, 0.6), 0, 360), [(0.75, -0.4), (0.6, 0.5), (0.1, 1)]],
}

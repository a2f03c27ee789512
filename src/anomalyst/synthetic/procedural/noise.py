"""Noise fields at the price of one warp: periodic tiles made once, then sampled affinely.

A tile is periodic, so any rotation, scale or offset of it is a seamless fresh field.
"""

from functools import cache

import cv2
import numpy as np
from scipy.spatial import cKDTree

from anomalyst.synthetic.sampling import Rng

TILE_PX = 256
VARIANTS = 6
KINDS = (
    "white", "grain", "cloud", "smooth", "band", "wide_band", "oriented", "cells", "cell_edges",
    "pebbles", "spots", "fibres",
)  # fmt: skip
EXPONENTS = {"white": 0.25, "grain": 0.8, "cloud": 1.3, "smooth": 1.9}  # of the falling spectrum
WRAPS = [(x, y) for x in (-TILE_PX, 0, TILE_PX) for y in (-TILE_PX, 0, TILE_PX)]


@cache
def tile(kind: str, variant: int) -> np.ndarray:
    """One periodic tile, float32 (256, 256), zero mean and unit deviation ("cells": any)."""
    rng = np.random.default_rng([KINDS.index(kind), variant])
    if kind in ("cells", "cell_edges", "pebbles"):
        return _standardised(_cellular(kind, variant))
    if kind == "spots":
        return _standardised(_spots(rng))
    if kind == "fibres":
        return _standardised(_fibres(rng))
    fy, fx = np.fft.fftfreq(TILE_PX)[:, None], np.fft.rfftfreq(TILE_PX)[None, :]
    frequency = np.hypot(fy, fx)
    frequency[0, 0] = 1.0
    if kind in EXPONENTS:
        return _standardised(_spectral(rng, frequency ** -EXPONENTS[kind]))
    centre = 1 / 12
    width = centre * (0.15 if kind == "band" else 0.5)
    gain = np.exp(-0.5 * ((frequency - centre) / width) ** 2)
    if kind == "oriented":
        gain = gain * np.exp(-((np.arctan2(fy, fx + 1e-9) / 0.25) ** 2))
    return _standardised(_spectral(rng, gain))


def _spectral(rng: Rng, gain: np.ndarray) -> np.ndarray:
    phase = rng.normal(size=gain.shape) + 1j * rng.normal(size=gain.shape)
    return np.fft.irfft2(phase * gain, s=(TILE_PX, TILE_PX))


def _standardised(values: np.ndarray) -> np.ndarray:
    return ((values - values.mean()) / (values.std() + 1e-6)).astype(np.float32)


def _cellular(kind: str, variant: int) -> np.ndarray:
    """Periodic Worley noise: cell value, distance to the cell's edge, or distance to its seed."""
    rng = np.random.default_rng([77, variant])
    seeds = rng.random((60 + 30 * variant, 2)) * TILE_PX
    rows, columns = np.mgrid[0:TILE_PX, 0:TILE_PX]
    grid = np.stack([rows, columns], -1).reshape(-1, 2) + 0.5
    distance, index = cKDTree(seeds, boxsize=TILE_PX).query(grid, k=2)
    if kind == "cells":
        values = rng.normal(size=len(seeds))[index[:, 0]]
    elif kind == "cell_edges":
        values = np.minimum(distance[:, 1] - distance[:, 0], 6.0)
    else:
        values = -distance[:, 0]
    return values.reshape(TILE_PX, TILE_PX)


def _spots(rng: Rng) -> np.ndarray:
    canvas = np.zeros((TILE_PX, TILE_PX), np.float32)
    for x, y in rng.integers(0, TILE_PX, (110, 2)):
        radius, level = int(rng.integers(1, 5)), float(rng.uniform(0.3, 1))
        for dx, dy in WRAPS:
            cv2.circle(canvas, (int(x + dx), int(y + dy)), radius, level, -1)
    return cv2.GaussianBlur(canvas, (0, 0), 0.7)


def _fibres(rng: Rng) -> np.ndarray:
    canvas = np.zeros((TILE_PX, TILE_PX), np.float32)
    for _ in range(160):
        turn = np.cumsum(rng.normal(size=12) * 0.25) + rng.uniform(0, 2 * np.pi)
        steps = np.stack([np.cos(turn), np.sin(turn)], 1) * 3.5
        path = np.cumsum(steps, 0) + rng.random(2) * TILE_PX
        level = float(rng.uniform(-1, 1))
        copies = [np.int32((path + wrap) * 8) for wrap in WRAPS]
        cv2.polylines(canvas, copies, False, level, 1, cv2.LINE_AA, 3)
    return cv2.GaussianBlur(canvas, (0, 0), 0.6)


def field(
    rng: Rng,
    size_hw: tuple[int, int],
    kind: str,
    *,
    scale: float = 1.0,
    stretch: float = 1.0,
    angle: float | None = None,
) -> np.ndarray:
    """A fresh field, float32 (H, W): the tile magnified by `scale`, and by `stretch` along `angle`.

    `angle` is in radians; None draws one. Two calls with generators in the same state agree.
    """
    turn = rng.uniform(0, 2 * np.pi)
    if angle is not None:
        turn = angle + (np.pi if turn > np.pi else 0.0)
    source = tile(kind, int(rng.integers(VARIANTS)))
    cos, sin = np.cos(turn), np.sin(turn)
    along, across = 1 / (scale * stretch), 1 / scale
    offset = rng.random(2) * TILE_PX
    matrix = np.array(
        [[cos * along, sin * along, offset[0]], [-sin * across, cos * across, offset[1]]]
    )
    flags, size_wh = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, (size_hw[1], size_hw[0])
    return cv2.warpAffine(source, matrix, size_wh, flags=flags, borderMode=cv2.BORDER_WRAP)


def slow_field(rng: Rng, size_px: int, scale: float) -> np.ndarray:
    """A smooth field over the picture, float32 (S, S): for lighting and soft edges."""
    return field(rng, (size_px, size_px), "smooth", scale=scale * size_px / 160)

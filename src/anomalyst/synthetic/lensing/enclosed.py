"""How much of a small mass lies within a circle about the lens, seen in projection.

By Gauss's law that is the mean of its radial deflection on the circle, times the circle's radius.
Masses are Einstein areas, places relative to the circle's middle, all in arcseconds.
"""

from functools import lru_cache

import numpy as np
from scipy.special import ellipk

from anomalyst.synthetic.lensing.deflection import nfw_enclosed, truncated_enclosed, whole_mass

SMALLEST, LARGEST, STEPS = 1e-4, 1e4, 1024  # radii of a halo's rings, in scale radii


def isothermal_within(axis_ratio: float) -> float:
    """Of an isothermal ellipsoid in a circle, over the circle's radius times its own.

    The mean over directions of 1 / sqrt(q cos^2 + sin^2 / q): 1 for a sphere, near it otherwise.
    """
    return float(2 / np.pi * np.sqrt(axis_ratio) * ellipk(1 - axis_ratio**2))


def point_within(x: float, y: float, circle: float, *, einstein_area: float) -> float:
    """All of a point mass or nothing."""
    return einstein_area if np.hypot(x, y) < circle else 0.0


def string_within(
    x: float, y: float, circle: float, *, einstein_area: float, length: float, angle: float
) -> float:
    """Of a straight string with its middle at x, y: the share of its length within the circle."""
    along = x * np.cos(angle) + y * np.sin(angle)
    across = y * np.cos(angle) - x * np.sin(angle)
    chord = np.sqrt(max(circle**2 - across**2, 0))  # half of it
    first, last = max(along - length / 2, -chord), min(along + length / 2, chord)
    return float(einstein_area * max(last - first, 0) / length)


def nfw_within(
    x: float,
    y: float,
    circle: float,
    *,
    einstein_area: float,
    scale_radius: float,
    concentration: float,
) -> float:
    """Of an NFW halo; `einstein_area` as in `deflection.nfw`."""
    held = np.log1p(concentration) - concentration / (1 + concentration)
    return einstein_area / held * _rings_within(np.hypot(x, y), circle, scale_radius, None)


def truncated_within(
    x: float,
    y: float,
    circle: float,
    *,
    einstein_area: float,
    scale_radius: float,
    truncation: float,
) -> float:
    """Of a truncated NFW halo; `einstein_area` as in `deflection.truncated_nfw`."""
    unit = einstein_area / whole_mass(truncation)
    return unit * _rings_within(np.hypot(x, y), circle, scale_radius, truncation)


def _rings_within(
    away: float, circle: float, scale_radius: float, truncation: float | None
) -> float:
    """Sum over rings about a halo `away` from the middle: mass times the share of it inside."""
    ratios, masses = _rings(truncation)
    radii = np.maximum(ratios * scale_radius, 1e-12)
    # Where the ring and the circle cross, as the cosine of the angle seen from the halo.
    cosine = (radii**2 + away**2 - circle**2) / (2 * radii * max(away, 1e-12))
    return float(np.arccos(np.clip(cosine, -1, 1)) @ masses / np.pi)


@lru_cache(maxsize=16)
def _rings(truncation: float | None) -> tuple[np.ndarray, np.ndarray]:
    """Radii over the scale radius, and masses, of thin rings that make up a projected halo."""
    edges = np.geomspace(SMALLEST, LARGEST, STEPS + 1)
    held = nfw_enclosed(edges) if truncation is None else truncated_enclosed(edges, truncation)
    return np.sqrt(edges[:-1] * edges[1:]), np.diff(held, prepend=0.0)[1:]

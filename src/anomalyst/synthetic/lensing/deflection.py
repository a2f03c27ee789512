"""How masses bend light: deflection angles of thin lenses, in closed form.

Angles and places are in arcseconds; `x` and `y` are any arrays of one shape, relative to the mass,
and so are the two components returned. A mass is given by its Einstein area, the square of the
Einstein radius it had as a point: theta_e^2 = M / (pi Sigma_critical), in square arcseconds.
Sources: Kormann, Schneider and Bartelmann 1994, A&A 284, 285 (ellipsoid); Bartelmann 1996, A&A 313,
697, and Wright and Brainerd 2000, ApJ 534, 34 (NFW); Baltz, Marshall and Oguri 2009, JCAP 01, 015
(truncated NFW). The string is the point mass integrated along a line.
"""

from functools import lru_cache

import numpy as np

Angles = tuple[np.ndarray, np.ndarray]
ROUND = 1e-4  # below this 1 - q^2 an ellipsoid counts as a sphere; its formula divides by it
SMALLEST, LARGEST, STEPS = 1e-8, 1e8, 8192  # of (r / r_s)^2 in the table of a halo's profile
NEAREST = 1e-12  # square arcseconds: keeps the very centre of a mass finite


def isothermal(
    x: np.ndarray, y: np.ndarray, *, einstein_radius: float, axis_ratio: float
) -> Angles:
    """Singular isothermal ellipsoid, its long axis along x.

    Convergence: einstein_radius / (2 sqrt(q x^2 + y^2 / q)), so that an ellipse holds the mass of
    the circle it came from whatever q in (0, 1] is.
    """
    squeezed = 1 - axis_ratio**2
    if squeezed < ROUND:
        radius = np.sqrt(x**2 + y**2 + NEAREST)
        return einstein_radius * x / radius, einstein_radius * y / radius
    root = np.sqrt(squeezed)
    scale = einstein_radius * np.sqrt(axis_ratio) / root
    radius = np.sqrt((axis_ratio * x) ** 2 + y**2 + NEAREST)
    return scale * np.arctan(root * x / radius), scale * np.arctanh(root * y / radius)


def shear(x: np.ndarray, y: np.ndarray, *, gamma_1: float, gamma_2: float) -> Angles:
    """A constant external shear: what lies outside the picture pulls along."""
    return gamma_1 * x + gamma_2 * y, gamma_2 * x - gamma_1 * y


def point(x: np.ndarray, y: np.ndarray, *, einstein_area: float) -> Angles:
    """A point mass: einstein_area / r, outwards."""
    pull = einstein_area / (x**2 + y**2 + NEAREST)
    return pull * x, pull * y


def string(
    x: np.ndarray, y: np.ndarray, *, einstein_area: float, length: float, angle: float
) -> Angles:
    """A straight thin string of even mass about the origin, at `angle` (radians) to the x axis."""
    along = length / 2 * np.exp(1j * angle)
    place = x + 1j * y
    with np.errstate(divide="ignore", invalid="ignore"):
        pull = einstein_area / (2 * along) * np.log((place + along) / (place - along))
    pull = np.where(np.isfinite(pull), pull, 0)  # the two ends themselves
    return pull.real, -pull.imag


def nfw(
    x: np.ndarray, y: np.ndarray, *, einstein_area: float, scale_radius: float, concentration: float
) -> Angles:
    """NFW halo; `einstein_area` is of its mass within concentration x scale_radius (a sphere)."""
    held = np.log1p(concentration) - concentration / (1 + concentration)
    return _tabled(x, y, einstein_area / held, scale_radius, None)


def truncated_nfw(
    x: np.ndarray, y: np.ndarray, *, einstein_area: float, scale_radius: float, truncation: float
) -> Angles:
    """NFW halo times t^2 / (t^2 + (r / scale_radius)^2), t = truncation; area of its whole mass."""
    return _tabled(x, y, einstein_area / whole_mass(truncation), scale_radius, truncation)


def nfw_enclosed(ratio: np.ndarray) -> np.ndarray:
    """Mass of an NFW halo in a cylinder of radius ratio x scale radius.

    In units of 4 pi rho_s r_s^3, as the two below.
    """
    return np.log(ratio / 2) + _f(ratio)


def truncated_enclosed(ratio: np.ndarray, truncation: float) -> np.ndarray:
    """The same of a truncated halo."""
    t, far = truncation, np.sqrt(truncation**2 + ratio**2)
    logarithm = np.log(ratio / (t + far))
    return (t / (t**2 + 1)) ** 2 * (
        (t**2 + 1 + 2 * (ratio**2 - 1)) * _f(ratio)
        + t * np.pi
        + (t**2 - 1) * np.log(t)
        + far * ((t**2 - 1) / t * logarithm - np.pi)
    )


def whole_mass(truncation: float) -> float:
    """All of a truncated halo's mass."""
    t = truncation
    inner = (t**2 - 1) * np.log(t) + t * np.pi - (t**2 + 1)
    return float((t / (t**2 + 1)) ** 2 * inner)


def _f(ratio: np.ndarray) -> np.ndarray:
    """arccosh(1/x) / sqrt(1 - x^2) inside the scale radius, arccos(1/x) / sqrt(x^2 - 1) outside."""
    at_one = np.abs(ratio - 1) < 1e-6
    x = np.where(at_one, 0.5, ratio)
    inside = np.arccosh(np.maximum(1 / x, 1)) / np.sqrt(np.maximum(1 - x**2, 1e-300))
    outside = np.arccos(np.minimum(1 / x, 1)) / np.sqrt(np.maximum(x**2 - 1, 1e-300))
    return np.where(at_one, 1.0, np.where(x < 1, inside, outside))


def _tabled(
    x: np.ndarray, y: np.ndarray, mass: float, scale_radius: float, truncation: float | None
) -> Angles:
    """Deflection of mass x enclosed(r / scale_radius) / r, the profile read from a table."""
    heights, rises = _table(truncation)
    x, y = (
        x.astype(np.float32),
        y.astype(np.float32),
    )  # good to 1e-6 of a small angle, twice as fast
    squared = (x * x + y * y) * np.float32(scale_radius**-2)
    place = np.log(np.maximum(squared, np.float32(SMALLEST)))
    place -= np.float32(np.log(SMALLEST))
    place *= np.float32(STEPS / (np.log(LARGEST) - np.log(SMALLEST)))
    below = np.minimum(place, np.float32(STEPS - 1)).astype(np.int32)
    place -= below
    pull = heights.take(below) + rises.take(below) * place
    pull *= np.float32(mass / scale_radius**2)
    return pull * x, pull * y


@lru_cache(maxsize=16)
def _table(truncation: float | None) -> Angles:
    """enclosed / (r / r_s)^2 at even steps of log (r / r_s)^2, and its rise to the next."""
    places = np.linspace(np.log(SMALLEST), np.log(LARGEST), STEPS + 1)
    ratio = np.exp(places / 2)
    enclosed = nfw_enclosed(ratio) if truncation is None else truncated_enclosed(ratio, truncation)
    heights = enclosed / ratio**2
    return heights[:-1].astype(np.float32), np.diff(heights).astype(np.float32)

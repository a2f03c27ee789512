"""Colours in words."""

import numpy as np

# Anchors in RGB; the nearest one in a lightness-chroma space names the colour.
NAMES = {
    "black": (0.05, 0.05, 0.05),
    "dark grey": (0.27, 0.27, 0.27),
    "grey": (0.5, 0.5, 0.5),
    "light grey": (0.75, 0.75, 0.75),
    "white": (0.96, 0.96, 0.96),
    "red": (0.8, 0.1, 0.1),
    "orange": (0.95, 0.5, 0.1),
    "brown": (0.45, 0.27, 0.12),
    "beige": (0.85, 0.76, 0.6),
    "yellow": (0.95, 0.88, 0.15),
    "green": (0.15, 0.6, 0.2),
    "turquoise": (0.15, 0.7, 0.7),
    "blue": (0.12, 0.25, 0.8),
    "purple": (0.5, 0.15, 0.65),
    "pink": (0.95, 0.55, 0.7),
}


def _opponent(rgb: np.ndarray) -> np.ndarray:
    """RGB (..., 3) -> lightness and two colour axes, chroma weighted double."""
    red, green, blue = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    lightness = 0.3 * red + 0.59 * green + 0.11 * blue
    return np.stack([lightness, (red - green) * 1.2, (0.5 * (red + green) - blue) * 1.2], -1)


def colour_name(rgb: tuple[float, float, float]) -> str:
    """The plain English name nearest to an RGB colour in [0, 1]."""
    anchors = _opponent(np.array(list(NAMES.values())))
    gaps = np.linalg.norm(anchors - _opponent(np.array(rgb)), axis=1)
    return list(NAMES)[int(gaps.argmin())]

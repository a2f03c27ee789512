"""What stands in a lensing picture: the lens, the source behind it, what is dark between.

Every class draws lens, source and noise from the same priors and the same random numbers; only
the substructure differs, and its mass is drawn alike for both kinds that have some.
The classes are those of Alexander et al. 2020, ApJ 893, 15; the mass function's slope is that of
Springel et al. 2008, MNRAS 391, 1685; count and masses are ours, chosen so that the classes can be
told apart, but not easily (docs/lensing.md).
"""

from dataclasses import dataclass

import numpy as np

from anomalyst.errors import AnomalystError
from anomalyst.synthetic.lensing import enclosed
from anomalyst.synthetic.lensing.cosmology import Plane
from anomalyst.synthetic.sampling import Rng, log_uniform

KINDS = ("none", "spherical", "vortex")  # the classes, in the order of their numbers
PROFILES = ("point", "nfw", "tnfw")
Range = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class LensingConfig:
    """How the pictures are drawn. Angles are in arcseconds; ranges are uniform unless told."""

    size_px: int = 128
    """Side of a picture."""
    field: float = 5.2
    """Side of the sky it shows."""
    bits: int = 8
    """8 or 16 per pixel."""
    profile: str = "tnfw"
    """Of a subhalo: point, nfw or tnfw (truncated)."""
    lens_light: bool = False
    """Whether the lens galaxy itself is seen, a de Vaucouleurs ellipse."""
    variety: float = 1.0
    """How far lens and source differ from picture to picture: a share of the ranges that follow."""
    einstein_radius: Range = (0.9, 1.4)
    """Of lens and substructure together."""
    axis_ratio: Range = (0.65, 1.0)
    """Of the lens."""
    shear: float = 0.06
    """Most external shear, any direction."""
    centre: float = 0.1
    """Farthest the lens is from the middle, along each axis."""
    source_offset: float = 0.25
    """Farthest the source is from the lens, as a share of the Einstein radius; even in a disc."""
    source_radius: Range = (0.1, 0.3)
    """Half-light radius of the source."""
    source_index: Range = (0.7, 2.0)
    """Sersic index of the source."""
    psf_fwhm: Range = (0.08, 0.12)
    """Width of the Gaussian point spread function."""
    peak: Range = (1500.0, 6000.0)
    """Electrons in the brightest pixel of the arcs; log-uniform."""
    sky: float = 40.0
    """Electrons of the sky in every pixel; its mean is taken off."""
    read_noise: float = 5.0
    """Electrons, standard deviation."""
    mass_share: Range = (0.01, 0.02)
    """Mass of the substructure over that within the Einstein radius."""
    mass_slope: float = -1.9
    """Of the subhaloes' mass function, dN/dM ~ M^slope."""
    mass_decades: float = 3.0
    """From the lightest to the heaviest subhalo that may be drawn."""
    mean_count: float = 25.0
    """Of subhaloes; Poisson, at least one."""
    reach: float = 1.5
    """Subhaloes lie evenly in a disc of so many Einstein radii."""
    scale_radius: float = 0.04
    """Of a halo of 1e9 solar masses; others by the cube root of their mass."""
    truncation: float = 5.0
    """Where a truncated halo ends, in scale radii; an nfw's mass is that within as many."""
    string_length: Range = (0.6, 1.6)
    """Of a vortex, in Einstein radii."""
    string_middle: Range = (0.6, 1.2)
    """How far its middle is from the lens, in Einstein radii: near the arcs."""
    plane: Plane = Plane()
    """How far lens and source are, which turns Einstein areas into solar masses."""

    def __post_init__(self) -> None:
        if self.profile not in PROFILES:
            raise AnomalystError(
                f"There is no profile {self.profile!r}; there are {', '.join(PROFILES)}."
            )
        if self.bits not in (8, 16):
            raise AnomalystError(f"bits is {self.bits}; a PNG has 8 or 16 per pixel.")
        if not 0 <= self.variety <= 1:
            raise AnomalystError(f"variety is {self.variety}; it lies between 0 and 1.")
        if not 32 <= self.size_px <= 1024:
            raise AnomalystError(
                f"size is {self.size_px} pixels; 32 to 1024 are drawn: fewer show no arc."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Smooth:
    """The lens galaxy, the source behind it, and how they are seen; the same for every class."""

    einstein_radius: float
    axis_ratio: float
    angle: float  # radians, of the long axis
    centre_xy: tuple[float, float]
    shear: tuple[float, float]  # gamma 1, gamma 2
    source_xy: tuple[float, float]  # on the sky, as if nothing bent its light
    source_radius: float
    source_index: float
    source_axis_ratio: float
    source_angle: float
    psf_fwhm: float
    peak: float
    lens_light_peak: float  # over the arcs' peak; used where lens light is drawn
    lens_light_radius: float


@dataclass(frozen=True, slots=True)
class Halo:
    """One dark subhalo: where it is on the sky, its Einstein area, its scale radius."""

    x: float
    y: float
    einstein_area: float
    scale_radius: float


@dataclass(frozen=True, slots=True)
class String:
    """A vortex of superfluid dark matter, as a straight thin string of mass."""

    x: float  # its middle
    y: float
    einstein_area: float
    length: float
    angle: float  # radians


@dataclass(frozen=True, slots=True)
class Scene:
    """One picture's world.

    Over the mass within the Einstein radius: `share` is the substructure's wherever it lies,
    `inside` that of it which lies within the radius and which the lens itself therefore lacks.
    """

    kind: str
    smooth: Smooth
    share: float = 0.0
    inside: float = 0.0
    haloes: tuple[Halo, ...] = ()
    strings: tuple[String, ...] = ()


def draw_scene(kind: str, key: tuple[int, int], config: LensingConfig) -> Scene:
    """The scene of picture key = (seed, number): another kind, the same lens and source."""
    if kind not in KINDS:
        raise AnomalystError(f"There is no class {kind!r}; there are {', '.join(KINDS)}.")
    smooth = _draw_smooth(np.random.default_rng((*key, 0)), config)
    if kind == "none":
        return Scene(kind, smooth)
    rng = np.random.default_rng((*key, 1))
    share = float(rng.uniform(*config.mass_share))
    area = share * smooth.einstein_radius**2
    if kind == "vortex":
        parts: list[Halo | String] = [_draw_string(rng, smooth, area, config)]
    else:
        parts = [*_draw_haloes(rng, smooth, area, config)]
    inside = sum(_within(part, smooth, config) for part in parts) / smooth.einstein_radius**2
    haloes = tuple(part for part in parts if isinstance(part, Halo))
    strings = tuple(part for part in parts if isinstance(part, String))
    return Scene(kind, smooth, share, inside, haloes, strings)


def _within(part: Halo | String, smooth: Smooth, config: LensingConfig) -> float:
    """Einstein area of what lies of it within the Einstein radius, seen in projection."""
    x, y = part.x - smooth.centre_xy[0], part.y - smooth.centre_xy[1]
    circle, area = smooth.einstein_radius, part.einstein_area
    if isinstance(part, String):
        return enclosed.string_within(
            x, y, circle, einstein_area=area, length=part.length, angle=part.angle
        )
    size, ends = part.scale_radius, config.truncation
    if config.profile == "point":
        return enclosed.point_within(x, y, circle, einstein_area=area)
    if config.profile == "nfw":
        return enclosed.nfw_within(
            x, y, circle, einstein_area=area, scale_radius=size, concentration=ends
        )
    return enclosed.truncated_within(
        x, y, circle, einstein_area=area, scale_radius=size, truncation=ends
    )


def power_law(rng: Rng, count: int, *, slope: float, decades: float) -> np.ndarray:
    """`count` masses over the lightest possible one, dN/dM ~ M^slope over so many decades."""
    if abs(slope + 1) < 1e-9:
        return 10 ** (decades * rng.random(count))
    exponent = slope + 1
    top = 10 ** (decades * exponent)
    return (1 + rng.random(count) * (top - 1)) ** (1 / exponent)


def _draw_smooth(rng: Rng, config: LensingConfig) -> Smooth:
    varied = config.variety

    def drawn(bounds: Range) -> float:
        """In the middle share of the range."""
        off = (1 - varied) * (bounds[1] - bounds[0]) / 2
        return float(rng.uniform(bounds[0] + off, bounds[1] - off))

    einstein_radius = drawn(config.einstein_radius)
    centre = varied * rng.uniform(-config.centre, config.centre, 2)
    strength, towards = varied * config.shear * rng.random(), 2 * np.pi * rng.random()
    off = _in_disc(rng, varied * config.source_offset * einstein_radius)
    return Smooth(
        einstein_radius=einstein_radius,
        axis_ratio=drawn(config.axis_ratio),
        angle=float(rng.uniform(0, np.pi)),
        centre_xy=(float(centre[0]), float(centre[1])),
        shear=(float(strength * np.cos(towards)), float(strength * np.sin(towards))),
        source_xy=(float(centre[0] + off[0]), float(centre[1] + off[1])),
        source_radius=drawn(config.source_radius),
        source_index=drawn(config.source_index),
        source_axis_ratio=float(rng.uniform(0.5, 1)),
        source_angle=float(rng.uniform(0, np.pi)),
        psf_fwhm=float(rng.uniform(*config.psf_fwhm)),
        peak=log_uniform(rng, *config.peak),
        lens_light_peak=float(rng.uniform(0.5, 2)),
        lens_light_radius=float(rng.uniform(0.4, 0.8)),
    )


def _draw_haloes(rng: Rng, smooth: Smooth, area: float, config: LensingConfig) -> tuple[Halo, ...]:
    """Relative masses by the mass function, scaled to the mass they share."""
    count = max(1, int(rng.poisson(config.mean_count)))
    masses = power_law(rng, count, slope=config.mass_slope, decades=config.mass_decades)
    areas = area * masses / masses.sum()
    haloes = []
    for mine in areas:
        x, y = _in_disc(rng, config.reach * smooth.einstein_radius)
        size = config.scale_radius * (config.plane.solar_masses(float(mine)) / 1e9) ** (1 / 3)
        haloes.append(
            Halo(x + smooth.centre_xy[0], y + smooth.centre_xy[1], float(mine), float(size))
        )
    return tuple(haloes)


def _draw_string(rng: Rng, smooth: Smooth, area: float, config: LensingConfig) -> String:
    away = smooth.einstein_radius * rng.uniform(*config.string_middle)
    towards = 2 * np.pi * rng.random()
    return String(
        float(smooth.centre_xy[0] + away * np.cos(towards)),
        float(smooth.centre_xy[1] + away * np.sin(towards)),
        area,
        float(smooth.einstein_radius * rng.uniform(*config.string_length)),
        float(rng.uniform(0, np.pi)),
    )


def _in_disc(rng: Rng, radius: float) -> tuple[float, float]:
    away, towards = radius * np.sqrt(rng.random()), 2 * np.pi * rng.random()
    return float(away * np.cos(towards)), float(away * np.sin(towards))

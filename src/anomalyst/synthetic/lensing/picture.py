"""A scene as a telescope sees it: traced backwards, blurred, counted, read out."""

import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from anomalyst.synthetic.lensing import deflection, enclosed
from anomalyst.synthetic.lensing.deflection import Angles
from anomalyst.synthetic.lensing.scene import Halo, LensingConfig, Scene, Smooth, String, draw_scene

FINER = 2  # rays per pixel and side


@dataclass(frozen=True, slots=True)
class LensedPicture:
    """Grey pixels (S, S), uint8 or uint16, and what is true of them, as plain values."""

    pixels: np.ndarray
    truth: dict[str, Any]


def draw_picture(kind: str, key: tuple[int, int], config: LensingConfig) -> LensedPicture:
    """Picture `key` = (seed, number) of a class: the same values give the same bytes.

    `truth["changed_sigma"]`: how far the substructure alone moves the picture, in standard
    deviations of its noise over all pixels; 0 without. It is what an observer who knew everything
    else would have to go by, so an upper bound for anyone.
    """
    scene = draw_scene(kind, key, config)
    expected = electrons(scene, config)
    changed = 0.0
    if kind != "none":
        without = electrons(Scene("none", scene.smooth), config)
        changed = float(np.linalg.norm((expected - without) / noise_of(without, config)))
    rng = np.random.default_rng((*key, 2))
    counted = rng.poisson(expected + config.sky) - config.sky
    counted = counted + rng.normal(0, config.read_noise, counted.shape)
    return LensedPicture(
        _pixels(counted, config), {**truth(scene, config), "changed_sigma": changed}
    )


def noise_of(expected: np.ndarray, config: LensingConfig) -> np.ndarray:
    """Standard deviation of the electrons counted where so many are expected: (S, S)."""
    noise: np.ndarray = np.sqrt(expected + config.sky + config.read_noise**2)
    return noise


def moved_by_substructure(scene: Scene, config: LensingConfig) -> np.ndarray:
    """What the scene's substructure changes, in deviations of the noise without it: (S, S)."""
    without = electrons(Scene("none", scene.smooth), config)
    return (electrons(scene, config) - without) / noise_of(without, config)


def electrons(scene: Scene, config: LensingConfig) -> np.ndarray:
    """Expected electrons of arcs (and lens light), without sky and noise: (S, S) float64."""
    from scipy.ndimage import gaussian_filter

    smooth = scene.smooth
    x, y = sky_grid(config.size_px * FINER, config.field)  # (F, F), F = S x FINER
    bent_x, bent_y = bending(scene, x, y, config)
    arcs = sersic(
        x - bent_x - smooth.source_xy[0],
        y - bent_y - smooth.source_xy[1],
        radius=smooth.source_radius,
        index=smooth.source_index,
        axis_ratio=smooth.source_axis_ratio,
        angle=smooth.source_angle,
    )
    sigma_px = smooth.psf_fwhm / 2.3548 / config.field * config.size_px * FINER
    seen = _binned(gaussian_filter(arcs, sigma_px, mode="nearest", truncate=5))
    seen *= smooth.peak / seen.max()
    if config.lens_light:
        light = sersic(
            x - smooth.centre_xy[0],
            y - smooth.centre_xy[1],
            radius=smooth.lens_light_radius,
            index=4.0,
            axis_ratio=smooth.axis_ratio,
            angle=smooth.angle,
        )
        light = _binned(gaussian_filter(light, sigma_px, mode="nearest", truncate=5))
        seen += light * smooth.lens_light_peak * smooth.peak / light.max()
    return seen


def bending(scene: Scene, x: np.ndarray, y: np.ndarray, config: LensingConfig) -> Angles:
    """Deflection at places x, y on the sky: lens, shear and substructure, in arcseconds."""
    bent_x, bent_y = _smooth_bending(scene.smooth, x, y, scene.inside)
    # Of the small masses single precision is plenty (1e-6 of an arcsecond), and half the time.
    near_x, near_y = x.astype(np.float32), y.astype(np.float32)
    parts: list[Halo | String] = [*scene.haloes, *scene.strings]
    for part in parts:
        pulled = _small_bending(part, near_x - part.x, near_y - part.y, config)
        bent_x += pulled[0]
        bent_y += pulled[1]
    return bent_x, bent_y


def _small_bending(
    part: Halo | String, x: np.ndarray, y: np.ndarray, config: LensingConfig
) -> Angles:
    """Deflection by one subhalo or string at places relative to it."""
    area = part.einstein_area
    if isinstance(part, String):
        return deflection.string(x, y, einstein_area=area, length=part.length, angle=part.angle)
    size, ends = part.scale_radius, config.truncation
    if config.profile == "point":
        return deflection.point(x, y, einstein_area=area)
    if config.profile == "nfw":
        return deflection.nfw(x, y, einstein_area=area, scale_radius=size, concentration=ends)
    return deflection.truncated_nfw(x, y, einstein_area=area, scale_radius=size, truncation=ends)


def sersic(
    x: np.ndarray, y: np.ndarray, *, radius: float, index: float, axis_ratio: float, angle: float
) -> np.ndarray:
    """Sersic's law, 1 at the half-light ellipse: exp(-b ((r / radius)^(1 / n) - 1)).

    b to the third order of Ciotti and Bertin 1999, A&A 352, 447.
    """
    b = 2 * index - 1 / 3 + 4 / (405 * index) + 46 / (25515 * index**2)
    along, across = _turned(x, y, angle)
    squared = axis_ratio * along**2 + across**2 / axis_ratio
    return np.exp(-b * ((squared / radius**2) ** (0.5 / index) - 1))


def sky_grid(side: int, field: float) -> Angles:
    """Places of the centres of side x side cells over the field, x to the right, y down."""
    steps = (np.arange(side) + 0.5) / side * field - field / 2
    x, y = np.meshgrid(steps, steps)
    return x, y


def truth(scene: Scene, config: LensingConfig) -> dict[str, Any]:
    """What was drawn, as plain values; masses in solar masses."""
    weigh = config.plane.solar_masses
    said = {"class": scene.kind, "share": scene.share, "inside": scene.inside}
    said |= asdict(scene.smooth)
    said["einstein_solar_masses"] = weigh(scene.smooth.einstein_radius**2)
    for name, parts in (("haloes", scene.haloes), ("strings", scene.strings)):
        said[name] = [{**asdict(part), "solar_masses": weigh(part.einstein_area)} for part in parts]
    plain: dict[str, Any] = json.loads(json.dumps(said))
    return plain


def _smooth_bending(smooth: Smooth, x: np.ndarray, y: np.ndarray, inside: float) -> Angles:
    """The lens less the mass of the substructure within its Einstein radius.

    So a circle of that radius holds the same mass in all classes, and rings are as wide.
    """
    lacking = inside / enclosed.isothermal_within(smooth.axis_ratio)
    x, y = x - smooth.centre_xy[0], y - smooth.centre_xy[1]
    along, across = _turned(x, y, smooth.angle)
    pulled = deflection.isothermal(
        along,
        across,
        einstein_radius=smooth.einstein_radius * (1 - lacking),
        axis_ratio=smooth.axis_ratio,
    )
    bent_x, bent_y = _turned(*pulled, -smooth.angle)
    sheared = deflection.shear(x, y, gamma_1=smooth.shear[0], gamma_2=smooth.shear[1])
    return bent_x + sheared[0], bent_y + sheared[1]


def _turned(x: np.ndarray, y: np.ndarray, angle: float) -> Angles:
    """Along and across an axis at `angle` to the x axis."""
    cos, sin = np.cos(angle), np.sin(angle)
    return cos * x + sin * y, cos * y - sin * x


def _binned(fine: np.ndarray) -> np.ndarray:
    side = len(fine) // FINER
    # (F, F) -> (S, FINER, S, FINER) -> (S, S)
    return np.asarray(fine.reshape(side, FINER, side, FINER).mean((1, 3)))


def _pixels(counted: np.ndarray, config: LensingConfig) -> np.ndarray:
    """Black is the lowest 0.5 % of the pixels, white the brightest one."""
    black, white = np.quantile(counted, 0.005), counted.max()
    most = 2**config.bits - 1
    levels = np.rint((counted - black) / (white - black) * most).clip(0, most)
    return levels.astype(np.uint8 if config.bits == 8 else np.uint16)

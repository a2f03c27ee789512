"""A scene -> the picture the camera gives: light, lens, sensor, compression."""

import cv2
import numpy as np

from anomalyst.synthetic.procedural.product import Camera
from anomalyst.synthetic.sampling import Rng


def photograph(image: np.ndarray, camera: Camera, rng: Rng) -> np.ndarray:
    """Float32 (S, S, 3) scene -> uint8 (S, S, 3) picture."""
    size = image.shape[0]
    unit = size / 160
    light = _light(camera, rng, size)
    tint = 1 + rng.uniform(-1, 1, 3) * camera.tint
    image = image * (light[..., None] * tint.astype(np.float32))
    if camera.dust > 0 and rng.random() < 0.8:
        _dust(image, camera.dust, rng, unit)
    blur = camera.defocus_px * rng.uniform(0.3, 1.0) * unit
    if blur > 0.25:
        image = cv2.GaussianBlur(image, (0, 0), blur)
    if camera.grey:
        image = np.repeat(image @ np.array([[0.299], [0.587], [0.114]], np.float32), 3, axis=2)
    if camera.noise > 0:
        level = camera.noise * rng.uniform(0.5, 1.0)
        channels = 1 if camera.grey else 3
        noise = rng.standard_normal((size, size, channels), np.float32) * level
        image = image + noise
    if camera.binary:
        grey = cv2.GaussianBlur(image.mean(2), (0, 0), 0.7 * unit)
        image = np.repeat((grey > 0.5).astype(np.float32)[..., None], 3, axis=2)
    picture = (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)
    if camera.jpeg_quality:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(camera.jpeg_quality)]
        picture = cv2.imdecode(cv2.imencode(".jpg", picture, quality)[1], cv2.IMREAD_COLOR)
    return picture


def bending(camera: Camera, rng: Rng, size: int) -> np.ndarray | None:
    """Where each pixel of a picture comes from, float32 (S, S, 2) as (x, y); None: from itself.

    No two instances of a soft or loose product have one shape, and no two views one perspective.
    """
    if camera.bend <= 0:
        return None
    axis = np.arange(size, dtype=np.float32)
    straight = np.stack(np.meshgrid(axis, axis), axis=2)
    return straight + np.stack([slow_noise(rng, size, size) for _ in "xy"], axis=2) * (
        camera.bend * size
    )


def bent(image: np.ndarray, source: np.ndarray | None) -> np.ndarray:
    """An image or a bool mask, bent; unchanged for None."""
    if source is None:
        return image
    if image.dtype == bool:
        moved = cv2.remap(image.astype(np.uint8), source, None, cv2.INTER_NEAREST)
        return moved.astype(bool)
    return cv2.remap(image, source, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)


def slow_noise(rng: Rng, height: int, width: int) -> np.ndarray:
    """A field of noise that changes over a quarter of the picture, about unit variance."""
    coarse = rng.standard_normal((5, 5), np.float32)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def _light(camera: Camera, rng: Rng, size: int) -> np.ndarray:
    """Brightness factor over the picture, float32 (S, S)."""
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    slope = rng.uniform(-1, 1, 2) * camera.gradient * 0.5
    level = 1 + rng.uniform(-1, 1) * camera.exposure
    light = level + np.float32(slope[0]) * axis[None, :] + np.float32(slope[1]) * axis[:, None]
    if camera.vignette > 0:
        light = light * (1 - camera.vignette * 0.5 * (axis[None, :] ** 2 + axis[:, None] ** 2))
    if camera.shade > 0:
        light = light + camera.shade * slow_noise(rng, size, size)
    return light.astype(np.float32)


def _dust(image: np.ndarray, amount: float, rng: Rng, unit: float) -> None:
    """Specks too small and too faint to be a defect: a normal part may carry them."""
    size = image.shape[0]
    for _ in range(int(rng.integers(1, 8))):
        x, y = rng.integers(0, size, 2)
        radius = int(max(1, round(unit * 0.6)))
        patch = image[max(0, y - radius) : y + radius, max(0, x - radius) : x + radius]
        patch += np.float32(rng.uniform(-1, 1) * 0.06 * amount)

"""What a thermal camera sees: the warm machine, its parts, friction, and what a fault does."""

import zlib

import cv2
import numpy as np

from anomalyst.synthetic.procedural.product import ProductSpec
from anomalyst.synthetic.procedural.scene import Scene
from anomalyst.synthetic.sampling import Rng
from anomalyst.synthetic.senses.machine import STUFFS, Running
from anomalyst.synthetic.senses.relief import OPENINGS, Fault

NOISE_C = 0.06  # noise-equivalent temperature difference of an uncooled camera
OPTICS_PX = 0.7  # its blur at 160 px


def heat_c(
    scene: Scene, spec: ProductSpec, product_seed: int, run: Running, fault: Fault | None
) -> np.ndarray:
    """Temperature of each point, float32 (S, S) degrees Celsius, without noise.

    Sources on body, parts and the contact that rubs, spread as far as the material conducts.
    """
    rng = np.random.default_rng((product_seed, 3))
    ambient, warm = 21.0 + rng.uniform(-1, 1), rng.uniform(4, 10)
    fast = run.shaft_hz / 40
    warm += 4.0 * min(fast, 1.5) + 0.6 * np.random.default_rng((run.seed, 3)).uniform(-1, 1)
    spread = STUFFS[run.machine.stuff].spread_px * scene.unit
    sources = scene.foreground * np.float32(warm) + _of_parts(scene, spec, product_seed)
    field = ambient + cv2.GaussianBlur(sources.astype(np.float32), (0, 0), spread)
    field += _contact(scene, rng, (2.0 + 3.0 * min(fast, 1.5) + run.effect("contact_c")), spread)
    if fault is not None:
        field += _of_fault(fault, run, spread, scene.unit)
    return np.asarray(cv2.GaussianBlur(field, (0, 0), OPTICS_PX * scene.unit), np.float32)


def as_seen(field: np.ndarray, rng: Rng) -> np.ndarray:
    """The field with the camera's noise, float32 degrees."""
    return field + rng.standard_normal(field.shape, np.float32) * np.float32(NOISE_C)


def contact_xy(scene: Scene, rng: Rng) -> tuple[float, float]:
    """The pixel at which the product rubs in its machine: a place of the body, as it lies."""
    turn = rng.uniform(0, 2 * np.pi)
    place = np.array([np.cos(turn), np.sin(turn)]) * 0.6
    x, y = scene.matrix[:, :2] @ place + scene.matrix[:, 2]
    return float(x), float(y)


def _of_parts(scene: Scene, spec: ProductSpec, product_seed: int) -> np.ndarray:
    """What parts give off, by name: some work and are warm, joints and openings are cold."""
    canvas = np.zeros((scene.size_px, scene.size_px), np.float32)
    for part, contours in scene.placed:
        if part.name == spec.noun and not part.inside:
            continue  # the body
        rng = np.random.default_rng((product_seed, 5, zlib.crc32(part.name.encode())))
        degrees = -4.0 if part.name in OPENINGS else float(rng.choice([-3.0, rng.uniform(2, 9)]))
        cv2.fillPoly(canvas, [np.int32(c * 16) for c in contours], degrees, cv2.LINE_8, 4)
    return canvas * (scene.foreground > 0.5)


def _contact(scene: Scene, rng: Rng, degrees: float, spread: float) -> np.ndarray:
    across, down = scene.offsets(contact_xy(scene, rng))
    wide = 5.0 * scene.unit + spread
    bell: np.ndarray = np.exp(-0.5 * (across**2 + down**2) / wide**2)
    return (degrees * bell).astype(np.float32)


def _of_fault(fault: Fault, run: Running, spread: float, unit: float) -> np.ndarray:
    """On the fault, hardly blurred; around it, spread by the material."""
    mask = fault.mask.astype(np.float32)
    line = cv2.GaussianBlur(mask, (0, 0), 0.8 * unit) * run.effect("fault_c")
    patch = cv2.GaussianBlur(mask, (0, 0), 2.0 * unit + spread)
    top = float(patch.max())
    return line + patch * np.float32(run.effect("around_c") / max(top, 1e-3))

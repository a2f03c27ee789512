"""What defects are drawn with: places on a scene, blobs, strokes, walks, paint."""

import cv2
import numpy as np

from anomalyst.synthetic.procedural.render import Scene, slow_field


def grid_of(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    axis = np.arange(scene.image.shape[0], dtype=np.float32)
    return axis[:, None], axis[None, :]


def random_spot(scene: Scene, rng: np.random.Generator) -> tuple[int, int]:
    """A random pixel (x, y) of the product."""
    size = scene.image.shape[0]
    for _ in range(60):
        x, y = (int(v) for v in rng.integers(0, size, 2))
        if scene.foreground[y, x] > 0.5:
            return x, y
    ys, xs = np.nonzero(scene.foreground > 0.5)
    if len(ys) == 0:
        return size // 2, size // 2
    pick = int(rng.integers(len(ys)))
    return int(xs[pick]), int(ys[pick])


def random_edge_spot(
    scene: Scene, rng: np.random.Generator, strength: np.ndarray
) -> tuple[int, int] | None:
    """A pixel (x, y) among the strongest edges of `strength`."""
    grey = cv2.GaussianBlur(strength, (0, 0), 1.0)
    slope = np.abs(cv2.Sobel(grey, cv2.CV_32F, 1, 0)) + np.abs(cv2.Sobel(grey, cv2.CV_32F, 0, 1))
    slope *= scene.foreground > 0.2
    top = slope.max()
    if top < 0.15:
        return None
    ys, xs = np.nonzero(slope > 0.5 * top)
    pick = int(rng.integers(len(ys)))
    return int(xs[pick]), int(ys[pick])


def as_float(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32)


def random_radius(scene: Scene, rng: np.random.Generator, low: float, high: float) -> float:
    """Log-uniform between two shares of the side, in pixels; at least 1.2."""
    share = np.exp(rng.uniform(np.log(low), np.log(high)))
    return max(1.2, float(share) * scene.image.shape[0])


def draw_blob(
    scene: Scene, rng: np.random.Generator, centre: tuple[int, int], radius: float, soft: float
) -> np.ndarray:
    """A lumpy spot, float32 (S, S) in [0, 1]."""
    rows, columns = grid_of(scene)
    turn, flat = rng.uniform(0, np.pi), rng.uniform(0.35, 1.0)
    x, y = columns - centre[0], rows - centre[1]
    u = (x * np.cos(turn) + y * np.sin(turn)) / radius
    v = (-x * np.sin(turn) + y * np.cos(turn)) / (radius * flat)
    distance = np.sqrt(u * u + v * v)
    lumps = rng.uniform(0.0, 0.35)
    if lumps > 0.05 and radius > 3:
        scale = max(radius / 14, 0.15) * 160 / scene.image.shape[0]
        distance = distance + lumps * slow_field(rng, scene.image.shape[0], scale)
    return np.clip((1 - distance) / max(soft, 1 / radius) + 0.5, 0, 1).astype(np.float32)


def draw_stroke(
    scene: Scene, points: np.ndarray, width_px: float, *, tapered: bool = False
) -> np.ndarray:
    """A line through pixel points (N, 2), float32 (S, S) in [0, 1]."""
    canvas = np.zeros(scene.image.shape[:2], np.uint8)
    scaled = (points * 16).astype(np.int32)
    if tapered:
        for i in range(len(points) - 1):
            width = max(1, round(width_px * (1 - abs(2 * i / (len(points) - 1) - 1)) + 0.5))
            cv2.line(canvas, scaled[i].tolist(), scaled[i + 1].tolist(), 255, width, cv2.LINE_AA, 4)
    else:
        cv2.polylines(canvas, [scaled], False, 255, max(1, round(width_px)), cv2.LINE_AA, 4)
    return canvas.astype(np.float32) / 255


def random_walk(
    start: tuple[int, int], rng: np.random.Generator, length: float, bend: float, steps: int
) -> np.ndarray:
    heading = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(size=steps) * bend)
    move = np.stack([np.cos(heading), np.sin(heading)], 1) * (length / steps)
    return np.concatenate([[np.array(start, float)], start + np.cumsum(move, 0)])


def paint(scene: Scene, alpha: np.ndarray, colour: np.ndarray) -> None:
    scene.image += (np.asarray(colour, np.float32) - scene.image) * alpha[..., None]


def contrasting_colour(scene: Scene, at: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    here = scene.image[at[1], at[0]]
    step = rng.uniform(0.12, 0.7) * (1 if rng.random() > here.mean() else -1)
    return np.clip(here + step + rng.normal(size=3) * 0.05, 0, 1)


def paint_backdrop(scene: Scene, alpha: np.ndarray) -> None:
    scene.image += (scene.backdrop - scene.image) * alpha[..., None]

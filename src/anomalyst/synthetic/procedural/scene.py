"""One instance of a product as drawn, and what defects are drawn on it with."""

from dataclasses import dataclass, field

import cv2
import numpy as np

from anomalyst.synthetic.procedural.noise import slow_field
from anomalyst.synthetic.procedural.product import Part
from anomalyst.synthetic.sampling import Rng, log_uniform, pixel_of

Spot = tuple[int, int]  # a pixel (x, y)


@dataclass(slots=True)
class Scene:
    """One instance of a product as drawn."""

    image: np.ndarray  # float32 (S, S, 3), RGB around [0, 1]
    backdrop: np.ndarray  # the same without the product
    foreground: np.ndarray  # float32 (S, S) in [0, 1]: where the product is
    matrix: np.ndarray  # (2, 3): body units -> pixels
    light_xy: tuple[float, float]  # direction the light comes from, unit length
    # What was laid down, lowest first, with its outline and holes in pixels; prints have none.
    placed: list[tuple[Part, list[np.ndarray]]] = field(default_factory=list)

    @property
    def size_px(self) -> int:
        """The side of the square picture."""
        return int(self.image.shape[0])

    @property
    def unit(self) -> float:
        """The side over 160 px, so that what is drawn scales with the picture."""
        return self.size_px / 160

    def random_spot(self, rng: Rng) -> Spot:
        """A random pixel of the product."""
        for _ in range(60):
            x, y = (int(v) for v in rng.integers(0, self.size_px, 2))
            if self.foreground[y, x] > 0.5:
                return x, y
        product = self.foreground > 0.5
        return pixel_of(product, rng) if product.any() else (self.size_px // 2, self.size_px // 2)

    def random_edge_spot(self, rng: Rng, strength: np.ndarray) -> Spot | None:
        """A pixel among the strongest edges of `strength`; None if it has no strong one."""
        grey = cv2.GaussianBlur(strength, (0, 0), 1.0)
        across, down = (cv2.Sobel(grey, cv2.CV_32F, dx, 1 - dx) for dx in (1, 0))
        slope = (np.abs(across) + np.abs(down)) * (self.foreground > 0.2)
        top = slope.max()
        return None if top < 0.15 else pixel_of(slope > 0.5 * top, rng)

    def random_radius(self, rng: Rng, low: float, high: float) -> float:
        """Log-uniform between two shares of the side, in pixels; at least 1.2."""
        return max(1.2, log_uniform(rng, low, high) * self.size_px)

    def offsets(self, at: Spot | tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
        """How far each pixel lies from a place: x (1, S) to the right, y (S, 1) down."""
        axis = np.arange(self.size_px, dtype=np.float32)
        return axis[None, :] - at[0], axis[:, None] - at[1]

    def draw_blob(self, rng: Rng, centre: Spot, radius: float, soft: float) -> np.ndarray:
        """A lumpy spot, float32 (S, S) in [0, 1]."""
        turn, flat = rng.uniform(0, np.pi), rng.uniform(0.35, 1.0)
        x, y = self.offsets(centre)
        u = (x * np.cos(turn) + y * np.sin(turn)) / radius
        v = (-x * np.sin(turn) + y * np.cos(turn)) / (radius * flat)
        distance = np.sqrt(u * u + v * v)
        lumps = rng.uniform(0.0, 0.35)
        if lumps > 0.05 and radius > 3:
            scale = max(radius / 14, 0.15) * 160 / self.size_px
            distance = distance + lumps * slow_field(rng, self.size_px, scale)
        return np.clip((1 - distance) / max(soft, 1 / radius) + 0.5, 0, 1).astype(np.float32)

    def random_patch(
        self, rng: Rng, radii: tuple[float, float], softness: tuple[float, float]
    ) -> np.ndarray:
        """A blob anywhere on the product and not beside it; `radii` as shares of the side."""
        at, radius = self.random_spot(rng), self.random_radius(rng, *radii)
        return self.draw_blob(rng, at, radius, rng.uniform(*softness)) * self.foreground

    def draw_stroke(
        self, points: np.ndarray, width_px: float, *, tapered: bool = False
    ) -> np.ndarray:
        """A line through pixel points (N, 2), float32 (S, S) in [0, 1]."""
        canvas = np.zeros(self.image.shape[:2], np.uint8)
        scaled = (points * 16).astype(np.int32)
        if tapered:
            for i in range(len(points) - 1):
                width = max(1, round(width_px * (1 - abs(2 * i / (len(points) - 1) - 1)) + 0.5))
                start, end = scaled[i : i + 2].tolist()
                cv2.line(canvas, start, end, 255, width, cv2.LINE_AA, 4)
        else:
            cv2.polylines(canvas, [scaled], False, 255, max(1, round(width_px)), cv2.LINE_AA, 4)
        return canvas.astype(np.float32) / 255

    def paint(self, alpha: np.ndarray, colour: np.ndarray) -> None:
        """Lay a colour (3,) or a picture (S, S, 3) over the scene."""
        self.image += (np.asarray(colour, np.float32) - self.image) * alpha[..., None]

    def contrasting_colour(self, at: Spot, rng: Rng) -> np.ndarray:
        """A colour clearly darker or brighter than the scene is there."""
        here = self.image[at[1], at[0]]
        step = rng.uniform(0.12, 0.7) * (1 if rng.random() > here.mean() else -1)
        return np.clip(here + step + rng.normal(size=3) * 0.05, 0, 1)

    def push_pixels(self, dx: np.ndarray, dy: np.ndarray) -> None:
        """Let each pixel show what lies (dx, dy) beside it."""
        columns, rows = self.offsets((0.0, 0.0))
        x, y = np.float32(columns + dx), np.float32(rows + dy)
        mirrored = cv2.BORDER_REFLECT
        self.image = cv2.remap(self.image, x, y, cv2.INTER_LINEAR, borderMode=mirrored)


def as_float(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32)


def random_walk(start: Spot, rng: Rng, length: float, bend: float, steps: int) -> np.ndarray:
    heading = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(size=steps) * bend)
    move = np.stack([np.cos(heading), np.sin(heading)], 1) * (length / steps)
    return np.concatenate([[np.array(start, float)], start + np.cumsum(move, 0)])

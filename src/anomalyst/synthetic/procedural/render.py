"""A product and a seed -> a scene: the picture before any defect and before the camera."""

from dataclasses import replace

import cv2
import numpy as np

from anomalyst.synthetic.procedural.material import render as render_material
from anomalyst.synthetic.procedural.product import Layout, Part, ProductSpec
from anomalyst.synthetic.procedural.scene import Scene
from anomalyst.synthetic.procedural.shapes import Shape
from anomalyst.synthetic.sampling import Rng

SUBPIXEL_BITS = 4


def draw(spec: ProductSpec, seed: int, size_px: int, layout: Layout | None = None) -> Scene:
    """Draw instance `seed` of a product; with another `layout`, the same instance altered.

    Two drawings with one seed differ only where their layouts do.
    """
    rng = np.random.default_rng(seed)
    matrix = _pose_matrix(spec, rng, size_px)
    light = rng.uniform(0, 2 * np.pi) if spec.pose.turn_deg > 90 else 0.8 + rng.normal() * 0.15
    light_xy = (-float(np.cos(light)), -float(np.sin(light)))
    size_hw = (size_px, size_px)
    backdrop = render_material(spec.background, _child(seed, 0), size_hw, size_px / 160)
    scene = Scene(backdrop.copy(), backdrop, np.ones(size_hw, np.float32), matrix, light_xy)
    if spec.body is not None:
        _draw_body(scene, spec, spec.body, seed)
    for key, part in enumerate(spec.parts) if layout is None else layout:
        _draw_part(scene, part, _child(seed, 10 + key))
    _draw_scatters(scene, spec, seed)
    return scene


def _child(seed: int, key: int) -> Rng:
    return np.random.default_rng((seed, key))


def _pose_matrix(spec: ProductSpec, rng: Rng, size_px: int) -> np.ndarray:
    turn = np.deg2rad(rng.uniform(-1, 1) * spec.pose.turn_deg)
    scale = size_px * spec.body_half * (1 + rng.uniform(-1, 1) * spec.pose.zoom)
    shift = (0.5 + rng.uniform(-1, 1, 2) * spec.pose.shift) * size_px
    cos, sin = np.cos(turn) * scale, np.sin(turn) * scale
    aspect = spec.body_aspect
    return np.array([[cos, -sin * aspect, shift[0]], [sin, cos * aspect, shift[1]]], np.float32)


def _draw_body(scene: Scene, spec: ProductSpec, shape: Shape, seed: int) -> None:
    body = Part(
        name=spec.noun,
        shape=_wobbled(shape, spec.wobble, _child(seed, 1)),
        material=spec.body_material or spec.background,
        half_size=1.0,
        bevel=spec.body_bevel,
        shadow=spec.body_shadow,
        gloss=spec.body_gloss,
        inside=False,
    )
    scene.foreground = np.zeros_like(scene.foreground)
    _draw_part(scene, body, _child(seed, 2))


def _wobbled(shape: Shape, amount: float, rng: Rng) -> Shape:
    if amount <= 0:
        return shape
    angle = np.arctan2(shape.outer[:, 1], shape.outer[:, 0])
    factor = np.ones(len(angle), np.float32)
    for wave in range(1, 6):
        strength = np.float32(amount * rng.normal() / wave)
        factor += strength * np.cos(wave * angle + rng.uniform(0, 6.3))
    return replace(shape, outer=(shape.outer * factor[:, None]).astype(np.float32))


def _draw_scatters(scene: Scene, spec: ProductSpec, seed: int) -> None:
    for index, scatter in enumerate(spec.scatters):
        rng = _child(seed, 1000 + index)
        for _ in range(int(rng.integers(scatter.count[0], scatter.count[1] + 1))):
            reach = 0.85 if spec.body is not None else 1.0
            radius, turn = reach * np.sqrt(rng.random()), rng.uniform(0, 2 * np.pi)
            centre = (float(radius * np.cos(turn)), float(radius * np.sin(turn)))
            if spec.body is None or spec.body.name == "rectangle":
                centre = (rng.uniform(-reach, reach), rng.uniform(-reach, reach))
            angle, factor = rng.uniform(0, 2 * np.pi), rng.uniform(0.75, 1.25)
            half = scatter.part.half_size * factor
            part = replace(scatter.part, centre_xy=centre, angle=angle, half_size=half)
            _draw_part(scene, part, rng)


def _draw_part(scene: Scene, part: Part, rng: Rng) -> None:
    if part.text:
        _print_text(scene, part, rng)
        return
    contours = _placed(scene, part, rng)
    scene.placed.append((part, contours))
    margin = int(2 + 6 * scene.unit * (part.shadow > 0 or part.bevel > 0))
    points = contours[0]
    x0, y0 = np.maximum(np.floor(points.min(0)).astype(int) - margin, 0)
    x1, y1 = np.minimum(np.ceil(points.max(0)).astype(int) + margin + 1, scene.size_px)
    if x1 - x0 < 2 or y1 - y0 < 2:
        return
    mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
    scaled = [np.int32((c - (x0, y0)) * (1 << SUBPIXEL_BITS)) for c in contours]
    cv2.fillPoly(mask, scaled, 255, cv2.LINE_AA, SUBPIXEL_BITS)
    alpha = mask.astype(np.float32) / 255
    here = np.s_[y0:y1, x0:x1]
    front = scene.foreground[here]
    if part.inside:
        alpha *= front
    if part.shadow > 0:
        _cast_shadow(scene, here, alpha, part.shadow)
    surface = render_material(part.material, rng, mask.shape, scene.unit)
    _shade(surface, alpha, part, scene, rng)
    target = scene.image[here]
    target += (surface - target) * alpha[..., None]
    if not part.inside:
        np.maximum(front, alpha, out=front)


def _placed(scene: Scene, part: Part, rng: Rng) -> list[np.ndarray]:
    """The part's contours in pixels, with its normal slack."""
    shift, turn = rng.uniform(-1, 1, 2) * part.slack, rng.uniform(-1, 1) * part.turn_slack
    angle, half = part.angle + turn, part.half_size
    cos, sin = np.cos(angle) * half, np.sin(angle) * half
    rotation = np.array([[cos, -sin], [sin, cos]], np.float32)
    centre = np.array(part.centre_xy, np.float32) + shift.astype(np.float32)
    # A part keeps its own proportions: the body's aspect moves its centre, not its outline.
    linear = scene.matrix[:, :2] if part.half_size >= 1 or not part.inside else _square(scene)
    middle = scene.matrix[:, :2] @ centre + scene.matrix[:, 2]
    outlines = (part.shape.outer, *part.shape.holes)
    return [outline @ rotation.T @ linear.T + middle for outline in outlines]


def _square(scene: Scene) -> np.ndarray:
    cos, sin = scene.matrix[0, 0], scene.matrix[1, 0]
    return np.array([[cos, -sin], [sin, cos]], np.float32)


def _cast_shadow(scene: Scene, here: tuple[slice, slice], alpha: np.ndarray, depth: float) -> None:
    move = 3.0 * scene.unit
    x, y = scene.light_xy
    matrix = np.array([[1, 0, -x * move], [0, 1, -y * move]], np.float32)
    shadow = cv2.warpAffine(alpha, matrix, (alpha.shape[1], alpha.shape[0]))
    shadow = cv2.GaussianBlur(shadow, (0, 0), 1.5 * scene.unit)
    scene.image[here] *= (1 - depth * shadow)[..., None]


def _shade(surface: np.ndarray, alpha: np.ndarray, part: Part, scene: Scene, rng: Rng) -> None:
    """Rounded rim and highlight, added in place."""
    light_x, light_y = scene.light_xy
    if part.bevel > 0:
        soft = cv2.GaussianBlur(alpha, (0, 0), 2.5 * scene.unit)
        scale = 0.125 * 2.5 * scene.unit
        slope_x = cv2.Sobel(soft, cv2.CV_32F, 1, 0, ksize=3, scale=scale)
        slope_y = cv2.Sobel(soft, cv2.CV_32F, 0, 1, ksize=3, scale=scale)
        rim = (slope_x * -light_x + slope_y * -light_y) * part.bevel * -4
        surface += rim[..., None] - (part.bevel * 0.5 * (1 - soft))[..., None]
    if part.gloss > 0:
        rows, columns = alpha.shape
        y = np.linspace(-1, 1, rows, dtype=np.float32)[:, None] - light_y * 0.35
        x = np.linspace(-1, 1, columns, dtype=np.float32)[None, :] - light_x * 0.35
        jitter = rng.normal(size=2) * 0.08
        spread = 0.12 + 0.15 * rng.random()
        spot = np.exp(-((x - jitter[0]) ** 2 + (y - jitter[1]) ** 2) / (2 * spread**2))
        surface += (spot * part.gloss)[..., None]


def _print_text(scene: Scene, part: Part, rng: Rng) -> None:
    height = max(4.0, part.half_size * float(np.hypot(scene.matrix[0, 0], scene.matrix[1, 0])))
    font, thick = cv2.FONT_HERSHEY_SIMPLEX, max(1, round(height / 9))
    (width, tall), base = cv2.getTextSize(part.text, font, height / 22, thick)
    stamp = np.zeros((tall + base + 4, width + 4), np.uint8)
    cv2.putText(stamp, part.text, (2, tall + 2), font, height / 22, 255, thick, cv2.LINE_AA)
    turn = part.angle + rng.uniform(-1, 1) * part.turn_slack
    turn += float(np.arctan2(scene.matrix[1, 0], scene.matrix[0, 0]))
    centre = np.array(part.centre_xy) + rng.uniform(-1, 1, 2) * part.slack
    middle = scene.matrix[:, :2] @ centre + scene.matrix[:, 2]
    cos, sin = np.cos(turn), np.sin(turn)
    half = np.array([stamp.shape[1] / 2, stamp.shape[0] / 2])
    offset = middle - np.array([[cos, -sin], [sin, cos]]) @ half
    matrix = np.array([[cos, -sin, offset[0]], [sin, cos, offset[1]]])
    size_wh = (scene.size_px, scene.size_px)
    ink = cv2.warpAffine(stamp, matrix, size_wh).astype(np.float32) / 255
    if part.inside:
        ink *= scene.foreground
    scene.paint(ink, np.array(part.material.colour))

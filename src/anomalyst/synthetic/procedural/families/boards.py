"""Electronics: bare boards, populated modules, solar cells."""

from dataclasses import replace

import numpy as np

from anomalyst.synthetic.procedural import shapes
from anomalyst.synthetic.procedural.families.draws import (
    Rng,
    background,
    clipped,
    draw_camera,
    draw_pose,
    grey,
    lattice,
    near,
    textured,
)
from anomalyst.synthetic.procedural.families.pieces import box, on_table, pad, printed
from anomalyst.synthetic.procedural.material import plain
from anomalyst.synthetic.procedural.product import Colour, Part, Pose, ProductSpec

LINE_SCAN = {"gradient": 0.05, "shade": 0.0, "bend": 0.0}  # even light, a rigid carrier


def bare_board(rng: Rng) -> ProductSpec:
    """Traces at 0, 45 and 90 degrees between pads and vias; half of them as a binary scan."""
    binary = bool(rng.random() < 0.5)
    board, copper = (
        ((0.97,) * 3, (0.03,) * 3)
        if binary
        else (
            clipped(np.array([0.1, 0.3, 0.15]) * rng.uniform(0.5, 2)),
            clipped(np.array([0.7, 0.5, 0.3])),
        )
    )
    if rng.random() < 0.4:
        board, copper = copper, board
    width, parts = float(rng.uniform(0.025, 0.14)), []
    steps = np.array([(1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1)])
    for _ in range(int(rng.integers(3, 12))):
        at, heading = rng.uniform(-1.1, 1.1, 2), int(rng.integers(8))
        points = [at]
        for _ in range(int(rng.integers(1, 4))):
            direction = steps[heading] / np.linalg.norm(steps[heading])
            points.append(points[-1] + direction * rng.uniform(0.3, 1.4))
            heading = (heading + int(rng.choice([-1, 1]))) % 8
        half = width * float(rng.choice([1, 1, 2.5]))
        for start, end in zip(points, points[1:], strict=False):
            parts.append(_trace(start, end, half, copper))
        if rng.random() < 0.7:
            parts.append(pad(points[0], half * rng.uniform(1.6, 2.4), copper, rng))
    for _ in range(int(rng.integers(0, 4))):
        centre = rng.uniform(-0.9, 0.9, 2)
        parts.append(pad(centre, rng.uniform(0.1, 0.3), copper, rng))
    return ProductSpec(
        family="bare board",
        noun="bare circuit board",
        background=plain(board, 0.0 if binary else 0.01),
        body_half=0.5,
        parts=tuple(parts[:44]),
        pose=Pose(turn_deg=0.0 if rng.random() < 0.5 else 1.0, shift=float(rng.uniform(0, 0.012))),
        camera=draw_camera(rng, binary=binary, **(LINE_SCAN if binary else {})),
    )


def _trace(start: np.ndarray, end: np.ndarray, half: float, colour: Colour) -> Part:
    middle, span = (start + end) / 2, (end - start) / 2
    length = float(np.hypot(*span)) + half * 0.8
    return Part(
        name="trace",
        shape=shapes.rectangle(length, half, 0.8),
        material=plain(colour, 0.0),
        centre_xy=(float(middle[0]), float(middle[1])),
        half_size=1.0,
        angle=float(np.arctan2(span[1], span[0])),
        inside=True,
    )


def circuit_module(rng: Rng) -> ProductSpec:
    mask = clipped(
        np.eye(3)[int(rng.integers(3))] * rng.uniform(0.2, 0.6) + rng.uniform(0, 0.25, 3)
    )
    tall, parts = float(rng.uniform(0.55, 1.0)), []
    silver, black = grey(rng, 0.65, 0.9), grey(rng, 0.02, 0.15)
    for _ in range(int(rng.integers(1, 4))):
        x, y = rng.uniform(-0.6, 0.6), rng.uniform(-0.6, 0.6) * tall
        chip = float(rng.uniform(0.12, 0.28))
        flat = float(rng.uniform(0.5, 1.0))
        for side in (-1, 1):
            for k in range(int(rng.integers(3, 6))):
                px = x + chip * (k / 2.5 - 0.8)
                parts.append(box("pin", silver, (px, y + side * chip * (flat + 0.15)), 0.03, 1.0))
        parts.append(replace(box("chip", black, (x, y), chip, flat), bevel=0.2, shadow=0.3))
        parts.append(printed(rng, silver, float(x), float(y), chip * 0.45))
    body = clipped(rng.uniform(0.3, 0.9, 3))
    for x, y in lattice(rng, int(rng.integers(1, 4)), int(rng.integers(2, 5)), 0.75, 0.7 * tall):
        parts.append(replace(box("resistor", silver, (x, y), 0.08, 0.5), turn_slack=0.04))
        parts.append(box("resistor body", near(rng, body, 0.02), (x, y), 0.05, 0.7))
    corners = [(sx * 0.86, sy * 0.84 * tall) for sx in (-1, 1) for sy in (-1, 1)]
    screw = Part(
        name="screw", shape=shapes.ring(0.5), material=plain(silver), half_size=0.08, bevel=0.3
    )
    parts += [replace(screw, centre_xy=c) for c in corners]
    for k in range(int(rng.integers(0, 5))):
        pin = box("header pin", silver, (-1.1, -0.4 + 0.2 * k), 0.16, 0.12)
        parts.append(replace(pin, inside=False, turn_slack=0.05))
    parts.append(printed(rng, (0.92, 0.92, 0.9), 0.3, -0.75 * tall, 0.1))
    return ProductSpec(
        family="circuit module",
        noun="circuit module",
        background=background(rng),
        body=shapes.rectangle(1.0, tall, 0.06),
        body_material=textured(rng, mask, ("plain", "grain", "stripes"), 0.05, fixed=True),
        body_half=float(rng.uniform(0.28, 0.42)),
        body_shadow=float(rng.uniform(0, 0.5)),
        parts=tuple(parts[:44]),
        pose=draw_pose(rng, ("fixed", "loose", "loose")),
        camera=draw_camera(rng),
    )


def cell_panel(rng: Rng) -> ProductSpec:
    """A solar cell or a display: fine lines over a plain ground."""
    ground = clipped(np.array([0.08, 0.1, 0.22]) * rng.uniform(0.5, 2.5))
    parts = []
    for y in np.linspace(-0.9, 0.9, int(rng.integers(4, 14))):
        parts.append(
            Part(
                name="finger",
                shape=shapes.rectangle(0.97, 0.008),
                material=plain(grey(rng, 0.6, 0.9)),
                half_size=1.0,
                centre_xy=(0.0, float(y)),
                group="fingers",
            )
        )
    for x in np.linspace(-0.6, 0.6, int(rng.integers(1, 4))):
        parts.append(
            Part(
                name="busbar",
                shape=shapes.rectangle(0.03, 0.97),
                material=plain(grey(rng, 0.7, 0.95)),
                half_size=1.0,
                centre_xy=(float(x), 0.0),
            )
        )
    look = textured(rng, ground, ("cells", "cloud", "plain"), 0.06)
    return on_table(
        rng,
        "cell panel",
        "solar cell",
        shapes.rectangle(1, 1, 0.1),
        look,
        parts=tuple(parts),
        body_half=0.46,
        pose=draw_pose(rng, ("fixed", "loose")),
    )


BOARDS = {
    "bare board": bare_board,
    "circuit module": circuit_module,
    "cell panel": cell_panel,
}

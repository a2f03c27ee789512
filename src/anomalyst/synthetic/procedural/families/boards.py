"""Electronics: bare boards, populated modules, solar cells."""

from dataclasses import replace

import numpy as np

from anomalyst.synthetic.procedural import shapes
from anomalyst.synthetic.procedural.families.draws import (
    background,
    draw_camera,
    draw_pose,
    grey,
    lattice,
    near,
    shade_of,
    textured,
)
from anomalyst.synthetic.procedural.families.pieces import (
    box,
    on_table,
    pad,
    piece,
    printed,
    product,
    repeated,
)
from anomalyst.synthetic.procedural.material import Colour, as_colour, plain
from anomalyst.synthetic.procedural.product import Part, Pose, ProductSpec
from anomalyst.synthetic.sampling import Rng

LINE_SCAN = {"gradient": 0.05, "shade": 0.0, "bend": 0.0}  # even light, a rigid carrier
MOST_PARTS = 44


def bare_board(rng: Rng) -> ProductSpec:
    """Traces at 0, 45 and 90 degrees between pads and vias; half of them as a binary scan."""
    binary = rng.random() < 0.5
    board, copper = (0.97, 0.97, 0.97), (0.03, 0.03, 0.03)
    if not binary:
        board, copper = shade_of(rng, (0.1, 0.3, 0.15), 0.5, 2), (0.7, 0.5, 0.3)
    if rng.random() < 0.4:
        board, copper = copper, board
    width, parts = rng.uniform(0.025, 0.14), list[Part]()
    for _ in range(int(rng.integers(3, 12))):
        parts += _run(rng, width, copper)
    for _ in range(int(rng.integers(0, 4))):
        centre = rng.uniform(-0.9, 0.9, 2)
        parts.append(pad(centre, rng.uniform(0.1, 0.3), copper, rng))
    return ProductSpec(
        family="bare board",
        noun="bare circuit board",
        background=plain(board, 0.0 if binary else 0.01),
        body_half=0.5,
        parts=tuple(parts[:MOST_PARTS]),
        pose=Pose(turn_deg=0.0 if rng.random() < 0.5 else 1.0, shift=rng.uniform(0, 0.012)),
        camera=draw_camera(rng, binary=binary, **(LINE_SCAN if binary else {})),
    )


def _run(rng: Rng, width: float, copper: Colour) -> list[Part]:
    """Straight traces one after the other, some with a pad where they begin."""
    steps = np.array([(1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1)])
    at, heading = rng.uniform(-1.1, 1.1, 2), int(rng.integers(8))
    points = [at]
    for _ in range(int(rng.integers(1, 4))):
        direction = steps[heading] / np.linalg.norm(steps[heading])
        points.append(points[-1] + direction * rng.uniform(0.3, 1.4))
        heading = (heading + int(rng.choice([-1, 1]))) % 8
    half = width * float(rng.choice([1, 1, 2.5]))
    parts = [_trace(*ends, half, copper) for ends in zip(points, points[1:], strict=False)]
    if rng.random() < 0.7:
        parts.append(pad(points[0], half * rng.uniform(1.6, 2.4), copper, rng))
    return parts


def _trace(start: np.ndarray, end: np.ndarray, half: float, colour: Colour) -> Part:
    middle, span = (start + end) / 2, (end - start) / 2
    shape = shapes.rectangle(float(np.hypot(*span)) + half * 0.8, half, 0.8)
    angle = float(np.arctan2(span[1], span[0]))
    return piece("trace", shape, plain(colour, 0.0), 1.0, middle, angle=angle)


def circuit_module(rng: Rng) -> ProductSpec:
    mask = as_colour(
        np.eye(3)[int(rng.integers(3))] * rng.uniform(0.2, 0.6) + rng.uniform(0, 0.25, 3)
    )
    tall, parts = rng.uniform(0.55, 1.0), list[Part]()
    silver, black = grey(rng, 0.65, 0.9), grey(rng, 0.02, 0.15)
    for _ in range(int(rng.integers(1, 4))):
        parts += _chip(rng, tall, silver, black)
    body = as_colour(rng.uniform(0.3, 0.9, 3))
    for centre in lattice(rng, int(rng.integers(1, 4)), int(rng.integers(2, 5)), 0.75, 0.7 * tall):
        parts.append(box("resistor", silver, centre, 0.08, 0.5, turn_slack=0.04))
        parts.append(box("resistor body", near(rng, body, 0.02), centre, 0.05, 0.7))
    corners = [(sx * 0.86, sy * 0.84 * tall) for sx in (-1, 1) for sy in (-1, 1)]
    parts += repeated(piece("screw", shapes.ring(0.5), silver, 0.08, bevel=0.3), corners)
    for k in range(int(rng.integers(0, 5))):
        pin = box("header pin", silver, (-1.1, -0.4 + 0.2 * k), 0.16, 0.12)
        parts.append(replace(pin, inside=False, turn_slack=0.05))
    parts.append(printed(rng, (0.92, 0.92, 0.9), 0.3, -0.75 * tall, 0.1))
    return product(
        rng,
        "circuit module",
        "circuit module",
        background(rng),
        parts[:MOST_PARTS],
        poses=("fixed", "loose", "loose"),
        body=shapes.rectangle(1.0, tall, 0.06),
        body_material=textured(rng, mask, ("plain", "grain", "stripes"), 0.05, fixed=True),
        body_half=rng.uniform(0.28, 0.42),
        body_shadow=rng.uniform(0, 0.5),
    )


def _chip(rng: Rng, tall: float, silver: Colour, black: Colour) -> list[Part]:
    """A chip with pins on two sides and print on it."""
    x, y = rng.uniform(-0.6, 0.6), rng.uniform(-0.6, 0.6) * tall
    half, flat, parts = rng.uniform(0.12, 0.28), rng.uniform(0.5, 1.0), []
    for side in (-1, 1):
        for k in range(int(rng.integers(3, 6))):
            centre = (x + half * (k / 2.5 - 0.8), y + side * half * (flat + 0.15))
            parts.append(box("pin", silver, centre, 0.03, 1.0))
    parts.append(box("chip", black, (x, y), half, flat, bevel=0.2, shadow=0.3))
    return [*parts, printed(rng, silver, x, y, half * 0.45)]


def cell_panel(rng: Rng) -> ProductSpec:
    """A solar cell or a display: fine lines over a plain ground."""
    ground, parts = shade_of(rng, (0.08, 0.1, 0.22), 0.5, 2.5), []
    finger, busbar = shapes.rectangle(0.97, 0.008), shapes.rectangle(0.03, 0.97)
    for y in np.linspace(-0.9, 0.9, int(rng.integers(4, 14))):
        parts.append(piece("finger", finger, grey(rng, 0.6, 0.9), 1.0, (0.0, y)))
    for x in np.linspace(-0.6, 0.6, int(rng.integers(1, 4))):
        parts.append(piece("busbar", busbar, grey(rng, 0.7, 0.95), 1.0, (x, 0.0)))
    look, body = (
        textured(rng, ground, ("cells", "cloud", "plain"), 0.06),
        shapes.rectangle(1, 1, 0.1),
    )
    pose = draw_pose(rng, ("fixed", "loose"))
    return on_table(rng, "cell panel", "solar cell", body, look, parts, body_half=0.46, pose=pose)

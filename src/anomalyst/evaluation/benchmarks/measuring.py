"""How well things of known size are measured: shapes, the drawn world's strokes, blurred maps.

Shapes are drawn by how much of each pixel they cover, at random angles and sub-pixel places; a mask
holds the pixels of which at least half is covered. Of strokes, drawn as the world draws scratches,
cracks and fibres, the length is that of their line and their width more, for round ends.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from scipy.ndimage import label

from anomalyst.inspector import Inspector
from anomalyst.io.pictures import encoded
from anomalyst.measuring.figures import measure
from anomalyst.measuring.medial import length_of
from anomalyst.measuring.settings import Measuring
from anomalyst.synthetic.procedural.episode import (
    WorldConfig,
    defective_picture,
    normal_picture,
)
from anomalyst.synthetic.procedural.families import draw_product
from anomalyst.synthetic.procedural.scene import Scene, random_walk
from anomalyst.synthetic.sampling import Rng
from anomalyst.types import SIZE_NAMES, Measure, Measures

FINE = 5  # subpixels along a pixel's side; odd, so that none is covered by just a half
SIDE_PX = 96
LARGER = 8  # how much larger strokes are drawn at first
Known = tuple[np.ndarray, dict[str, float]]  # a mask, and what is known of its figures in px
Inside = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredKind:
    """How one figure of one kind of drawn thing was measured."""

    kind: str
    figure: str
    things: int
    bias_px: float  # mean error
    sd_px: float
    near: float  # share within 3 % or 0.5 px, whichever is larger (of an area: px2)
    held: float  # share of intervals that hold the truth

    @classmethod
    def of(cls, kind: str, figure: str, pairs: Sequence[tuple[Measure, float]]) -> "MeasuredKind":
        """From measures and what is true."""
        error = np.array([found.value - true for found, true in pairs])
        allowed = np.array([max(0.03 * true, 0.5) for _, true in pairs])
        stated = np.array([found.plus_minus for found, _ in pairs])
        return cls(
            kind=kind,
            figure=figure,
            things=len(pairs),
            bias_px=float(error.mean()),
            sd_px=float(error.std()),
            near=float((np.abs(error) <= allowed).mean()),
            held=float((np.abs(error) <= stated).mean()),
        )


def bench_measuring(count: int, seed: int) -> list[MeasuredKind]:
    """Measure `count` drawn things of each kind."""
    found = []
    for kind, make in KINDS.items():
        rng = np.random.default_rng((seed, sum(map(ord, kind))))
        pairs: dict[str, list[tuple[Measure, float]]] = {}
        for _ in range(count):
            mask, known = make(rng)
            sizes = measure(mask).px
            for figure in SIZE_NAMES:
                if figure in known:
                    pairs.setdefault(figure, []).append((getattr(sizes, figure), known[figure]))
        found += [MeasuredKind.of(kind, figure, own) for figure, own in pairs.items()]
    return found


def rectangle(rng: Rng, *, thin: bool = False) -> Known:
    """One at any angle: thin, 4 to 9 times as long as wide, or compact."""
    long = rng.uniform(25, 80) if thin else rng.uniform(8, 50)
    wide = long / (rng.uniform(4, 9) if thin else rng.uniform(1, 2))
    cos, sin = _direction(rng)
    x0, y0 = _middle(rng)

    def inside(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        along, across = (x - x0) * cos + (y - y0) * sin, (y - y0) * cos - (x - x0) * sin
        return (np.abs(along) < long / 2) & (np.abs(across) < wide / 2)

    length = long if thin else math.hypot(long, wide)
    known = {"length": length, "width": wide, "area": long * wide, "perimeter": 2 * (long + wide)}
    return _covered(inside), known


def disc(rng: Rng) -> Known:
    """One of 6 to 80 px."""
    radius, (x0, y0) = rng.uniform(3, 40), _middle(rng)
    mask = _covered(lambda x, y: np.hypot(x - x0, y - y0) < radius)
    known = {"length": 2 * radius, "width": 2 * radius, "perimeter": 2 * math.pi * radius}
    return mask, known | {"area": math.pi * radius**2}


def arc(rng: Rng) -> Known:
    """A bent stroke with round ends: 90 to 270 degrees of a circle."""
    radius, half = rng.uniform(12, 38), rng.uniform(math.pi / 4, 0.75 * math.pi)
    width, turn, (x0, y0) = rng.uniform(1.5, 6), rng.uniform(0, 2 * math.pi), _middle(rng)
    cos, sin = math.cos(turn), math.sin(turn)
    end_x, end_y = radius * math.cos(half), radius * math.sin(half)

    def inside(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        # Turned so that the arc is symmetric about the first axis; its lower half is folded up.
        u, v = (x - x0) * cos + (y - y0) * sin, np.abs((y - y0) * cos - (x - x0) * sin)
        on = np.arctan2(v, u) <= half
        far = np.where(on, np.abs(np.hypot(u, v) - radius), np.hypot(u - end_x, v - end_y))
        return far < width / 2

    return _covered(inside), _known_stroke(2 * half * radius, width)


def scratch(rng: Rng) -> Known:
    """A stroke as bent as the world's scratches, without its pixels' rounding."""
    line = random_walk((0, 0), rng, rng.uniform(20, 80), rng.uniform(0, 0.12), 10)
    line = line - (line.min(0) + line.max(0)) / 2 + _middle(rng)
    return _stroked(line, rng.uniform(1.5, 5), length_of(line))


def world_stroke(rng: Rng, *, bent: bool = False) -> Known:
    """A scratch, or a crack or fibre, as the world draws them, at 8 times the size.

    Small strokes of OpenCV's are up to 1.5 px wider and longer than they are told to be; made
    smaller by the share of each pixel that they cover, these are a fifth of a pixel off.
    """
    scene = _blank(160)
    while True:
        bend, steps = (rng.uniform(0.12, 0.45), 22) if bent else (rng.uniform(0, 0.12), 10)
        length = scene.random_radius(rng, 0.1, 0.6)
        line = random_walk(scene.random_spot(rng), rng, length, bend, steps)
        width = rng.uniform(1.5, 4.0)
        whole = (line > width).all() and (line < scene.size_px - 1 - width).all()
        if whole and not _touches_itself(line, width):
            fine = _blank(160 * LARGER).draw_stroke(line * LARGER, width * LARGER)
            cover = fine.reshape(160, LARGER, 160, LARGER).mean((1, 3))
            ends = drawn_ends(round(width * LARGER)) / LARGER
            return cover >= 0.5, {"length": length_of(line) + ends}


@cache
def drawn_ends(width: int) -> float:
    """How much longer than its line a stroke of OpenCV's is: columns counted of level ones."""
    scene, more = _blank(160), []
    for sixteenth in range(16):
        x = 50 + sixteenth / 16
        mask = scene.draw_stroke(np.array([[x, 80.5], [x + 50, 80.5]]), width) >= 0.5
        more.append(np.count_nonzero(mask.any(0)) - 50)
    return float(np.mean(more))


@cache
def _blank(size_px: int) -> Scene:
    image = np.zeros((size_px, size_px, 3), np.float32)
    whole = np.ones((size_px, size_px), np.float32)
    return Scene(image, image, whole, np.zeros((2, 3), np.float32), (1.0, 0.0))


KINDS: dict[str, Callable[[Rng], Known]] = {
    "thin rectangle": lambda rng: rectangle(rng, thin=True),
    "compact rectangle": rectangle,
    "disc": disc,
    "arc": arc,
    "scratch": scratch,
    "world's scratch": world_stroke,
    "world's crack": lambda rng: world_stroke(rng, bent=True),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MappedLengths:
    """Lengths of regions as inspections measure them, beside those of the defects' own masks."""

    on: str  # "crisp masks", or "the blurred map" where the segmenter's mask is not believed
    regions: int
    median: float  # of measured over true
    low: float  # 2.5 % of the ratios are below
    high: float  # 2.5 % above
    held: float  # share of stated intervals that hold the truth


def bench_maps(inspector: Inspector, pictures: int, seed: int) -> list[MappedLengths]:
    """Inspect drawn pictures with one defect of one piece, beside one good one; measure it twice.

    By the region that covers most of it, and by its true mask. One that no region touches does
    not count: that is no measure.
    """
    pairs = list(_mapped(inspector, pictures, np.random.default_rng(seed)))
    by_way = {
        "crisp masks": [(one.px.length, true) for one, true in pairs if not one.note],
        "the blurred map": [(one.px.length, true) for one, true in pairs if one.note],
    }
    return [_lengths(way, some) for way, some in by_way.items() if some]


def _lengths(way: str, pairs: Sequence[tuple[Measure, float]]) -> MappedLengths:
    ratios = np.array([found.value / true for found, true in pairs])
    inside = [abs(found.value - true) <= found.plus_minus for found, true in pairs]
    low, median, high = np.quantile(ratios, (0.025, 0.5, 0.975))
    return MappedLengths(
        on=way,
        regions=len(pairs),
        median=float(median),
        low=float(low),
        high=float(high),
        held=float(np.mean(inside)),
    )


def _mapped(inspector: Inspector, pictures: int, rng: Rng) -> Iterator[tuple[Measures, float]]:
    config = WorldConfig(size_px=256)
    with TemporaryDirectory() as folder:
        good, query = Path(folder) / "good.png", Path(folder) / "query.png"
        for _ in range(pictures):
            spec = draw_product(rng)
            good.write_bytes(encoded(normal_picture(spec, rng, config.size_px)))
            picture, mask, _ = defective_picture(spec, rng, config)
            query.write_bytes(encoded(picture))
            if label(mask, np.ones((3, 3)))[1] != 1:
                continue
            product = inspector.teach("drawn", [good])
            product.measuring = Measuring(rules=("any: length < 1 px",))
            found = inspector.inspect(query, product)
            there = [
                (np.count_nonzero(mask[y0:y1, x0:x1]), one.measures)
                for one in found.regions
                for x0, y0, x1, y1 in [one.box_xyxy]
            ]
            shared, measures = max(there, key=lambda pair: pair[0], default=(0, None))
            if shared and measures:
                yield measures, measure(mask).px.length.value


def _covered(inside: Inside) -> np.ndarray:
    """Pixels of which at least half lies inside, bool (S, S)."""
    at = (np.arange(SIDE_PX * FINE) + 0.5) / FINE
    fine = inside(at[None, :], at[:, None])
    return fine.reshape(SIDE_PX, FINE, SIDE_PX, FINE).mean((1, 3)) >= 0.5


def _stroked(line: np.ndarray, width: float, length: float) -> Known:
    def inside(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        far = np.full((y.size, x.size), np.inf)
        for (x0, y0), (x1, y1) in zip(line[:-1], line[1:], strict=True):
            dx, dy = x1 - x0, y1 - y0
            share = ((x - x0) * dx + (y - y0) * dy) / max(dx * dx + dy * dy, 1e-12)
            share = np.clip(share, 0, 1)
            far = np.minimum(far, np.hypot(x - x0 - share * dx, y - y0 - share * dy))
        return far < width / 2

    return _covered(inside), _known_stroke(length, width)


def _known_stroke(length: float, width: float) -> dict[str, float]:
    """What is true of a stroke with round ends, from its line's length."""
    area, whole = length * width + math.pi * width**2 / 4, length + width
    around = 2 * length + math.pi * width
    return {"length": whole, "area": area, "width": area / whole, "perimeter": around}


def _touches_itself(line: np.ndarray, width: float) -> bool:
    """Whether pieces of a line that do not follow each other run into one another."""
    fine = np.concatenate(
        [np.linspace(a, b, 9)[:-1] for a, b in zip(line[:-1], line[1:], strict=True)]
    )
    along = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(fine, axis=0).T))])
    apart = np.hypot(*(fine[:, None] - fine[None]).transpose(2, 0, 1))
    return bool(((apart < width + 2) & (np.abs(along[:, None] - along) > 2 * (width + 3))).any())


def _direction(rng: Rng) -> tuple[float, float]:
    angle = rng.uniform(0, math.pi)
    return math.cos(angle), math.sin(angle)


def _middle(rng: Rng) -> tuple[float, float]:
    x, y = SIDE_PX / 2 + rng.uniform(-0.5, 0.5, 2)
    return float(x), float(y)

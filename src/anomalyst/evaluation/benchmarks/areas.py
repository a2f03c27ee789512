"""What ignore zones do on drawn products: false alarms, defects in and beside them, time."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from anomalyst.inspection.config import InspectorConfig
from anomalyst.inspector import Inspector
from anomalyst.io.areas import Area, Areas
from anomalyst.io.files import write_bytes
from anomalyst.io.masks import unpacked
from anomalyst.io.pictures import encoded
from anomalyst.product import Product
from anomalyst.synthetic.procedural.camera import photograph
from anomalyst.synthetic.procedural.families import FAMILIES, draw_product
from anomalyst.synthetic.procedural.product import ProductSpec
from anomalyst.synthetic.procedural.render import draw
from anomalyst.synthetic.sampling import Rng
from anomalyst.types import Inspection

SIZE_PX = 256
ZONE = 0.14  # half the side of the square zone, as a share of the picture's
SPOT = 0.03  # half the length of the planted spot, the same
APART = 0.12  # from the zone to a spot beside it


@dataclass(frozen=True, slots=True, kw_only=True)
class AreaFigures:
    """One drawn product; alarms are (without areas, with the ignore zone)."""

    family: str
    fresh: int  # new good pictures, each also with a spot in the zone and beside it
    alarms: tuple[int, int]  # of the good ones
    inside: tuple[int, int]  # with the spot in the zone
    outside: tuple[int, int]
    off: float  # how far the zone's middle lies from the part's, median, share of the side
    cost_ms: float  # of following the part, median
    whole_ms: float  # of an inspection with areas, median


@dataclass(frozen=True, slots=True)
class _Instance:
    picture: np.ndarray
    matrix: np.ndarray  # (2, 3): body units -> pixels
    product: np.ndarray  # bool (S, S)

    @classmethod
    def drawn(cls, spec: ProductSpec, rng: Rng) -> "_Instance":
        scene = draw(spec, int(rng.integers(1 << 62)), SIZE_PX)
        picture = photograph(scene.image, spec.camera, rng)
        return cls(picture, scene.matrix.astype(float), scene.foreground > 0.5)

    def at(self, body_xy: np.ndarray) -> tuple[float, float]:
        x, y = self.matrix[:, :2] @ body_xy + self.matrix[:, 2]
        return float(x), float(y)

    def body(self, pixel_xy: tuple[float, float]) -> np.ndarray:
        place: np.ndarray = np.linalg.solve(
            self.matrix[:, :2], np.array(pixel_xy) - self.matrix[:, 2]
        )
        return place


def bench_areas(
    products: int, *, good: int, fresh: int, rate: float, side_px: int
) -> Iterator[AreaFigures]:
    """Drawn products that have a body, one family after the other, each with a zone at random."""
    inspector = Inspector.load(config=InspectorConfig(side_px=side_px))
    families, found, number = list(FAMILIES), 0, 0
    while found < products:
        rng = np.random.default_rng((23, number))
        spec = draw_product(rng, only=[families[number % len(families)]])
        number += 1
        if spec.body is None:  # what fills its picture has nothing that could move
            continue
        found += 1
        yield _one(inspector, spec, rng, good, fresh, rate)


def _one(
    inspector: Inspector, spec: ProductSpec, rng: Rng, good: int, fresh: int, rate: float
) -> AreaFigures:
    with tempfile.TemporaryDirectory() as folder:
        taught = [_Instance.drawn(spec, rng) for _ in range(good)]
        paths = [_kept(Path(folder), f"good{i}", one.picture) for i, one in enumerate(taught)]
        zone, beside = _places(taught[0], rng)
        half = ZONE * SIZE_PX
        corners = ((-half, -half), (half, -half), (half, half), (-half, half))
        points = tuple((zone[0] + x, zone[1] + y) for x, y in corners)
        area = Area(name="zone", use="ignore", points_xy=points)
        areas = Areas(size_hw=(SIZE_PX, SIZE_PX), drawn=(area,))
        plain = inspector.teach(spec.family, paths, adapted=False)
        both = plain, inspector.with_areas(plain, areas)
        counts = {"good": [0, 0], "inside": [0, 0], "outside": [0, 0]}
        off, seconds = [], []
        for number in range(fresh):
            one = _Instance.drawn(spec, rng)
            spots = {"inside": zone, "outside": beside}
            moved = {name: one.at(taught[0].body(at)) for name, at in spots.items()}
            shown = {"good": one.picture}
            shown |= {name: _spotted(one.picture, at, rng) for name, at in moved.items()}
            for name, picture in shown.items():
                path = _kept(Path(folder), f"{name}{number}", picture)
                judged = [_judged(inspector, path, product, rate) for product in both]
                for which, seen in enumerate(judged):
                    counts[name][which] += seen.verdict == "anomalous"
            seconds.append(judged[1].seconds)
            off.append(_off(judged[1], moved["inside"]))
    return AreaFigures(
        family=spec.family,
        fresh=fresh,
        alarms=_pair(counts["good"]),
        inside=_pair(counts["inside"]),
        outside=_pair(counts["outside"]),
        off=float(np.median(off)) / SIZE_PX,
        cost_ms=1e3 * float(np.median([one["areas"] for one in seconds])),
        whole_ms=1e3 * float(np.median([sum(one.values()) for one in seconds])),
    )


def _judged(inspector: Inspector, path: Path, product: Product, rate: float) -> Inspection:
    return inspector.inspect(path, product, false_alarm_rate=rate)


def _pair(counts: list[int]) -> tuple[int, int]:
    return counts[0], counts[1]


def _places(first: _Instance, rng: Rng) -> tuple[tuple[float, float], tuple[float, float]]:
    """The middle of a zone on the product, and a place on it clear of the zone."""
    margin = ZONE * SIZE_PX + 1
    ys, xs = np.nonzero(first.product)
    within = (np.abs(np.stack([xs, ys]) - SIZE_PX / 2) < SIZE_PX / 2 - margin).all(0)
    clear = (ZONE + APART) * SIZE_PX
    while True:
        at = rng.choice(np.nonzero(within)[0])
        far = np.maximum(np.abs(xs - xs[at]), np.abs(ys - ys[at])) > clear
        if far.any():
            other = rng.choice(np.nonzero(far)[0])
            return (float(xs[at]), float(ys[at])), (float(xs[other]), float(ys[other]))


def _spotted(picture: np.ndarray, at: tuple[float, float], rng: Rng) -> np.ndarray:
    """With a spot that is clearly brighter or darker than its surroundings."""
    spotted = picture.copy()
    x, y = (int(np.clip(round(v), 0, SIZE_PX - 1)) for v in at)
    colour = (235, 235, 225) if picture[y, x].mean() < 128 else (25, 20, 25)
    long = round(SPOT * SIZE_PX)
    turn = float(rng.uniform(0, 180))
    cv2.ellipse(spotted, (x, y), (long, long // 2), turn, 0, 360, colour, -1, cv2.LINE_AA)
    return spotted


def _off(found: Inspection, at: tuple[float, float]) -> float:
    """Pixels between the middle of what is ignored and where the part has it."""
    assert found.ignored is not None
    ys, xs = np.nonzero(unpacked(found.ignored))
    if not len(xs):
        return float(SIZE_PX)
    return float(np.hypot(xs.mean() + 0.5 - at[0], ys.mean() + 0.5 - at[1]))


def _kept(folder: Path, name: str, picture: np.ndarray) -> Path:
    path = folder / f"{name}.png"
    write_bytes(path, encoded(picture))
    return path

"""One episode: good pictures of a product, a query, its mask, and the truth in words."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from anomalyst.io.colours import colour_name
from anomalyst.synthetic.procedural.camera import bending, bent, photograph
from anomalyst.synthetic.procedural.defects import DEFECTS, apply_defect
from anomalyst.synthetic.procedural.families import draw_product
from anomalyst.synthetic.procedural.faults import alter_layout
from anomalyst.synthetic.procedural.product import ProductSpec
from anomalyst.synthetic.procedural.render import Scene, draw
from anomalyst.types import place_of, size_of


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldConfig:
    """What episodes are like."""

    size_px: int = 160  # side of the square pictures
    references: tuple[int, int] = (1, 3)  # least and most good pictures per episode
    anomalous_share: float = 0.6  # of the queries; the others are normal
    layout_share: float = 0.3  # of the anomalous queries of products with parts
    families: tuple[str, ...] = ()  # only these; empty means all
    without: tuple[str, ...] = ()  # leave these families out

    def __post_init__(self) -> None:
        if not 1 <= self.references[0] <= self.references[1]:
            raise ValueError(f"references is {self.references}; least and most, at least 1.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Defect:
    """The truth about one defect."""

    kind: str
    box_xyxy: tuple[int, int, int, int]
    area_px: int
    place: str
    size: str  # "tiny", "small", "medium", "large"
    severity: float  # mean visible change inside, [0, 1]
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What is known about an episode's query, in words."""

    family: str
    noun: str
    colours: tuple[str, ...]  # of the product, then of its background if it has one
    parts: dict[str, int]  # part noun -> how many the normal product has
    pose_fixed: bool
    defects: tuple[Defect, ...] = field(default=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """Good pictures, a query and its truth."""

    references: np.ndarray  # uint8 (K, S, S, 3)
    query: np.ndarray  # uint8 (S, S, 3)
    mask: np.ndarray  # bool (S, S)
    truth: Truth


def make_episode(seed: int | Sequence[int], config: WorldConfig | None = None) -> Episode:
    """The episode of a seed: the same seed and config give the same bytes."""
    config = config or WorldConfig()
    rng = np.random.default_rng(seed)
    spec = draw_product(rng, only=config.families or None, without=config.without)
    count = int(rng.integers(config.references[0], config.references[1] + 1))
    references = np.stack([normal_picture(spec, rng, config.size_px) for _ in range(count)])
    if rng.random() < config.anomalous_share:
        query, mask, truth = spoiled_picture(spec, rng, config)
    else:
        query = normal_picture(spec, rng, config.size_px)
        mask, truth = np.zeros(query.shape[:2], bool), describe(spec)
    return Episode(references=references, query=query, mask=mask, truth=truth)


def normal_picture(spec: ProductSpec, rng: np.random.Generator, size_px: int) -> np.ndarray:
    """A good picture of a new instance, uint8 (S, S, 3)."""
    source = bending(spec.camera, rng, size_px)
    image = bent(draw(spec, _seed(rng), size_px).image, source)
    return photograph(image, spec.camera, rng)


def spoiled_picture(
    spec: ProductSpec, rng: np.random.Generator, config: WorldConfig
) -> tuple[np.ndarray, np.ndarray, Truth]:
    """A picture of a new instance with one to three defects, its mask and its truth.

    Now and then no defect could be seen; then the mask is empty and the truth says so.
    """
    scene, planted = _spoiled(spec, rng, config)
    source = bending(spec.camera, rng, config.size_px)
    moved = [(kind, bent(one, source), severity) for kind, one, severity in planted]
    found = [defect for defect in moved if defect[1].any()]
    mask = np.zeros(scene.image.shape[:2], bool)
    for _, one, _ in found:
        mask |= one
    image = bent(scene.image, source)
    return photograph(image, spec.camera, rng), mask, describe(spec, found)


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(1 << 62))


def _spoiled(
    spec: ProductSpec, rng: np.random.Generator, config: WorldConfig
) -> tuple[Scene, list[tuple[str, np.ndarray, float]]]:
    """An instance with one to three defects: (scene, [(kind, mask, severity)])."""
    seed = _seed(rng)
    found: list[tuple[str, np.ndarray, float]] = []
    scene = draw(spec, seed, config.size_px)
    if rng.random() < config.layout_share:
        altered = _with_fault(spec, seed, scene, rng)
        if altered is not None:
            scene, one = altered
            found.append(one)
    wanted = int(rng.choice([1, 1, 1, 2, 3])) if not found else int(rng.random() < 0.15)
    for _ in range(wanted * 3):
        if len(found) >= wanted + (1 if wanted == 0 else 0):
            break
        kind = str(rng.choice(list(DEFECTS)))
        before = scene.image.copy()
        mask = apply_defect(scene, rng, kind)
        if mask.any():
            change = np.abs(scene.image - before).max(2)
            found.append((kind, mask, float(change[mask].mean())))
    return scene, found


def _with_fault(
    spec: ProductSpec, seed: int, normal: Scene, rng: np.random.Generator
) -> tuple[Scene, tuple[str, np.ndarray, float]] | None:
    """The same instance with its layout altered; its mask is where the two drawings differ."""
    fault = alter_layout(spec, rng)
    if fault is None:
        return None
    scene = draw(spec, seed, normal.image.shape[0], fault.layout)
    change = np.abs(scene.image - normal.image).max(2)
    mask = cv2.morphologyEx((change > 0.06).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3)))
    if mask.sum() < 6:
        return None
    where = mask.astype(bool)
    return scene, (fault.kind, where, float(change[where].mean()))


def describe(spec: ProductSpec, found: Sequence[tuple[str, np.ndarray, float]] = ()) -> Truth:
    """What is true of a picture of this product with the defects (kind, mask, severity)."""
    colours = [colour_name((spec.body_material or spec.background).colour)]
    if spec.body is not None:
        colours.append(colour_name(spec.background.colour))
    parts: dict[str, int] = {}
    for part in spec.parts:
        parts[part.name] = parts.get(part.name, 0) + 1
    return Truth(
        family=spec.family,
        noun=spec.noun,
        colours=tuple(colours),
        parts=parts,
        pose_fixed=spec.pose.fixed,
        defects=tuple(_defect(spec.noun, kind, mask, level) for kind, mask, level in found),
    )


def _defect(noun: str, kind: str, mask: np.ndarray, severity: float) -> Defect:
    ys, xs = np.nonzero(mask)
    box = (int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1)
    place = place_of((float(xs.mean()), float(ys.mean())), mask.shape)
    word = size_of(len(ys), mask.shape)
    return Defect(
        kind=kind,
        box_xyxy=box,
        area_px=len(ys),
        place=place,
        size=word,
        severity=min(1.0, severity),
        sentence=f"The {noun} has a {word} {kind} at the {place}.",
    )


def at_size(config: WorldConfig, size_px: int) -> WorldConfig:
    """The same world drawn at another size."""
    return replace(config, size_px=size_px)

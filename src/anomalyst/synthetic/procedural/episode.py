"""One episode: good pictures of a product, a query, its mask, and the truth in words."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from anomalyst.io.colours import colour_name
from anomalyst.synthetic.procedural.camera import bending, bent, photograph
from anomalyst.synthetic.procedural.defects import DEFECTS, apply_defect
from anomalyst.synthetic.procedural.families import draw_product
from anomalyst.synthetic.procedural.faults import alter_layout
from anomalyst.synthetic.procedural.product import Layout, ProductSpec
from anomalyst.synthetic.procedural.render import draw
from anomalyst.synthetic.procedural.scene import Scene
from anomalyst.synthetic.sampling import Rng, one_of
from anomalyst.types import place_of, size_of

Found = tuple[str, np.ndarray, float]  # a defect's kind, its mask, its mean visible change
LEAST_SEEN_PX = 6  # of a fault of the layout; a smaller one cannot be seen
DEFECT_TRIES = 40  # instances on which a defect of the wanted kind was tried
FAULT_TRIES = 60  # layouts altered until one has a fault of the wanted kind


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
    defects: tuple[Defect, ...] = ()


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
        query, mask, truth = defective_picture(spec, rng, config)
    else:
        query = normal_picture(spec, rng, config.size_px)
        mask, truth = np.zeros(query.shape[:2], bool), describe(spec)
    return Episode(references=references, query=query, mask=mask, truth=truth)


def normal_picture(spec: ProductSpec, rng: Rng, size_px: int) -> np.ndarray:
    """A good picture of a new instance, uint8 (S, S, 3)."""
    source = bending(spec.camera, rng, size_px)
    image = bent(draw(spec, _seed(rng), size_px).image, source)
    return photograph(image, spec.camera, rng)


def defective_picture(
    spec: ProductSpec, rng: Rng, config: WorldConfig
) -> tuple[np.ndarray, np.ndarray, Truth]:
    """A picture of a new instance with one to three defects, its mask and its truth.

    Now and then no defect could be seen; then the mask is empty and the truth says so.
    """
    image, planted = _defective_image(spec, rng, config)
    source = bending(spec.camera, rng, config.size_px)
    moved = [(kind, bent(one, source), severity) for kind, one, severity in planted]
    found = [defect for defect in moved if defect[1].any()]
    mask = np.zeros(image.shape[:2], bool)
    for _, one, _ in found:
        mask |= one
    return photograph(bent(image, source), spec.camera, rng), mask, describe(spec, found)


def faulty_picture(
    spec: ProductSpec, rng: Rng, size_px: int, kinds: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, str] | None:
    """A new instance with one fault of the layout: its picture, its mask, its kind.

    The kind is one of `kinds`, in the words of `faults.py`. None where the product has no part
    that could have it, or nothing of it could be seen.
    """
    for _ in range(FAULT_TRIES):
        fault = alter_layout(spec, rng)
        if fault is None:
            return None
        kind, layout = fault
        if kind not in kinds:
            continue
        seed = _seed(rng)
        scene, mask, _ = altered_scene(spec, seed, draw(spec, seed, size_px), layout)
        source = bending(spec.camera, rng, size_px)
        seen = bent(mask, source)
        if mask.sum() >= LEAST_SEEN_PX and seen.any():
            return photograph(bent(scene.image, source), spec.camera, rng), seen, kind
    return None


def damaged_picture(
    spec: ProductSpec, rng: Rng, size_px: int, kind: str
) -> tuple[np.ndarray, np.ndarray] | None:
    """A new instance with one defect of `kind` (DEFECTS): its picture and its mask.

    None where nothing of it could be seen on any of some instances.
    """
    for _ in range(DEFECT_TRIES):
        scene = draw(spec, _seed(rng), size_px)
        mask = apply_defect(scene, rng, kind)
        source = bending(spec.camera, rng, size_px)
        seen = bent(mask, source)
        if mask.any() and seen.any():
            return photograph(bent(scene.image, source), spec.camera, rng), seen
    return None


def _seed(rng: Rng) -> int:
    return int(rng.integers(1 << 62))


def _defective_image(
    spec: ProductSpec, rng: Rng, config: WorldConfig
) -> tuple[np.ndarray, list[Found]]:
    """An instance with one to three defects, before the camera."""
    seed = _seed(rng)
    scene = draw(spec, seed, config.size_px)
    found: list[Found] = []
    if rng.random() < config.layout_share and (fault := alter_layout(spec, rng)):
        kind, layout = fault
        altered, mask, change = altered_scene(spec, seed, scene, layout)
        if mask.sum() >= LEAST_SEEN_PX:
            scene = altered
            found.append(_found(kind, mask, change))
    wanted = int(rng.choice([1, 1, 1, 2, 3])) if not found else int(rng.random() < 0.15)
    for _ in range(wanted * 3):
        if len(found) >= wanted:
            break
        kind = one_of(rng, list(DEFECTS))
        before = scene.image.copy()
        mask = apply_defect(scene, rng, kind)
        if mask.any():
            found.append(_found(kind, mask, np.abs(scene.image - before).max(2)))
    return scene.image, found


def _found(kind: str, mask: np.ndarray, change: np.ndarray) -> Found:
    return kind, mask, float(change[mask].mean())


def altered_scene(
    spec: ProductSpec, seed: int, normal: Scene, layout: Layout
) -> tuple[Scene, np.ndarray, np.ndarray]:
    """The same instance with another layout, where the two drawings differ, and by how much."""
    scene = draw(spec, seed, normal.image.shape[0], layout)
    change = np.abs(scene.image - normal.image).max(2)
    mask = cv2.morphologyEx((change > 0.06).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3)))
    return scene, mask.astype(bool), change


def describe(spec: ProductSpec, found: Sequence[Found] = ()) -> Truth:
    """What is true of a picture of this product with these defects."""
    colours = [colour_name((spec.body_material or spec.background).colour)]
    if spec.body is not None:
        colours.append(colour_name(spec.background.colour))
    return Truth(
        family=spec.family,
        noun=spec.noun,
        colours=tuple(colours),
        parts=dict(Counter(part.name for part in spec.parts)),
        pose_fixed=spec.pose.fixed,
        defects=tuple(_defect(spec.noun, *one) for one in found),
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

"""One drawn part and its fault, as six senses tell of it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from anomalyst.errors import AnomalystError
from anomalyst.synthetic.procedural.camera import bending, bent, photograph
from anomalyst.synthetic.procedural.defects import DEFECTS, apply_defect
from anomalyst.synthetic.procedural.episode import (
    LEAST_SEEN_PX,
    Truth,
    altered_scene,
    describe,
)
from anomalyst.synthetic.procedural.families import draw_product
from anomalyst.synthetic.procedural.faults import alter_layout
from anomalyst.synthetic.procedural.product import Layout, ProductSpec
from anomalyst.synthetic.procedural.render import draw
from anomalyst.synthetic.procedural.scene import Scene
from anomalyst.synthetic.sampling import Rng, one_of
from anomalyst.synthetic.senses import heat, relief
from anomalyst.synthetic.senses.conditions import CONDITIONS, Condition, kinds_of
from anomalyst.synthetic.senses.machine import Machine, Running, machine_of, running
from anomalyst.synthetic.senses.relief import Fault
from anomalyst.synthetic.senses.sentences import captions
from anomalyst.synthetic.senses.sound import sound_of
from anomalyst.synthetic.senses.vibration import vibration_of

TRIES = 40  # faults drawn until one can be seen; then the part stays sound
SURFACE = frozenset(DEFECTS)
FAULTY = tuple(one for one in CONDITIONS if one != "sound")


@dataclass(frozen=True, slots=True, kw_only=True)
class SensesConfig:
    """What sensed parts are like."""

    size_px: int = 128  # side of pictures, depth and heat
    faulty_share: float = 0.65  # of the parts, as far as a fault can be seen
    captions: int = 4  # texts for each part
    families: tuple[str, ...] = ()  # only these; empty means all
    without: tuple[str, ...] = ()  # leave these families out

    def __post_init__(self) -> None:
        if self.size_px < 32 or self.captions < 1 or not 0 <= self.faulty_share <= 1:
            raise AnomalystError(
                f"senses: size_px {self.size_px}, captions {self.captions}, faulty_share "
                f"{self.faulty_share}; 32 or more, 1 or more and a share are needed."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class SensedTruth:
    """What is true of a sensed part."""

    seen: Truth  # in the picture
    kind: str  # of its fault, in the world's words; "" of a sound part
    condition: Condition
    severity: float  # 0 sound .. 1
    machine: Machine
    shaft_hz: float
    modes_hz: tuple[float, ...]
    mask: np.ndarray  # bool (S, S): where the fault is


@dataclass(frozen=True, slots=True, kw_only=True)
class SensedPart:
    """The same part and fault by every sense."""

    picture: np.ndarray  # uint8 (S, S, 3)
    sentences: tuple[str, ...]
    depth_mm: np.ndarray  # float32 (S, S), from the camera; NaN where it saw nothing
    heat_c: np.ndarray  # float32 (S, S), degrees Celsius
    sound: np.ndarray  # float32 (32000,) in [-1, 1], 16 kHz
    imu: np.ndarray  # float32 (2000, 6), 400 Hz: vibration.CHANNELS
    truth: SensedTruth


def make_sensed_part(seed: int | Sequence[int], config: SensesConfig | None = None) -> SensedPart:
    """The part of a seed, of a random product: the same seed and config give the same bytes."""
    config = config or SensesConfig()
    rng = np.random.default_rng(seed)
    spec = draw_product(rng, only=config.families or None, without=config.without)
    product_seed = _seed(rng)
    faulty = rng.random() < config.faulty_share
    possible = _possible(spec)
    condition: Condition = possible[int(rng.integers(len(possible)))] if faulty else "sound"
    return _sensed(spec, product_seed, condition, rng, config)


def sensed_product(
    seed: int | Sequence[int],
    config: SensesConfig | None = None,
    *,
    good: int = 8,
    faulty: int = 8,
) -> tuple[list[SensedPart], list[SensedPart]]:
    """Sound and faulty instances of one product; conditions take turns.

    Now and then no fault could be seen on a product; there are fewer faulty ones then.
    """
    config = config or SensesConfig()
    rng = np.random.default_rng(seed)
    spec = draw_product(rng, only=config.families or None, without=config.without)
    product_seed = _seed(rng)
    sound = [_sensed(spec, product_seed, "sound", rng, config) for _ in range(good)]
    possible = _possible(spec)
    wanted = [possible[number % len(possible)] for number in range(faulty)]
    others = [_sensed(spec, product_seed, condition, rng, config) for condition in wanted]
    return sound, [part for part in others if part.truth.kind]


def _possible(spec: ProductSpec) -> list[Condition]:
    """What may befall the product: without parts, nothing comes loose."""
    return [one for one in FAULTY if kinds_of(one, layout=bool(spec.parts), surface=SURFACE)]


def _sensed(
    spec: ProductSpec, product_seed: int, condition: Condition, rng: Rng, config: SensesConfig
) -> SensedPart:
    """One instance in a condition, sound where no fault can be seen, by every sense."""
    size, seed = config.size_px, _seed(rng)
    scene = draw(spec, seed, size)
    fault: Fault | None = None
    if condition != "sound":
        scene, fault = _with_fault(spec, seed, scene, condition, rng)
    source = bending(spec.camera, rng, size)
    run = running(machine_of(spec), condition if fault else "sound", _severity(fault), rng)
    truth = _truth(spec, run, fault, source, size)
    heights = bent(relief.heights_mm(scene, spec, product_seed, fault), source)
    field = bent(heat.heat_c(scene, spec, product_seed, run, fault), source)
    return SensedPart(
        picture=photograph(bent(scene.image, source), spec.camera, rng),
        sentences=captions(truth.seen, run, truth.kind, rng, config.captions),
        depth_mm=relief.as_seen(heights, rng),
        heat_c=heat.as_seen(field, rng),
        sound=sound_of(run),
        imu=vibration_of(run),
        truth=truth,
    )


def _severity(fault: Fault | None) -> float:
    """What is plain to see matters more to the machine; what can be seen at all, by half."""
    if fault is None:
        return 0.0
    return float(np.clip(0.5 + fault.severity + 2 * fault.mask.mean(), 0.5, 1.0))


def _truth(
    spec: ProductSpec, run: Running, fault: Fault | None, source: np.ndarray | None, size_px: int
) -> SensedTruth:
    """The facts, places as the bent picture shows them."""
    mask = np.zeros((size_px, size_px), bool) if fault is None else bent(fault.mask, source)
    found = [(fault.kind, mask, fault.severity)] if fault is not None and mask.any() else []
    return SensedTruth(
        seen=describe(spec, found),
        kind="" if fault is None else fault.kind,
        condition=run.condition,
        severity=run.severity,
        machine=run.machine,
        shaft_hz=run.shaft_hz,
        modes_hz=run.modes_hz,
        mask=mask,
    )


def _with_fault(
    spec: ProductSpec, seed: int, scene: Scene, condition: Condition, rng: Rng
) -> tuple[Scene, Fault | None]:
    """The scene with one fault of the condition; unharmed and None where none could be seen."""
    kinds = kinds_of(condition, layout=bool(spec.parts), surface=SURFACE)
    for _ in range(TRIES):
        kind = one_of(rng, kinds)
        if kind in SURFACE:
            before = scene.image.copy()
            mask = apply_defect(scene, rng, kind)
            if mask.any():
                change = np.abs(scene.image - before).max(2)
                return scene, Fault(kind, mask, float(change[mask].mean()), of_layout=False)
        elif layout := _layout_with(spec, kind, rng):
            altered, mask, change = altered_scene(spec, seed, scene, layout)
            if mask.sum() >= LEAST_SEEN_PX:
                return altered, Fault(kind, mask, float(change[mask].mean()), of_layout=True)
    return scene, None


def _layout_with(spec: ProductSpec, kind: str, rng: Rng) -> Layout | None:
    """A layout with a fault of this kind, if one of some draws has it."""
    for _ in range(TRIES):
        fault = alter_layout(spec, rng)
        if fault is not None and fault[0] == kind:
            return fault[1]
    return None


def _seed(rng: Rng) -> int:
    return int(rng.integers(1 << 62))

"""How often a clean set of good pictures is called odd, and a defective one among them is found."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from anomalyst.datasets.splits import k_shot
from anomalyst.errors import AnomalystError
from anomalyst.inspector import Inspector
from anomalyst.io.files import write_bytes
from anomalyst.io.geometry import Box
from anomalyst.io.masks import mask_box
from anomalyst.io.pictures import encoded, open_mask, open_picture
from anomalyst.synthetic.procedural.episode import WorldConfig, defective_picture, normal_picture
from anomalyst.synthetic.procedural.families import draw_product
from anomalyst.teaching.duplicates import near_copies
from anomalyst.types import Sample

SIZE_PX = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class OddDraw:
    """A set of good pictures, taught as it is and with a defective one in the place of the last."""

    name: str  # of the drawn family, or the category
    good: int  # beside the defective one
    false: int  # pictures of the clean set called odd
    found: bool  # the defective one was called odd
    beside: int  # good pictures called odd with it
    at_place: bool | None  # the oddest place meets the defect; None: not found, or no mask
    copies: int  # groups of the clean set called copies of each other


@dataclass(frozen=True, slots=True, kw_only=True)
class _Set:
    name: str
    clean: list[Path]
    defective: Path
    box_xyxy: Box | None  # around the defect


def drawn_sets(folder: Path, count: int, good: int, seed: int) -> Iterator[_Set]:
    """Drawn products of all families: `good` + 1 good pictures and a defective one of each."""
    world = WorldConfig(size_px=SIZE_PX)
    for number in range(count):
        rng = np.random.default_rng((seed, number))
        spec = draw_product(rng)
        clean = [
            _kept(folder / f"{number}-{index}.png", normal_picture(spec, rng, SIZE_PX))
            for index in range(good + 1)
        ]
        mask = np.zeros((1, 1), bool)
        while not mask.any():  # now and then nothing of a defect can be seen
            picture, mask, truth = defective_picture(spec, rng, world)
        defective = _kept(folder / f"{number}-defective.png", picture)
        yield _Set(name=truth.family, clean=clean, defective=defective, box_xyxy=mask_box(mask))


def real_sets(samples: Sequence[Sample], count: int, good: int, seed: int) -> Iterator[_Set]:
    """Draws of `good` + 1 good training pictures and a defective test picture, per category."""
    for category in sorted({one.category for one in samples}):
        own = [one for one in samples if one.category == category]
        bad = sorted((one for one in own if one.label == "anomalous"), key=lambda s: s.image)
        if not bad:
            raise AnomalystError(f"{category}: has no defective test picture to plant.")
        for number in range(count):
            clean = [one.image for one in k_shot(own, good + 1, seed + number)]
            picked = bad[int(np.random.default_rng((seed, number)).integers(len(bad)))]
            box = None
            if picked.mask is not None:
                size = open_picture(picked.image).shape[:2]
                box = mask_box(open_mask(picked.mask, (size[0], size[1])))
            yield _Set(name=category, clean=clean, defective=picked.image, box_xyxy=box)


def bench_odd(sets: Iterator[_Set], inspector: Inspector | None = None) -> Iterator[OddDraw]:
    """Each set taught clean and with its defective picture, as `anomalyst teach` does."""
    inspector = inspector or Inspector.load()
    for one in sets:
        clean = inspector.teach(one.name, one.clean)
        planted = inspector.teach(one.name, [*one.clean[:-1], one.defective])
        found = next((odd for odd in planted.odd if odd.image == one.defective), None)
        at_place = None
        if found is not None and one.box_xyxy is not None:
            at_place = _meet(found.regions[0].box_xyxy, one.box_xyxy)
        yield OddDraw(
            name=one.name,
            good=len(one.clean) - 1,
            false=len(clean.odd),
            found=found is not None,
            beside=len(planted.odd) - (found is not None),
            at_place=at_place,
            copies=len(near_copies([open_picture(path) for path in one.clean])),
        )


def _kept(path: Path, picture: np.ndarray) -> Path:
    write_bytes(path, encoded(picture, ".png"))
    return path


def _meet(one: Box, other: Box) -> bool:
    wide = min(one[2], other[2]) - max(one[0], other[0])
    tall = min(one[3], other[3]) - max(one[1], other[1])
    return wide > 0 and tall > 0

"""Anomalies planted on good pictures, whatever the method: good pictures and a seed -> `Made`.

The methods learn nothing and look at good pictures only, so what is trained on them needs no
defective part.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from anomalyst.errors import AnomalystError
from anomalyst.io.geometry import resize
from anomalyst.synthetic.anomalies import cutpaste, patch_blend, perlin, procedural_defects
from anomalyst.synthetic.anomalies.base import Ground, Planted
from anomalyst.synthetic.product_constants import Traits, estimated
from anomalyst.synthetic.sampling import Rng
from anomalyst.types import place_of

Method = Callable[[Ground, Rng], Planted | None]


def _mixed(ground: Ground, rng: Rng) -> Planted | None:
    """Cut out or drawn, at random: what found most real defects (docs/benchmarks.md)."""
    return (cutpaste.plant if rng.random() < 0.5 else procedural_defects.plant)(ground, rng)


METHODS: dict[str, Method] = {
    "mixed": _mixed,
    "patch-blend": patch_blend.plant,
    "cutpaste": cutpaste.plant,
    "perlin": perlin.plant,
    "world": procedural_defects.plant,
}
TRIES = 30  # of one defect before the picture is given up
SECOND_SHARE = 0.5  # of the pictures get a second defect
LEAST_SHARE = 0.0002  # of the picture that a defect covers


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A picture with planted defects, and the truth about them."""

    picture: np.ndarray  # uint8 (H, W, 3)
    mask: np.ndarray  # bool (H, W), never empty
    soft: np.ndarray  # float32 (H, W) in [0, 1]: how visible the change is
    centres_xy: tuple[tuple[float, float], ...]  # of each defect, pixels
    description: str
    parameters: Mapping[str, object] = field(default_factory=dict)


def make_anomaly(
    method: str,
    good: Sequence[np.ndarray],
    seed: int | Sequence[int],
    traits: Traits | None = None,
    *,
    products: Sequence[np.ndarray] = (),
) -> Made:
    """One or two defects by `method` on the first of the good pictures, uint8 (H, W, 3).

    The others, of any size, are what patches are taken from; one picture alone gives its own. The
    same pictures, seed and traits give the same bytes; without traits they are estimated, without
    `products`, bool (H, W) each, the product is looked for. A grey picture stays grey, and one of
    few colours (a thresholded scan) keeps to them. Raises AnomalystError for an unknown method, or
    when no defect can be seen on this picture.
    """
    if method not in METHODS:
        raise AnomalystError(f"There is no method {method!r}; there are {', '.join(METHODS)}.")
    if not good:
        raise AnomalystError("Good pictures are needed to plant a defect on; none was given.")
    traits = traits or estimated(good)
    rng = np.random.default_rng(seed)
    other, size_hw = int(rng.integers(min(1, len(good) - 1), len(good))), good[0].shape[:2]
    found = [products[i] if products else traits.product(good[i]) for i in (0, other)]
    ground = Ground(
        picture=good[0],
        product=found[0],
        donor=resize(good[other], size_hw),
        donor_product=resize(found[1].astype(np.uint8), size_hw) > 0,
        traits=traits,
    )
    planted = _planted(METHODS[method], ground, rng)
    return _described(method, good[0], planted, traits)


@dataclass(frozen=True, slots=True)
class GoodParts:
    """Good pictures of one product, all of one size, to plant defects on again and again."""

    pictures: Sequence[np.ndarray]  # uint8 (H, W, 3)
    traits: Traits
    _products: dict[int, np.ndarray] = field(default_factory=dict)  # as they are asked for

    @classmethod
    def of(cls, pictures: Sequence[np.ndarray]) -> "GoodParts":
        """With traits estimated from them."""
        return cls(pictures, estimated(pictures))

    def defective(self, own: int, method: str, rng: Rng) -> tuple[np.ndarray, np.ndarray]:
        """One of the pictures with defects, and bool (H, W) where: empty if none can be seen.

        Patches come from another of them, at random, or from itself if it is alone.
        """
        others = [i for i in range(len(self.pictures)) if i != own] or [own]
        pair = [own, others[int(rng.integers(len(others)))]]
        good, products = [self.pictures[i] for i in pair], [self._product(i) for i in pair]
        seed = int(rng.integers(1 << 62))
        try:
            made = make_anomaly(method, good, seed, self.traits, products=products)
        except AnomalystError:
            return good[0], np.zeros(good[0].shape[:2], bool)
        return made.picture, made.mask

    def _product(self, index: int) -> np.ndarray:
        if index not in self._products:
            self._products[index] = self.traits.product(self.pictures[index])
        return self._products[index]


def _planted(method: Method, ground: Ground, rng: Rng) -> list[Planted]:
    """The first defect, and for half of the pictures a second one clear of it."""
    found: list[Planted] = []
    for wanted in range(1 + int(rng.random() < SECOND_SHARE)):
        taken = np.any([one.mask for one in found], axis=0) if found else None
        for _ in range(TRIES if wanted == 0 else 3):
            one = method(ground, rng)
            one = one and one.as_taken(ground.picture)
            if one is None or one.mask.mean() < LEAST_SHARE:
                continue
            if taken is None or not (one.mask & taken).any():
                found.append(one)
                ground = replace(ground, picture=one.picture)
                break
    if not found:
        raise AnomalystError(
            f"no defect could be seen on this picture in {TRIES} tries; it is too plain."
        )
    return found


def _described(method: str, before: np.ndarray, planted: Sequence[Planted], traits: Traits) -> Made:
    picture = planted[-1].picture
    centres = [centre_of(one.mask) for one in planted]
    places = [place_of(centre, picture.shape) for centre in centres]
    words = [f"{one.what} at the {place}" for one, place in zip(planted, places, strict=True)]
    change = cv2.absdiff(picture, before).mean(2).astype(np.uint8)
    return Made(
        picture=picture,
        mask=np.any([one.mask for one in planted], axis=0),
        soft=traits.soft_label(change),
        centres_xy=tuple(centres),
        description=" and ".join(words),
        parameters={"method": method, "defects": [dict(one.parameters) for one in planted]},
    )


def centre_of(mask: np.ndarray) -> tuple[float, float]:
    """The mean (x, y) of a mask's pixels."""
    ys, xs = np.nonzero(mask)
    return float(xs.mean()), float(ys.mean())

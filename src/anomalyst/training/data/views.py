"""Views of drawn pictures and of photographs, each with the masks of some of what is on it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from anomalyst.io.geometry import resize
from anomalyst.synthetic.photographs import photograph_episode
from anomalyst.synthetic.procedural import WorldConfig
from anomalyst.synthetic.procedural.instances import (
    LEAST_PX,
    PRODUCT,
    Thing,
    picture_of_things,
)
from anomalyst.synthetic.sampling import Rng, log_uniform
from anomalyst.training.data.pasted_shapes import with_shapes

DEFECT = "defect"  # what a thing planted on a photograph is called
CLOSE = (1.2, 5.0)  # sides of a close view, as multiples of the thing it is about
WHOLE_SHARE = 0.25  # of the things that are no defects: the product, which is one among many
TRIES = 50  # pictures drawn until one has things on it


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewConfig:
    """What is looked at."""

    sizes_px: tuple[int, ...] = (256, 320, 416)  # sides of the pictures, each as likely
    # Height and width of the views, in turn; sides in 16ths.
    views_hw: tuple[tuple[int, int], ...] = ((192, 192), (160, 224), (192, 192), (224, 160))
    close_share: float = 0.75  # views about one thing; the others show the whole picture
    photograph_share: float = 0.2  # of the pictures: photographs with defects planted on them
    shape_share: float = 0.4  # of the pictures without names: plain shapes are laid on them, too
    defect_share: float = 0.6  # of the masks, where a view has both defects and other things
    families: tuple[str, ...] = ()  # only these; empty means all
    without: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for height, width in self.views_hw:
            if height % 16 or width % 16:
                raise ValueError(f"views_hw has {height} x {width}; sides in 16ths are needed")


@dataclass(frozen=True, slots=True)
class View:
    """What a camera sees, and the things that are looked for on it."""

    pixels: np.ndarray  # uint8 (H, W, 3)
    masks: np.ndarray  # uint8 (M, H / 2, W / 2): 255 where a cell is all of the thing
    names: tuple[str, ...]


def draw_view(
    seed: Sequence[int], config: ViewConfig, view_hw: tuple[int, int], masks: int, *, named: bool
) -> View:
    """A view with `masks` masks; the same seed gives the same bytes.

    `named`: everything of a name together, as words mean it; else one thing each.
    """
    rng = np.random.default_rng((*seed, 1))
    picture, things = _picture(seed, config, rng)
    if named:
        things = _together(things)
    elif rng.random() < config.shape_share:
        picture, things = with_shapes(picture, things, rng)
    about = things[int(rng.integers(len(things)))]
    box = _close(about.mask, view_hw, rng) if rng.random() < config.close_share else None
    pixels, things = _looked_at(picture, things, box, view_hw)
    if not things:  # the view shows next to nothing of anything: the whole picture does
        pixels, things = _looked_at(picture, [about], None, view_hw)
    chosen = [_choose(things, config.defect_share, rng) for _ in range(masks)]
    cells_hw = view_hw[0] // 2, view_hw[1] // 2
    cells = [resize(one.mask.astype(np.uint8) * 255, cells_hw) for one in chosen]
    return View(pixels, np.stack(cells), tuple(one.name for one in chosen))


def _picture(seed: Sequence[int], config: ViewConfig, rng: Rng) -> tuple[np.ndarray, list[Thing]]:
    size = int(rng.choice(config.sizes_px))
    for index in range(TRIES):
        if rng.random() < config.photograph_share:
            picture, things = _photograph((*seed, 2, index), size)
        else:
            picture, things = picture_of_things(
                (*seed, 2, index), size, only=config.families, without=config.without
            )
        if things:
            return picture, things
    raise AssertionError(f"{TRIES} drawn pictures without anything on them")


def _photograph(seed: Sequence[int], size_px: int) -> tuple[np.ndarray, list[Thing]]:
    world = replace(WorldConfig(references=(1, 1)), size_px=size_px, anomalous_share=1.0)
    episode = photograph_episode(seed, world)
    labels, count = ndimage.label(episode.mask, np.ones((3, 3)))
    masks = [labels == number for number in range(1, min(count, 8) + 1)]
    things = [Thing(DEFECT, one, defect=True) for one in masks if one.sum() >= LEAST_PX]
    return episode.query, things


def _together(things: Sequence[Thing]) -> list[Thing]:
    names = dict.fromkeys(one.name for one in things)
    groups = [[one for one in things if one.name == name] for name in names]
    return [
        Thing(group[0].name, np.logical_or.reduce([one.mask for one in group]), group[0].defect)
        for group in groups
    ]


def _close(mask: np.ndarray, view_hw: tuple[int, int], rng: Rng) -> tuple[int, int, int, int]:
    """A box of the view's aspect about a thing, not quite in its middle."""
    height, width = mask.shape
    ys, xs = np.nonzero(mask)
    sides = np.array([np.ptp(ys) + 1, np.ptp(xs) + 1], float)
    aspect = view_hw[1] / view_hw[0]
    tall = max(sides[0], sides[1] / aspect, 12) * log_uniform(rng, *CLOSE)
    tall = min(tall, height, width / aspect)
    box_hw = np.maximum(8, np.rint([tall, tall * aspect])).astype(int)
    box_hw = np.minimum(box_hw, (height, width))
    centre = np.array([(ys.min() + ys.max()) / 2, (xs.min() + xs.max()) / 2])
    corner = centre - box_hw / 2 + rng.uniform(-0.2, 0.2, 2) * box_hw
    top, left = np.clip(np.rint(corner), 0, (height - box_hw[0], width - box_hw[1])).astype(int)
    return int(left), int(top), int(left + box_hw[1]), int(top + box_hw[0])


def _looked_at(
    picture: np.ndarray,
    things: Sequence[Thing],
    box: tuple[int, int, int, int] | None,
    view_hw: tuple[int, int],
) -> tuple[np.ndarray, list[Thing]]:
    """The view, and what is on it: at least half of each thing, and enough to be seen."""
    x0, y0, x1, y1 = box or (0, 0, picture.shape[1], picture.shape[0])
    scale = view_hw[0] * view_hw[1] / ((y1 - y0) * (x1 - x0))
    cut = [replace(one, mask=np.ascontiguousarray(one.mask[y0:y1, x0:x1])) for one in things]
    seen = [
        part
        for part, whole in zip(cut, things, strict=True)
        if part.mask.sum() * max(2.0, scale) >= 2 * LEAST_PX
        and 2 * part.mask.sum() >= whole.mask.sum()
        and not part.mask.all()
    ]
    return resize(np.ascontiguousarray(picture[y0:y1, x0:x1]), view_hw), seen


def _choose(things: Sequence[Thing], defect_share: float, rng: Rng) -> Thing:
    defects = [one for one in things if one.defect]
    others = [one for one in things if not one.defect]
    pool = defects if defects and (not others or rng.random() < defect_share) else others
    whole = [one for one in pool if one.name == PRODUCT]
    if whole and rng.random() < WHOLE_SHARE:
        return whole[0]
    return pool[int(rng.integers(len(pool)))]

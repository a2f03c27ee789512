"""How crisp masks are: IoU against clicks, regions before and after refinement, milliseconds."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from scipy import ndimage

from anomalyst.datasets.splits import k_shot
from anomalyst.errors import PictureError
from anomalyst.evaluation.metrics import pixel_metrics
from anomalyst.inspection.refining import (
    believed_of,
    masks_of,
    proposed,
    view_of,
)
from anomalyst.inspector import Inspector
from anomalyst.io.masks import mask_box, mask_iou
from anomalyst.io.pictures import open_mask, open_picture
from anomalyst.product import UNNAMED
from anomalyst.segmentation.prompts import Point, Prompt, Segmenter
from anomalyst.synthetic.procedural import WorldConfig
from anomalyst.synthetic.procedural.episode import make_episode
from anomalyst.synthetic.procedural.families import HELD_OUT
from anomalyst.synthetic.procedural.instances import picture_of_things
from anomalyst.types import Region, Sample

CLICKS = (1, 2, 3, 5, 11)
BELIEFS = (0.0, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
LEAST_PX = 30  # of a thing that clicks are for
SEED = 1 << 40  # drawn pictures of seeds that no training has
BOUNDARY = 0.0075  # of the diagonal: how far an edge may lie off (Perazzi et al., CVPR 2016)
DRAWN_PX = 384


@dataclass(frozen=True, slots=True)
class Target:
    """A thing on a picture whose mask is known."""

    picture: np.ndarray
    mask: np.ndarray  # bool (H, W)


def boundary_f(said: np.ndarray, truth: np.ndarray) -> float:
    """F-measure of the edges of bool (H, W), [0, 1] (Perazzi et al., CVPR 2016, section 4).

    An edge pixel is right where one of the other mask lies within 0.75 % of the diagonal.
    """
    reach = max(1, round(BOUNDARY * float(np.hypot(*truth.shape))))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    edges = [_edge(one) for one in (said, truth)]
    if not edges[0].any() or not edges[1].any():
        return float(edges[0].any() == edges[1].any())
    wide = [cv2.dilate(one.astype(np.uint8), disc) > 0 for one in edges]
    precision = float((edges[0] & wide[1]).sum() / edges[0].sum())
    recall = float((edges[1] & wide[0]).sum() / edges[1].sum())
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _edge(mask: np.ndarray) -> np.ndarray:
    padded = np.pad(mask, 1).astype(np.uint8)
    return mask & ~(cv2.erode(padded, np.ones((3, 3), np.uint8))[1:-1, 1:-1] > 0)


def next_click(said: np.ndarray, truth: np.ndarray) -> tuple[Point, bool] | None:
    """Where somebody who corrects a mask clicks: the middle of the largest error, if any."""
    if np.array_equal(said, truth):
        return None
    errors = [truth & ~said, said & ~truth]
    deep = [cv2.distanceTransform(np.pad(e, 1).astype(np.uint8), cv2.DIST_L2, 5) for e in errors]
    positive = deep[0].max() >= deep[1].max()
    row, column = np.unravel_index(int(deep[not positive].argmax()), deep[0].shape)
    return (float(column) - 0.5, float(row) - 0.5), bool(positive)


def click_curve(segmenter: Segmenter, target: Target) -> dict[int, float]:
    """IoU after each number of clicks in `CLICKS`, the thing looked at closely."""
    truth = target.mask
    look = segmenter.look(target.picture, view_of(mask_box(truth), truth.shape))
    said, points, kinds = np.zeros_like(truth), [], []
    known: np.ndarray | None = None
    curve = {}
    for count in range(1, max(CLICKS) + 1):
        click = next_click(said, truth)
        # One place cannot mean both; who sees that a click does nothing stops.
        if click is not None and click[0] not in points:
            points.append(click[0])
            kinds.append(click[1])
            asked = Prompt(points_xy=tuple(points), positive=tuple(kinds), mask=known)
            best = look.segment(asked)[0]
            said = best.whole()
            known = best.known()
        if count in CLICKS:
            curve[count] = mask_iou(said, truth)
    return curve


def drawn_targets(count: int, *, defects: bool) -> list[Target]:
    """Things on drawn pictures of families that no training has seen."""
    found: list[Target] = []
    for number in range(20 * count):
        if len(found) >= count:
            break
        picture, things = picture_of_things((SEED, number), DRAWN_PX, only=HELD_OUT)
        fit = [one for one in things if one.defect == defects and one.mask.sum() >= LEAST_PX]
        if fit:
            rng = np.random.default_rng((SEED, number, 1))
            found.append(Target(picture, fit[int(rng.integers(len(fit)))].mask))
    return found


def real_targets(samples: Sequence[Sample], count: int) -> list[Target]:
    """The largest connected defect of each of `count` pictures, spread over them."""
    masked = [one for one in samples if one.mask is not None]
    found = []
    for sample in masked[:: max(1, len(masked) // count)][:count]:
        assert sample.mask is not None
        picture = open_picture(sample.image)
        truth = open_mask(sample.mask, (picture.shape[0], picture.shape[1]))
        labels, _ = ndimage.label(truth, np.ones((3, 3)))
        sizes = np.bincount(labels.ravel())[1:]
        if len(sizes) and sizes.max() >= LEAST_PX:
            found.append(Target(picture, labels == int(sizes.argmax()) + 1))
    return found


@dataclass(slots=True)
class Inspected:
    """A picture with what the detector found on it, and what is there."""

    picture: np.ndarray
    heat: np.ndarray
    regions: tuple[Region, ...]
    truth: np.ndarray


@dataclass(slots=True)
class Refinement:
    """Regions before and after, means over pictures."""

    pictures: int = 0
    before: tuple[float, float] = (0.0, 0.0)  # IoU, boundary F
    after: dict[float, tuple[float, float]] = field(default_factory=dict)  # by belief
    replaced: dict[float, float] = field(default_factory=dict)  # share of regions with a mask
    aupro: tuple[float, float] = (0.0, 0.0)  # of the maps before and after


def inspected_drawn(inspector: Inspector, count: int) -> list[Inspected]:
    """Defective drawn pictures of families never trained on, beside two good ones."""
    found = []
    world = WorldConfig(
        size_px=DRAWN_PX,
        references=(2, 2),
        anomalous_share=1.0,
        layout_share=0.0,
        families=HELD_OUT,
    )
    with TemporaryDirectory() as folder:
        for number in range(count):
            episode = make_episode((SEED, 5, number), world)
            if not episode.mask.any():
                continue
            paths = [Path(folder) / f"{number}-{i}.png" for i in range(3)]
            for path, one in zip(paths, [*episode.references, episode.query], strict=True):
                cv2.imwrite(str(path), one[..., ::-1])
            product = inspector.teach(UNNAMED, paths[:2])
            seen = inspector.inspect(paths[2], product)
            found.append(Inspected(episode.query, seen.map, seen.regions, episode.mask))
    return found


def inspected_real(
    inspector: Inspector, samples: Sequence[Sample], count: int, shots: int = 4
) -> list[Inspected]:
    """`count` defective pictures of a category, and half as many good ones, beside `shots`."""
    product = inspector.teach(UNNAMED, [one.image for one in k_shot(samples, shots, seed=0)])
    test = [one for one in samples if one.split == "test"]
    bad = [one for one in test if one.mask is not None]
    good = [one for one in test if one.label == "normal"]
    chosen = bad[:: max(1, len(bad) // count)][:count]
    chosen += good[:: max(1, 2 * len(good) // count)][: count // 2]
    found = []
    for sample in chosen:
        try:
            seen = inspector.inspect(sample.image, product)
        except PictureError:
            continue
        picture = open_picture(sample.image)
        truth = np.zeros(picture.shape[:2], bool)
        if sample.mask is not None:
            truth = open_mask(sample.mask, (picture.shape[0], picture.shape[1])) > 0
        found.append(Inspected(picture, seen.map, seen.regions, truth))
    return found


def refinement(
    inspected: Sequence[Inspected], segmenter: Segmenter, beliefs: Sequence[float] = BELIEFS
) -> Refinement:
    """What masks of a segmenter change, by the least predicted IoU from which one is believed."""
    found = Refinement()
    drafts = [proposed(one.regions, one.picture, one.heat, segmenter) for one in inspected]
    shown = [index for index, one in enumerate(inspected) if one.regions and one.truth.any()]
    defective = [inspected[index] for index in shown]
    found.pictures = len(shown)
    found.before = _fit(defective, [one.regions for one in defective])
    for belief in beliefs:
        sharper = [
            believed_of(drafts[index], inspected[index].truth.shape, belief) for index in shown
        ]
        found.after[belief] = _fit(defective, sharper)
        regions = [region for some in sharper for region in some]
        found.replaced[belief] = float(np.mean([r.mask is not None for r in regions]))
    maps = [one.heat for one in inspected]
    masks = [one.truth for one in inspected]
    crisp = [
        crisp_map(one.heat, believed_of(some, one.truth.shape), one.regions)
        for one, some in zip(inspected, drafts, strict=True)
    ]
    found.aupro = pixel_metrics(maps, masks).aupro_30, pixel_metrics(crisp, masks).aupro_30
    return found


def crisp_map(heat: np.ndarray, sharper: Sequence[Region], raw: Sequence[Region]) -> np.ndarray:
    """A map that follows the masks: halved where a region lost its pixels, raised within them."""
    found = heat.copy()
    kept = np.zeros(heat.shape, bool)
    for region, mask in zip(sharper, masks_of(sharper, heat), strict=True):
        kept |= mask
        if region.mask is not None:
            found[mask] = np.maximum(found[mask], (found[mask] + region.peak) / 2)
    lost = np.zeros(heat.shape, bool)
    for mask in masks_of(raw, heat):
        lost |= mask
    found[lost & ~kept] /= 2
    return found


def _fit(shown: Sequence[Inspected], regions: Sequence[Sequence[Region]]) -> tuple[float, float]:
    """Mean IoU and boundary F of all regions of a picture together."""
    if not shown:
        return float("nan"), float("nan")
    fits = []
    for one, some in zip(shown, regions, strict=True):
        said = np.logical_or.reduce(masks_of(some, one.heat))
        fits.append((mask_iou(said, one.truth), boundary_f(said, one.truth)))
    mean = np.mean(fits, axis=0)
    return float(mean[0]), float(mean[1])


def prompt_milliseconds(
    segmenter: Segmenter, picture: np.ndarray, rounds: int = 20
) -> tuple[float, float]:
    """Medians: to encode a picture, and to answer a click once it is encoded and draw its mask."""
    height, width = picture.shape[:2]
    middle = Prompt(points_xy=((width / 2, height / 2),), positive=(True,))
    encode, prompt = [], []
    for _ in range(rounds):
        started = time.perf_counter()
        look = segmenter.look(picture)
        encode.append(time.perf_counter() - started)
        started = time.perf_counter()
        look.segment(middle)[0].packed()
        prompt.append(time.perf_counter() - started)
    return 1e3 * float(np.median(encode)), 1e3 * float(np.median(prompt))

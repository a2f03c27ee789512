"""What teaching decides from the good pictures: which to keep, how they lie, what is usual."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from anomalyst.calibration.conformal import Calibration, Method
from anomalyst.detection.counted import Counted, Counting
from anomalyst.detection.detector import Detector, Memory, by_scale
from anomalyst.detection.pair_decoder import PairDecoder
from anomalyst.detection.pose import UPRIGHT, Circle, Pose, coarse, find_poses, laid, through_circle
from anomalyst.io.areas import Areas
from anomalyst.io.geometry import Frame
from anomalyst.synthetic.variation import varied
from anomalyst.teaching.fine_tuning import Lesson, adapt
from anomalyst.types import Features

ACCEPTED_MOST = 8  # corrected pictures compared with, the most different ones of more
SPLIT_LEAST = 19  # good pictures set apart from which these alone calibrate (5 %)
COMPARED_LEAST = 8  # good pictures kept to compare with before any are set apart
COPIES = 4  # varied copies of few good pictures, all together
SHUFFLE_SEED = 0


@dataclass(frozen=True, slots=True)
class Studied:
    """What looking at the good pictures gave; lists are per tile."""

    features: list[Features]  # of all good pictures
    shown: list[Features]  # of those that queries are compared with, and their copies
    memories: list[Memory]
    chosen: list[int]  # the good pictures compared with
    accepted: int  # corrected pictures compared with, after these
    apart: list[int]  # the ones set apart to calibrate; empty if there are too few
    circle: Circle | None  # the first good picture turned through the circle, if poses are free
    decoder: PairDecoder | None  # fitted to the product
    counting: Counting | None = None  # the product's areas, on the first good picture
    counted: Sequence[Sequence[Counted]] = ()  # what counts of each good picture; empty: all of it


def chosen_references(embeddings: Tensor, most: int) -> list[int]:
    """Which of N good pictures to compare queries with: the most different ones, in order.

    Greedy k-centre on the embeddings (N, D): the first picture, then always the one farthest from
    all chosen (Gonzalez 1985), as PatchCore does with patches.
    """
    if len(embeddings) <= most:
        return list(range(len(embeddings)))
    chosen = [0]
    gap = torch.cdist(embeddings, embeddings[:1])[:, 0]
    while len(chosen) < most:
        farthest = int(gap.argmax())
        chosen.append(farthest)
        gap = torch.minimum(gap, torch.cdist(embeddings, embeddings[farthest][None])[:, 0])
    return sorted(chosen)


def set_apart(total: int, most: int) -> list[int]:
    """Which of N good pictures calibrate and do nothing else; none if fewer than 19 can be spared.

    Set apart before anything is looked at, so that they are like any new good picture. What is
    left are the references: at most `most`, and no fewer than 8 unless fewer are wanted.
    """
    if total - min(COMPARED_LEAST, most) < SPLIT_LEAST:
        return []
    count = max(SPLIT_LEAST, total - most)
    shuffled = np.random.default_rng(SHUFFLE_SEED).permutation(total)
    return sorted(int(i) for i in shuffled[:count])


def found_poses(
    wanted: str, frame: Frame, tiles: Sequence[Sequence[np.ndarray]], detector: Detector
) -> tuple[Circle | None, list[Pose]]:
    """How good pictures lie beside the first: (its circle or None for a fixed pose, their poses).

    `tiles` are their canvases. `wanted` is what the user says; `auto` reads it from the pictures:
    free where most of them lie turned. One picture cannot tell, so each query is looked at. What is
    looked at in tiles fills its picture, and has a fixed pose.
    """
    fixed = [UPRIGHT] * len(tiles)
    if wanted == "fixed" or len(frame.boxes_xyxy) > 1:
        return None, fixed
    circle = circle_of(detector, tiles[0][0])
    poses = [UPRIGHT, *(pose_of(detector, canvases[0], circle) for canvases in tiles[1:])]
    turned = sum(not pose.upright for pose in poses[1:])
    if wanted == "auto" and turned < detector.config.pose.mostly * (len(poses) - 1):
        return None, fixed
    return circle, poses


def circle_of(detector: Detector, canvas: np.ndarray) -> Circle:
    """A good picture turned through the circle, as poses are found on it."""
    return Circle.of(coarse(detector.encode_coarse(through_circle(canvas))))


def pose_of(detector: Detector, canvas: np.ndarray, circle: Circle) -> Pose:
    """How the product on a canvas lies beside the good picture of a circle."""
    return find_poses(coarse(detector.encode_coarse([canvas])), circle, detector.config.pose)[0]


def study(  # noqa: PLR0913 - each is one independent wish
    detector: Detector,
    frame: Frame,
    pictures: Sequence[np.ndarray],
    *,
    pose: str = "auto",
    most: int = 24,
    adapted: bool | None | Mapping[str, Tensor] = None,
    accepted: Sequence[np.ndarray] = (),
    areas: Areas | None = None,
    on_step: Callable[[], None] = lambda: None,
) -> Studied:
    """Look at good pictures: which (at most `most`) to compare with, how they lie; fit the decoder.

    Of a product that lies any way round every picture is laid as the first one lies.
    `accepted` pictures are compared with and never calibrate: they were picked for their scores,
    so they are not like any new good picture.
    `adapted`: None, fit where others calibrate, for a picture it was fitted to cannot; True, fit in
    any case; False, never; a head that was fitted before, with that one. It is not kept where it
    does not help.
    `areas` were drawn on the first picture; what does not count has no say in the calibration.
    """
    views = [frame.cut(picture) for picture in pictures]
    canvases = [one.canvases for one in views]
    circle, poses = found_poses(pose, frame, canvases, detector)
    canvases = [_all_laid(*pair) for pair in zip(canvases, poses, strict=True)]
    counting = Counting.of(areas, frame, canvases[0], views[0].placements[0]) if areas else None
    features = encoded(detector, canvases)
    apart = set_apart(len(pictures), most)
    pool = [i for i in range(len(pictures)) if i not in set(apart)]
    chosen = [pool[i] for i in chosen_references(features[0].embedding[pool], most)]
    good = [canvases[i] for i in chosen]
    shown = [tile.rows(chosen) for tile in features]
    if accepted:
        more, seen = _accepted(detector, frame, accepted, circle)
        good += more
        shown = [stacked(pair) for pair in zip(shown, seen, strict=True)]
    own, tiles = shown, list(zip(*good, strict=True))  # tiles: canvases per tile
    shown = [with_copies(detector, *part) for part in zip(own, tiles, strict=True)]
    memories = [detector.remember(tile) for tile in shown]
    if isinstance(adapted, Mapping):
        decoder = detector.decoder.with_head(adapted) if adapted and detector.decoder else None
    else:
        lessons = [Lesson(*part) for part in zip(tiles, own, memories, strict=True)]
        fit = adapted or (adapted is None and apart)
        decoder = adapt(detector, lessons, on_step=on_step) if fit else None
    memories = [replace(memory, decoder=decoder) for memory in memories]
    return Studied(
        features=features,
        shown=shown,
        memories=memories,
        chosen=chosen,
        accepted=len(good) - len(chosen),
        apart=apart,
        circle=circle,
        decoder=decoder,
        counting=counting,
        counted=[counting.on(one, [None] * len(one)).parts for one in canvases] if counting else (),
    )


def _accepted(
    detector: Detector, frame: Frame, pictures: Sequence[np.ndarray], circle: Circle | None
) -> tuple[list[list[np.ndarray]], list[Features]]:
    """The accepted pictures compared with: canvases of each, and features per tile."""
    canvases = [frame.cut(picture).canvases for picture in pictures]
    if circle is not None:
        canvases = [_all_laid(one, pose_of(detector, one[0], circle)) for one in canvases]
    seen = encoded(detector, canvases)
    some = chosen_references(seen[0].embedding, ACCEPTED_MOST)
    return [canvases[i] for i in some], [tile.rows(some) for tile in seen]


def _all_laid(canvases: list[np.ndarray], pose: Pose) -> list[np.ndarray]:
    return canvases if pose.upright else [laid(canvas, pose) for canvas in canvases]


def encoded(detector: Detector, canvases: Sequence[list[np.ndarray]]) -> list[Features]:
    """Canvases per picture -> features per tile, each of all pictures: (V, D, h, w) per level."""
    each = [detector.encode(tiles) for tiles in canvases]
    return [stacked([f.rows([t]) for f in each]) for t in range(len(canvases[0]))]


def with_copies(detector: Detector, good: Features, canvases: Sequence[np.ndarray]) -> Features:
    """Features of K good pictures, at the smaller sizes with those of varied copies after them.

    One good picture does not show how good ones differ; copies that are shifted, turned, bent and
    lit a little (`synthetic/variation.py`) do, some. `COPIES // K` of each.
    """
    each = COPIES // len(canvases)
    if detector.decoder is None or each == 0:
        return good
    rng = np.random.default_rng(SHUFFLE_SEED)
    copies = detector.encode([varied(c, rng) for c in canvases for _ in range(each)])
    first = len(by_scale(good)[0].levels)
    small = zip(good.levels[first:], copies.levels[first:], strict=True)
    levels = [*good.levels[:first], *(torch.cat(pair) for pair in small)]
    return Features(levels, good.embedding, good.frozen)


def stacked(features: Sequence[Features]) -> Features:
    """Batches of features after each other."""
    levels = [torch.cat(level) for level in zip(*(f.levels for f in features), strict=True)]
    frozen = [torch.cat(level) for level in zip(*(f.frozen for f in features), strict=True)]
    said = [f.text for f in features if f.text is not None]
    text = torch.cat(said) if said else None
    return Features(levels, torch.cat([f.embedding for f in features]), frozen, text)


def calibrate(detector: Detector, studied: Studied) -> Calibration:
    """The calibration by `good_scores`."""
    return calibration_of(*good_scores(detector, studied))


def calibration_of(scores: Mapping[int, float], method: Method) -> Calibration:
    """The scores in the pictures' order.

    A picture of which nothing counts has no score, as it has no verdict when it is inspected.
    """
    return Calibration(scores=tuple(filter(math.isfinite, scores.values())), method=method)


def good_scores(detector: Detector, studied: Studied) -> tuple[dict[int, float], Method]:
    """Scores of good pictures by their numbers, each against references it is not one of.

    Those of the pictures set apart, which makes the guarantee exact (split conformal); with too few
    for that, of every one, leave-one-out. Then none at all if the detector was fitted to them: they
    look better than a new picture will. Of a picture of which nothing counts it is not finite.
    """
    total = studied.features[0].embedding.shape[0]
    if studied.apart:
        apart = {i: score_of(detector, studied, i, studied.memories) for i in studied.apart}
        return apart, "split"
    if studied.decoder is not None:
        return {}, "leave-one-out"
    return left_out_scores(detector, studied, range(total)), "leave-one-out"


def left_out_scores(
    detector: Detector, studied: Studied, pictures: Sequence[int]
) -> dict[int, float]:
    """The scores of some good pictures, each against the references without it."""
    return {
        i: score_of(detector, studied, i, left_out_memories(detector, studied, i)) for i in pictures
    }


def score_of(detector: Detector, studied: Studied, i: int, memories: Sequence[Memory]) -> float:
    """The score of good picture i against memories, one a tile."""
    shown = studied.counted[i] if studied.counted else [None] * len(memories)
    judged = zip(studied.features, memories, shown, strict=True)
    return max(detector.judge(tile.rows([i]), memory, one).score for tile, memory, one in judged)


def left_out_memories(detector: Detector, studied: Studied, i: int) -> list[Memory]:
    """What is remembered of the references but for picture i."""
    if i not in studied.chosen:
        return studied.memories
    others = [j for j, c in enumerate(studied.chosen) if c != i]
    others += range(len(studied.chosen), len(studied.chosen) + studied.accepted)
    pairs = zip(studied.memories, studied.shown, strict=True)
    return [detector.remember_only(memory, tile, others) for memory, tile in pairs]

"""What teaching decides from the good pictures: which to keep, how they lie, what is usual."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from anomalyst.detection.adaptation import Lesson, adapt, view_rows
from anomalyst.detection.bank import pose_is_free, right_angle_rotations
from anomalyst.detection.calibration import Calibration
from anomalyst.detection.decoder import PairDecoder
from anomalyst.detection.detector import Detector, Memory, by_scale
from anomalyst.geometry import Frame
from anomalyst.synthesis.variation import varied
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
    shown: list[Features]  # of the views that queries are compared with, and their copies
    memories: list[Memory]
    chosen: list[int]  # the good pictures compared with
    accepted: int  # corrected pictures compared with, after these
    apart: list[int]  # the ones set apart to calibrate; empty if there are too few
    views: int  # of each of these: 4 if the product lies any way round
    decoder: PairDecoder | None  # fitted to the product


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


def decide_pose(
    wanted: str, frame: Frame, pictures: Sequence[np.ndarray], detector: Detector
) -> bool:
    """Whether the product lies any way round: as the user says, or read from the good pictures.

    One picture cannot tell, and then the pose counts as fixed.
    """
    if wanted != "auto":
        return wanted == "free"
    if len(pictures) < 2 or len(frame.boxes_xyxy) > 1:
        return False
    plain = [frame.cut(p).canvases[0] for p in pictures[:4]]
    rotated = [frame.cut(v).canvases[0] for p in pictures[:4] for v in turned(p)[1:]]
    return bool(pose_is_free(detector.encode(plain), detector.encode(rotated)))


def turned(picture: np.ndarray) -> list[np.ndarray]:
    """The picture as it is and turned by 90, 180 and 270 degrees."""
    return right_angle_rotations(picture)


def study(
    detector: Detector,
    frame: Frame,
    pictures: Sequence[np.ndarray],
    *,
    pose: str = "auto",
    most: int = 24,
    adapted: bool | None | Mapping[str, Tensor] = None,
    accepted: Sequence[np.ndarray] = (),
    on_step: Callable[[], None] = lambda: None,
) -> Studied:
    """Look at good pictures: which (at most `most`) to compare with, how they lie; fit the decoder.

    Of a product that lies any way round every picture is kept in four views, so fewer of them.
    `accepted` pictures are compared with and never calibrate: they were picked for their scores,
    so they are not like any new good picture.
    `adapted`: None, fit where others calibrate, for a picture it was fitted to cannot; True, fit in
    any case; False, never; a head that was fitted before, with that one. It is not kept where it
    does not help.
    """
    features = encoded(detector, frame, pictures)
    free = decide_pose(pose, frame, pictures, detector)
    apart = set_apart(len(pictures), most)
    if free:
        most = min(most, COMPARED_LEAST)
    pool = [i for i in range(len(pictures)) if i not in set(apart)]
    chosen = [pool[i] for i in chosen_references(features[0].embedding[pool], most)]
    good = [pictures[i] for i in chosen]
    own = [tile.rows(chosen) for tile in features]
    if accepted:
        seen = encoded(detector, frame, accepted)
        some = chosen_references(seen[0].embedding, ACCEPTED_MOST)
        good += [accepted[i] for i in some]
        own = [stacked([o, tile.rows(some)]) for o, tile in zip(own, seen, strict=True)]
    views = [view for picture in good for view in turned(picture)] if free else good
    shown = encoded(detector, frame, views) if free else own
    tiles = list(zip(*(frame.cut(view).canvases for view in views), strict=True))
    shown = [with_copies(detector, *part) for part in zip(shown, tiles, strict=True)]
    memories = [detector.remember(tile) for tile in shown]
    decoder = None
    if isinstance(adapted, Mapping):
        decoder = detector.decoder.with_head(adapted) if adapted and detector.decoder else None
    elif adapted or (adapted is None and apart):
        each = 4 if free else 1  # the first view is the picture as it is
        parts = zip((tile[::each] for tile in tiles), own, memories, strict=True)
        lessons = [Lesson(*part, views=each) for part in parts]
        decoder = adapt(detector, lessons, on_step=on_step)
    memories = [replace(memory, decoder=decoder) for memory in memories]
    return Studied(
        features=features,
        shown=shown,
        memories=memories,
        chosen=chosen,
        accepted=len(good) - len(chosen),
        apart=apart,
        views=4 if free else 1,
        decoder=decoder,
    )


def encoded(detector: Detector, frame: Frame, pictures: Sequence[np.ndarray]) -> list[Features]:
    """Features per tile, each of all pictures: (V, D, h, w) per level."""
    each = [detector.encode(frame.cut(picture).canvases) for picture in pictures]
    return [stacked([f.rows([t]) for f in each]) for t in range(len(frame.boxes_xyxy))]


def with_copies(detector: Detector, good: Features, canvases: Sequence[np.ndarray]) -> Features:
    """Features of K good pictures, at the smaller sizes with those of varied copies after them.

    One good picture does not show how good ones differ; copies that are shifted, turned, bent and
    lit a little (`synthesis/variation.py`) do, some. `COPIES // K` of each.
    """
    each = COPIES // len(canvases)
    if detector.decoder is None or each == 0:
        return good
    rng = np.random.default_rng(SHUFFLE_SEED)
    copies = detector.encode([varied(c, rng) for c in canvases for _ in range(each)])
    first = len(by_scale(good)[0].levels)
    small = zip(good.levels[first:], copies.levels[first:], strict=True)
    levels = [*good.levels[:first], *(torch.cat(pair) for pair in small)]
    return Features(levels, good.embedding)


def stacked(features: Sequence[Features]) -> Features:
    """Batches of features after each other."""
    levels = [torch.cat(level) for level in zip(*(f.levels for f in features), strict=True)]
    return Features(levels, torch.cat([f.embedding for f in features]))


def calibrate(detector: Detector, studied: Studied) -> Calibration:
    """Scores of good pictures, each against references it is not one of.

    The pictures set apart, which makes the guarantee exact (split conformal); with too few for
    that, every one, leave-one-out. Then none at all if the detector was fitted to them: they look
    better than a new picture will.
    """
    total = studied.features[0].embedding.shape[0]
    if studied.apart:
        scores = [_score(detector, studied, i, studied.memories) for i in studied.apart]
        return Calibration(scores=tuple(scores), method="split")
    if studied.decoder is not None:
        return Calibration(scores=(), method="leave-one-out")
    without = (left_out_memories(detector, studied, i) for i in range(total))
    scores = [_score(detector, studied, i, memories) for i, memories in enumerate(without)]
    return Calibration(scores=tuple(scores), method="leave-one-out")


def _score(detector: Detector, studied: Studied, i: int, memories: Sequence[Memory]) -> float:
    judged = zip(studied.features, memories, strict=True)
    return max(detector.judge(tile.rows([i]), memory, None).score for tile, memory in judged)


def left_out_memories(detector: Detector, studied: Studied, i: int) -> list[Memory]:
    """What is remembered of the references but for picture i."""
    if i not in studied.chosen:
        return studied.memories
    others = [j for j, c in enumerate(studied.chosen) if c != i]
    others += range(len(studied.chosen), len(studied.chosen) + studied.accepted)
    rows = view_rows(others, studied.views)
    pairs = zip(studied.memories, studied.shown, strict=True)
    return [detector.remember_only(memory, tile, rows) for memory, tile in pairs]

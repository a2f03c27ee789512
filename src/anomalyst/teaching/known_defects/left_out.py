"""What every known picture, good or defective, shows when it is left out: figures to choose by."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import nan

import numpy as np

from anomalyst.calibration.figures import figures_of
from anomalyst.detection.detector import Detector, Memory
from anomalyst.detection.pose import UPRIGHT, Laid, Pose, Shown, laid
from anomalyst.detection.pose_correction import over_query
from anomalyst.detection.scoring import Evidence, evidence_of, mixed_logits
from anomalyst.io.geometry import Frame, Views, resize
from anomalyst.io.pictures import shrink_mask
from anomalyst.teaching.known_defects.ranking import average_precision
from anomalyst.teaching.references import Studied, left_out_memories, pose_of

TOWARDS = (0.3, 0.65)  # how far candidates lie from the shipped shares towards one size alone
MAP_SIDE_PX = 256  # of the larger side, at which maps are compared with masks


@dataclass(frozen=True, slots=True)
class LeftOutScores:
    """n pictures, the good ones first, each looked at by C candidates of scale shares.

    No good picture is compared with itself; every picture is compared with one good picture fewer
    than an inspected one is, all others too, so that the kinds can be compared.
    """

    shares: list[tuple[float, ...]]  # C candidates; the shipped shares first
    scores: np.ndarray  # float64 (C, n)
    figures: np.ndarray  # float64 (C, n, F) for the head; F is 0 without a pair decoder
    precision: np.ndarray  # float64 (C, n): each picture's pixel AP; nan without a mask
    labels: np.ndarray  # int64 (n,): 0 good, 1 defective

    def some(self, which: np.ndarray) -> "LeftOutScores":
        """Of some of the pictures, bool (n,)."""
        return LeftOutScores(
            shares=self.shares,
            scores=self.scores[:, which],
            figures=self.figures[:, which],
            precision=self.precision[:, which],
            labels=self.labels[which],
        )


def candidate_shares(shipped: Sequence[float]) -> list[tuple[float, ...]]:
    """The shipped shares, and on the way from them to each size alone; none is zero.

    One size leaves nothing to choose.
    """
    whole = sum(shipped)
    base = [share / whole for share in shipped]
    found = [tuple(shipped)]
    for size in range(len(base) if len(base) > 1 else 0):
        for step in TOWARDS:
            moved = [(1 - step) * share + step * (i == size) for i, share in enumerate(base)]
            found.append(tuple(round(share, 3) for share in moved))
    return found


def gather(
    detector: Detector,
    frame: Frame,
    studied: Studied,
    good: Sequence[np.ndarray],
    bad: Sequence[tuple[np.ndarray, np.ndarray | None]],
    *,
    usable: Sequence[int],
    fine: Sequence[np.ndarray] = (),
    on_picture: Callable[[], None] = lambda: None,
) -> LeftOutScores:
    """Look at `usable` ones of the good pictures, and the defective ones with their masks or None.

    Between them: `fine` ones, good parts that nothing is compared with. Pictures are uint8
    (H, W, 3), masks bool (H, W).
    """
    shares: list[tuple[float, ...]] = [()]
    if detector.decoder is not None:
        shares = candidate_shares(detector.config.scale_shares)
    scores, figures, precision = [], [], []
    others = [*((picture, None) for picture in fine), *bad]
    for views, mask, memories in _left_out(detector, frame, studied, good, others, usable):
        pose = UPRIGHT
        if studied.circle is not None:
            pose = pose_of(detector, views.canvases[0], studied.circle)
        tiles = _judged(detector, views, memories, shares, pose)
        best = [max(range(len(tiles)), key=lambda t: tiles[t][c].score) for c in range(len(shares))]
        scores.append([tiles[t][c].score for c, t in enumerate(best)])
        figures.append([figures_of(tiles[t][c]) for c, t in enumerate(best)])
        precision.append([_pixel_ap(views, tiles, c, mask) for c in range(len(shares))])
        on_picture()
    return LeftOutScores(
        shares=shares,
        scores=np.array(scores).T,
        figures=np.array(figures).transpose(1, 0, 2),
        precision=np.array(precision).T,
        labels=np.array([0] * (len(usable) + len(fine)) + [1] * len(bad)),
    )


def _left_out(
    detector: Detector,
    frame: Frame,
    studied: Studied,
    good: Sequence[np.ndarray],
    others: Sequence[tuple[np.ndarray, np.ndarray | None]],
    usable: Sequence[int],
) -> Iterator[tuple[Views, np.ndarray | None, list[Memory]]]:
    """Each picture with what it is compared with."""
    for i in usable:
        yield frame.cut(good[i]), None, left_out_memories(detector, studied, i)
    for number, (picture, mask) in enumerate(others):
        without = usable[number % len(usable)]
        yield frame.cut(picture), mask, left_out_memories(detector, studied, without)


def _judged(
    detector: Detector,
    views: Views,
    memories: Sequence[Memory],
    shares: list[tuple[float, ...]],
    pose: Pose,
) -> list[list[Evidence]]:
    """Evidence of one picture, by tile, then by candidate; the matching is done once."""
    if pose.upright:
        return _evidence(detector, views.canvases, views.placements, memories, shares)
    straight = [laid(canvas, pose) for canvas in views.canvases]
    shown = [Laid(pose, placement) for placement in views.placements]
    tiles = _evidence(detector, straight, shown, memories, shares)
    return [[over_query(one, pose) for one in tile] for tile in tiles]


def _evidence(
    detector: Detector,
    canvases: list[np.ndarray],
    placements: Sequence[Shown],
    memories: Sequence[Memory],
    shares: list[tuple[float, ...]],
) -> list[list[Evidence]]:
    query = detector.encode(canvases)
    found = []
    for t, (memory, placement) in enumerate(zip(memories, placements, strict=True)):
        if detector.decoder is None:
            found.append([detector.judge(query.rows([t]), memory, placement)])
            continue
        logits, detail = detector.scale_logits(query.rows([t]).to(detector.device), memory)
        logits, detail = [one.cpu() for one in logits], detail.cpu()
        mixed = [mixed_logits(logits, one) for one in shares]
        frozen = detector.frozen_distances(query.rows([t]), memory)
        found.append([evidence_of(one, one.sigmoid(), detail, frozen, placement) for one in mixed])
    return found


def _pixel_ap(
    views: Views, tiles: list[list[Evidence]], candidate: int, mask: np.ndarray | None
) -> float:
    """Of one candidate's map against a mask bool (H, W), both brought to at most `MAP_SIDE_PX`.

    nan without a mask, or where the smaller mask is empty.
    """
    if mask is None:
        return nan
    shrink = min(1.0, MAP_SIDE_PX / max(mask.shape))
    size_hw = (max(1, round(mask.shape[0] * shrink)), max(1, round(mask.shape[1] * shrink)))
    small = shrink_mask(mask, size_hw)
    if not small.any():
        return nan
    found = views.join([tile[candidate].map for tile in tiles])
    return average_precision(small.ravel(), resize(found, size_hw).ravel())

"""Judging a query whose product lies turned: laid straight first, and its map laid back."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch

from anomalyst.detection.pose import Laid, Pose, laid, laid_back
from anomalyst.detection.scoring import Evidence
from anomalyst.io.geometry import Placement


def judge_laid(
    canvas: np.ndarray,
    placement: Placement | None,
    poses: Sequence[Pose],
    judge: Callable[[np.ndarray, Laid], Evidence],
) -> tuple[Evidence, Pose]:
    """Evidence over a query's canvas uint8 (h, w, 3) under the pose that explains it best, and it.

    `judge` judges a canvas that is laid as the good picture lies.
    """
    found = [(judge(laid(canvas, pose), Laid(pose, placement)), pose) for pose in poses]
    evidence, pose = min(found, key=lambda pair: _over_all(pair[0]))
    return over_query(evidence, pose), pose


def _over_all(evidence: Evidence) -> float:
    """The score of all that is seen: areas that count for little do not tell how a part lies."""
    return evidence.score if evidence.whole is None else evidence.whole


def over_query(evidence: Evidence, pose: Pose) -> Evidence:
    """Map, detail and logits of a laid canvas, over the query's own.

    They say nothing where that reaches beyond the good picture.
    """
    map_, inside = laid_back(torch.from_numpy(evidence.map)[None, None], pose)
    detail = None if evidence.detail is None else laid_back(evidence.detail, pose)[0]
    logits = None
    if evidence.logits is not None:
        moved, shown = laid_back(evidence.logits, pose)
        # A cell that padding, -inf, has any part in is padding: 0 times -inf is not a number.
        logits = moved.nan_to_num(nan=-math.inf, neginf=-math.inf).masked_fill(~shown, -math.inf)
    straight = (map_ * inside)[0, 0].numpy()
    return replace(evidence, map=straight, detail=detail, logits=logits)

"""What teaching decides from the good pictures: which to keep, how they lie, what is usual."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from anomalyst.detection.bank import pose_is_free, right_angle_rotations
from anomalyst.detection.calibration import Calibration
from anomalyst.detection.detector import Detector
from anomalyst.imaging import Frame
from anomalyst.types import Features

SPLIT_LEAST = 19  # good pictures beyond the references from which these alone calibrate (5 %)


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


def calibrate(
    detector: Detector,
    features: Sequence[Features],
    shown: Sequence[Features],
    chosen: Sequence[int],
    views: int,
) -> Calibration:
    """Scores of the good pictures, each against references it is not one of.

    `features[t]` holds tile t of all N good pictures, `shown[t]` the views of the `chosen` ones
    (`views` per picture). With enough pictures beyond the references only those calibrate, which
    makes the guarantee exact (split conformal); otherwise every picture does, leave-one-out.
    """
    total = features[0].embedding.shape[0]
    outside = [i for i in range(total) if i not in set(chosen)]
    split = len(outside) >= SPLIT_LEAST
    memories = [detector.remember(tile) for tile in shown]
    scores = []
    for i in outside if split else range(total):
        kept = memories
        if i in set(chosen):
            others = [j for j, c in enumerate(chosen) if c != i]
            rows = [j * views + view for j in others for view in range(views)]
            pairs = zip(memories, shown, strict=True)
            kept = [detector.remember_only(memory, tile, rows) for memory, tile in pairs]
        judged = zip(features, kept, strict=True)
        scores.append(max(detector.judge(f.rows([i]), m, None).score for f, m in judged))
    return Calibration(scores=tuple(scores), method="split" if split else "leave-one-out")

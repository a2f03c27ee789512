"""The figures of one tile's evidence that a head for known defects reads."""

import numpy as np
import torch
from torch import Tensor

from anomalyst.detection.scoring import Evidence

TOP_SHARES = (0.001, 0.01, 0.1)  # of the cells, whose mean logits are figures of a picture
POOLED_SHARE = 0.01  # of the cells, the most anomalous, over which what was compared is pooled


def figures_of(evidence: Evidence) -> np.ndarray:
    """What the head reads of one tile: float64 (F,); F is 0 without a pair decoder.

    Score, contrast, mean logits of the most anomalous cells, quantiles, the log of the area that is
    more likely anomalous than not, and what was compared, pooled where the map is highest.
    """
    if evidence.logits is None or evidence.detail is None or evidence.contrast is None:
        return np.zeros(0)
    flat = evidence.logits.flatten()
    values = flat[flat.isfinite()].double()
    ordered = values.sort(descending=True).values
    tops = [ordered[: _count(share, values)].mean() for share in TOP_SHARES]
    quantiles = values.quantile(torch.tensor([0.5, 0.97], dtype=torch.float64))
    area = ((values > 0).sum() + 1).double().div(len(values)).log()
    where = flat.topk(_count(POOLED_SHARE, values)).indices
    pooled = evidence.detail[0].flatten(1)[:, where].double().mean(1)
    plain = torch.stack([*tops, *quantiles, area])
    start = torch.tensor([evidence.score, evidence.contrast], dtype=torch.float64)
    return torch.cat([start, plain, pooled]).numpy()


def _count(share: float, values: Tensor) -> int:
    return max(1, int(share * len(values)))

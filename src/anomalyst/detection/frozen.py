"""The nearest good patch on the frozen trunk's own features: what no training can have changed.

The pair decoder knows how drawn products differ; the trunk knows how the real world looks. Beside
the decoder's score, this one ranks real parts better than either does (docs/research/embedded.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from anomalyst.detection.scoring import resized
from anomalyst.detection.similarity import row_parts

# Of the good pictures' mean, that features keep. Without any, the noise of even surfaces would be
# all that is compared; with all of it, drawn parts rank a little worse (docs/research/embedded.md).
KEPT_MEAN = 0.3


@dataclass(slots=True)
class FrozenPatches:
    """What is remembered of K good pictures, per level of `Features.frozen`."""

    centres: list[Tensor]  # (C,): what is taken off every patch
    rows: list[Tensor]  # (K * h * w, C) unit vectors

    @classmethod
    def of(cls, levels: Sequence[Tensor]) -> "FrozenPatches":
        """Levels (K, C, h, w) of the good pictures -> their patches."""
        centres = [level.mean((0, 2, 3)) * (1 - KEPT_MEAN) for level in levels]
        units = [centred(level, c) for level, c in zip(levels, centres, strict=True)]
        return cls(centres, [rows.flatten(0, 1) for rows in units])

    def distances(self, levels: Sequence[Tensor]) -> Tensor:
        """One query's levels (1, C, h, w) -> (1, 1, h, w) at the finest, in [0, 2 L].

        Sum over the L levels of 1 - cosine similarity to the nearest good patch, anywhere.
        """
        found: list[Tensor] = []
        for level, centre, rows in zip(levels, self.centres, self.rows, strict=True):
            units = centred(level, centre)[0]  # (N, C)
            # In parts, as the pair decoder's similarities: many large good pictures fill no memory.
            parts = row_parts(len(units), len(rows))
            nearest = torch.cat([(units[part] @ rows.T).amax(1) for part in parts])
            map_ = (1 - nearest).reshape(1, 1, *level.shape[-2:])
            found.append(resized(map_, found[0].shape[-2:]) if found else map_)
        return torch.stack(found).sum(0)


def centred(level: Tensor, centre: Tensor) -> Tensor:
    """(B, C, h, w) less the centre (C,) -> (B, h * w, C) unit vectors.

    All patches have much of their direction in common; what is left tells them apart.
    """
    return F.normalize(level.flatten(2).transpose(1, 2).float() - centre, dim=2)

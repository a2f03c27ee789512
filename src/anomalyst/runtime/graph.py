"""The whole inspection of one tile of a taught product as one network: what an engine can take.

Canvases go in; out come the logits, the map, and what the kind classifier and the language model
are shown. Nothing here knows how a picture is matched or scored: it calls the detector's own parts
with what the product remembers as constants, so another encoder or decoder needs no work here.
"""

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anomalyst.detection.detector import Detector, Memory, by_scale
from anomalyst.detection.frozen import FrozenPatches
from anomalyst.detection.matching import References, unit_patches
from anomalyst.detection.scoring import blurred, mixed_logits, resized
from anomalyst.errors import AnomalystError
from anomalyst.types import Features

OUTPUTS = ("logits", "map", "detail", "patches", "embedding", "frozen")
PATCH_CELLS = 4  # as vlm/visual_inputs.py pools them


class WholeInspection(nn.Module):
    """One uint8 canvas (1, h, w, 3) -> the tensors `OUTPUTS`, all float32, in that order.

    logits, map: (1, 1, h/4, w/4), "anomalous" before and after smoothing; detail (1, 2D+1, h/4,
    w/4): what the pair decoder compared; patches (1, D, 4, 4); embedding (1, D); frozen
    (1, 1, h/8, w/8): distances on the frozen trunk. Raises AnomalystError for a detector without a
    pair decoder.
    """

    def __init__(self, detector: Detector, memory: Memory, canvas_hw: tuple[int, int]):
        super().__init__()
        decoder = memory.decoder or detector.decoder
        if decoder is None or not memory.references:
            raise AnomalystError(
                f"{detector.encoder.name}: only a product taught with the embedded encoder can be "
                "exported; teach it with --encoder embedded."
            )
        # Copies: the detector goes on computing in its own precision and place.
        self.encoder = copy.deepcopy(detector.encoder).float().cpu()
        self.decoder = copy.deepcopy(decoder).float().cpu()
        self.config = detector.config
        self.shares = memory.shares or detector.config.scale_shares
        self.memory = [_Remembered(references) for references in memory.references]
        self.parts = nn.ModuleList(self.memory)
        assert memory.frozen is not None  # an encoder with a pair decoder has a frozen trunk
        self.frozen = _Frozen(memory.frozen)
        self.shrink = nn.ModuleList(
            _Shrink(canvas_hw, scale, detector.encoder.multiple_px)
            for scale in self.config.scales[1:]
        )

    def forward(self, canvases: Tensor) -> tuple[Tensor, ...]:
        pixels = canvases.permute(0, 3, 1, 2).float() / 255  # (B, 3, h, w)
        seen = [self.encoder(pixels)]
        seen += [self.encoder(shrink(pixels)) for shrink in self.shrink]
        levels = [level.float() for features in seen for level in features.levels]
        features = Features(levels, seen[0].embedding.float())
        found: list[Tensor] = []
        for index, (query, part) in enumerate(zip(by_scale(features), self.memory, strict=True)):
            references = part() if index else self._nearest_pictures(query, part())
            matched = self.decoder.match(query, references, None)
            logits = self.decoder.decide(matched)
            weight = self.config.nearest_weight
            logits = self.decoder.with_nearest(logits, matched.distances, weight)
            found.append(resized(logits, found[0].shape[-2:]) if found else logits)
            if not index:
                detail = matched.fine
        logits = mixed_logits(found, self.shares)
        shown = blurred(logits.sigmoid(), self.config.blur_cells)
        patches = _pooled(levels[2], PATCH_CELLS)
        frozen = self.frozen([level.float() for level in seen[0].frozen])
        return logits, shown, detail, patches, features.embedding, frozen

    def _nearest_pictures(self, query: Features, references: References) -> References:
        """The good pictures that the full size is compared with, as Detector._compared picks."""
        count = references.count
        least, most = self.config.compared
        half = min(most, max(least, count // 2))
        if count <= half:
            return references
        similarity = unit_patches(query.levels[2]) @ references.patches[2].transpose(1, 2)
        alike = similarity.unflatten(2, (count, -1)).amax(3).mean(1)  # (1, K)
        return _picked(references, alike[0].topk(half).indices.sort().values)


class _Remembered(nn.Module):
    """References as constants of a network."""

    def __init__(self, references: References):
        super().__init__()
        self.grids_hw, self.levels = references.grids_hw, len(references.patches)
        for index, rows in enumerate(references.patches):
            self.register_buffer(f"patches{index}", rows.contiguous())
        for index, like in enumerate(references.likeness):
            self.register_buffer(f"likeness{index}", like.contiguous())

    def forward(self) -> References:
        patches = [getattr(self, f"patches{i}") for i in range(self.levels)]
        likeness = [getattr(self, f"likeness{i}") for i in range(self.levels - 1)]
        return References(self.grids_hw, patches, likeness)


class _Frozen(nn.Module):
    """Frozen patches as constants of a network."""

    def __init__(self, patches: FrozenPatches):
        super().__init__()
        self.levels = len(patches.rows)
        for index, (centre, rows) in enumerate(zip(patches.centres, patches.rows, strict=True)):
            self.register_buffer(f"centre{index}", centre.contiguous())
            self.register_buffer(f"rows{index}", rows.contiguous())

    def forward(self, levels: list[Tensor]) -> Tensor:
        centres = [getattr(self, f"centre{i}") for i in range(self.levels)]
        rows = [getattr(self, f"rows{i}") for i in range(self.levels)]
        return FrozenPatches(centres, rows).distances(levels)


def _picked(references: References, index: Tensor) -> References:
    """Some of the good pictures, which a query chose: index (k,) into the K."""
    patches = [
        rows.unflatten(1, (references.count, -1))[:, index].flatten(1, 2)
        for rows in references.patches
    ]
    likeness = [like[:, index][:, :, index] for like in references.likeness]
    return References(references.grids_hw, patches, likeness)


def _pooled(level: Tensor, cells: int) -> Tensor:
    """Adaptive average pooling (B, D, h, w) -> (B, D, cells, cells), as two matrix products.

    Engines pool only where the cells divide the grid.
    """
    down, across = (
        F.adaptive_avg_pool1d(torch.eye(int(side))[None], cells)[0] for side in level.shape[-2:]
    )  # (side, cells) each
    return down.T @ level @ across


class _Shrink(nn.Module):
    """Pictures (B, 3, H, W) made smaller: what detector._shrunk does, as two matrix products.

    Antialiased resampling is linear and separable; engines have no operator for it that agrees
    with torch's at the borders.
    """

    def __init__(self, canvas_hw: tuple[int, int], scale: float, multiple_px: int):
        super().__init__()
        for name, side in zip(("down", "across"), canvas_hw, strict=True):
            small = max(1, round(side * scale / multiple_px)) * multiple_px
            column = torch.eye(side)[None, None]  # (1, 1, side, side)
            weights = F.interpolate(
                column, [small, side], mode="bilinear", align_corners=False, antialias=True
            )
            self.register_buffer(name, weights[0, 0].contiguous())  # (small, side)

    def forward(self, pixels: Tensor) -> Tensor:
        down: Tensor = self.down  # type: ignore[assignment]
        across: Tensor = self.across  # type: ignore[assignment]
        return down @ pixels @ across.T


def whole_inspection(detector: Detector, memory: Memory, canvas_hw: tuple[int, int]) -> nn.Module:
    """The network of one tile, in float32 and ready to be traced."""
    return WholeInspection(detector, memory, canvas_hw).float().cpu().eval()

"""Encoder + decoder + bank behind one face: remember good pictures, then judge a query."""

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from anomalyst.detection.bank import MemoryBank, fuse
from anomalyst.detection.decoder import PairDecoder, References
from anomalyst.encoders.base import Encoder
from anomalyst.imaging import Placement
from anomalyst.types import Features


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorConfig:
    """How maps are fused and scored, and how much memory the search may take."""

    nearest_weight: float = 1.0  # of the nearest-patch logits beside the pair decoder's own
    bank_top_share: float = 0.01  # share of the bank's map whose mean is its score (AnomalyDINO)
    bank_blur_cells: float = 0.5  # Gaussian sigma over the bank's map, in patches
    search_mb: int = 64  # most memory that one step of the bank's search takes


@dataclass(slots=True)
class Memory:
    """What is remembered of the good pictures of one tile."""

    references: References | None = None  # for the pair decoder
    bank: MemoryBank | None = None  # for an encoder without one
    bank_scale: float = 1.0  # the bank's distance at which its map says 0.5


@dataclass(slots=True)
class Evidence:
    """What one tile of a query shows."""

    map: np.ndarray  # float32 (h, w) in [0, 1], over the canvas
    score: float  # unbounded, higher is more anomalous


class Detector:
    """A frozen encoder with, for the embedded default, its pair decoder."""

    def __init__(
        self, encoder: Encoder, decoder: PairDecoder | None, config: DetectorConfig | None = None
    ):
        self.encoder, self.decoder = encoder, decoder
        self.config = config or DetectorConfig()

    @torch.inference_mode()
    def encode(self, canvases: list[np.ndarray]) -> Features:
        """uint8 (h, w, 3) canvases of one size -> features, float32."""
        pixels = torch.from_numpy(np.stack(canvases)).permute(0, 3, 1, 2).float().div_(255)
        with self._precision():
            features = self.encoder(pixels.contiguous(memory_format=torch.channels_last))
        return Features([f.float() for f in features.levels], features.embedding.float())

    @torch.inference_mode()
    def remember(self, good: Features) -> Memory:
        """Features of K good pictures of one tile -> what queries are compared with."""
        if self.decoder is not None:
            return Memory(references=self.decoder.remember(good, good.levels[0].shape[0]))
        bank = MemoryBank.build(good)
        return Memory(bank=bank, bank_scale=self._bank_scale(good))

    @torch.inference_mode()
    def remember_only(self, memory: Memory, good: Features, pictures: Sequence[int]) -> Memory:
        """The memory of some of the pictures of `good`, whose memory is `memory`."""
        if memory.references is not None:
            return Memory(references=memory.references.only(pictures))
        return self.remember(good.rows(pictures))

    @torch.inference_mode()
    def judge(self, query: Features, memory: Memory, placement: Placement | None) -> Evidence:
        """One query's features against a memory; padding around its placement does not count."""
        if memory.references is not None:
            return self._decoded(query, memory.references, placement)
        return self._banked(query, memory, placement)

    def _decoded(
        self, query: Features, references: References, placement: Placement | None
    ) -> Evidence:
        assert self.decoder is not None
        with self._precision():
            logits, distances = self.decoder(query, references)
        logits = logits.float()  # (1, 1, h, w) at stride 4
        nearest = [_resized(n, logits.shape[-2:]) for n in self.decoder.nearest_logits(distances)]
        evidence = logits + self.config.nearest_weight * torch.stack(nearest).mean(0)
        kept = _content(placement, evidence)
        score = expected_share(evidence[kept])
        shown = evidence.sigmoid() * kept
        return Evidence(shown[0, 0].numpy(), score)

    def _banked(self, query: Features, memory: Memory, placement: Placement | None) -> Evidence:
        assert memory.bank is not None
        distances = memory.bank.distances(query, max_mb=self.config.search_mb)
        height, width = distances[0].shape[-2:]
        fused = fuse(distances, (height, width))[:, None]  # (1, 1, h, w)
        fused = _resized(_blurred(fused, self.config.bank_blur_cells), (4 * height, 4 * width))
        kept = _content(placement, fused)
        score = top_mean(fused[kept], self.config.bank_top_share)
        shown = (fused / (2 * memory.bank_scale)).clamp(0, 1) * kept
        return Evidence(shown[0, 0].numpy(), score)

    def _bank_scale(self, good: Features) -> float:
        """How far the farthest patches of a good picture are from the others' (or its own) kin."""
        scales = []
        for level in good.levels:
            rows = F.normalize(level.flatten(2).transpose(1, 2), dim=2)  # (K, N, D)
            step = max(1, rows.shape[1] // 1024)
            some = rows[:, ::step]
            for i in range(len(some)):
                others = (
                    torch.cat([some[:i], some[i + 1 :]]).flatten(0, 1)
                    if len(some) > 1
                    else (some[i])
                )
                similarity = some[i] @ others.T
                if len(some) == 1:
                    similarity.fill_diagonal_(-1)
                scales.append((1 - similarity.amax(1)).quantile(0.99))
        return max(1e-3, float(torch.stack(scales).mean()))

    def _precision(self) -> AbstractContextManager[object]:
        return torch.autocast("cpu", torch.bfloat16, enabled=self.decoder is not None)


def expected_share(logits: Tensor) -> float:
    """Log of the mean probability: how much of the picture is expected to be anomalous, in nats.

    Takes the sum of many faint places and one clear one alike, where the mean of a top share must
    first decide how large defects are (docs/decisions.md).
    """
    log_probabilities = F.logsigmoid(logits.flatten().double())
    return float(log_probabilities.logsumexp(0) - math.log(logits.numel()))


def top_mean(values: Tensor, share: float) -> float:
    """Mean of the highest `share` of the values: robust where a maximum would be one pixel."""
    flat = values.flatten()
    return float(flat.topk(max(1, int(share * flat.numel()))).values.mean())


def _content(placement: Placement | None, like: Tensor) -> Tensor:
    """Bool mask of a map (1, 1, h, w): False on the padding around the picture."""
    if placement is None or not placement.padded:
        return torch.ones_like(like, dtype=torch.bool)
    return torch.from_numpy(placement.inside(*like.shape[-2:]))[None, None]


def _resized(x: Tensor, size_hw: tuple[int, int] | torch.Size) -> Tensor:
    return F.interpolate(x, size=list(size_hw), mode="bilinear", align_corners=False)


def _blurred(x: Tensor, sigma: float) -> Tensor:
    if sigma <= 0:
        return x
    reach = max(1, round(3 * sigma))
    offsets = torch.arange(-reach, reach + 1, dtype=x.dtype)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = kernel / kernel.sum()
    padded = F.pad(x, (reach, reach, reach, reach), mode="replicate")
    return F.conv2d(F.conv2d(padded, kernel[None, None, None]), kernel[None, None, :, None])

"""Encoder + decoder + bank behind one face: remember good pictures, then judge a query."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from anomalyst.backbones.base import Encoder
from anomalyst.detection.alignment import rescaled
from anomalyst.detection.classifiers.text_aligned import TextAligned
from anomalyst.detection.counted import Counted
from anomalyst.detection.frozen import FrozenPatches
from anomalyst.detection.matching import References
from anomalyst.detection.memory_bank import MemoryBank, fuse
from anomalyst.detection.pair_decoder import PairDecoder
from anomalyst.detection.pose import PoseConfig, Shown
from anomalyst.detection.scoring import (
    Evidence,
    blurred,
    content,
    evidence_of,
    mixed_logits,
    nothing_counts,
    resized,
    top_mean,
)
from anomalyst.errors import AnomalystError
from anomalyst.hardware.processor import precision_of
from anomalyst.types import Features

_CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorConfig:
    """How maps are fused and scored, and how much memory the search may take."""

    pose: PoseConfig = field(default_factory=PoseConfig)  # when a part is laid as the good one lies
    scales: tuple[float, ...] = (1.0, 0.5)  # sizes the pair decoder looks at, of the canvas
    scale_shares: tuple[float, ...] = (0.7, 0.3)  # of each size in the probability of "anomalous"
    compared: tuple[int, int] = (4, 8)  # at full size with half of the good pictures, within these
    nearest_weight: float = 1.0  # of the nearest-patch logits beside the pair decoder's own
    bank_top_share: float = 0.01  # share of the bank's map whose mean is its score (AnomalyDINO)
    blur_cells: float = 0.5  # Gaussian sigma over the finest map, in its cells; not for the score
    search_mb: int = 64  # most memory that one step of the bank's search takes


@dataclass(slots=True)
class Memory:
    """What is remembered of the good pictures of one tile. Nothing: the query stands alone."""

    references: list[References] = field(default_factory=list)  # per scale, for the pair decoder
    decoder: PairDecoder | None = None  # the product's own, if it was adapted
    bank: MemoryBank | None = None  # for an encoder without a decoder
    bank_scale: float = 1.0  # the bank's distance at which its map says 0.5
    shares: tuple[float, ...] = ()  # of each size, if chosen for the product (known_defects/)
    frozen: FrozenPatches | None = None  # on the trunk's own features, where there is one


class Detector:
    """A frozen encoder with, for the embedded default, its pair decoder; words may have a share.

    Features and evidence are handed over on the CPU; what is remembered lies on `device`.
    """

    def __init__(
        self,
        encoder: Encoder,
        decoder: PairDecoder | None = None,
        config: DetectorConfig | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | None = None,
        text: TextAligned | None = None,
    ):
        self.device = device or torch.device("cpu")
        for network in (encoder, decoder, text):
            if network is not None:
                network.to(self.device)
        self.encoder, self.decoder, self.text = encoder, decoder, text
        self.config = config or DetectorConfig()
        self.dtype = dtype or precision_of("auto")  # of the pair decoder's sums

    @torch.inference_mode()
    def encode(self, canvases: list[np.ndarray]) -> Features:
        """uint8 (h, w, 3) canvases of one size -> features, float32.

        For the pair decoder the levels of every scale follow each other; the embedding is the
        first scale's.
        """
        pixels = self._pixels(canvases)
        found = [self._encoded(pixels)]
        for scale in self.config.scales[1:] if self.decoder is not None else ():
            found.append(self._encoded(_shrunk(pixels, scale, self.encoder.multiple_px)))
        levels = [level for f in found for level in f.levels]
        text = None
        if self.text is not None:
            text = self.text(pixels, found[0], found[0].levels[0].shape[-2:])
        return Features(levels, found[0].embedding, found[0].frozen, text).to(_CPU)

    @torch.inference_mode()
    def encode_coarse(self, canvases: list[np.ndarray]) -> Features:
        """The same at the smallest size alone: what poses are found on, for a fifth of the time."""
        pixels = self._pixels(canvases)
        if self.decoder is not None and len(self.config.scales) > 1:
            pixels = _shrunk(pixels, self.config.scales[-1], self.encoder.multiple_px)
        return self._encoded(pixels).to(_CPU)

    def _pixels(self, canvases: list[np.ndarray]) -> Tensor:
        """uint8 (h, w, 3) each -> (B, 3, h, w) in [0, 1] on the device."""
        pixels = torch.from_numpy(np.stack(canvases)).to(self.device)
        return pixels.permute(0, 3, 1, 2).float().div_(255)

    def _encoded(self, pixels: Tensor) -> Features:
        with self.precision():
            features = self.encoder(pixels.contiguous(memory_format=torch.channels_last))
        levels, frozen = ([f.float() for f in ls] for ls in (features.levels, features.frozen))
        return Features(levels, features.embedding.float(), frozen)

    @torch.inference_mode()
    def remember(self, good: Features) -> Memory:
        """Features of K good pictures of one tile -> what queries are compared with.

        The smaller sizes may hold copies after the K, as many of each (references.py).
        """
        good = good.to(self.device)
        if self.decoder is not None:
            scales = by_scale(good)
            references = [self.decoder.remember(f, f.levels[0].shape[0]) for f in scales]
            return Memory(references, frozen=_remembered(good))
        bank = MemoryBank.build(good)
        return Memory(bank=bank, bank_scale=self._bank_scale(good))

    @torch.inference_mode()
    def remember_only(self, memory: Memory, good: Features, pictures: Sequence[int]) -> Memory:
        """The memory of some of the pictures of `good`, whose memory is `memory`."""
        if not memory.references:
            return self.remember(good.rows(pictures))
        whole = memory.references[0].count
        kept = []
        for references in memory.references:
            each = references.count // whole - 1  # copies of each picture, after all pictures
            copies = [whole + i * each + copy for i in pictures for copy in range(each)]
            kept.append(references.only([*pictures, *copies]))
        frozen = _remembered(good.rows(pictures).to(self.device))
        return Memory(kept, memory.decoder, shares=memory.shares, frozen=frozen)

    @torch.inference_mode()
    def judge(self, query: Features, memory: Memory, placement: Shown | None) -> Evidence:
        """One query's features against a memory; padding around its placement does not count."""
        query = query.to(self.device)
        if memory.bank is not None:
            return self._banked(query, memory, placement)
        if self.decoder is None and query.text is not None:
            return self._by_words(query.text.to(_CPU), placement)
        seen, detail = (found.to(_CPU) for found in self.evidence(query, memory))
        logits = self._with_words(seen, query, memory)
        shown = blurred(logits.sigmoid(), self.config.blur_cells)
        frozen = self.frozen_distances(query, memory)
        return evidence_of(logits, shown, detail, frozen, placement, seen=seen)

    @torch.inference_mode()
    def frozen_distances(self, query: Features, memory: Memory) -> Tensor | None:
        """How far one query's patches are from all good ones on the trunk: (1, 1, h/8, w/8).

        None without a good picture, and for an encoder without a frozen trunk.
        """
        if memory.frozen is None:
            return None
        return memory.frozen.distances(query.to(self.device).frozen).to(_CPU)

    @torch.inference_mode()
    def evidence(self, query: Features, memory: Memory) -> tuple[Tensor, Tensor]:
        """Logits of "anomalous" of one query at stride 4, (1, 1, h, w), and what was compared.

        The latter is `Matched.fine` of the largest size, (1, 2D+1, h, w) float32.

        Their probability is the mean of those of all sizes by `scale_shares`, or by the memory's
        own; without a good picture, that of the largest size, since defects that stand out by
        themselves are small.
        Raises AnomalystError for an encoder without a pair decoder and a memory without pictures.
        """
        found, detail = self.scale_logits(query, memory)
        return mixed_logits(found, memory.shares or self.config.scale_shares), detail

    @torch.inference_mode()
    def scale_logits(self, query: Features, memory: Memory) -> tuple[list[Tensor], Tensor]:
        """What `evidence` mixes: the logits of each size, (1, 1, h, w) all, and what was compared.

        Without a good picture those of the largest size alone. Raises as `evidence` does.
        """
        if self.decoder is None:
            raise AnomalystError(
                f"{self.encoder.name}: has no pair decoder, so it needs at least one good picture; "
                "give one, or use the embedded encoder."
            )
        decoder = memory.decoder or self.decoder
        scales = by_scale(query)[: None if memory.references else 1]
        found: list[Tensor] = []
        movement: Tensor | None = None
        for index, features in enumerate(scales):
            references = self._compared(decoder, features, memory, index)
            if movement is not None:
                movement = _resized_movement(movement, scales[index - 1], features, references)
            with self.precision():
                matched = decoder.match(features, references, movement)
                logits = decoder.decide(matched).float()
            # Alone, how seldom a patch recurs in its own picture is no sign of a defect.
            if not references.alone:
                weight = self.config.nearest_weight
                logits = decoder.with_nearest(logits, matched.distances, weight)
            if not found:
                detail = matched.fine.float()
            found.append(resized(logits, found[0].shape[-2:]) if found else logits)
            movement = matched.movement
        return found, detail

    def _compared(
        self, decoder: PairDecoder, query: Features, memory: Memory, index: int
    ) -> References:
        """What scale `index` of a query is compared with.

        The largest size with the most similar good pictures only, for that is expensive; the others
        with all.
        """
        if not memory.references:
            return decoder.remember(query, 1, alone=True)
        references = memory.references[index]
        if index > 0:
            return references
        least, most = self.config.compared
        half = min(most, max(least, references.count // 2))
        picked = decoder.nearest_pictures(query, references, half)
        return references if len(picked) == references.count else references.only(picked)

    def _banked(self, query: Features, memory: Memory, placement: Shown | None) -> Evidence:
        assert memory.bank is not None
        distances = memory.bank.distances(query, max_mb=self.config.search_mb)
        height, width = distances[0].shape[-2:]
        fused = fuse(distances, (height, width))[:, None]  # (1, 1, h, w)
        fused = resized(blurred(fused.to(_CPU), self.config.blur_cells), (4 * height, 4 * width))
        kept, whole = content(placement, fused), None
        if isinstance(placement, Counted):  # what tells how the part lies
            seen = fused[content(placement.shown, fused)]
            whole = top_mean(seen, self.config.bank_top_share)
        if not kept.any():
            return nothing_counts(fused, whole)
        score = top_mean(fused[kept], self.config.bank_top_share)
        shown = (fused / (2 * memory.bank_scale)).clamp(0, 1) * kept
        if query.text is not None and self.text is not None:
            # As WinCLIP+ does (Jeong et al., CVPR 2023, section 4.3), mixed; the map in [0, 1], the
            # score above 1 where the bank's is farther than its scale.
            share = self.text.shares.beside
            said = resized(query.text.to(_CPU), shown.shape[-2:]).sigmoid() * kept
            score = (1 - share) * score / (2 * memory.bank_scale) + share * float(said.max())
            shown = (1 - share) * shown + share * said
        return Evidence(shown[0, 0].numpy(), score, whole=whole)

    def _with_words(self, seen: Tensor, query: Features, memory: Memory) -> Tensor:
        """Logits (1, 1, h, w) of what pictures say, with the words' share where words are asked."""
        if query.text is None or self.text is None:
            return seen
        share = self.text.shares.beside if memory.references else self.text.shares.alone
        said = resized(query.text.to(_CPU), seen.shape[-2:])
        return mixed_logits([seen, said], (1 - share, share))

    def _by_words(self, logits: Tensor, placement: Shown | None) -> Evidence:
        """No good picture and nothing that could compare a picture with itself."""
        shown = blurred(logits.sigmoid(), self.config.blur_cells)
        return evidence_of(logits, shown, None, None, placement)

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

    @contextmanager
    def precision(self) -> Iterator[None]:
        """Autocast, where the pair decoder computes in less than float32.

        On a GPU, what is float32 is not TF32, which moved scores by up to 0.1 nats.
        """
        low = self.decoder is not None and self.dtype != torch.float32
        exact = self.device.type == "cuda"
        plain = torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
        with (
            plain if exact else nullcontext(),
            torch.autocast(self.device.type, torch.bfloat16, enabled=low),
        ):
            yield


def _remembered(good: Features) -> FrozenPatches | None:
    return FrozenPatches.of(good.frozen) if good.frozen else None


def by_scale(features: Features) -> list[Features]:
    """The features of each scale, three levels at a time."""
    levels = features.levels
    return [Features(levels[i : i + 3], features.embedding) for i in range(0, len(levels), 3)]


def _resized_movement(
    movement: Tensor, before: Features, query: Features, references: References
) -> Tensor | None:
    """How the product lies, from one size of a query to the next; None beside other pictures."""
    if movement.shape[1] != references.count:
        return None
    (h, w), (rows, columns) = (f.levels[1].shape[-2:] for f in (query, before))
    return rescaled(movement, (h / rows, w / columns))


def _shrunk(pixels: Tensor, scale: float, multiple_px: int) -> Tensor:
    """Pictures (B, 3, H, W) made smaller, to sides the encoder takes."""
    sides = [max(1, round(side * scale / multiple_px)) * multiple_px for side in pixels.shape[-2:]]
    return F.interpolate(pixels, sides, mode="bilinear", align_corners=False, antialias=True)

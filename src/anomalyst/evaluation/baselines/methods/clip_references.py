"""Few-shot baselines on a CLIP folder: a picture against a few good ones.

WinCLIP+ (Jeong et al., CVPR 2023, section 4) and AnomalyGPT's few-shot map (Gu et al., AAAI 2024,
section 3.3), which takes the place of its map by prompts. Neither trains anything, neither turns
the good pictures.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from anomalyst.detection.scoring import resized
from anomalyst.evaluation.baselines.methods.text import (
    Clip,
    Look,
    OnClip,
    WinCLIP,
    WinCLIPConfig,
    at_depths,
    harmonic,
)


@dataclass(frozen=True, slots=True)
class Known:
    """What is kept of a product: unit vectors of its good pictures, and two states in words."""

    banks: list[Tensor]  # of each scale or depth, (M, D)
    states: Tensor | None = None  # (2, E), for a method that reads words, too


class FewShotOnClip(OnClip):
    """A way of scoring one picture by a few good ones."""

    @torch.inference_mode()
    def remember(self, canvases: Sequence[np.ndarray], product: str) -> Known:
        """Good pictures uint8 (h, w, 3), and the product's name in sentences -> what is kept."""
        found = [self.described(self.tokens(one), self.grid_hw(one)) for one in canvases]
        banks = [torch.cat(level) for level in zip(*found, strict=True)]
        return Known(banks, self.states(product))

    def states(self, product: str) -> Tensor | None:  # noqa: ARG002
        """What is said of the product, embedded; None, nothing."""
        return None

    @abstractmethod
    def described(self, tokens: Tensor, grid_hw: tuple[int, int]) -> list[Tensor]:
        """Tokens (1, 1 + N, D) -> unit vectors of each scale or depth, (M, D)."""


class WinCLIPPlus(FewShotOnClip):
    """WinCLIP's words, and how far windows and patches are from those of the good pictures.

    A window, or a patch after the last block, is half one less the cosine to the nearest good one
    of its scale away. Windows give a map as in WinCLIP, by harmonic means; the maps of the scales
    are averaged, and the result with the map by words. The picture's score is the mean of its
    probability of "damaged" and of the largest distance in the map.
    """

    name = "WinCLIP+"
    recipe: WinCLIPConfig
    paper = WinCLIPConfig()

    def __init__(self, clip: Clip, recipe: object = None):
        super().__init__(clip, recipe)
        self._words = WinCLIP(clip, self.recipe)

    def states(self, product: str) -> Tensor | None:
        """The states that WinCLIP reads."""
        return self.clip.states(product)

    def described(self, tokens: Tensor, grid_hw: tuple[int, int]) -> list[Tensor]:
        """Patches, then windows of each side."""
        return _scales(self._words.look(tokens, grid_hw))

    def scored(
        self, tokens: Tensor, known: Known, grid_hw: tuple[int, int], size_hw: tuple[int, int]
    ) -> tuple[Tensor, float | None]:
        """See the class."""
        assert known.states is not None
        seen = self._words.look(tokens, grid_hw)
        by_words, probability = self._words.by_words(seen, known.states, grid_hw)
        gaps = [away(own, bank) / 2 for own, bank in zip(_scales(seen), known.banks, strict=True)]
        maps = [gaps[0].reshape(grid_hw)]
        for side, gap in zip(self.recipe.windows, gaps[1:], strict=True):
            # A window seen before is 0 away, and the harmonic mean with it is 0, too.
            maps.append(harmonic(gap, grid_hw, side))
        by_pictures = torch.stack(maps).mean(0)
        both = (by_words + by_pictures) / 2
        return resized(both[None, None], size_hw), (probability + float(by_pictures.max())) / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchBankConfig:
    """AnomalyGPT's setting."""

    depths: Sequence[float] = (0.25, 0.5, 0.75, 1.0)  # of the blocks whose patches are kept


class PatchBank(FewShotOnClip):
    """AnomalyGPT's few-shot map: patches of four depths against all of the good pictures.

    The largest cosine of each patch, the mean over depths, grown; the map is one less that, the
    score its largest value. The patches are as the blocks give them. On CLIP's image tower in
    place of ImageBind's.
    """

    name = "AnomalyGPT's patches"
    recipe: PatchBankConfig
    paper = PatchBankConfig()

    def described(self, tokens: Tensor, grid_hw: tuple[int, int]) -> list[Tensor]:  # noqa: ARG002
        """Patches of each depth."""
        blocks = at_depths(self.clip.through(tokens), self.recipe.depths)
        return [F.normalize(block[0, 1:], dim=-1) for block in blocks]

    def scored(
        self, tokens: Tensor, known: Known, grid_hw: tuple[int, int], size_hw: tuple[int, int]
    ) -> tuple[Tensor, float | None]:
        """See the class."""
        levels = zip(self.described(tokens, grid_hw), known.banks, strict=True)
        gap = torch.stack([away(own, bank) for own, bank in levels]).mean(0)
        return resized(gap.reshape(1, 1, *grid_hw), size_hw), None


def away(queries: Tensor, bank: Tensor) -> Tensor:
    """Unit vectors (N, D) -> one less the cosine to the nearest of a bank (M, D), in [0, 2]."""
    return (1 - (queries @ bank.T).amax(1)).clamp(0, 2)


def _scales(seen: Look) -> list[Tensor]:
    return [seen.patches, *seen.windows]

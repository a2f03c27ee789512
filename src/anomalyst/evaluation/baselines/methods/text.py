"""Zero-shot baselines on a CLIP folder: a picture against words for "sound" and "damaged".

WinCLIP (Jeong et al., CVPR 2023) whole, as far as no good picture is given, and the scoring by
prompts of AnomalyGPT (Gu et al., AAAI 2024) without what that trained. Both with this package's
sentences (vlm/text_tower.py): like the papers' they cross states with templates, in other words.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anomalyst.backbones.base import to_pixels
from anomalyst.backbones.huggingface import HubEncoder, HubEncoderConfig
from anomalyst.detection.scoring import Evidence, content, resized
from anomalyst.errors import AnomalystError
from anomalyst.evaluation.baselines.methods.base import MAP_STRIDE_PX
from anomalyst.io.geometry import Placement
from anomalyst.vlm.text_aligned import clip_model
from anomalyst.vlm.text_tower import TextTower


class Clip:
    """A CLIP folder: its image tower, the way into the space it shares with words, its words.

    Pictures are looked at at the size the model was trained on. Raises AnomalystError if the
    folder is not there, not whole, or of another kind of model.
    """

    def __init__(self, source: str):
        if not Path(source).is_dir():
            raise AnomalystError(
                f"--clip {source}: there is no such folder; that of a CLIP model with its text "
                "tower and tokenizer is needed (transformers' CLIPModel)."
            )
        self.source, self.name = source, Path(source).name
        self.tower = HubEncoder(HubEncoderConfig(source=source), local_files_only=True)
        if self.tower.model.config.model_type != "clip_vision_model":
            kind = self.tower.model.config.model_type.removesuffix("_vision_model")
            raise AnomalystError(
                f"--clip {source}: is a {kind!r} model; the folder of a CLIP model with its text "
                "tower and tokenizer is needed (transformers' CLIPModel)."
            )
        self.projection: nn.Module = clip_model(source).visual_projection
        self.side_px = int(self.tower.model.config.image_size)
        self.multiple_px = self.tower.multiple_px

    def states(self, name: str) -> Tensor:
        """Unit embeddings (2, E) of what is said of a sound product and of a damaged one."""
        return self._text.states(name)

    @cached_property
    def _text(self) -> TextTower:
        """Read once for all products."""
        return TextTower(self.source)

    def tokens(self, pixels: Tensor) -> Tensor:
        """(1, 3, H, W) in [0, 1] -> what enters the transformer, class first: (1, 1 + N, D)."""
        normalised = (pixels - self.tower.mean) / self.tower.std
        found: Tensor = self.tower.model.embeddings(normalised, interpolate_pos_encoding=True)
        return self.tower.model.pre_layrnorm(found)

    def through(self, tokens: Tensor) -> list[Tensor]:
        """(B, T, D) -> the same after each block."""
        found = []
        for block in self.tower.model.encoder.layers:
            after = block(tokens, attention_mask=None)
            tokens = after if isinstance(after, Tensor) else after[0]
            found.append(tokens)
        return found

    def shared(self, tokens: Tensor) -> Tensor:
        """(..., D) -> unit vectors (..., E) that can be compared with `states`."""
        return F.normalize(self.projection(self.tower.model.post_layernorm(tokens)), dim=-1)


class OnClip(ABC):
    """A way of scoring one picture on a CLIP model, by what is known of the product."""

    name: str
    paper: ClassVar[object]

    def __init__(self, clip: Clip, recipe: object = None):
        self.clip, self.recipe = clip, recipe or self.paper

    @torch.inference_mode()
    def judge(self, canvas: np.ndarray, known: Any, placement: Placement | None) -> Evidence:
        """uint8 (h, w, 3), sides in whole patches -> map and score; padding does not count."""
        size_hw = canvas.shape[0] // MAP_STRIDE_PX, canvas.shape[1] // MAP_STRIDE_PX
        map_, score = self.scored(self.tokens(canvas), known, self.grid_hw(canvas), size_hw)
        kept = content(placement, map_)
        score = float(map_[kept].max()) if score is None else score
        return Evidence((map_.clamp(0, 1) * kept)[0, 0].numpy(), score)

    def tokens(self, canvas: np.ndarray) -> Tensor:
        """uint8 (h, w, 3) -> what enters the transformer, (1, 1 + N, D)."""
        return self.clip.tokens(to_pixels([canvas]))

    def grid_hw(self, canvas: np.ndarray) -> tuple[int, int]:
        """How many patches a canvas (h, w, 3) has from top to bottom, and from left to right."""
        rows, columns = (side // self.clip.multiple_px for side in canvas.shape[:2])
        return rows, columns

    @abstractmethod
    def scored(
        self, tokens: Tensor, known: Any, grid_hw: tuple[int, int], size_hw: tuple[int, int]
    ) -> tuple[Tensor, float | None]:
        """Tokens (1, 1 + N, D), what is known -> a map (1, 1, H, W), and the score; None, the map's
        largest value.
        """


class ZeroShot(OnClip):
    """A way of scoring one picture by words alone: known are two states (2, E)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WinCLIPConfig:
    """The paper's settings."""

    windows: tuple[int, ...] = (2, 3)  # sides in patches; the whole picture is a scale, too
    temperature: float = 0.07  # of the softmax over the two states


class WinCLIP(ZeroShot):
    """Windows of patches go through the transformer alone, each with the class token.

    A window's score is its probability of "damaged"; a patch has the harmonic mean of those of the
    windows over it, and the map the harmonic mean of all scales, the whole picture being one of
    them (section 3.3). The picture's score is its own probability (3.2).
    """

    name = "WinCLIP, no good picture"
    recipe: WinCLIPConfig
    paper = WinCLIPConfig()

    def scored(
        self, tokens: Tensor, known: Tensor, grid_hw: tuple[int, int], size_hw: tuple[int, int]
    ) -> tuple[Tensor, float | None]:
        """See the class."""
        both, whole = self.by_words(self.look(tokens, grid_hw), known, grid_hw)
        return resized(both[None, None], size_hw), whole

    def look(self, tokens: Tensor, grid_hw: tuple[int, int]) -> "Look":
        """Tokens (1, 1 + N, D) -> the picture, its windows of every side, and its patches."""
        last = self.clip.through(tokens)[-1]
        windows_ = []
        for side in self.recipe.windows:
            index = windows(grid_hw, side)
            alone = tokens[:, :1].expand(len(index), -1, -1)
            picked = torch.cat([alone, tokens[0, 1 + index]], 1)  # (W, 1 + side^2, D)
            windows_.append(self.clip.shared(self.clip.through(picked)[-1][:, 0]))
        patches = F.normalize(self.clip.tower.model.post_layernorm(last[0, 1:]), dim=-1)
        return Look(self.clip.shared(last[:, 0]), windows_, patches)

    def by_words(
        self, seen: "Look", states: Tensor, grid_hw: tuple[int, int]
    ) -> tuple[Tensor, float]:
        """What was seen against two states (2, E) -> a map (h, w), and the picture's score."""
        whole = self._damaged(seen.whole, states)  # (1,)
        scales = [whole.expand(grid_hw)]
        for side, found in zip(self.recipe.windows, seen.windows, strict=True):
            scales.append(harmonic(self._damaged(found, states), grid_hw, side))
        return len(scales) / torch.stack(scales).reciprocal().sum(0), float(whole)

    def _damaged(self, seen: Tensor, states: Tensor) -> Tensor:
        """Unit vectors (B, E) -> the probability of "damaged", (B,)."""
        return (seen @ states.T / self.recipe.temperature).softmax(1)[:, 1]


@dataclass(frozen=True, slots=True)
class Look:
    """What WinCLIP sees of a picture, all of it unit vectors."""

    whole: Tensor  # (1, E)
    windows: list[Tensor]  # of each side, (W, E)
    patches: Tensor  # (N, D), normed but not projected


def windows(grid_hw: tuple[int, int], side: int) -> Tensor:
    """Numbers of the patches under every square window, row by row: (W, side * side)."""
    numbers = torch.arange(grid_hw[0] * grid_hw[1]).reshape(grid_hw)
    return numbers.unfold(0, side, 1).unfold(1, side, 1).flatten(2).flatten(0, 1)


def harmonic(scores: Tensor, grid_hw: tuple[int, int], side: int) -> Tensor:
    """Scores of all windows (W,) -> for every patch the harmonic mean of those over it, (h, w)."""
    inverse = scores.reciprocal().reshape(1, 1, grid_hw[0] - side + 1, grid_hw[1] - side + 1)
    over = torch.ones(1, 1, side, side)
    sums = F.conv_transpose2d(inverse, over)
    return (F.conv_transpose2d(torch.ones_like(inverse), over) / sums)[0, 0]


def at_depths(blocks: Sequence[Tensor], depths: Sequence[float]) -> list[Tensor]:
    """The outputs of those blocks that end at these shares of the depth, each in (0, 1]."""
    return [blocks[max(1, round(depth * len(blocks))) - 1] for depth in depths]


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptConfig:
    """AnomalyGPT's settings."""

    depths: Sequence[float] = (0.25, 0.5, 0.75, 1.0)  # of the blocks whose patches are read
    scale: float = 100.0  # of the cosines before the softmax


class PromptMap(ZeroShot):
    """AnomalyGPT's map by prompts, untrained: patches of four depths against the two states.

    Where it trained one linear layer per depth, CLIP's own way into the shared space is taken.
    Cosines are grown, then turned into probabilities; the map is their mean over the depths, the
    score its largest value.
    """

    name = "AnomalyGPT's prompts, no good picture"
    recipe: PromptConfig
    paper = PromptConfig()

    def scored(
        self, tokens: Tensor, known: Tensor, grid_hw: tuple[int, int], size_hw: tuple[int, int]
    ) -> tuple[Tensor, float | None]:
        """See the class."""
        maps = []
        for block in at_depths(self.clip.through(tokens), self.recipe.depths):
            cosine = self.clip.shared(block[:, 1:]) @ known.T * self.recipe.scale  # (1, N, 2)
            both = cosine.transpose(1, 2).unflatten(2, grid_hw)  # (1, 2, h, w)
            maps.append(resized(both, size_hw).softmax(1)[:, 1:])
        return torch.stack(maps).mean(0), None

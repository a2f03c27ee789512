"""Six small towers in one space, taught on drawn parts: what they read, and how they ship.

ImageBind's towers (backbones/imagebind) at 1.0 to 1.5 million parameters each. The image tower
reads what the frozen ImageNet trunk sees: features come from the real world, the comparison from
the drawn one.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anomalyst.backbones.efficientnet_lite import LiteTrunk
from anomalyst.backbones.embedded import load_embedded, read_weights
from anomalyst.backbones.imagebind.config import (
    GridConfig,
    ImageBindConfig,
    SeriesConfig,
    TextConfig,
)
from anomalyst.backbones.imagebind.model import ImageBind
from anomalyst.config import from_mapping
from anomalyst.errors import AnomalystError
from anomalyst.senses.kaldi_mel import log_mel

SIDE_PX, DEPTH_PX, HEAT_PX = 128, 96, 64
BANDS, FRAMES = 64, 96  # of the log-mel picture: 20 ms a frame
TOKENS = 32  # of a text, its end counted
VOCABULARY = 448  # words of the drawn captions, with room for some more; the last number is the end
TRUNK_SPREADS = (7.5, 7.0, 4.0)  # standard deviations of the trunk's levels
TRUNK_CHANNELS = 2 * 24 + 4 * 40 + 112  # as `seen_by_trunk` lays them side by side
MEL_MEAN, MEL_STD = -1.25, 2.75  # of drawn machines, full scale 1
HEIGHT_MM, HEAT_MEAN_C, HEAT_STD_C = 8.0, 26.0, 6.0  # of drawn parts
# Offset and standard deviation of drawn machines' six channels: m/s2, degrees a second.
IMU_OFFSET = (0.0, 0.0, 9.81, 0.0, 0.0, 0.0)
IMU_STD = (0.5, 0.5, 0.7, 0.6, 0.6, 0.4)
WEIGHTS = Path(__file__).parent.parent / "weights" / "senses" / "drawn.safetensors"


def _grid(
    channels: int, size_hw: tuple[int, int], patch: int, depth: int, *, bias_kv: bool = True
) -> GridConfig:
    return GridConfig(
        width=160,
        depth=depth,
        heads=4,
        bias_kv=bias_kv,
        channels=channels,
        size_hw=size_hw,
        patch=patch,
        patch_norm=True,
    )


# 17 to 37 tokens a sense: small enough for a processor to train.
TOWERS = ImageBindConfig(
    embed_dim=128,
    image=_grid(TRUNK_CHANNELS, (8, 8), 2, 4, bias_kv=False),
    text=TextConfig(width=160, depth=3, heads=4, vocabulary=VOCABULARY, tokens=TOKENS),
    audio=_grid(1, (BANDS, FRAMES), 16, 4),
    depth=_grid(1, (DEPTH_PX, DEPTH_PX), 16, 4),
    thermal=_grid(1, (HEAT_PX, HEAT_PX), 16, 3),
    imu=SeriesConfig(width=160, depth=4, heads=4, bias_kv=True, channels=6, steps=2000, kernel=80),
)


def imagenet_trunk() -> LiteTrunk:
    """The trunk of the shipped encoder, float32, frozen."""
    trunk = load_embedded(dtype=torch.float32).trunk
    assert isinstance(trunk, LiteTrunk)
    return trunk


def seen_by_trunk(trunk: LiteTrunk, pictures: Tensor) -> Tensor:
    """Pictures uint8 (B, 3, 128, 128) -> what the image tower reads, float32 (B, 320, 8, 8).

    All three levels of the trunk at its coarsest grid: the finest as its mean and its largest in
    each cell, the middle one with its four places side by side.
    """
    with torch.no_grad():
        fine, middle, coarse = trunk(pictures.float() / 255)  # strides 4, 8, 16
    fine, middle, coarse = (
        x.float() / spread for x, spread in zip((fine, middle, coarse), TRUNK_SPREADS, strict=True)
    )
    pooled = [F.avg_pool2d(fine, 4), F.max_pool2d(fine, 4), F.pixel_unshuffle(middle, 2), coarse]
    return torch.cat(pooled, 1)  # (B, 48 + 160 + 112, 8, 8)


def picture_pixels(picture: np.ndarray) -> Tensor:
    """A picture uint8 RGB (H, W, 3) -> uint8 (3, 128, 128), stretched to the square."""
    small = cv2.resize(picture, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)
    return torch.from_numpy(small).permute(2, 0, 1).contiguous()


def depth_input(depth_mm: np.ndarray) -> Tensor:
    """Distance from the camera, mm (H, W) -> (1, 96, 96): height above the farthest of it.

    What the camera did not see (NaN) counts as ground. Raises AnomalystError where it saw nothing.
    """
    if not np.isfinite(depth_mm).any():
        raise AnomalystError("depth: no pixel has a distance; check the camera.")
    ground = float(np.nanpercentile(depth_mm, 98))
    heights = np.nan_to_num(ground - depth_mm.astype(np.float32), nan=0.0)
    small = cv2.resize(heights, (DEPTH_PX, DEPTH_PX), interpolation=cv2.INTER_AREA)
    return torch.from_numpy(small)[None] / HEIGHT_MM


def heat_input(heat_c: np.ndarray) -> Tensor:
    """Degrees Celsius (H, W) -> (1, 64, 64), about zero mean and unit deviation."""
    small = cv2.resize(heat_c.astype(np.float32), (HEAT_PX, HEAT_PX), interpolation=cv2.INTER_AREA)
    return (torch.from_numpy(small)[None] - HEAT_MEAN_C) / HEAT_STD_C


def sound_input(samples: np.ndarray) -> Tensor:
    """2 s of sound at 16 kHz, (32000,) in [-1, 1] -> (1, 64, 96) log-mel, standardised.

    Raises AnomalystError for a shorter sound.
    """
    mel = log_mel(samples, BANDS)  # (frames, bands)
    if len(mel) < 2 * FRAMES:
        raise AnomalystError(
            f"a sound of {len(samples)} samples: the small towers hear 2 s at 16 kHz, 32000."
        )
    pairs = mel[: 2 * FRAMES].reshape(FRAMES, 2, BANDS).mean(1).T  # (bands, frames)
    return (torch.from_numpy(np.ascontiguousarray(pairs))[None] - MEL_MEAN) / MEL_STD


def imu_values(values: np.ndarray) -> Tensor:
    """5 s at 400 Hz, (2000, 6): acceleration in m/s2, rotation in degrees a second -> (6, 2000).

    Raises AnomalystError for another shape.
    """
    if values.shape != (2000, 6):
        raise AnomalystError(
            f"imu: an array of shape {values.shape}; 2000 steps (5 s at 400 Hz) of 6 channels are "
            "needed."
        )
    scaled = (values - np.array(IMU_OFFSET)) / np.array(IMU_STD)
    return torch.from_numpy(np.ascontiguousarray(scaled.T, dtype=np.float32))


@dataclass(frozen=True, slots=True)
class Words:
    """The text tower's vocabulary: one number for each word, 0 behind the end, 1 for others."""

    known: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.known) > VOCABULARY - 3:
            raise AnomalystError(
                f"{len(self.known)} words: the text tower has room for {VOCABULARY - 3}."
            )

    @classmethod
    def of(cls, texts: Iterable[str]) -> "Words":
        """Every word of the texts, in order of the alphabet."""
        return cls(tuple(sorted({word for text in texts for word in split_words(text)})))

    def tokens(self, texts: Sequence[str]) -> Tensor:
        """Texts -> int64 (B, 32); what is longer is cut before its end."""
        numbers = {word: index + 2 for index, word in enumerate(self.known)}
        rows = torch.zeros(len(texts), TOKENS, dtype=torch.int64)
        for row, text in zip(rows, texts, strict=True):
            ids = [numbers.get(word, 1) for word in split_words(text)][: TOKENS - 1]
            row[: len(ids) + 1] = torch.tensor([*ids, VOCABULARY - 1])
        return rows


def split_words(text: str) -> list[str]:
    """The words of a text in small letters, signs left out: "A bolt." -> ["a", "bolt"]."""
    return "".join(c if c.isalnum() else " " for c in text.lower()).split()


class DrawnSenses(nn.Module):
    """The towers with all they need: `prepare` reads one recording, `model` embeds a batch."""

    def __init__(self, config: ImageBindConfig, words: Words):
        super().__init__()
        self.model, self.words = ImageBind(config), words
        self.trunk = imagenet_trunk()

    def prepare(self, modality: str, recordings: Sequence[Any]) -> Tensor:
        """Raw recordings of one sense, as SensedPart holds them, or texts -> a tower's batch."""
        if modality == "text":
            return self.words.tokens(recordings)
        if modality == "image":
            pixels = torch.stack([picture_pixels(one) for one in recordings])
            return seen_by_trunk(self.trunk, pixels)
        read = {
            "depth": depth_input, "thermal": heat_input, "audio": sound_input, "imu": imu_values,
        }[modality]  # fmt: skip
        return torch.stack([read(one) for one in recordings])

    @torch.no_grad()
    def embed(self, modality: str, recordings: Sequence[Any]) -> Tensor:
        """Unit vectors (B, 128) of raw recordings or texts."""
        return self.model.embed(modality, self.prepare(modality, recordings))


def load_drawn_senses(path: Path = WEIGHTS) -> DrawnSenses:
    """The towers of a file that a contrastive run wrote, ready to infer; the shipped ones if none.

    Raises AnomalystError for a file that is none.
    """
    tensors, note = read_weights(path, "senses")
    return towers_of(tensors, note, str(path))


def towers_of(tensors: Mapping[str, Tensor], note: Mapping[str, Any], where: str) -> DrawnSenses:
    """As `load_drawn_senses`, of what is read already."""
    senses = DrawnSenses(
        from_mapping(ImageBindConfig, note["model"], where=where), Words(tuple(note["words"]))
    )
    senses.model.load_state_dict(dict(tensors))
    return senses.eval().requires_grad_(False)

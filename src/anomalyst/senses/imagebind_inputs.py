"""What the six towers of ImageBind take, made as the published model's own code makes it.

Pictures, films, sounds and texts: as that code does. It prepares neither depth, heat nor an IMU;
for these only the shape is the published one, and the rest is ours, said at each function.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from scipy.signal import resample_poly
from torch import Tensor

from anomalyst.backbones.huggingface_families import CLIP, Triple
from anomalyst.errors import AnomalystError
from anomalyst.senses.kaldi_mel import RATE_HZ, log_mel
from anomalyst.senses.recording import Recording
from anomalyst.senses.video import Film

CLIP_SECONDS, CLIPS = 2, 3
SQUARES = 3  # cut from each frame of a film, evenly along its longer side
MEL_MEAN, MEL_STD = -4.268, 9.138  # of AudioSet, the sounds it was trained on
IMU_SECONDS, IMU_CHANNELS = 5, 6


@dataclass(frozen=True, slots=True)
class Prepared:
    """One example for a tower, and what was changed to make it."""

    values: Tensor
    notes: tuple[str, ...] = ()


def picture_input(
    picture: np.ndarray, *, side_px: int = 224, standard: tuple[Triple, Triple] = CLIP
) -> Prepared:
    """A picture, uint8 RGB (H, W, 3) -> (3, side, side), less a mean and divided by a std.

    Its shorter side becomes `side_px` (bicubic), and what is longer is cut from both ends.
    `standard`: CLIP's mean and std, which ImageBind shares, or those of an `ImageTextTowers`.
    """
    assert picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3
    square, notes = _middle_square(Image.fromarray(picture), side_px)
    pixels = torch.from_numpy(square.astype(np.float32) / 255).permute(2, 0, 1)  # (3, H, W)
    mean, std = (torch.tensor(one)[:, None, None] for one in standard)
    return Prepared((pixels - mean) / std, notes)


def film_input(
    film: Film, *, side_px: int = 224, standard: tuple[Triple, Triple] = CLIP
) -> Prepared:
    """A film -> three squares of each of its clips, (3 S, 3, 2, side, side), standardised.

    Its shorter side becomes `side_px` (bilinear); squares are cut at the begin, in the middle and
    at the end of the longer one.
    """
    pixels = torch.from_numpy(film.frames).permute(0, 3, 1, 2).float() / 255  # (2 S, 3, H, W)
    short = min(pixels.shape[2:])
    size_hw = [
        side_px if side == short else floor(side / short * side_px) for side in pixels.shape[2:]
    ]
    pixels = F.interpolate(pixels, size=size_hw, mode="bilinear", align_corners=False)
    mean, std = (torch.tensor(one)[:, None, None] for one in standard)
    clips = ((pixels - mean) / std).unflatten(0, (-1, 2)).transpose(1, 2)  # (S, 3, 2, H, W)
    squares = []
    for share in range(SQUARES):
        top, left = (ceil((side - side_px) * share / (SQUARES - 1)) for side in size_hw)
        squares.append(clips[..., top : top + side_px, left : left + side_px])
    return Prepared(torch.stack(squares, 1).flatten(0, 1), film.notes)  # (3 S, 3, 2, side, side)


def field_input(values: np.ndarray, *, side_px: int = 224) -> Prepared:
    """Depth or heat, float (H, W) in [0, 1] -> (1, side, side) in [0, 1].

    Cut as a picture. Our choice: 0 to 1 is the range of the good parts (`FieldView`); the paper
    speaks of disparity for depth, which needs a camera's focal length.
    Raises AnomalystError for values outside that are no rounding.
    """
    if values.ndim != 2 or not np.all((values >= -1e-6) & (values <= 1 + 1e-6)):
        raise AnomalystError(
            f"a field of shape {values.shape} from {values.min():g} to {values.max():g}: one "
            "channel in [0, 1] is needed; divide by the range of the good parts first."
        )
    square, notes = _middle_square(Image.fromarray(values.astype(np.float32)), side_px)
    return Prepared(torch.from_numpy(square.clip(0, 1))[None], notes)


def sound_input(sound: Recording, *, bands: int = 128, frames: int = 204) -> Prepared:
    """A sound at 16 kHz -> three clips of 2 s as log-mel pictures, (3, 1, bands, frames).

    They begin at the start, in the middle and 2 s before the end. What a clip has too few is filled
    with 0 before it is standardised, as the published code does.
    Raises AnomalystError for another rate, several channels or less than 25 ms.
    """
    if sound.rate_hz != RATE_HZ or len(sound.channels) != 1:
        raise AnomalystError(
            f"a sound of {len(sound.channels)} channels at {sound.rate_hz:g} Hz: one channel at "
            f"{RATE_HZ} Hz is needed; read its file with read_audio."
        )
    samples = sound.values[:, 0]
    notes: tuple[str, ...] = ()
    if len(samples) < CLIP_SECONDS * RATE_HZ:
        notes = (
            f"the sound lasts {sound.seconds:.3g} s; the model hears clips of {CLIP_SECONDS} s, "
            "and the rest was filled",
        )
    clips = [_mel_picture(samples[a:b], bands, frames) for a, b in clip_places(len(samples))]
    return Prepared(torch.from_numpy(np.stack(clips))[:, None], notes)


def clip_places(length: int) -> list[tuple[int, int]]:
    """First and last sample, that one left out, of the clips of a sound of `length` samples."""
    # In seconds and rounded down, as the reference cuts: in samples some would differ by one.
    spare = Fraction(max(length / RATE_HZ - CLIP_SECONDS, 0))
    starts = [spare / (CLIPS - 1) * number for number in range(CLIPS)]
    return [(int(start * RATE_HZ), int((start + CLIP_SECONDS) * RATE_HZ)) for start in starts]


def imu_input(recording: Recording, *, steps: int = 2000) -> Prepared:
    """Acceleration and rotation, three channels each -> (S, 6, steps), 5 s a window, in a row.

    In the sensor's own units. Our choice: the paper names 5 s and 2,000 steps, and not what becomes
    of longer recordings. Raises AnomalystError for other channels, or less than 5 s.
    """
    if len(recording.channels) != IMU_CHANNELS:
        raise AnomalystError(
            f"channels {', '.join(recording.channels)}: an IMU has {IMU_CHANNELS}, acceleration "
            "and rotation along three axes."
        )
    ratio = (Fraction(steps, IMU_SECONDS) / Fraction(recording.rate_hz)).limit_denominator(1000)
    values, notes = recording.values, []
    if ratio != 1:
        values = resample_poly(values, ratio.numerator, ratio.denominator, axis=0)
        notes.append(f"resampled from {recording.rate_hz:g} to {steps / IMU_SECONDS:g} Hz")
    count = len(values) // steps
    if count == 0:
        raise AnomalystError(
            f"the recording lasts {recording.seconds:.3g} s; one window of {IMU_SECONDS} s is "
            "needed."
        )
    if rest := len(values) - count * steps:
        notes.append(
            f"the last {rest * IMU_SECONDS / steps:.3g} s fill no window and were left out"
        )
    windows = values[: count * steps].astype(np.float32).reshape(count, steps, IMU_CHANNELS)
    return Prepared(torch.from_numpy(windows.transpose(0, 2, 1).copy()), tuple(notes))


def text_input(sentences: Sequence[str], tokenizer: Any, *, tokens: int = 77) -> Prepared:
    """Sentences -> token numbers (B, tokens), 0 behind the end, by a `clip_tokenizer`."""
    full = [tokenizer(said)["input_ids"] for said in sentences]
    end = tokenizer.eos_token_id
    rows = torch.zeros(len(full), tokens, dtype=torch.long)
    for row, ids in zip(rows, full, strict=True):
        cut = ids if len(ids) <= tokens else [*ids[: tokens - 1], end]
        row[: len(cut)] = torch.tensor(cut)
    long = sum(len(ids) > tokens for ids in full)
    notes = (f"{long} sentences were cut after {tokens} tokens",) if long else ()
    return Prepared(rows, notes)


def clip_tokenizer(folder: Path) -> Any:
    """CLIP's byte-pair tokenizer of a folder (vocab.json and merges.txt, or tokenizer.json).

    Raises AnomalystError if there is none, or its end token is not the highest number, by which
    the text tower knows the end.
    """
    from transformers import CLIPTokenizer

    if not folder.is_dir():
        raise AnomalystError(f"{folder}: there is no such folder; give that of a CLIP tokenizer.")
    try:
        tokenizer = CLIPTokenizer.from_pretrained(str(folder), local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AnomalystError(
            f"{folder}: holds no CLIP tokenizer ({' '.join(str(error).split())[:120]})."
        ) from error
    highest = max(tokenizer.get_vocab().values())
    if tokenizer.eos_token_id != highest:
        raise AnomalystError(
            f"{folder}: its end token is {tokenizer.eos_token_id} of 0 to {highest}; CLIP's is the "
            "last, and the text tower looks for it there."
        )
    return tokenizer


def _mel_picture(samples: np.ndarray, bands: int, frames: int) -> np.ndarray:
    """Standardised (bands, frames): cut, or filled up with 0 first."""
    mel = log_mel(samples, bands).T[:, :frames]
    picture = np.pad(mel, ((0, 0), (0, frames - mel.shape[1])))
    return (picture - MEL_MEAN) / MEL_STD


def _middle_square(image: Image.Image, side_px: int) -> tuple[np.ndarray, tuple[str, ...]]:
    """Shorter side to `side_px`, then its middle; what is cut away is noted."""
    width, height = image.size
    short = min(width, height)
    size = tuple(side_px if side == short else int(side_px * side / short) for side in image.size)
    resized = image.resize((size[0], size[1]), Image.Resampling.BICUBIC)
    left, top = (round((side - side_px) / 2) for side in size)
    notes: tuple[str, ...] = ()
    if width != height:
        lost = 1 - side_px / max(size)
        notes = (f"{lost:.0%} of the longer side were cut off: the model sees the middle square",)
    return np.asarray(resized.crop((left, top, left + side_px, top + side_px))), notes

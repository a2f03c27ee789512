"""Masks as Label Studio's brush keeps them: run lengths of RGBA values, as bits.

32 bits: how many values; 5: bits of a value less 1; four times 4: bits of a run's length less 1.
Then runs: a bit (1: one value repeated, 0: as many single ones), 2 bits that choose one of the four
lengths, the length less 1, and the value or values. The picture goes row by row, four values a
pixel. The format is that of rle-pack (https://github.com/thi-ng/umbrella, packages/rle-pack).
"""

from typing import Any

import numpy as np

from anomalyst.errors import AnomalystError

VALUE_BITS = 8
LENGTH_BITS = (3, 4, 8, 16)
CHANNELS = 4  # red, green, blue, and alpha, which says what is painted


def brush_rle(mask: np.ndarray) -> list[int]:
    """A mask, bool (H, W), as bytes: 255 in each channel where it is set."""
    flat = mask.ravel()
    ends = np.append(np.flatnonzero(flat[1:] != flat[:-1]) + 1, flat.size)
    runs = np.diff(ends, prepend=0) * CHANNELS
    bits = [f"{flat.size * CHANNELS:032b}", f"{VALUE_BITS - 1:05b}"]
    bits += [f"{length - 1:04b}" for length in LENGTH_BITS]
    most = 1 << LENGTH_BITS[-1]
    for end, run in zip(ends.tolist(), runs.tolist(), strict=True):
        value = f"{255 * int(flat[end - 1]):08b}"
        for length in [most] * ((run - 1) // most) + [(run - 1) % most + 1]:
            chosen = next(i for i, size in enumerate(LENGTH_BITS) if length <= 1 << size)
            bits.append(f"1{chosen:02b}{length - 1:0{LENGTH_BITS[chosen]}b}{value}")
    text = "".join(bits)
    text += "0" * (-len(text) % 8)
    return list(int(text, 2).to_bytes(len(text) // 8, "big"))


def brush_mask(rle: Any, size_hw: tuple[int, int]) -> np.ndarray:
    """The mask, bool (H, W), of a brush's bytes: where alpha is above 0.

    Raises AnomalystError for what is no list of bytes, ends too early, or does not fill the size.
    """
    if not isinstance(rle, list) or not rle or not all(_is_byte(one) for one in rle):
        raise AnomalystError("its RLE is no list of bytes, 0 to 255.")
    stream = _Bits("".join(f"{one:08b}" for one in rle))
    count, value_bits = stream.read(32), stream.read(5) + 1
    lengths = [stream.read(4) + 1 for _ in range(4)]
    height, width = size_hw
    if count != height * width * CHANNELS:
        raise AnomalystError(
            f"its RLE has {count} values; {height} x {width} pixels of {CHANNELS} are needed."
        )
    values = np.zeros(count, bool)
    at = 0
    while at < count:
        repeated = stream.read(1)
        length = stream.read(lengths[stream.read(2)]) + 1
        if at + length > count:
            raise AnomalystError("its RLE has a run that goes on past the picture's end.")
        several = 1 if repeated else length
        values[at : at + length] = [stream.read(value_bits) > 0 for _ in range(several)]
        at += length
    return values.reshape(height, width, CHANNELS)[..., -1]


def _is_byte(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 255


class _Bits:
    """Bits as text, read from the left."""

    def __init__(self, text: str):
        self.text, self.at = text, 0

    def read(self, count: int) -> int:
        """The number that the next bits say."""
        if self.at + count > len(self.text):
            raise AnomalystError("its RLE ends before the picture is filled.")
        self.at += count
        return int(self.text[self.at - count : self.at], 2)

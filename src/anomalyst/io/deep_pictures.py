"""Pictures of more than 8 bits a value, and raw mosaics: which of their values is white.

Industrial cameras deliver 10 or 12 bits (GenICam Mono10, Mono12) in files of 16: read by the
file's full range they are almost black. What is white is decided once, of a product's good
pictures, and holds for every further one: a stretch per picture would hide exposure.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from anomalyst.errors import AnomalystError, PictureError
from anomalyst.io.raw_values import stored_values

DEPTHS = (10, 12, 14, 16)  # bits of a value that cameras put into a file of 16
WHITES = (1.0, 255.0, *(2.0**bits - 1 for bits in DEPTHS))  # of files of decimal numbers
MOSAICS = {
    "rggb": cv2.COLOR_BayerRGGB2RGB,
    "bggr": cv2.COLOR_BayerBGGR2RGB,
    "grbg": cv2.COLOR_BayerGRBG2RGB,
    "gbrg": cv2.COLOR_BayerGBRG2RGB,
}
GREY_MODES = ("I;16", "I;16L", "I;16B", "I", "F")
BITS_TAG, MOST_TAG = 258, 281  # TIFF: BitsPerSample, SMaxSampleValue
SLACK = 1.001  # of decimal numbers: interpolation overshoots a little


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureReading:
    """How a product's pictures are read, where their files do not say it."""

    bits: int | None = None  # of a value in a 16-bit file; None: as the file says, else all 16
    white: float | None = None  # of files of decimal numbers; None: the next of WHITES
    bayer: str | None = None  # the colours of a mosaic's first two rows; None: no mosaic
    why: str = ""  # how `bits` or `white` was found

    def __post_init__(self) -> None:
        if self.bits is not None and self.bits not in DEPTHS:
            raise AnomalystError(
                f"--bit-depth {self.bits}: is none of {', '.join(map(str, DEPTHS))}; files of 8 "
                "bits need none."
            )
        if self.bayer is not None and self.bayer not in MOSAICS:
            raise AnomalystError(f"--bayer {self.bayer!r}: is none of {', '.join(MOSAICS)}.")

    @property
    def told(self) -> str:
        """What is assumed, as a sentence without its end; empty where nothing is."""
        said = []
        if self.bits not in (None, 16):
            said.append(f"16-bit files are read as {self.bits} bits, 0 to {2**self.bits - 1}")
        elif self.white is not None:
            said.append(f"decimal values are read from 0 to {self.white:g}")
        if self.bayer is not None:
            said.append(f"grey files are read as mosaics of colours ({self.bayer})")
        return " and ".join(said) + (f": {self.why}" if said and self.why else "")

    def decides(self, image: Image.Image) -> bool:
        """Whether nothing is left to find out of a deep picture of this kind."""
        return (self.white if image.mode == "F" else self.bits) is not None


AS_FILES_SAY = PictureReading()


@dataclass(frozen=True, slots=True)
class Range:
    """What is asked of a good picture to find out which value is white."""

    whole: bool  # it holds whole numbers
    high: float  # the highest of them
    bits: int | None  # as Deep.bits


@dataclass(frozen=True, slots=True)
class Deep:
    """The values of a picture of more than 8 bits."""

    values: np.ndarray  # uint16 or float64, (H, W) or RGB (H, W, 3)
    bits: int | None  # what its file says; None: nothing, or it holds decimal numbers

    @property
    def range(self) -> Range:
        """Of these values."""
        return Range(self.values.dtype.kind == "u", float(self.values.max()), self.bits)


def is_deep(path: Path, image: Image.Image) -> bool:
    """Whether a file that Pillow opened holds more than 8 bits a value; with alpha it is not."""
    if image.mode in GREY_MODES:
        return True
    return image.mode == "RGB" and _stored_bits(path, image) > 8


def deep_values(path: Path, image: Image.Image) -> Deep:
    """Its values and what it says of them. Raises PictureError for values that cannot be light."""
    values = np.asarray(image) if image.mode in GREY_MODES else _colours(path)
    whole = values.dtype.kind in "ui"
    if not whole and not np.isfinite(values).all():
        raise PictureError(path, "holds pixels that are not numbers; save it again.")
    if float(values.min()) < 0 or float(values.max()) > 65535:
        raise PictureError(
            path,
            f"has values from {values.min():g} to {values.max():g}; 8 or 16 bits per channel are "
            "needed.",
        )
    if not whole:
        return Deep(values.astype(np.float64), None)
    return Deep(values.astype(np.uint16), _told_bits(path, image))


def _colours(path: Path) -> np.ndarray:
    """RGB (H, W, 3) of 16 bits, of which Pillow keeps the upper byte only."""
    values = stored_values(path)
    if values is None or values.ndim != 3:
        raise PictureError(path, "has 16-bit colours that cannot be read; save it as a PNG.")
    return cv2.cvtColor(values[..., :3], cv2.COLOR_BGR2RGB)


def to_8_bit(path: Path, deep: Deep, reading: PictureReading) -> np.ndarray:
    """Values as uint8, white as it is read. Raises PictureError for values beyond white."""
    high = float(deep.values.max())
    if deep.values.dtype.kind == "f":
        white = reading.white or next(one for one in WHITES if high <= one)
        beyond, what = high > white * SLACK, f"{white:g}, which is white here"
    else:
        bits = reading.bits or deep.bits or 16
        white = 2.0**bits - 1
        beyond, what = high > white, f"the {bits} bits ({white:g}) it is read with"
    if beyond:
        raise PictureError(
            path,
            f"has values up to {high:g}, more than {what}; set the camera as it was, or teach the "
            "product anew with --bit-depth 16.",
        )
    return np.round(np.clip(deep.values * (255.0 / white), 0, 255)).astype(np.uint8)


def demosaiced(path: Path, grey: np.ndarray, bayer: str) -> np.ndarray:
    """Colours of a mosaic, uint8 (H, W) -> RGB (H, W, 3). Raises PictureError for an odd size."""
    if grey.shape[0] % 2 or grey.shape[1] % 2:
        height, width = grey.shape
        raise PictureError(path, f"is {width}x{height} pixels; a mosaic has even sides.")
    return cv2.cvtColor(grey, MOSAICS[bayer])


def fitted(asked: PictureReading, good: Sequence[Range]) -> PictureReading:
    """The reading with what is white decided of good pictures; `asked` where it says so."""
    whole = [one for one in good if one.whole]
    decimal = [one.high for one in good if not one.whole]
    found = asked
    if decimal and asked.white is None:
        white = next(one for one in WHITES if max(decimal) <= one)
        found = replace(found, white=white, why=f"good ones end at {max(decimal):.4g}")
    if not whole or asked.bits is not None:
        return found
    said = {one.bits for one in whole}
    if len(said) == 1 and (bits := said.pop()) is not None:
        return replace(found, bits=bits, why="as the files say")
    high = max(int(one.high) for one in whole)
    bits = next(one for one in DEPTHS if high < 2**one)
    return replace(found, bits=bits, why=f"good ones end at {high}; --bit-depth says otherwise")


def reading_in(record: Mapping[str, Any]) -> PictureReading:
    """How photographs of the product with this record are read. Raises TypeError if damaged."""
    return PictureReading(**(record.get("reading") or {}))


def _stored_bits(path: Path, image: Image.Image) -> int:
    """Bits of a value in the file, by its head."""
    if image.format == "PNG":
        with path.open("rb") as file:
            head = file.read(25)
        return head[24] if len(head) == 25 else 8
    if image.format == "TIFF":
        bits = getattr(image, "tag_v2", {}).get(BITS_TAG, (8,))
        return max(bits) if isinstance(bits, tuple) else int(bits)
    return 8


def _told_bits(path: Path, image: Image.Image) -> int | None:
    """How many bits are used, where the file says: PNG's sBIT, TIFF's SMaxSampleValue or bits."""
    if image.format == "PNG":
        used = _significant_bits(path)
    else:
        most = getattr(image, "tag_v2", {}).get(MOST_TAG)
        most = max(most) if isinstance(most, tuple) else most
        used = int(most).bit_length() if most else _stored_bits(path, image)
    # A file that says 16 says what its kind holds, not what the camera used.
    return next((bits for bits in DEPTHS if used and used <= bits < 16), None)


def _significant_bits(path: Path) -> int | None:
    """PNG's sBIT chunk, which lies before the palette and the pixels."""
    with path.open("rb") as file:
        file.seek(8)
        while len(head := file.read(8)) == 8:
            size, kind = struct.unpack(">I4s", head)
            if kind in (b"PLTE", b"IDAT"):
                return None
            if kind == b"sBIT":
                return max(file.read(min(size, 4)), default=None)
            file.seek(size + 4, 1)
    return None

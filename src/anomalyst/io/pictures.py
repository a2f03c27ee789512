"""Pictures and masks: found, opened upright as RGB, refused in a sentence, made smaller.

Pictures are uint8 RGB (H, W, 3); masks bool (H, W). Sizes are (height, width).
"""

import base64
import struct
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import reduce
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from anomalyst.errors import PictureError
from anomalyst.io.deep_pictures import (
    AS_FILES_SAY,
    GREY_MODES,
    PictureReading,
    deep_values,
    demosaiced,
    fitted,
    is_deep,
    to_8_bit,
)
from anomalyst.io.geometry import resize
from anomalyst.io.listing import list_files

PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})
SUFFIX_OF = {"PNG": ".png", "JPEG": ".jpg", "MPO": ".jpg", "BMP": ".bmp", "TIFF": ".tif",
             "WEBP": ".webp", "GIF": ".gif"}  # fmt: skip
FORMATS = tuple(kind for kind in SUFFIX_OF if kind != "MPO")  # Pillow opens MPO as JPEG first
MAX_PIXELS = 100_000_000
MIN_SIDE_PX = 16

# What Pillow's readers were seen to raise on damaged files (tests/test_imaging.py damages some).
BROKEN = (OSError, SyntaxError, ValueError, EOFError, MemoryError, TypeError, LookupError,
          ArithmeticError, AssertionError, struct.error)  # fmt: skip

# Pillow's own bomb guard would speak first, with a sentence that does not say what to do.
Image.MAX_IMAGE_PIXELS = None
# Pillow remarks on odd notes in files that open well. Said once here: catch_warnings is not safe
# in threads, and pictures are opened in many.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


def list_pictures(folder: Path) -> list[Path]:
    """Every picture directly in `folder`, sorted by name; raises as `list_files` does."""
    return list_files(folder, PICTURE_SUFFIXES)


def open_picture(path: Path, reading: PictureReading = AS_FILES_SAY) -> np.ndarray:
    """The picture as it is meant to be seen: uint8 RGB (H, W, 3), turned upright by its EXIF note.

    `reading`: which value is white in files of more than 8 bits (deep_pictures.py). Alpha is laid
    over white, CMYK and palettes become RGB. Raises PictureError for anything broken, animated, too
    large or too small, and for values beyond white.
    """
    with _opened(path) as image:
        _refuse_odd_sizes(path, image)
        return _as_rgb(path, image, reading)


def reading_of(paths: Sequence[Path], asked: PictureReading = AS_FILES_SAY) -> PictureReading:
    """How good pictures are read, and with them all others; what cannot be opened is left out."""
    found = []
    if asked.bits is not None and asked.white is not None:
        return asked
    for path in paths:
        with suppress(PictureError), _opened(path) as image:
            if is_deep(path, image) and not asked.decides(image):
                _refuse_odd_sizes(path, image)
                found.append(deep_values(path, image).range)
    return fitted(asked, found)


def picture_kind(path: Path, name: str = "") -> str:
    """The suffix that fits what a file holds, as ".png"; only its head is read.

    Raises PictureError, of `name` if one is given, for what `open_picture` refuses by its head.
    """
    try:
        with _opened(path) as image:
            _refuse_odd_sizes(path, image)
            return SUFFIX_OF[str(image.format)]
    except PictureError as error:
        raise PictureError(name or path, error.reason) from None


def exif_note(path: Path, group: int, tag: int) -> object | None:
    """What a camera wrote beside the pixels, by the numbers of EXIF; None where it wrote nothing.

    Raises PictureError as `picture_kind` does: some notes lie behind the pixels, which are read.
    """
    with _opened(path) as image:
        _refuse_odd_sizes(path, image)
        return image.getexif().get_ifd(group).get(tag)


def open_mask(path: Path, size_hw: tuple[int, int]) -> np.ndarray:
    """The mask as bool (H, W): every pixel that is not black is anomalous; raises as mask_values.

    Where a mask is grey (its edges were smoothed) that counts all of the edge: the threshold is 0.
    """
    return mask_values(path, size_hw) > 0


def mask_values(path: Path, size_hw: tuple[int, int]) -> np.ndarray:
    """A mask's values as they are in its file, (H, W); of a coloured one the brightest channel's.

    `path` may be a folder: all masks in it joined, 255 where any of them marks something. Raises
    PictureError if one is broken or its size is not `size_hw`, the size of its picture.
    """
    if path.is_dir():
        found = [mask_values(one, size_hw) for one in list_pictures(path)]
        if not found:
            raise PictureError(path, "holds no mask; PNG, BMP or TIFF files are needed there.")
        return np.where(np.any([one > 0 for one in found], axis=0), np.uint8(255), np.uint8(0))
    with _opened(path) as image:
        if (image.height, image.width) != size_hw:
            raise PictureError(
                path,
                f"this mask is {image.width}x{image.height} pixels, its picture is "
                f"{size_hw[1]}x{size_hw[0]}; masks must have the size of their picture.",
            )
        return _brightest(image)


def marks_anything(path: Path) -> bool:
    """Whether a mask has a pixel that is not black. Raises PictureError for what is none."""
    with _opened(path) as image:
        _refuse_odd_sizes(path, image)
        return bool(_brightest(image).any())


def _brightest(image: Image.Image) -> np.ndarray:
    """A mask's values, (H, W); of colours the brightest channel, without alpha."""
    # A palette may list white first: what counts is the colour, not its number.
    values = np.asarray(image.convert("RGB") if image.mode == "P" else image)
    if values.ndim == 3:
        colours = values[..., :3] if values.shape[2] in (3, 4) else values[..., :1]
        # A channel at a time: a tenth of the time that max(axis=2) takes.
        values = reduce(np.maximum, np.moveaxis(colours, 2, 0))
    return values


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """The picture; what is wrong with its file, seen now or as it is read, is a PictureError."""
    try:
        if path.is_dir():
            raise PictureError(path, "is a folder; a picture is needed.")
        if path.stat().st_size == 0:
            raise PictureError(path, "is an empty file; copy it again.")
        ImageFile.LOAD_TRUNCATED_IMAGES = False  # WeasyPrint turns it on for the whole process
        with Image.open(path, formats=FORMATS) as image:
            yield image
    except FileNotFoundError:
        raise PictureError(path, "there is no such file.") from None
    except PermissionError:
        raise PictureError(path, "may not be read; check its rights.") from None
    except UnidentifiedImageError:
        raise PictureError(path, _unknown(path)) from None
    except BROKEN as error:
        raise PictureError(path, f"is broken or cut short ({error}); copy it again.") from error


def _unknown(path: Path) -> str:
    """What Pillow does not know; a TIFF may be one all the same, of a kind it does not read."""
    with path.open("rb") as file:
        head = file.read(4)
    if head in (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+"):
        return (
            "is a TIFF of a kind we cannot read (its compression, or the number of bits); save it "
            "with 8 or 16 bits a channel, uncompressed or by LZW."
        )
    return "is not a picture we can read; PNG, JPEG, BMP, TIFF or WebP is needed."


def _refuse_odd_sizes(path: Path, image: Image.Image) -> None:
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":
        raise PictureError(path, f"has {frames} frames; save the one to inspect as a PNG.")
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise PictureError(
            path,
            f"is {width}x{height} = {width * height / 1e6:.0f} megapixels; the limit is "
            f"{MAX_PIXELS // 1_000_000}. Crop it or save it smaller.",
        )
    if min(width, height) < MIN_SIDE_PX:
        raise PictureError(
            path, f"is {width}x{height} pixels; at least {MIN_SIDE_PX} on each side are needed."
        )


def _as_rgb(path: Path, image: Image.Image, reading: PictureReading) -> np.ndarray:
    if image.mode in GREY_MODES or (reading.bits is not None and is_deep(path, image)):
        grey = to_8_bit(path, deep_values(path, image), reading)
        turned = Image.fromarray(grey)
        turned.getexif().update(image.getexif())
        image = turned
    if reading.bayer is not None and image.mode == "L":
        image = Image.fromarray(demosaiced(path, np.asarray(image), reading.bayer))
    image = ImageOps.exif_transpose(image)
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    return np.array(image.convert("RGB"))


def shrink_mask(mask: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """A bool mask at another size: every pixel that is more than half anomalous (area average).

    A mask too thin for that keeps the pixels above half of its best coverage instead: were it to
    vanish, a true find would count as a false alarm. Which rule is used moves pixel AP.
    """
    covered = resize(mask.astype(np.float32), size_hw)
    highest = float(covered.max(initial=0.0))
    return covered > (0.5 if highest > 0.5 else highest / 2)


def encoded(picture: np.ndarray, suffix: str = ".png", quality: int | None = None) -> bytes:
    """A picture file of uint8 RGB (H, W, 3), grey (H, W), or bool (H, W) as 0 and 255."""
    pixels = picture.astype(np.uint8) * 255 if picture.dtype == bool else picture
    settings = [] if quality is None else [cv2.IMWRITE_JPEG_QUALITY, quality]
    return cv2.imencode(suffix, pixels[..., ::-1] if pixels.ndim == 3 else pixels, settings)[
        1
    ].tobytes()


def data_uri(picture: np.ndarray, quality: int = 76) -> str:
    """A picture as a JPEG data URI, so that a page needs no other file."""
    return "data:image/jpeg;base64," + base64.b64encode(encoded(picture, ".jpg", quality)).decode()

"""Damaged picture files, each made of its seed alone, and what the product's readers say of them.

python tests/mutated_pictures.py FIRST COUNT UNDER_WAY    reads COUNT files, prints one JSON line
"""

import io
import json
import random
import struct
import sys
import tempfile
import time
import traceback
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageCms, PngImagePlugin

HIGH, WIDE = 40, 48
EDGES = (0, 1, 2, 7, 8, 16, 255, 256, 32767, 32768, 65535, 65536, 99_999, 2**31 - 1, 2**31,
         2**32 - 1)  # fmt: skip
ORIENTATION, EXIF_MAKER = 274, 37500


# Whole files, as cameras and people's programs write them


def _exif() -> Image.Exif:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    exif[271] = "camera"
    exif.get_ifd(0x8769)[36867] = "2026:01:31 12:00:00"
    exif.get_ifd(0x8769)[EXIF_MAKER] = bytes(range(64))
    return exif


def _saved(image: Image.Image, kind: str, **words: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **words)
    return file.getvalue()


@cache
def whole_files() -> dict[str, bytes]:
    """Name with its ending -> the file's bytes."""
    drawn = np.random.default_rng(7).integers(0, 256, (HIGH, WIDE, 3), np.uint8)
    drawn = cv2.GaussianBlur(drawn, (5, 5), 0)
    rgb, grey = Image.fromarray(drawn), Image.fromarray(drawn[..., 0])
    turned = rgb.rotate(90)
    deep = Image.fromarray(drawn[..., 0].astype(np.uint16) * 16)
    real = Image.fromarray(drawn[..., 0].astype(np.float32) / 255)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    told = PngImagePlugin.PngInfo()
    told.add_text("note", "a" * 500, zip=True)
    told.add_itxt("note2", "ä" * 50, zip=True)
    clear = rgb.convert("P")
    files = {
        "rgb.png": _saved(rgb, "PNG"),
        "told.png": _saved(rgb, "PNG", pnginfo=told, icc_profile=profile, exif=_exif()),
        "palette.png": _saved(clear, "PNG", transparency=3),
        "alpha.png": _saved(rgb.convert("RGBA"), "PNG"),
        "bits.png": _saved(grey.convert("1"), "PNG"),
        "deep.png": cv2.imencode(".png", drawn[..., 0].astype(np.uint16) * 16)[1].tobytes(),
        "deep-rgb.png": cv2.imencode(".png", drawn.astype(np.uint16) * 16)[1].tobytes(),
        "moving.png": _saved(rgb, "PNG", save_all=True, append_images=[turned.resize(rgb.size)]),
        "plain.jpg": _saved(rgb, "JPEG"),
        "told.jpg": _saved(rgb, "JPEG", exif=_exif(), icc_profile=profile, comment=b"hello"),
        "progressive.jpg": _saved(rgb, "JPEG", progressive=True),
        "restarts.jpg": _saved(rgb, "JPEG", restart_marker_blocks=2),
        "cmyk.jpg": _saved(rgb.convert("CMYK"), "JPEG"),
        "grey.jpg": _saved(grey, "JPEG"),
        "several.jpg": _saved(rgb, "MPO", save_all=True, append_images=[rgb]),
        "moving.gif": _saved(clear, "GIF", save_all=True, append_images=[clear.rotate(180)]),
        "still.gif": _saved(clear, "GIF"),
        "plain.bmp": _saved(rgb, "BMP"),
        "palette.bmp": _saved(clear, "BMP"),
        "bits.bmp": _saved(grey.convert("1"), "BMP"),
        "runs.bmp": _run_lengths(),
        "lossy.webp": _saved(rgb, "WEBP"),
        "lossless.webp": _saved(rgb.convert("RGBA"), "WEBP", lossless=True, exif=_exif()),
        "moving.webp": _saved(rgb, "WEBP", save_all=True, append_images=[rgb.rotate(180)]),
        "pages.tif": _saved(rgb, "TIFF", save_all=True, append_images=[rgb]),
        "big.tif": _saved(rgb, "TIFF", big_tiff=True),
        "told.tif": _saved(rgb, "TIFF", exif=_exif(), icc_profile=profile),
        "deep.tif": _saved(deep, "TIFF", tiffinfo={281: 4095}),
        "deep-rgb.tif": cv2.imencode(".tif", drawn.astype(np.uint16) * 16)[1].tobytes(),
        "real.tif": _saved(real, "TIFF"),
        "xyz.tif": cv2.imencode(".tif", drawn.astype(np.float32))[1].tobytes(),
    }
    for packing in ("raw", "tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits"):
        files[f"{packing}.tif"] = _saved(rgb, "TIFF", compression=packing)
    files["fax.tif"] = _saved(grey.convert("1"), "TIFF", compression="group4")
    return files


def _run_lengths() -> bytes:
    """A bitmap of 8 bits packed as runs, which Pillow reads and does not write."""
    body = b"".join(bytes([WIDE, row % 256]) + b"\x00\x00" for row in range(HIGH)) + b"\x00\x01"
    palette = b"".join(bytes([i, i, i, 0]) for i in range(256))
    start = 14 + 40 + len(palette)
    info = struct.pack("<IiiHHIIiiII", 40, WIDE, HIGH, 1, 8, 1, len(body), 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", start + len(body), 0, 0, start) + info + palette + body


# What happens to files: any, and those whose parts we know


def _flip_bits(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 3, 20))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _flip_head(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.randint(1, 6)):
        data[rng.randrange(min(len(data), 64))] = rng.randrange(256)


def _cut(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data)) :]


def _drop(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data))
    del data[start : start + rng.choice((1, 2, 4, 16, 200))]


def _splice(data: bytearray, rng: random.Random) -> None:
    other = rng.choice(list(whole_files().values()))
    start, count = rng.randrange(len(other)), rng.choice((4, 12, 60, 400))
    place = rng.randrange(len(data))
    data[place : place + rng.choice((0, count))] = other[start : start + count]


def _repeat(data: bytearray, rng: random.Random) -> None:
    start, count = rng.randrange(len(data)), rng.choice((4, 30, 300))
    data[start:start] = bytes(data[start : start + count]) * rng.choice((1, 3, 50))


def _fill(data: bytearray, rng: random.Random) -> None:
    start, count = rng.randrange(len(data)), rng.choice((4, 30, 300))
    value = rng.choice((0, 255, rng.randrange(256)))
    data[start : start + count] = bytes([value]) * len(data[start : start + count])


def _edge_number(data: bytearray, rng: random.Random) -> None:
    """A number at the edge of its kind where one may stand: lengths, sizes, offsets."""
    form = rng.choice(("<H", ">H", "<I", ">I"))
    size = struct.calcsize(form)
    if len(data) > size:
        place = rng.randrange(min(len(data), rng.choice((64, 4096))) - size + 1)
        data[place : place + size] = struct.pack(form, rng.choice(EDGES) % 256**size)


def _png_chunks(data: bytes) -> list[list[bytes]]:
    found, at = [], 8
    while at + 12 <= len(data):
        (size,) = struct.unpack(">I", data[at : at + 4])
        found.append([data[at + 4 : at + 8], bytes(data[at + 8 : at + 8 + size])])
        at += 12 + size
    return found


def _png(data: bytearray, rng: random.Random) -> None:
    """Chunks altered, moved or added, their check sums mended, so that the reader believes them."""
    chunks = _png_chunks(bytes(data))
    if not chunks:
        return
    way = rng.randrange(7)
    one = rng.choice(chunks)
    if way == 0 and one[1]:
        body = bytearray(one[1])
        _flip_bits(body, rng)
        one[1] = bytes(body)
    elif way == 1:
        chunks.insert(rng.randrange(len(chunks) + 1), list(one))
    elif way == 2:
        rng.shuffle(chunks)
    elif (
        way == 3 and len(chunks[0][1]) == 13
    ):  # a bomb: huge, or of another kind, with the pixels it had
        wide, high = (rng.choice((WIDE, 1, 5000, 99_999, 2**31 - 1)) for _ in range(2))
        kind = bytes([rng.choice((1, 2, 4, 8, 16, 3)), rng.choice((0, 2, 3, 4, 6, 5)), 0, 0,
                      rng.choice((0, 1, 2))])  # fmt: skip
        chunks[0][1] = struct.pack(">II", wide, high) + kind
    elif way == 4:
        text = zlib.compress(b"a" * rng.choice((10, 100_000, 80_000_000)))
        kind = rng.choice((b"zTXt", b"iCCP"))
        chunks.insert(1, [kind, b"note\x00\x00" + text])
    elif way == 5:
        kind = rng.choice((b"eXIf", b"tRNS", b"sBIT", b"PLTE", b"gAMA", b"fcTL", b"acTL", b"pHYs"))
        chunks.insert(rng.randrange(1, len(chunks) + 1), [kind, rng.randbytes(rng.randrange(40))])
    else:
        pixels = zlib.compress(rng.randbytes(rng.choice((0, 10, 50_000))))
        chunks = [[k, pixels if k == b"IDAT" else body] for k, body in chunks]
    data[8:] = b"".join(
        struct.pack(">I", len(b)) + k + b + struct.pack(">I", zlib.crc32(k + b)) for k, b in chunks
    )


def _tiff(data: bytearray, rng: random.Random) -> None:
    """An entry of its list altered: tag, type, count or value; or the next list is this one."""
    order = "<" if data[:2] == b"II" else ">"
    if len(data) < 16 or data[2:4] in (b"+\x00", b"\x00+"):
        return _edge_number(data, rng)
    (at,) = struct.unpack(order + "I", data[4:8])
    if at + 2 > len(data):
        return None
    (count,) = struct.unpack(order + "H", data[at : at + 2])
    following = at + 2 + 12 * count
    if rng.random() < 0.1 and following + 4 <= len(data):
        data[following : following + 4] = struct.pack(order + "I", rng.choice((at, 8, 4, 2**31)))
        return None
    place = at + 2 + 12 * rng.randrange(max(count, 1))
    if place + 12 > len(data):
        return None
    part = rng.randrange(4)
    if part == 0:
        tag = rng.choice((256, 257, 258, 259, 262, 273, 277, 278, 279, 284, 317, 322, 324, 338, 339,
                          34665, 274, 281))  # fmt: skip
        data[place : place + 2] = struct.pack(order + "H", tag)
    elif part == 1:
        data[place + 2 : place + 4] = struct.pack(order + "H", rng.randrange(20))
    elif part == 2:
        data[place + 4 : place + 8] = struct.pack(order + "I", rng.choice(EDGES))
    else:
        data[place + 8 : place + 12] = struct.pack(order + "I", rng.choice((*EDGES, 3, 4, 5, 99)))
    return None


def _jpeg(data: bytearray, rng: random.Random) -> None:
    """A segment altered: its length, the size it claims, or a byte in it."""
    places, at = [], 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        places.append(at)
        if data[at + 1] == 0xDA:
            break
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    if not places:
        return
    at = rng.choice(places)
    size = int.from_bytes(data[at + 2 : at + 4], "big")
    way = rng.randrange(4)
    if way == 0:
        data[at + 2 : at + 4] = struct.pack(">H", rng.choice(EDGES) % 65536)
    elif way == 1 and 0xC0 <= data[at + 1] <= 0xC2:
        data[at + 5 : at + 9] = struct.pack(">HH", *(rng.choice((1, 64, 9999, 65535)),) * 2)
    elif way == 2:
        data[at + 1] = rng.choice(
            (0xC0, 0xC2, 0xC4, 0xC9, 0xDB, 0xDD, 0xE1, 0xE2, 0xED, 0xEE, 0xFE)
        )
    else:
        for _ in range(rng.randint(1, 8)):
            place = min(at + 4 + rng.randrange(max(size, 1)), len(data) - 1)
            data[place] = rng.randrange(256)


def _bmp(data: bytearray, rng: random.Random) -> None:
    place, form = rng.choice(
        ((2, "<I"), (10, "<I"), (14, "<I"), (18, "<I"), (22, "<I"), (26, "<H"), (28, "<H"),
         (30, "<I"), (34, "<I"), (46, "<I"))
    )  # fmt: skip
    values = (*EDGES, 4, 12, 24, 32, 40, 64, 108, 124, 2**32 - HIGH)
    size = struct.calcsize(form)
    data[place : place + size] = struct.pack(form, rng.choice(values) % 256**size)


def _riff(data: bytearray, rng: random.Random) -> None:
    """A length, the canvas, or what a chunk is called."""
    places, at = [4], 12
    while at + 8 <= len(data):
        places.append(at + 4)
        at += 8 + int.from_bytes(data[at + 4 : at + 8], "little")
    place = rng.choice(places)
    way = rng.randrange(3)
    if way == 0:
        data[place : place + 4] = struct.pack("<I", rng.choice(EDGES))
    elif way == 1:
        place = min(place + 4 + rng.randrange(12), len(data) - 1)
        data[place] = rng.choice((0, 1, 255, rng.randrange(256)))
    else:
        data[place - 4 : place] = rng.choice((b"VP8 ", b"VP8L", b"VP8X", b"ANIM", b"ANMF", b"EXIF",
                                              b"ALPH", b"ICCP"))  # fmt: skip


ANY = (_flip_bits, _flip_head, _cut, _drop, _splice, _repeat, _fill, _edge_number)
OWN: dict[str, Callable[[bytearray, random.Random], None]] = {
    ".png": _png, ".tif": _tiff, ".jpg": _jpeg, ".bmp": _bmp, ".webp": _riff,
}  # fmt: skip


def made(seed: int) -> tuple[str, bytes]:
    """(name, bytes) of a damaged file; the same of the same seed."""
    rng = random.Random(seed)
    name, whole = rng.choice(list(whole_files().items()))
    data, own = bytearray(whole), OWN.get(Path(name).suffix)
    for _ in range(rng.choice((1, 1, 2, 4))):
        if len(data) < 64:
            break
        way = own if own is not None and rng.random() < 0.5 else rng.choice(ANY)
        way(data, rng)
    return f"{seed}-{name}", bytes(data)


# The product's readers


def readers(folder: Path) -> dict[str, Callable[[Path], object]]:
    """Name -> what reads one file, each a way by which a file comes in."""
    from anomalyst.datasets.checks import measure
    from anomalyst.inspection.parts import taken_at
    from anomalyst.io.deep_pictures import PictureReading
    from anomalyst.io.pictures import (
        marks_anything,
        mask_values,
        open_picture,
        picture_kind,
        reading_of,
    )
    from anomalyst.senses.fields import read_field
    from anomalyst.server.received import take
    from anomalyst.server.storage.pictures import Pictures
    from anomalyst.types import Sample

    kept = Pictures(folder / "kept")
    raw = PictureReading(bits=12, bayer="rggb")

    def taught(path: Path) -> object:
        return open_picture(path, reading_of([path]))

    def sent(path: Path) -> object:
        with path.open("rb") as stream:
            one = take(kept, stream, path.name)
        kept.forget(one.picture)
        return one

    return {
        "open": open_picture,
        "as taught": taught,
        "mosaic": lambda path: open_picture(path, raw),
        "kind": picture_kind,
        "mask": lambda path: mask_values(path, (HIGH, WIDE)),
        "label": marks_anything,
        "sent": sent,
        "depth": lambda path: read_field(path, "depth", "mm"),
        "when": taken_at,
        "check": lambda path: measure([Sample(image=path, label=None, mask=path)]),
    }


def examine(seeds: Iterator[int] | range, on_seed: Callable[[int], None] = lambda _: None):
    """Read the file of each seed in every way: what came of it, as plain JSON values."""
    import psutil

    from anomalyst.errors import AnomalystError

    said: Counter[str] = Counter()
    failures, slowest, begin, number = [], (0.0, 0, ""), 0, 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ways = readers(folder)
        for number, seed in enumerate(seeds, start=1):
            on_seed(seed)
            file, data = made(seed)
            path = folder / file
            path.write_bytes(data)
            refused = False
            for way, read in ways.items():
                started = time.process_time()
                try:
                    read(path)
                except AnomalystError as error:
                    refused = refused or way == "open"
                    if "\n" in str(error).strip():
                        failures.append([seed, file, way, f"several lines: {error!r}"])
                except BaseException:  # a panic of a library written in Rust is no Exception
                    failures.append([seed, file, way, traceback.format_exc(limit=-3)])
                slowest = max(slowest, (round(time.process_time() - started, 2), seed, way))
            said["refused" if refused else "read"] += 1
            path.unlink()
            if number == 200:  # libraries have their tables by then
                begin = psutil.Process().memory_info().rss
        left = [p.name for p in (folder / "kept").rglob("*") if p.is_file()]
        end = psutil.Process().memory_info().rss
    return {
        "files": number, **said, "failures": failures, "slowest_seconds": slowest[0],  # of one way
        "slowest_seed": slowest[1], "slowest_way": slowest[2], "left": left,
        "seconds": round(time.process_time(), 1),
        "rss_begin_mb": begin >> 20, "rss_end_mb": end >> 20,
    }  # fmt: skip


def main() -> None:
    """Read the files of the seeds that the command line names; the seed under way is in a file."""
    first, count, under_way = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    found = examine(range(first, first + count), lambda seed: under_way.write_text(str(seed)))
    print(json.dumps(found))


if __name__ == "__main__":
    main()

"""Pictures of 10 to 16 bits, of decimal numbers, and raw mosaics: one rule for all of a product."""

import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from anomalyst.errors import AnomalystError, PictureError
from anomalyst.inspection.file_reading import FileReading
from anomalyst.io.deep_pictures import MOSAICS, PictureReading
from anomalyst.io.pictures import open_picture, reading_of
from anomalyst.product import Product
from conftest import DEMO

RNG = np.random.default_rng(0)
GOOD = sorted((DEMO / "flange" / "good").glob("*.jpg"))
BAD = DEMO / "flange" / "test" / "fracture-001.jpg"


def grey_8(side: int = 64) -> np.ndarray:
    return cv2.GaussianBlur(RNG.integers(0, 256, (side, side)).astype(np.uint8), (5, 5), 0)


def saved(path, values, sbit: int | None = None):
    """A picture of these values; with `sbit` a PNG that says how many bits are used."""
    cv2.imwrite(str(path), values)
    if sbit is not None:
        data, body = path.read_bytes(), bytes([sbit])
        crc = struct.pack(">I", zlib.crc32(b"sBIT" + body))
        chunk = struct.pack(">I", 1) + b"sBIT" + body + crc
        path.write_bytes(data[:33] + chunk + data[33:])  # behind the head
    return path


def as_bits(picture: np.ndarray, bits: int) -> np.ndarray:
    """An 8-bit picture as a camera of so many bits would have delivered it."""
    return np.round(picture / 255 * (2**bits - 1)).astype(np.uint16)


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_the_range_is_found_of_good_pictures_and_holds_for_darker_ones(tmp_path, bits, suffix):
    bright, dark = grey_8(), grey_8() // 9
    bright[0, 0] = 255
    files = [
        saved(tmp_path / f"{n}{suffix}", as_bits(one, bits)) for n, one in enumerate((bright, dark))
    ]
    reading = reading_of(files[:1])
    assert reading.bits == bits and (str(2**bits - 1) in reading.told) == (bits < 16)
    for file, true in zip(files, (bright, dark), strict=True):
        assert np.abs(open_picture(file, reading)[..., 0].astype(int) - true).max() <= 1


def test_what_a_file_says_comes_before_what_it_holds(tmp_path):
    values = as_bits(grey_8() // 9, 12)
    told = saved(tmp_path / "told.png", values, sbit=12)
    assert reading_of([told]).bits == 12
    Image.fromarray(values).save(tmp_path / "told.tif", tiffinfo={281: 4095})
    assert reading_of([tmp_path / "told.tif"]).bits == 12
    plain = saved(tmp_path / "plain.png", values)
    assert reading_of([plain]).bits == 10  # darker than a tenth of 12 bits
    assert reading_of([plain], PictureReading(bits=14)).bits == 14  # as asked
    # Nobody taught anything: a file is read as it says, else by its full range.
    assert open_picture(told).max() > 10 * open_picture(plain).max()


def test_colours_of_12_bits(tmp_path):
    true = np.dstack([grey_8(), grey_8(), grey_8()])
    true[0, 0] = 255
    file = saved(tmp_path / "a.png", as_bits(true, 12)[..., ::-1])
    reading = reading_of([file])
    assert reading.bits == 12
    assert np.abs(open_picture(file, reading).astype(int) - true).max() <= 1


@pytest.mark.parametrize("white", [1.0, 255.0, 4095.0])
def test_decimal_numbers(tmp_path, white):
    true = grey_8() / 255
    true[0, 0] = 1
    file, dark = tmp_path / "a.tif", tmp_path / "dark.tif"
    Image.fromarray((true * white).astype(np.float32)).save(file)
    Image.fromarray((true * white / 300).astype(np.float32)).save(dark)
    reading = reading_of([file])
    assert reading.white == white
    assert np.abs(open_picture(file, reading)[..., 0] / 255 - true).max() < 0.01
    assert open_picture(dark, reading).max() <= 1


@given(st.sampled_from(sorted(MOSAICS)))
def test_a_mosaic_is_seen_in_its_colours(tmp_path_factory, bayer):
    """Flat colours behind the filter come back as they were."""
    colour = {"r": 200, "g": 90, "b": 30}
    tile = np.array([colour[one] for one in bayer], np.uint8).reshape(2, 2)
    file = tmp_path_factory.mktemp("raw") / "raw.png"
    saved(file, np.tile(tile, (16, 16)))
    seen = open_picture(file, PictureReading(bayer=bayer))
    assert (seen[4:-4, 4:-4] == (200, 90, 30)).all()


def test_wrong_use_is_one_sentence(tmp_path):
    bright = saved(tmp_path / "bright.png", np.full((32, 32), 60_000, np.uint16))
    with pytest.raises(
        PictureError, match="values up to 60000, more than the 12 bits.*bit-depth 16"
    ):
        open_picture(bright, PictureReading(bits=12))
    for words, said in (
        ({"bits": 9}, "--bit-depth 9"), ({"bayer": "rgbg"}, "--bayer 'rgbg'"),
    ):  # fmt: skip
        with pytest.raises(AnomalystError, match=said):
            PictureReading(**words)
    odd = saved(tmp_path / "odd.png", np.zeros((33, 32), np.uint8))
    with pytest.raises(PictureError, match="even sides"):
        open_picture(odd, PictureReading(bayer="rggb"))
    packed = tmp_path / "packed.tif"
    Image.fromarray(np.zeros((32, 32), np.uint8)).save(packed)
    data = packed.read_bytes().replace(
        struct.pack("<HHIH", 259, 3, 1, 1), struct.pack("<HHIH", 259, 3, 1, 9999)
    )
    packed.write_bytes(data)
    with pytest.raises(PictureError, match="TIFF of a kind we cannot read"):
        open_picture(packed)
    with pytest.raises(AnomalystError, match="of photographs, of which no file"):
        FileReading(bit_depth=12).senses(["audio"])


def test_a_product_of_12_bits_judges_as_that_of_8(inspector, tmp_path):
    """A 12-bit camera's part was called anomalous for being almost black."""
    deep, plain = [], []
    for n, path in enumerate([*GOOD[:4], BAD]):
        picture = cv2.imread(str(path))
        plain.append(saved(tmp_path / f"{n}-8.png", picture))
        deep.append(saved(tmp_path / f"{n}-12.png", as_bits(picture, 12)))
    eight, twelve = (inspector.teach("flange", some[:4], adapted=False) for some in (plain, deep))
    assert twelve.reading.bits == 12 and eight.reading.bits is None
    one, other = inspector.inspect(plain[4], eight), inspector.inspect(deep[4], twelve)
    assert other.score == pytest.approx(one.score, abs=0.02) and other.verdict == one.verdict
    assert (
        other.view is not None
        and np.abs(other.view[..., ::-1].astype(int) - cv2.imread(str(BAD))).mean() < 1
    )
    twelve.save(tmp_path / "flange")
    again = Product.load(tmp_path / "flange")
    assert again.reading == twelve.reading
    more = inspector.teach("flange", deep[3:4], product=again, adapted=False)
    assert more.reading == twelve.reading
    with pytest.raises(AnomalystError, match="taught with 12"):
        FileReading(bit_depth=10).pictures(again)

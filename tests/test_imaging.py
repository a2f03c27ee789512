"""Opening every kind of file people have, and the one geometry there and back."""

import os
import random
import resource
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from anomalyst.errors import AnomalystError, PictureError
from anomalyst.io.geometry import TILE_PIXELS, Placement, canvas_for, place, resize, tile_boxes
from anomalyst.io.pictures import list_pictures, open_mask, open_picture

# A smooth picture, so that lossy formats stay close; no two sides or channels are alike.
ROWS, COLUMNS = np.mgrid[0:24, 0:40]
RGB = np.stack([ROWS * 10, COLUMNS * 6, 255 - COLUMNS * 4], axis=2).astype(np.uint8)
GREY = RGB[..., 0]
FORMATS = {"a.png": 0, "a.bmp": 0, "a.tif": 0, "a.jpg": 4, "a.jpeg": 4, "a.webp": 4, "a.gif": 20}


def saved(path: Path, pixels: np.ndarray, **options: object) -> Path:
    Image.fromarray(pixels).save(path, **options)
    return path


@pytest.mark.parametrize(("name", "tolerance"), FORMATS.items())
def test_every_format_opens_as_the_same_rgb_picture(tmp_path, name, tolerance):
    opened = open_picture(saved(tmp_path / name, RGB))
    assert opened.dtype == np.uint8
    assert opened.shape == (24, 40, 3)
    assert np.abs(opened.astype(int) - RGB).mean() <= tolerance


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bit_grey_is_scaled_by_its_full_range(tmp_path, suffix):
    bright = open_picture(saved(tmp_path / f"b{suffix}", GREY.astype(np.uint16) * 257))
    assert (bright == GREY[..., None]).all()
    # An underexposed picture stays dark: 255 of 65535 is black, not white.
    dark = open_picture(saved(tmp_path / f"d{suffix}", GREY.astype(np.uint16)))
    assert dark.max() == 1


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bit_colour_keeps_its_colours(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    assert cv2.imwrite(str(path), RGB[..., ::-1].astype(np.uint16) * 257)
    assert (open_picture(path) == RGB).all()


def test_float_and_32_bit_grey_open_and_what_has_no_8_bit_meaning_is_refused(tmp_path):
    unit = open_picture(saved(tmp_path / "f.tif", (GREY / 255).astype(np.float32)))
    assert (unit[..., 0] == GREY).all()
    wide = open_picture(saved(tmp_path / "i.tif", GREY.astype(np.int32) * 257))
    assert (wide[..., 0] == GREY).all()
    with pytest.raises(PictureError, match="values from -1 to"):
        open_picture(saved(tmp_path / "n.tif", GREY.astype(np.float32) - 1))
    hole = np.where(GREY == 0, np.nan, GREY).astype(np.float32)
    with pytest.raises(PictureError, match="not numbers"):
        open_picture(saved(tmp_path / "h.tif", hole))


def test_alpha_is_laid_over_white(tmp_path):
    alpha = np.zeros((24, 40), np.uint8)
    alpha[:, 20:] = 255
    opened = open_picture(saved(tmp_path / "a.png", np.dstack([RGB, alpha])))
    assert (opened[:, :20] == 255).all()
    assert (opened[:, 20:] == RGB[:, 20:]).all()


def test_grey_bilevel_palette_and_transparent_palette_become_rgb(tmp_path):
    grey = open_picture(saved(tmp_path / "l.png", GREY))
    assert (grey == GREY[..., None]).all()
    bilevel = open_picture(saved(tmp_path / "1.png", GREY > 100))
    assert (bilevel[..., 0] == np.where(GREY > 100, 255, 0)).all()
    palette = Image.fromarray(GREY // 128).convert("P")
    palette.putpalette([10, 20, 30, 200, 100, 0])
    palette.save(tmp_path / "p.png")
    assert (open_picture(tmp_path / "p.png")[0, 0] == (10, 20, 30)).all()
    assert (open_picture(tmp_path / "p.png")[-1, -1] == (200, 100, 0)).all()
    palette.save(tmp_path / "t.png", transparency=0)
    assert (open_picture(tmp_path / "t.png")[0, 0] == 255).all()


def test_cmyk_becomes_rgb(tmp_path):
    Image.new("CMYK", (32, 20), (0, 255, 255, 0)).save(tmp_path / "a.tif")
    Image.new("CMYK", (32, 20), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=95)
    for name in ("a.tif", "a.jpg"):
        red = open_picture(tmp_path / name)[10, 10].astype(int)
        assert np.abs(red - (255, 0, 0)).max() <= 6


def test_the_first_frame_of_a_phone_s_double_jpeg_is_taken(tmp_path):
    first, second = Image.fromarray(RGB), Image.fromarray(255 - RGB)
    first.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[second])
    assert np.abs(open_picture(tmp_path / "a.jpg").astype(int) - RGB).mean() <= 4


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.jpg", "a.webp"])
def test_a_picture_is_turned_upright_by_its_exif_note(tmp_path, name):
    stored = np.zeros((24, 40, 3), np.uint8)
    stored[:, :20] = 255  # left is white; note 6, turn clockwise, puts left on top
    exif = Image.Exif()
    exif[0x112] = 6
    opened = open_picture(saved(tmp_path / name, stored, exif=exif))
    assert opened.shape == (40, 24, 3)
    assert opened[:18].min() > 250
    assert opened[22:].max() < 5


def refused(path: Path, match: str) -> None:
    with pytest.raises(PictureError, match=match) as caught:
        open_picture(path)
    assert str(caught.value).startswith(str(path))


def test_what_is_no_picture_is_refused_with_a_sentence(tmp_path):
    jpeg = saved(tmp_path / "cut.jpg", RGB).read_bytes()
    (tmp_path / "cut.jpg").write_bytes(jpeg[: len(jpeg) // 2])
    refused(tmp_path / "cut.jpg", "broken or cut short .*copy it again")
    (tmp_path / "text.png").write_text("no picture at all")
    refused(tmp_path / "text.png", "not a picture we can read")
    (tmp_path / "empty.png").touch()
    refused(tmp_path / "empty.png", "is an empty file")
    refused(tmp_path / "none.png", "there is no such file")
    refused(tmp_path, "is a folder; a picture is needed")
    refused(saved(tmp_path / "one.png", RGB[:1, :1]), "1x1 pixels; at least 16")
    frames = [Image.fromarray(RGB), Image.fromarray(255 - RGB)]
    for name in ("moving.gif", "pages.tif", "moving.webp", "moving.png"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
        refused(tmp_path / name, "has 2 frames; save the one to inspect as a PNG")


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def test_a_header_of_a_thousand_megapixels_is_refused_without_taking_memory(tmp_path):
    header = struct.pack(">IIBBBBB", 40_000, 25_000, 8, 2, 0, 0, 0)
    parts = [png_chunk(b"IHDR", header), png_chunk(b"IDAT", zlib.compress(b"")), b""]
    path = tmp_path / "bomb.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts) + png_chunk(b"IEND", b""))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(path, "40000x25000 = 1000 megapixels; the limit is 100")
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert after - before < 50_000  # kilobytes; the pixels would take three million


DAMAGED = {
    **{name: {} for name in FORMATS},
    "two.gif": {"save_all": True, "append_images": [Image.fromarray(255 - RGB)]},
    "two.tif": {"save_all": True, "append_images": [Image.fromarray(255 - RGB)]},
    "exif.png": {"exif": b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03" + bytes(9)},
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(("name", "options"), DAMAGED.items())
def test_a_damaged_file_raises_nothing_but_a_picture_error(tmp_path, name, options):
    whole = saved(tmp_path / name, RGB, **options).read_bytes()
    draw = random.Random(name)
    for turn in range(150):
        damaged = bytearray(whole[: draw.randrange(1, len(whole))] if turn % 2 else whole)
        for _ in range(draw.randrange(4)):
            near_the_start = draw.random() < 0.5
            damaged[draw.randrange(min(len(damaged), 200 if near_the_start else 10**9))] = (
                draw.randrange(256)
            )
        (tmp_path / name).write_bytes(damaged)
        for opening in (open_picture, lambda path: open_mask(path, (24, 40))):
            try:
                opening(tmp_path / name)
            except PictureError as error:
                assert error.reason


def test_every_pixel_of_a_mask_that_is_not_black_is_anomalous(tmp_path):
    truth = COLUMNS > 30
    values = np.where(truth, 3, 0).astype(np.uint8)
    kinds = {"l": values, "1": truth, "rgb": np.dstack([values * 0, values, values * 0])}
    kinds["la"] = np.dstack([values, np.full_like(values, 255)])
    kinds["16"] = values.astype(np.uint16) * 257
    for name, pixels in kinds.items():
        mask = open_mask(saved(tmp_path / f"{name}.png", pixels), (24, 40))
        assert mask.dtype == bool
        assert (mask == truth).all(), name
    # Some tools put white first in the palette; the number 0 is then the defect.
    palette = Image.fromarray((~truth).astype(np.uint8)).convert("P")
    palette.putpalette([255, 255, 255, 0, 0, 0])
    palette.save(tmp_path / "p.png")
    assert (open_mask(tmp_path / "p.png", (24, 40)) == truth).all()


def test_a_mask_of_another_size_or_cut_short_is_refused(tmp_path):
    path = saved(tmp_path / "m.png", GREY)
    with pytest.raises(PictureError, match="this mask is 40x24 pixels, its picture is 24x40"):
        open_mask(path, (40, 24))
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(PictureError, match="broken or cut short"):
        open_mask(path, (24, 40))


def test_a_folder_lists_its_pictures_by_name_and_nothing_else(tmp_path):
    for name in ("b.JPG", "a.png", ".hidden.png", "notes.txt", "c.tiff"):
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    assert [p.name for p in list_pictures(tmp_path)] == ["a.png", "b.JPG", "c.tiff"]
    with pytest.raises(AnomalystError, match="there is no such folder"):
        list_pictures(tmp_path / "none")
    with pytest.raises(AnomalystError, match="is a file; a folder of pictures is needed"):
        list_pictures(tmp_path / "notes.txt")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_a_folder_without_rights_is_refused(tmp_path):
    tmp_path.chmod(0)
    try:
        with pytest.raises(AnomalystError, match="may not be read; check its rights"):
            list_pictures(tmp_path)
    finally:
        tmp_path.chmod(0o700)


def test_a_folder_the_system_will_not_list_is_refused_with_a_sentence(tmp_path, monkeypatch):
    def refuse(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(AnomalystError, match="may not be read; check its rights"):
        list_pictures(tmp_path)


SIDES = st.integers(16, 500)


@settings(max_examples=60, deadline=None)
@given(height=SIDES, width=SIDES, side=st.sampled_from([96, 224]), cell=st.sampled_from([1, 8, 32]))
def test_a_place_on_the_map_returns_to_its_place_in_the_picture(height, width, side, cell):
    canvas_hw = canvas_for((height, width), side)
    _, placement = place(np.zeros((height, width, 3), np.uint8), canvas_hw)
    x0, y0, x1, y1 = placement.content_xyxy
    # Each cell of the map holds the canvas column (then row) of its centre.
    for axis, (start, stop, length) in ((1, (x0, x1, width)), (0, (y0, y1, height))):
        centres = (np.arange(canvas_hw[axis] // cell) + 0.5) * cell
        shape = (canvas_hw[0] // cell, canvas_hw[1] // cell)
        ramp = np.broadcast_to(centres if axis else centres[:, None], shape)
        line = placement.undo(ramp.astype(np.float32)).take(0, axis=1 - axis)
        expected = start + (np.arange(length) + 0.5) * (stop - start) / length
        # Beyond the outermost cell centres there is nothing to interpolate with.
        known = (expected >= centres[int(start / cell)]) & (expected <= centres[(stop - 1) // cell])
        assert np.abs(line - expected)[known].max(initial=0) <= 1.0


@settings(max_examples=60, deadline=None)
@given(height=SIDES, width=SIDES, canvas=st.tuples(*[st.sampled_from([64, 160, 256])] * 2))
def test_an_edge_in_the_picture_lies_where_the_placement_says(height, width, canvas):
    picture = np.zeros((height, width, 3), np.uint8)
    cut = width // 2
    picture[:, cut:] = 255
    placed, placement = place(picture, canvas)
    assert placed.shape == (*canvas, 3)
    x0, y0, x1, y1 = placement.content_xyxy
    assert 0 <= x0 < x1 <= canvas[1]
    assert 0 <= y0 < y1 <= canvas[0]
    assert placement.inside(*canvas).sum() == (x1 - x0) * (y1 - y0)
    black_px = (1 - placed[(y0 + y1) // 2, x0:x1, 0] / 255.0).sum()
    assert abs(black_px - cut * (x1 - x0) / width) <= 1.0


def test_padding_does_not_leak_into_the_map():
    _, placement = place(np.zeros((100, 400, 3), np.uint8), (128, 128))
    assert placement == Placement((100, 400), (128, 128), (0, 48, 128, 80))
    canvas_map = np.full((8, 8), 9.0, np.float32)  # cells of 16 pixels: rows 3 and 4 hold the strip
    canvas_map[3], canvas_map[4] = 1, 2
    undone = placement.undo(canvas_map)
    assert undone.shape == (100, 400)
    assert undone.dtype == np.float32
    assert undone.min() == 1
    assert undone.max() == 2
    assert (placement.inside(8, 8).any(axis=1) == [0, 0, 0, 1, 1, 0, 0, 0]).all()


def test_resizing_to_a_quarter_averages_and_keeps_the_mean():
    noise = np.random.default_rng(0).random((64, 96), dtype=np.float32)
    small = resize(noise, (32, 48))
    assert small[0, 0] == pytest.approx(noise[:2, :2].mean(), abs=1e-6)
    assert small.mean() == pytest.approx(noise.mean(), abs=1e-6)
    assert resize(noise, (64, 96)) is noise


@given(height=st.integers(16, 8000), width=st.integers(16, 8000), side=st.integers(96, 1024))
def test_a_canvas_has_whole_strides_the_aspect_and_the_area_asked_for(height, width, side):
    canvas = canvas_for((height, width), side)
    aspect = min(max(width / height, 0.25), 4.0)
    for length, ideal in zip(canvas, (side / aspect**0.5, side * aspect**0.5), strict=True):
        assert length % 32 == 0
        assert length == 32 or abs(length - ideal) <= 16
    assert canvas[::-1] == canvas_for((width, height), side)


@settings(max_examples=80, deadline=None)
@given(height=st.integers(16, 60_000), width=st.integers(16, 60_000))
def test_tiles_cover_the_picture_overlap_and_stay_below_four_megapixels(height, width):
    width = min(width, 100_000_000 // height)
    boxes = list(tile_boxes((height, width)))
    # Lengths are rounded up to whole pixels.
    assert all((x1 - x0 - 1) * (y1 - y0 - 1) <= TILE_PIXELS for x0, y0, x1, y1 in boxes)
    columns, rows = sorted({b[0::2] for b in boxes}), sorted({b[1::2] for b in boxes})
    # The tiles are the full grid of their column and row spans ...
    assert len(boxes) == len(columns) * len(rows)
    for spans, length in ((columns, width), (rows, height)):
        # ... which begin at 0, end at the far side, and overlap by a tenth or more.
        assert (spans[0][0], spans[-1][1]) == (0, length)
        for (_, before), (after, stop) in zip(spans, spans[1:], strict=False):
            assert before - after >= 0.1 * (stop - after)
    if height * width <= TILE_PIXELS and max(height, width) <= 4 * min(height, width):
        assert boxes == [(0, 0, width, height)]

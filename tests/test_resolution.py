"""At what size a product is looked at, and that nothing of a picture is lost on the way."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

from anomalyst.cli.main import app
from anomalyst.detection import similarity
from anomalyst.detection.alignment import cell_places, fitted_movement
from anomalyst.detection.matching import (
    LevelMatcher,
    References,
    own_surroundings,
    picture_likeness,
    unit_patches,
)
from anomalyst.detection.similarity import Similarities
from anomalyst.errors import AnomalystError
from anomalyst.inspection.config import InspectorConfig
from anomalyst.io.geometry import Frame
from anomalyst.io.working_side import DEFECT_PX, MOST_TILES, Sizing, checked_side, finest_structure
from anomalyst.product import Product

CELL = 4  # of the map, in working pixels


@settings(max_examples=40, deadline=None)
@given(
    aspect=st.floats(0.2, 5),
    area=st.sampled_from([150, 400, 700]),
    side=st.sampled_from([64, 256, 384, 768]),
    y=st.floats(0, 0.999),
    x=st.floats(0, 0.999),
)
def test_a_spot_anywhere_on_a_picture_of_any_aspect_is_found_in_its_place(aspect, area, side, y, x):
    height, width = max(16, round(area / aspect**0.5)), max(16, round(area * aspect**0.5))
    frame = Frame.of((height, width), side, 32)
    spot = int(max(1, np.ceil(2 * CELL / frame.scale)))  # two cells, at the working size
    top, left = int(y * max(1, height - spot)), int(x * max(1, width - spot))
    picture = np.zeros((height, width, 3), np.uint8)
    picture[top : top + spot, left : left + spot] = 255
    views = frame.cut(picture)
    maps = [
        c[..., 0].reshape(c.shape[0] // CELL, CELL, -1, CELL).mean((1, 3)) for c in views.canvases
    ]
    whole = views.join([m.astype(np.float32) for m in maps])
    assert whole.shape == (height, width)
    found_y, found_x = np.unravel_index(whole.argmax(), whole.shape)
    near = spot + CELL / frame.scale
    assert whole.max() > 100
    assert abs(found_y - (top + spot / 2)) <= near and abs(found_x - (left + spot / 2)) <= near


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(100, 1200), aspect=st.floats(0.2, 5), side=st.sampled_from([256, 512, 1024])
)
def test_both_axes_are_seen_at_one_scale_and_every_pixel_in_some_tile(height, aspect, side):
    size_hw = (height, max(100, min(2400, round(height * aspect))))
    frame = Frame.of(size_hw, side, 32)
    seen = np.zeros((size_hw[0] // 8 + 1, size_hw[1] // 8 + 1), bool)
    for x0, y0, x1, y1 in frame.boxes_xyxy:
        seen[y0 // 8 : (y1 + 7) // 8, x0 // 8 : (x1 + 7) // 8] = True
        assert max(y1 - y0, x1 - x0) <= 4.2 * min(y1 - y0, x1 - x0)
    assert seen[: size_hw[0] // 8, : size_hw[1] // 8].all()
    assert frame.canvas_hw[0] * frame.canvas_hw[1] <= 1.15 * 512**2
    views = frame.cut(np.zeros((*size_hw, 3), np.uint8))
    for placement in views.placements:
        x0, y0, x1, y1 = placement.content_xyxy
        down, across = (y1 - y0) / placement.original_hw[0], (x1 - x0) / placement.original_hw[1]
        assert max(down, across) / min(down, across) <= 1.12


def test_the_frames_of_ordinary_pictures_are_as_before():
    assert Frame.of((480, 640), 256, 32) == Frame((480, 640), (224, 288), ((0, 0, 640, 480),))
    assert len(Frame.of((2400, 2400), 256, 32).boxes_xyxy) == 2
    tiled = Frame.of((1000, 1000), 1024, 32)
    assert len(tiled.boxes_xyxy) == 6 and abs(tiled.side_px - 1024) <= 32


def lines(width: int, side: int = 1024) -> np.ndarray:
    """Bright lines of that width on grey."""
    picture = np.full((side, side, 3), 120, np.uint8)
    for x in range(side // 10, side - side // 10, side // 10):
        picture[side // 10 : -side // 10, x : x + width] = 200
    return picture


AUTO = Sizing(own_px=256, multiple_px=32, side_px="auto")


@pytest.mark.parametrize(("width", "side"), [(1, 512), (4, 384), (8, 256), (30, 256)])
def test_auto_follows_the_finest_structure(width, side):
    frame, why = AUTO.frame_for([lines(width)])
    assert frame.canvas_hw == (side, side)
    assert why.startswith(f"side {side}: ")


def test_neither_noise_nor_sharp_edges_nor_an_empty_picture_ask_for_more():
    blank = np.full((300, 400, 3), 90, np.uint8)
    edge = blank.copy()
    edge[:, 200:] = 255
    noise = np.random.default_rng(0).normal(120, 12, (700, 900, 3)).clip(0, 255).astype(np.uint8)
    assert all(finest_structure([picture]) is None for picture in (blank, edge, noise))
    assert AUTO.frame_for([blank])[0] == Frame.of((300, 400), 256, 32)


@settings(max_examples=60, deadline=None)
@given(defect=st.floats(3, 200), height=st.integers(200, 3000), width=st.integers(200, 3000))
def test_a_defect_of_the_size_that_is_named_is_large_enough_or_refused(defect, height, width):
    sizing = Sizing(own_px=256, multiple_px=32, smallest_defect_px=defect)
    picture = np.broadcast_to(np.uint8(0), (height, width, 3))
    try:
        frame, why = sizing.frame_for([picture])
    except AnomalystError as error:
        assert "tiles, and at most" in str(error)
        named = int(str(error).split("name ")[1].split()[0])  # what it says is enough, is
        Sizing(own_px=256, multiple_px=32, smallest_defect_px=named).frame_for([picture])
        return
    # Canvas sides are whole strides: rounding may take a few per cent.
    assert defect * frame.scale >= 0.85 * DEFECT_PX, why
    assert len(frame.boxes_xyxy) <= MOST_TILES


@pytest.mark.parametrize(
    ("side", "defect", "said"),
    [
        ("63", None, "64 to 1024, or auto"),
        ("1025", None, "64 to 1024, or auto"),
        ("large", None, "--side large: "),
        ("384", 12.0, "exclude each other"),
        (None, 0.0, "above 0"),
    ],
)
def test_a_side_that_cannot_be_is_refused_with_a_sentence(side, defect, said):
    with pytest.raises(AnomalystError, match=said):
        checked_side(side, defect)
    assert (checked_side("384"), checked_side("auto"), checked_side(None)) == (384, "auto", None)


def test_matching_in_parts_is_matching_at_once(monkeypatch):
    torch.manual_seed(0)
    query = torch.randn(2, 24, 8, 10)
    rows = unit_patches(torch.randn(6, 24, 8, 10)).reshape(2, -1, 24)
    grid = (8, 10)
    matcher = LevelMatcher(24, 16).eval()

    def matched() -> tuple[torch.Tensor, ...]:
        references = References([grid] * 2, [rows] * 2, [picture_likeness(rows, 3)])
        with torch.no_grad():
            found = matcher(query, references, 1)
        return found.features, found.distance, found.best, found.movement, references.likeness[0]

    once = matched()
    monkeypatch.setattr(similarity, "MOST_AT_ONCE", 3_000)  # 6 of 80 rows
    units, there = unit_patches(query), cell_places(*grid, query.device)
    with torch.no_grad():
        parts = Similarities.between(units, rows)
        assert parts.whole is None and len(list(parts.parts())) > 5
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(once, matched(), strict=True))
    plain = units @ rows.transpose(1, 2)
    assert torch.allclose(
        parts.movement(grid, there), fitted_movement(plain, grid, there), atol=1e-5
    )
    columns = torch.randint(240, (2, 80, 4))
    assert torch.allclose(parts.at(columns), plain.gather(2, columns), atol=1e-6)


def test_a_patch_does_not_match_itself_in_parts_either(monkeypatch):
    monkeypatch.setattr(similarity, "MOST_AT_ONCE", 200)
    units = unit_patches(torch.randn(1, 8, 6, 6))
    hidden = own_surroundings((6, 6), cell_places(6, 6, units.device))
    with torch.no_grad():
        parts = Similarities.between(units, units, hidden)
        rows = torch.cat([found for _, found in parts.parts()], 1)
    assert torch.equal(rows[0] == -1.0, hidden)
    itself = torch.arange(36)[None, :, None]
    assert (parts.at(itself) == -1.0).all()


@pytest.fixture
def long_part(tmp_path):
    """A good and a defective picture of a part five times as wide as high."""
    good = np.random.default_rng(0).normal(150, 3, (120, 600, 3)).clip(0, 255).astype(np.uint8)
    bad = good[::-1].copy()
    bad[50:70, 520:540] = 10
    more = np.random.default_rng(1).normal(150, 3, (120, 600, 3)).clip(0, 255).astype(np.uint8)
    for name, picture in (("good", good), ("more", more), ("bad", bad)):
        Image.fromarray(picture).save(tmp_path / f"{name}.png")
    return tmp_path


def test_teach_keeps_the_side_and_says_why(long_part):
    command = ["teach", "seam", str(long_part / "good.png"), "--products", str(long_part / "p")]
    told = CliRunner().invoke(app, [*command, "--smallest-defect-px", "24"])
    assert told.exit_code == 0, told.output
    product = Product.load(long_part / "p" / "seam")
    assert product.side_reason and product.side_reason in told.output
    frame = product.frame
    # Taught more without a word about its size, it keeps it; told another, it takes that.
    command[2] = str(long_part / "more.png")
    told = CliRunner().invoke(app, command)
    again = Product.load(long_part / "p" / "seam")
    assert told.exit_code == 0 and (again.frame, again.side_reason) == (frame, product.side_reason)
    told = CliRunner().invoke(app, [*command, "--side", "96", "--replace"])
    smaller = Product.load(long_part / "p" / "seam")
    assert smaller.frame.scale < frame.scale and smaller.side_reason == ""


def test_a_product_keeps_its_side_when_inspecting(long_part):
    told = CliRunner().invoke(app, ["inspect", str(long_part), "--product", "x", "--side", "384"])
    assert told.exit_code == 2 and "a product keeps" in told.output


def test_a_long_part_is_seen_in_tiles_and_exported_with_them(long_part):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    from anomalyst.deployment.checking import check_export
    from anomalyst.deployment.folder import export_product
    from anomalyst.inspector import Inspector

    config = InspectorConfig(side_px=96, precision="float32", engine="torch")
    inspector = Inspector.load(config=config)
    product = inspector.teach("seam", [long_part / "good.png"])
    assert len(product.frame.boxes_xyxy) == 2 and product.frame.canvas_hw[0] < 96
    found = inspector.inspect(long_part / "bad.png", product)
    y, x = np.unravel_index(found.map.argmax(), found.map.shape)
    assert 40 <= y <= 80 and 510 <= x <= 550
    product.save(long_part / "seam")
    export_product(inspector, product, long_part / "out")
    agreed = check_export(inspector, product, long_part / "out", [long_part / "bad.png"])
    assert not agreed.verdicts and agreed.score < 1e-3

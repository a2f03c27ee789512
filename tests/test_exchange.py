"""What is drawn on pictures in the formats of labelling tools: there and back, and broken files."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from anomalyst.datasets.exchange import coco, label_studio, mvtec
from anomalyst.datasets.exchange.brush import brush_mask, brush_rle
from anomalyst.datasets.exchange.drawn import Drawn, DrawnPicture, Exchanged, joined, kind_of
from anomalyst.datasets.exchange.outlines import add_polygon, crosses_itself, outlines
from anomalyst.datasets.reading import read_dataset
from anomalyst.errors import AnomalystError
from anomalyst.io.masks import packed, unpacked

SIZES = arrays.array_shapes(min_dims=2, max_dims=2, min_side=16, max_side=40)
NOISE = arrays.arrays(bool, SIZES)
LABELS = st.sampled_from(["", "scratch", "white spot", "part", "defect", "part: lid"])


@st.composite
def blobs(draw: st.DrawFn) -> np.ndarray:
    """A few discs and boxes that lie over each other: what a person draws."""
    height, width = draw(st.integers(24, 70)), draw(st.integers(24, 70))
    rows, columns = np.mgrid[:height, :width]
    mask = np.zeros((height, width), bool)
    for _ in range(draw(st.integers(1, 4))):
        y, x = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
        r = draw(st.integers(4, 16))
        if draw(st.booleans()):
            mask |= (rows - y) ** 2 + (columns - x) ** 2 <= r * r
        else:
            mask[max(0, y - r) : y + r, max(0, x - r // 2) : x + r] = True
    return mask


@st.composite
def drawings(draw: st.DrawFn) -> list[Drawn]:
    """Masks of one picture by two people, at most one of a kind each."""
    first = draw(blobs())
    found = [Drawn(mask=packed(first), by="ann", label=draw(LABELS))]
    if draw(st.booleans()):
        other = np.roll(first, draw(st.integers(1, 9)), axis=0)
        what = draw(st.sampled_from(["defect", "part"]))
        by = draw(st.sampled_from(["ben", ""]))
        found.append(Drawn(mask=packed(other), by=by, label=draw(LABELS), what=what))
    if draw(st.booleans()):
        found.append(Drawn(mask=packed(first), by="", label="crack", score=0.25))
    return found


def pictured(drawn: list[Drawn], name: str = "a.png", content: str = "ab" * 32) -> DrawnPicture:
    return DrawnPicture(
        name=name, size_hw=drawn[0].mask.size_hw, picture=f"{content}.png", drawn=tuple(drawn)
    )


def through(form, folder: Path, drawn: list[Drawn], **how) -> DrawnPicture:
    form.write(folder, [pictured(drawn)], **how)
    found = form.read(folder)
    assert not found.refused, found.refused
    [picture] = found.pictures
    assert (picture.name, picture.picture) == ("a.png", "ab" * 32 + ".png")
    return picture


def said(drawn) -> set[tuple]:
    return {(one.what, one.label, one.by, one.score) for one in drawn}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("exchange")


@settings(max_examples=40, deadline=None)
@given(drawings())
def test_run_lengths_come_back_exactly_from_coco_and_label_studio(folder, drawn):
    people = [one for one in drawn if one.score is None]
    assert through(coco, folder, drawn).drawn == tuple(people)
    back = through(label_studio, folder, drawn).drawn
    assert set(back) == set(drawn)


@settings(max_examples=40, deadline=None)
@given(drawings())
def test_polygons_come_back_as_nearly_the_same(folder, drawn):
    people = [one for one in drawn if one.score is None]
    for form in (coco, label_studio):
        back = [d for d in through(form, folder, drawn, polygons=True).drawn if d.score is None]
        assert said(back) == said(people)
        for one in people:
            [other] = [d for d in back if said([d]) == said([one])]
            ours, theirs = unpacked(one.mask), unpacked(other.mask)
            assert (ours & theirs).sum() >= 0.97 * (ours | theirs).sum()


@given(st.integers(0, 30), st.integers(0, 20), st.integers(1, 30), st.integers(1, 20))
def test_a_box_is_a_rectangle_and_comes_back_exactly(folder, x, y, wide, tall):
    mask = np.zeros((41, 67), bool)
    mask[y : y + tall, x : x + wide] = True
    drawn = [Drawn(mask=packed(mask), by="ann")]
    assert through(label_studio, folder, drawn).drawn == tuple(drawn)
    result = json.loads((folder / label_studio.FILE).read_text())[0]["annotations"][0]["result"]
    assert [one["type"] for one in result] == ["rectanglelabels"]
    assert through(coco, folder, drawn, polygons=True).drawn == tuple(drawn)


@settings(max_examples=60, deadline=None)
@given(NOISE)
def test_brush_strokes_come_back_whatever_their_runs(mask):
    assert (brush_mask(brush_rle(mask), mask.shape) == mask).all()


def test_a_brush_is_read_as_its_format_says():
    """By hand: 2 x 2 pixels, values 0 0 0 0 | 9 9 9 0 | 9 9 9 7 | 0 0 0 0, single and repeated."""
    runs = [
        (1, [0] * 4), (0, [9, 9, 9, 0]), (1, [9] * 3), (0, [7]), (1, [0] * 4),
    ]  # fmt: skip
    bits = f"{16:032b}{7:05b}" + "".join(f"{n - 1:04b}" for n in (3, 4, 8, 16))
    for repeated, values in runs:
        several = values[:1] if repeated else values
        bits += f"{repeated}00{len(values) - 1:03b}" + "".join(f"{v:08b}" for v in several)
    bits += "0" * (-len(bits) % 8)
    rle = [int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)]
    assert brush_mask(rle, (2, 2)).tolist() == [[False, False], [True, False]]


def test_pycocotools_reads_what_we_write(folder):
    reference = pytest.importorskip("pycocotools.coco")
    rows, columns = np.mgrid[:60, :80]
    disc = (rows - 30) ** 2 + (columns - 40) ** 2 < 400
    ring = disc & ((rows - 30) ** 2 + (columns - 40) ** 2 > 50)
    drawn = [
        Drawn(mask=packed(disc), label="dent"), Drawn(mask=packed(ring), what="part"),
        Drawn(mask=packed(disc), label="dent", score=0.75),
    ]  # fmt: skip
    for polygons in (False, True):
        coco.write(folder, [pictured(drawn)], polygons=polygons)
        theirs = reference.COCO(str(folder / coco.FILE))
        assert {one["name"] for one in theirs.cats.values()} == {"dent", "part"}
        for entry, mask in zip(theirs.anns.values(), (disc, ring), strict=True):
            found = theirs.annToMask(entry).astype(bool)
            assert (found & mask).sum() >= 0.97 * (found | mask).sum()
            assert entry["area"] == mask.sum() and entry["iscrowd"] == 0
            x, y, wide, tall = entry["bbox"]
            assert mask[y : y + tall, x : x + wide].sum() == mask.sum()
            if not polygons or mask is ring:  # a hole is RLE in any case
                assert (found == mask).all()
        [found] = theirs.loadRes(str(folder / coco.PREDICTIONS)).anns.values()
        assert found["score"] == 0.75


@settings(max_examples=40, deadline=None)
@given(blobs(), st.integers(0, 5))
def test_all_three_kinds_of_coco_shapes_are_read_as_pycocotools_does(folder, mask, seed):
    reference = pytest.importorskip("pycocotools.mask")
    height, width = mask.shape
    theirs = reference.encode(np.asfortranarray(mask.astype(np.uint8)))
    flat = mask.ravel(order="F").astype(int)
    ends = np.flatnonzero(np.diff(flat, prepend=0, append=1 - flat[-1]))
    counts = np.diff(ends, prepend=0).tolist()
    shapes = [
        {"size": [height, width], "counts": theirs["counts"].decode()},
        {"size": [height, width], "counts": counts},
        {"size": [height, width], "counts": [0, 0, *counts]},  # odd, and yet the same
    ]
    rng = np.random.default_rng(seed)
    angles = np.sort(rng.uniform(0, 2 * np.pi, 9))
    radius = rng.uniform(0.35, 0.5, 9)
    around = np.stack([np.cos(angles) * radius * width, np.sin(angles) * radius * height], 1)
    polygon = around + (width / 2, height / 2)
    shapes.append([polygon.ravel().tolist()])
    data = {
        "images": [{"id": 3, "file_name": "x/a.png", "height": height, "width": width}],
        "categories": [{"id": 1, "name": "dent"}],
        "annotations": [
            {"id": i, "image_id": 3, "category_id": 1, "segmentation": shape}
            for i, shape in enumerate(shapes)
        ],
    }
    (folder / "theirs.json").write_text(json.dumps(data))
    found = coco.read(folder / "theirs.json")
    assert not found.refused and not found.notes
    *rles, filled = [unpacked(one.mask) for one in found.pictures[0].drawn]
    assert all((one == mask).all() for one in rles)
    [drawn] = reference.frPyObjects([polygon.ravel().tolist()], height, width)
    other = reference.decode(drawn).astype(bool)
    ring = 2 * (height + width)  # pycocotools rounds borders to pixels, we take centres
    assert (filled ^ other).sum() <= ring / 2


@settings(max_examples=80, deadline=None)
@given(NOISE)
def test_outlines_cover_exactly_what_they_go_around_or_nearly(mask):
    outer = outlines(mask)
    if outer is None:  # a hole: background that the border does not reach
        return
    covered = np.zeros_like(mask)
    for loop in outer:
        assert not crosses_itself(loop)
        add_polygon(covered, loop)
    assert (covered & mask).sum() >= 0.98 * (covered | mask).sum()


def test_an_eight_crosses_itself_and_even_odd_leaves_out_what_is_covered_twice():
    eight = np.array([(0, 0), (10, 10), (10, 0), (0, 10)])
    assert crosses_itself(eight) and not crosses_itself(eight[[0, 2, 1, 3]])
    star = np.array([(20, 2), (31, 36), (2, 15), (38, 15), (9, 36)])
    mask = np.zeros((40, 40), bool)
    add_polygon(mask, star)
    assert crosses_itself(star) and mask[10, 20] and not mask[20, 20]


@given(LABELS, st.sampled_from(["defect", "part"]))
def test_a_category_says_what_it_is(label, what):
    one = Drawn(mask=packed(np.ones((2, 2), bool)), label=label, what=what)
    assert kind_of(one.kind) == (what, label)


def test_masks_of_one_kind_by_one_person_are_one():
    left, right = np.zeros((2, 4), bool), np.zeros((2, 4), bool)
    left[:, 0] = right[:, 3] = True
    some = [Drawn(mask=packed(mask), by=by) for mask in (left, right) for by in ("ann", "ben")]
    ann, ben = joined([*some[:3]])
    assert unpacked(ann.mask).sum() == 4 and ben == some[1]


def coco_file(folder: Path, **changes) -> Path:
    data = {
        "images": [{"id": 1, "file_name": "a.png", "height": 8, "width": 9}],
        "categories": [{"id": 1, "name": "dent"}],
        "annotations": [
            {"id": 5, "image_id": 1, "category_id": 1, "segmentation": [[0, 0, 4, 0, 4, 4]]}
            | changes
        ],
    }
    path = folder / "broken.json"
    path.write_text(json.dumps(data))
    return path


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"image_id": 9}, "image_id is 9, which the file does not list"),
        ({"category_id": [1]}, r"category_id is \[1\], which"),
        ({"segmentation": [[0, 0, 4, 4]]}, "2 points; 3 to"),
        ({"segmentation": [[0, 0, 4, 4, 1]]}, "5 numbers; pairs"),
        ({"segmentation": [[0, 0, 4, None, 1, 1]]}, "numbers or more are needed"),
        ({"segmentation": [[90, 90, 99, 90, 99, 99]]}, "covers no pixel"),
        ({"segmentation": {"size": [9, 8], "counts": [72]}}, r"of size \[9, 8\]; .*\[8, 9\]"),
        ({"segmentation": {"size": [8, 9], "counts": [70]}}, "fill 70 pixels"),
        ({"segmentation": {"size": [8, 9], "counts": [80, -8]}}, "whole numbers from 0"),
        ({"segmentation": {"size": [8, 9], "counts": "P"}}, "middle of a number"),
        ({"segmentation": {"size": [8, 9]}}, "no counts"),
        ({"segmentation": []}, "no segmentation"),
        ({"score": "high"}, "numbers or more"),
    ],
)
def test_what_is_wrong_with_a_coco_annotation_is_said_and_the_rest_read(folder, changes, why):
    found = coco.read(coco_file(folder, **changes))
    [sentence] = found.refused
    assert sentence.startswith("annotation 5: ") and len(found.pictures) == 1
    assert re.search(why, sentence), sentence


def test_a_crossing_polygon_and_a_box_alone_are_taken_with_a_note(folder):
    star = [[4, 0, 6, 8, 0, 3, 8, 3, 2, 8]]
    found = coco.read(coco_file(folder, segmentation=star))
    assert not found.refused and "even-odd" in found.notes[0]
    found = coco.read(coco_file(folder, segmentation=[], bbox=[1, 2, 3, 4]))
    assert "a box alone" in found.notes[0]
    assert unpacked(found.pictures[0].drawn[0].mask).sum() == 12


@pytest.mark.parametrize("form", [coco, label_studio])
@pytest.mark.parametrize(
    ("text", "why"), [("{", "is no JSON"), ("7", "is no"), ("[1]", "is no"), ("[" * 99999, "JSON")]
)
def test_a_file_that_is_none_is_refused(folder, form, text, why):
    path = folder / "none.json"
    path.write_text(text)
    with pytest.raises(AnomalystError, match=why):
        form.read(path)
    with pytest.raises(AnomalystError, match="cannot be read"):
        form.read(folder / "nowhere.json")


SIZE = {"original_width": 20, "original_height": 10}


def ls_file(folder: Path, *results: dict, **task) -> Exchanged:
    path = folder / "ls.json"
    task = {"id": 7, "data": {"image": "/data/upload/1/0a1b2c3d-my%20part.jpg"}} | task
    path.write_text(json.dumps([task | {"annotations": [{"result": list(results)}]}]))
    return label_studio.read(path)


def test_label_studios_own_exports_are_read(folder):
    turned = {
        "type": "rectanglelabels", "id": "a", **SIZE,
        "value": {"x": 50, "y": 0, "width": 20, "height": 20, "rotation": 90,
                  "rectanglelabels": ["dent"]},
    }  # fmt: skip
    plain = {"type": "polygon", "id": "b", **SIZE, "value": {"points": [[0, 0], [50, 0], [0, 90]]}}
    label = {"type": "labels", "id": "b", **SIZE, "value": {"labels": ["part"]}}
    word = {"type": "choices", "value": {"choices": ["x"]}}
    found = ls_file(folder, turned, plain, label, word)
    assert not found.refused
    [picture] = found.pictures
    assert picture.name == "my part.jpg" and picture.size_hw == (10, 20)
    dent, part = picture.drawn
    assert (dent.label, part.what) == ("dent", "part")
    # 4 x 2 pixels at x = 10, turned by 90 degrees clockwise about (10, 0): 2 wide to its left.
    rows, columns = np.nonzero(unpacked(dent.mask))
    assert (rows.max(), columns.min(), columns.max(), len(rows)) == (3, 8, 9, 8)


def test_json_min_and_skipped_annotations(folder):
    value = {"x": 0, "y": 0, "width": 50, "height": 50, "rotation": 0}
    small = {"id": 1, "image": "a.jpg", "box": [value | {"rectanglelabels": ["dent"], **SIZE}]}
    path = folder / "min.json"
    path.write_text(json.dumps([small]))
    [picture] = label_studio.read(path).pictures
    assert picture.drawn[0].label == "dent" and unpacked(picture.drawn[0].mask).sum() == 50
    full = {"type": "rectanglelabels", **SIZE, "value": value}
    skipped = {"data": {"image": "a.jpg"}, "annotations": [{"result": [full], "was_cancelled": 1}]}
    path.write_text(json.dumps(skipped))
    assert not label_studio.read(path).pictures


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"value": {"points": [[0, 0], [9, 9]]}}, "2 points"),
        ({"value": {"points": [[0, 0], [90, 90], [90, 0], [0, 90]]}}, "crosses itself"),
        ({"value": {"rle": brush_rle(np.ones((3, 3), bool))}}, "36 values; 10 x 20"),
        ({"value": {"rle": brush_rle(np.eye(10, 20) > 0)[:-9]}}, "ends before"),
        ({"value": {"rle": [300]}}, "no list of bytes"),
        ({"value": {"x": 1, "y": 1, "radiusX": 3, "radiusY": 3}, "type": "ellipse"}, "a ellipse"),
        ({"value": None}, "has no value"),
        ({"image_rotation": 90}, "turned picture"),
        ({"original_width": 0}, "size is 0x10"),
        ({"original_width": 10**9}, "megapixels at most"),
    ],
)
def test_what_is_wrong_with_a_shape_is_said_and_the_rest_read(folder, changes, why):
    fine = {"type": "rectangle", **SIZE, "value": {"x": 0, "y": 0, "width": 50, "height": 50}}
    found = ls_file(folder, {"type": "polygon", "id": "s", **SIZE} | changes, fine)
    [sentence] = found.refused
    assert sentence.startswith("task 7, shape s: ") and why in sentence
    assert len(found.pictures[0].drawn) == 1


@pytest.fixture
def files(tmp_path) -> list[DrawnPicture]:
    """Three pictures of 30 x 40 with two kinds of defects, a part and a good one."""
    found = []
    for number, labels in enumerate((["white spot"], ["dent", ""], ["ok"], [])):
        file = tmp_path / f"{number}.png"
        Image.fromarray(np.full((30, 40, 3), 40 * number, np.uint8)).save(file)
        drawn = []
        for row, label in enumerate(labels):
            mask = np.zeros((30, 40), bool)
            mask[10 * row : 10 * row + 5, 3:9] = True
            drawn.append(Drawn(mask=packed(mask), label=label, by="ann"))
        drawn.append(Drawn(mask=packed(np.ones((30, 40), bool)), what="part"))
        content = f"{number:064x}"
        found.append(
            DrawnPicture(
                name=f"line 3/{number}.png", size_hw=(30, 40), picture=f"{content}.png", file=file,
                drawn=tuple(drawn),
            )
        )  # fmt: skip
    return found


def test_the_mvtec_layout_is_read_by_our_own_reader_and_comes_back(tmp_path, files):
    out = tmp_path / "out" / "bolt"
    train = [replace(files[3], picture="f" * 64 + ".png", drawn=())]
    assert mvtec.write(out, train, files) == []
    samples = read_dataset(out.parent)
    defects = [s.defect for s in samples if s.split == "test"]
    assert defects == ["combined", "defect_ok", None, "white_spot"]
    assert all(s.mask is not None for s in samples if s.label == "anomalous")
    found = mvtec.read(out)
    assert not found.refused
    back = {one.name: one for one in found.pictures}
    spot = back[files[0].copy_name].drawn[0]
    assert (spot.label, spot.mask) == ("white spot", files[0].drawn[0].mask)
    both = unpacked(back[files[1].copy_name].drawn[0].mask)
    assert both.sum() == 60  # the union; a part is no defect

    # Written again after a mask was given another kind and a picture was deleted meanwhile.
    files[3].file.unlink()
    times = {p: p.stat().st_mtime_ns for p in out.rglob("*.png")}
    mask = files[0].drawn[0]
    again = [replace(files[0], drawn=(replace(mask, label="pit"),)), *files[1:]]
    [refused] = mvtec.write(out, [], again)
    assert "no longer kept" in refused
    assert {s.defect for s in read_dataset(out)} == {"combined", "defect_ok", "pit", None}
    kept = [p for p in out.rglob("*.png") if p in times]
    assert kept and all(p.stat().st_mtime_ns == times[p] for p in kept)


def test_a_mask_of_another_size_and_another_layout_are_refused(tmp_path, files):
    out = tmp_path / "bolt"
    mvtec.write(out, [], files)
    [mask] = (out / "ground_truth" / "white_spot").iterdir()
    Image.new("L", (7, 7), 255).save(mask)
    [sentence] = mvtec.read(out).refused
    assert "7x7" in sentence and len(mvtec.read(out).pictures) == 2
    with pytest.raises(AnomalystError, match="not in the MVTec layout"):
        mvtec.read(tmp_path / "out" / "nothing")

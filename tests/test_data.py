"""Reading data sets in every layout, and drawing references and folds from them."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anomalyst.datasets import folds, k_shot, layout_of, read_dataset
from anomalyst.errors import AnomalystError
from anomalyst.types import Sample

REAL = Path(__file__).parents[2] / "shared" / "data"
# category: train good, test good, test defect, masks (the table of the set's own README)
REAL_COUNTS = {
    "ballscrew": (120, 98, 167, 167),
    "circuitboard": (30, 20, 50, 0),
    "cookie": (31, 14, 32, 32),
    "paper_brown": (32, 16, 48, 48),
    "paper_speck": (32, 16, 48, 48),
    "pcb_bare": (360, 120, 240, 240),
    "toy_alien": (38, 20, 60, 0),
}
real = pytest.mark.skipif(not REAL.is_dir(), reason="the real sets are not beside this checkout")


def draw(root: Path, *names: str) -> None:
    """A small real picture at each path below `root`."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((16, 20), len(name), np.uint8)).save(path)


def briefly(samples: list[Sample], root: Path) -> list[tuple[str, str, str | None, str | None]]:
    """(picture, split, label or defect, mask) with paths relative to `root`."""
    return [
        (
            s.image.relative_to(root).as_posix(),
            s.split,
            s.defect or s.label,
            s.mask.relative_to(root).as_posix() if s.mask else None,
        )
        for s in samples
    ]


@real
def test_the_real_sets_have_the_counts_of_their_readme():
    samples = read_dataset(REAL)
    assert {s.category for s in samples} == set(REAL_COUNTS)
    for category, counts in REAL_COUNTS.items():
        mine = [s for s in samples if s.category == category]
        found = Counter((s.split, s.label) for s in mine)
        assert (
            found["train", "normal"],
            found["test", "normal"],
            found["test", "anomalous"],
            sum(s.mask is not None for s in mine),
        ) == counts
        assert len(mine) == sum(counts[:3])
        for sample in mine:
            assert sample.mask is None or sample.mask.stem == f"{sample.image.stem}_mask"


@real
def test_every_tested_board_knows_its_golden_sample_and_it_is_in_train():
    samples = read_dataset(REAL / "pcb_bare")
    train = {s.image for s in samples if s.split == "train"}
    tested = [s for s in samples if s.split == "test"]
    assert {s.reference for s in tested} <= train
    assert all(s.reference is None for s in samples if s.split == "train")
    mixed = next(s for s in tested if s.defect == "mixed")
    assert set(mixed.extra) == {"source", "boxes"}


@real
def test_one_category_reads_the_same_alone_and_among_others():
    alone = read_dataset(REAL / "ballscrew")
    assert alone == read_dataset(REAL, category="ballscrew")
    assert alone[0].extra["position"] == "277500"
    with pytest.raises(AnomalystError, match="no category 'screw'; it has 'ballscrew', "):
        read_dataset(REAL, category="screw")


def test_mvtec_masks_are_paired_by_name_where_some_are_missing(tmp_path):
    draw(tmp_path, "bolt/train/good/0.png", "bolt/test/good/0.png", "nut/train/ok/1.bmp")
    draw(tmp_path, *(f"bolt/test/bent/{n}.jpg" for n in "0123"))
    truth = "bolt/ground_truth/bent"
    draw(tmp_path, f"{truth}/1_mask.png", f"{truth}/2.bmp", f"{truth}/3_mask.PNG", f"{truth}/9.png")
    assert layout_of(tmp_path) == "mvtec"
    assert briefly(read_dataset(tmp_path), tmp_path) == [
        ("bolt/train/good/0.png", "train", "normal", None),
        ("bolt/test/bent/0.jpg", "test", "bent", None),
        ("bolt/test/bent/1.jpg", "test", "bent", f"{truth}/1_mask.png"),
        ("bolt/test/bent/2.jpg", "test", "bent", f"{truth}/2.bmp"),
        ("bolt/test/bent/3.jpg", "test", "bent", f"{truth}/3_mask.PNG"),
        ("bolt/test/good/0.png", "test", "normal", None),
        ("nut/train/ok/1.bmp", "train", "normal", None),
    ]


def test_an_index_in_disorder_is_refused_by_line(tmp_path):
    draw(tmp_path, "train/good/0.png", "test/good/1.png")
    index = tmp_path / "index.csv"
    index.write_text("file,template,shift\ntest/good/1.png,train/good/0.png,night\n")
    sample = read_dataset(tmp_path)[1]
    assert sample.reference == tmp_path / "train/good/0.png"
    assert sample.extra == {"shift": "night"}
    index.write_text("file,template\ntest/good/1.png,train/good/7.png\n")
    with pytest.raises(AnomalystError, match=r"index.csv, line 2: there is no template 'train/go"):
        read_dataset(tmp_path)
    index.write_text("name\nx\n")
    with pytest.raises(AnomalystError, match="has the columns name; a column 'file' is needed"):
        read_dataset(tmp_path)


def visa(root: Path) -> None:
    draw(root, *(f"candle/Data/Images/Normal/{n:04}.JPG" for n in range(10)))
    draw(root, "candle/Data/Images/Anomaly/000.JPG", "candle/Data/Images/Anomaly/001.JPG")
    draw(root, "candle/Data/Masks/Anomaly/000.png")
    (root / "candle" / "image_anno.csv").write_text(
        "image,label,mask\n"
        "candle/Data/Images/Normal/0000.JPG,normal,\n"
        'candle/Data/Images/Anomaly/000.JPG,"melded,bent",candle/Data/Masks/Anomaly/000.png\n'
    )


VISA_MASK = "candle/Data/Masks/Anomaly/000.png"
VISA_ANOMALOUS = [
    ("candle/Data/Images/Anomaly/000.JPG", "test", "melded,bent", VISA_MASK),
    ("candle/Data/Images/Anomaly/001.JPG", "test", "anomaly", None),
]


def test_visa_without_a_split_keeps_the_last_fifth_of_the_normals_for_the_test(tmp_path):
    visa(tmp_path)
    assert layout_of(tmp_path) == "visa"
    found = briefly(read_dataset(tmp_path), tmp_path)
    normals = [
        (f"candle/Data/Images/Normal/{n:04}.JPG", "train" if n < 8 else "test", "normal", None)
        for n in range(10)
    ]
    assert found == normals + VISA_ANOMALOUS
    alone = read_dataset(tmp_path / "candle")
    assert briefly(alone, tmp_path) == found
    assert {s.category for s in alone} == {"candle"}


def test_visa_s_own_split_is_followed_and_absent_categories_are_left_out(tmp_path):
    visa(tmp_path)
    split = tmp_path / "split_csv" / "1cls.csv"
    split.parent.mkdir()
    rows = [
        "object,split,label,image,mask",
        "candle,test,normal,candle/Data/Images/Normal/0000.JPG,",
        "candle,train,normal,candle/Data/Images/Normal/0009.JPG,",
        "candle,test,anomaly,candle/Data/Images/Anomaly/000.JPG,candle/Data/Masks/Anomaly/000.png",
        "candle,test,anomaly,candle/Data/Images/Anomaly/001.JPG,",
        "capsules,train,normal,capsules/Data/Images/Normal/000.JPG,",
    ]
    split.write_text("\n".join(rows))
    assert briefly(read_dataset(tmp_path), tmp_path) == [
        ("candle/Data/Images/Normal/0000.JPG", "test", "normal", None),
        ("candle/Data/Images/Normal/0009.JPG", "train", "normal", None),
        *VISA_ANOMALOUS,
    ]
    split.write_text("\n".join([*rows, "candle,test,bad,x.JPG,"]))
    with pytest.raises(AnomalystError, match="1cls.csv, line 7: the label is 'bad'; 'normal' or"):
        read_dataset(tmp_path)


def test_aebad_is_one_category_whose_domains_are_kept(tmp_path):
    base = tmp_path / "AeBAD_S"
    draw(base, "train/good/background/0.png", "train/good/view/0.png", "test/good/same/0.png")
    draw(base, "test/groove/same/0.png", "test/groove/view/0.png", "test/groove/view/1.png")
    draw(base, "ground_truth/groove/view/1.png", "ground_truth/groove/view/7.png")
    assert layout_of(base) == layout_of(tmp_path) == "aebad"
    samples = read_dataset(tmp_path)
    assert samples == read_dataset(base)
    assert briefly(samples, base) == [
        ("train/good/background/0.png", "train", "normal", None),
        ("train/good/view/0.png", "train", "normal", None),
        ("test/good/same/0.png", "test", "normal", None),
        ("test/groove/same/0.png", "test", "groove", None),
        ("test/groove/view/0.png", "test", "groove", None),
        ("test/groove/view/1.png", "test", "groove", "ground_truth/groove/view/1.png"),
    ]
    domains = [s.extra["domain"] for s in samples]
    assert domains == ["background", "view", "same", "same", "view", "view"]
    assert {s.category for s in samples} == {"AeBAD_S"}


def test_a_plain_folder_is_unknown_unless_it_says_good(tmp_path):
    draw(tmp_path / "shift", "b.png", "a.png")
    draw(tmp_path / "Good", "c.png")
    unknown = read_dataset(tmp_path / "shift")
    assert briefly(unknown, tmp_path / "shift") == [
        ("a.png", "test", None, None),
        ("b.png", "test", None, None),
    ]
    assert unknown[0].category == "shift"
    good = briefly(read_dataset(tmp_path / "Good"), tmp_path / "Good")
    assert good == [("c.png", "train", "normal", None)]


def test_sub_folders_name_the_defects_once_one_says_good(tmp_path):
    draw(tmp_path, "bent/0.png", "bent/1.png", *(f"ok/{n}.png" for n in range(5)), "loose.png")
    draw(tmp_path, "ground_truth/bent/1_mask.png")
    assert layout_of(tmp_path) == "folder"
    assert briefly(read_dataset(tmp_path), tmp_path) == [
        *((f"ok/{n}.png", "train", "normal", None) for n in range(4)),
        ("ok/4.png", "test", "normal", None),
        ("bent/0.png", "test", "bent", None),
        ("bent/1.png", "test", "bent", "ground_truth/bent/1_mask.png"),
        ("loose.png", "test", None, None),
    ]


def test_what_fits_no_layout_is_told_what_was_looked_for(tmp_path):
    with pytest.raises(AnomalystError, match="is an empty folder. Looked for manifest: a .csv"):
        read_dataset(tmp_path)
    draw(tmp_path, "bent/0.png")
    with pytest.raises(AnomalystError, match="fits no layout we know.*mvtec: CATEGORY/train/good"):
        read_dataset(tmp_path)
    with pytest.raises(AnomalystError, match="no pictures in the mvtec layout; looked for CATEGO"):
        read_dataset(tmp_path, layout="mvtec")
    with pytest.raises(AnomalystError, match="no layout 'coco'; there are manifest, visa, aebad"):
        read_dataset(tmp_path, layout="coco")
    with pytest.raises(AnomalystError, match="there is no such folder or table"):
        read_dataset(tmp_path / "none")
    with pytest.raises(AnomalystError, match="is a file; a folder, or a .csv, .tsv or .jsonl"):
        read_dataset(tmp_path / "bent" / "0.png")


ROWS = [
    {"image": "a.png", "label": "normal", "split": "train", "category": "bolt", "line": "7"},
    {"image": "b.png", "label": "anomalous", "mask": "b_mask.png", "defect": "bent"},
    {"image": "c.png", "reference": "a.png"},
]


def test_a_csv_and_a_jsonl_manifest_read_alike(tmp_path):
    draw(tmp_path, "a.png", "b.png", "b_mask.png", "c.png")
    columns = ["image", "label", "split", "mask", "category", "defect", "reference", "line"]
    lines = [",".join(row.get(c, "") for c in columns) for row in ROWS]
    table = "\ufeff" + "\r\n".join([" , ".join(columns), *lines])  # as a spreadsheet saves it
    (tmp_path / "set.csv").write_text(table, encoding="utf-8", newline="")
    (tmp_path / "set.jsonl").write_text("\n".join([*map(json.dumps, ROWS), ""]))
    samples = read_dataset(tmp_path / "set.csv")
    assert samples == read_dataset(tmp_path / "set.jsonl")
    assert samples == [
        Sample(
            image=tmp_path / "a.png",
            label="normal",
            split="train",
            category="bolt",
            extra={"line": "7"},
        ),
        Sample(
            image=tmp_path / "b.png",
            label="anomalous",
            mask=tmp_path / "b_mask.png",
            defect="bent",
        ),
        Sample(image=tmp_path / "c.png", label=None, reference=tmp_path / "a.png"),
    ]


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("s.csv", "image\nnone.png\n", "line 2: there is no image 'none.png' below"),
        ("s.csv", "image,label\na.png,good\n", "line 2: the label is 'good'; normal, anomalous or"),
        ("s.csv", "image,split\na.png,val\n", "line 2: the split is 'val'; train or test"),
        ("s.csv", "image,mask\na.png,x.png\n", "line 2: there is no mask 'x.png'"),
        ("s.csv", "image,label,mask\na.png,normal,b.png", "line 2: is normal and has a mask"),
        ("s.csv", "image\n\nb.png\na.png\nb.png", "line 5: the image 'b.png' is on line 3 already"),
        ("s.csv", "image\na.png,b.png", "line 2: has more cells than the heading's 1"),
        ("s.csv", "image,label\n,normal", "line 2: names no image"),
        ("s.csv", 'image\n"a.png', "line 2: unexpected end of data"),
        ("s.csv", "picture;label\na.png;", "has the columns picture, label; a column 'image' is"),
        ("s.csv", "", "has the columns none; a column 'image' is needed"),
        ("s.csv", "image\n" + "x" * 5000, "line 2: the image 'x+...' cannot be read"),
        ("s.jsonl", '{"image": "a.png"}\n{"image": ', "line 2: is not JSON"),
        ("s.jsonl", "[1]", "line 1: holds no object"),
        ("s.jsonl", '{"image": ["a.png"]}', "line 1: image is nested; write text or a number"),
        ("s.jsonl", '{"label": "normal"}', "line 1: names no image"),
        ("s.csv", "image\n", "holds no pictures in the manifest layout"),
    ],
)
def test_a_row_in_disorder_is_refused_by_line(tmp_path, name, text, sentence):
    draw(tmp_path, "a.png", "b.png")
    (tmp_path / name).write_text(text)
    with pytest.raises(AnomalystError, match=sentence):
        read_dataset(tmp_path / name)


def test_a_table_that_is_not_utf_8_is_refused(tmp_path):
    (tmp_path / "s.csv").write_bytes("image\nPrüfung.png".encode("latin-1"))
    with pytest.raises(AnomalystError, match="is not UTF-8 text; save the table as UTF-8"):
        read_dataset(tmp_path / "s.csv")


NORMALS = [Sample(image=Path(f"{n:02}.png"), label="normal", split="train") for n in range(20)]
OTHERS = [
    Sample(image=Path("t.png"), label="normal"),
    Sample(image=Path("bad.png"), label="anomalous", split="train"),
]


def test_references_are_normal_training_pictures_and_grow_with_k():
    draws = [k_shot(NORMALS + OTHERS, k, seed=3) for k in (1, 2, 4, 20)]
    for smaller, larger in zip(draws, draws[1:], strict=False):
        assert larger[: len(smaller)] == smaller
    assert sorted(draws[-1], key=lambda s: s.image) == NORMALS
    assert len({k_shot(NORMALS, 1, seed=s)[0].image for s in range(30)}) > 10


def test_draws_do_not_depend_on_the_order_the_pictures_come_in():
    backwards = NORMALS[::-1]
    assert k_shot(backwards, 5, seed=1) == k_shot(NORMALS, 5, seed=1)
    assert folds(backwards, 3, seed=1) == folds(NORMALS, 3, seed=1)


def test_too_few_references_or_several_categories_are_refused():
    with pytest.raises(AnomalystError, match="21 normal training pictures .* has 20. Ask for few"):
        k_shot(NORMALS + OTHERS, 21, seed=0)
    with pytest.raises(AnomalystError, match="0 references were asked for; at least 1"):
        k_shot(NORMALS, 0, seed=0)
    nut = Sample(image=Path("n.png"), label="normal", split="train", category="nut")
    with pytest.raises(AnomalystError, match="from one category; these are 2: , nut. Choose one"):
        k_shot([*NORMALS, nut], 1, seed=0)


def test_folds_hold_every_picture_once_and_every_kind_evenly():
    bad = [Sample(image=Path(f"b{n}.png"), label="anomalous", defect="bent") for n in range(7)]
    parts = folds(NORMALS + bad, 4, seed=0)
    images = [s.image for part in parts for s in part]
    assert sorted(images) == sorted(s.image for s in NORMALS + bad)
    assert sorted(len(part) for part in parts) == [6, 7, 7, 7]
    for label, least, most in (("normal", 5, 5), ("anomalous", 1, 2)):
        counts = [sum(s.label == label for s in part) for part in parts]
        assert (min(counts), max(counts)) == (least, most)
    assert parts != folds(NORMALS + bad, 4, seed=1)
    with pytest.raises(AnomalystError, match="21 folds were asked for; there are 20 pictures"):
        folds(NORMALS, 21, seed=0)
    with pytest.raises(AnomalystError, match="at least 2"):
        folds(NORMALS, 1, seed=0)
